//! Files and records as a crash, a disk or another program left them.
#![no_main]

use bytes::Bytes;
use klamm_group_coordinator::Record;
use klamm_log::{decode_index, decode_snapshot, decode_time_index, encode_snapshot, names};
use klamm_persisted::metadata::MetadataRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let offsets = decode_index(data);
    assert!(offsets.windows(2).all(|pair| pair[0].relative_offset < pair[1].relative_offset));
    let times = decode_time_index(data);
    assert!(times.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
    if let Ok(state) = decode_snapshot(data) {
        let again = decode_snapshot(&encode_snapshot(&state)).expect("what was read can be written");
        assert_eq!(again, state);
    }
    drop(MetadataRecord::from_frame(Bytes::copy_from_slice(data)));
    let (key, value) = data.split_at(data.len() / 2);
    drop(Record::from_key_value(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value))));
    drop(names::parse_partition_dir(&String::from_utf8_lossy(data)));
});
