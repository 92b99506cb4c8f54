//! A produced batch: checked as the broker checks it, read as a consumer reads it.
#![no_main]

use klamm_model::Timestamp;
use klamm_records::{Rules, Scratch, batches, crc32c, layout, validate};
use libfuzzer_sys::fuzz_target;

const DECOMPRESSED_BYTES_MAX: usize = 1024 * 1024;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    // Half of the inputs get a right checksum, so that what is behind it is reached.
    if data.first().is_some_and(|byte| byte & 1 == 1) && bytes.len() > layout::HEADER_LEN {
        let length = i32::try_from(bytes.len() - layout::LOG_OVERHEAD).expect("inputs are small");
        bytes[layout::BATCH_LENGTH..layout::BATCH_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        bytes[layout::MAGIC] = 2;
        let crc = crc32c(&bytes[layout::ATTRIBUTES..]);
        bytes[layout::CRC..layout::CRC + 4].copy_from_slice(&crc.to_be_bytes());
    }
    let mut scratch = Scratch::with_bytes_max(DECOMPRESSED_BYTES_MAX);
    for rules in [Rules::default(), Rules { is_compacted: true, ..Rules::default() }] {
        if let Ok(batch) = validate(&bytes, &rules, Timestamp(1_700_000_000_000), &mut scratch) {
            assert!(batch.header().record_count > 0);
        }
    }
    for batch in batches(&bytes).map_while(Result::ok) {
        if let Ok(records) = batch.records(&mut scratch) {
            for record in records.map_while(Result::ok) {
                assert!(record.headers().count() <= bytes.len().max(DECOMPRESSED_BYTES_MAX));
            }
        }
    }
});
