//! What a leader takes from a client, what it refuses, and what it changes.

#![expect(clippy::unwrap_used, reason = "in a test, a failure to make the input is a failure")]

use klamm_model::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{
    BatchBuilder, BatchError, BatchOptions, BatchView, Codec, Compression, InvalidRecord, Producer,
    RecordError, RecordToAppend, RejectedRecord, RejectionReason, Rules, Scratch, TimestampType,
    TopicCompression, ValidBatch, crc32c, layout, validate,
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn batch(options: BatchOptions, records: &[(i64, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key) in records {
        let timestamp = Timestamp(*timestamp);
        builder.push(RecordToAppend { timestamp, key: *key, value: Some(b"v"), headers: &[] });
    }
    builder.build().unwrap()
}

fn three_records() -> Vec<u8> {
    batch(BatchOptions::default(), &[(NOW.0, Some(b"a")), (NOW.0 + 5, None), (NOW.0, None)])
}

/// Changes bytes and makes the checksum right again.
fn patched(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[layout::ATTRIBUTES..]);
    bytes[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn check<'a>(bytes: &'a [u8], rules: &Rules) -> Result<ValidBatch<'a>, RecordError> {
    validate(bytes, rules, NOW, &mut Scratch::default())
}

fn check_refused(bytes: &[u8], code: ErrorCode) -> RecordError {
    let refused = check(bytes, &Rules::default()).unwrap_err();
    assert_eq!(refused.error_code(), code, "{refused}");
    refused
}

#[test]
fn a_good_batch_is_taken_as_it_is_and_placed_without_touching_its_checksum() {
    let bytes = three_records();
    let mut valid = check(&bytes, &Rules::default()).unwrap();
    assert_eq!(valid.parts().concat(), bytes);
    valid.place(Offset(77), LeaderEpoch(3));
    let placed = valid.parts().concat();
    let view = BatchView::parse(&placed).unwrap();
    view.check_crc().unwrap();
    assert_eq!((view.base_offset, view.last_offset()), (Offset(77), Offset(79)));
    assert_eq!(view.partition_leader_epoch, LeaderEpoch(3));
    assert_eq!(&placed[layout::MAGIC..], &bytes[layout::MAGIC..]);
}

#[test]
fn what_is_not_exactly_one_whole_batch_is_refused() {
    let bytes = three_records();
    for cut in 0..layout::MAGIC {
        check_refused(&bytes[..cut], ErrorCode::InvalidRecord);
    }
    check_refused(&bytes[..bytes.len() - 1], ErrorCode::InvalidRecord);
    let twice = [&bytes[..], &bytes].concat();
    let refused = check_refused(&twice, ErrorCode::InvalidRecord);
    assert!(matches!(refused, RecordError::Invalid(InvalidRecord::ManyBatches { .. })));
    check_refused(&[&bytes[..], b"x"].concat(), ErrorCode::InvalidRecord);
}

#[test]
fn old_magics_are_told_from_damage() {
    for (magic, code) in [
        (0, ErrorCode::InvalidRecord),
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
        (0xff, ErrorCode::CorruptMessage),
    ] {
        check_refused(&patched(three_records(), layout::MAGIC, &[magic]), code);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let bytes = three_records();
    for at in 0..bytes.len() {
        // Base offset and leader epoch are outside the checksum: the leader overwrites both.
        if (layout::PARTITION_LEADER_EPOCH..layout::MAGIC).contains(&at) {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        assert!(check(&flipped, &Rules::default()).is_err(), "byte {at}");
    }
}

#[test]
fn lengths_that_no_batch_has_are_refused_without_memory() {
    for length in [i32::MIN, -1, 0, 13, 48] {
        let bytes = patched(three_records(), layout::BATCH_LENGTH, &length.to_be_bytes());
        check_refused(&bytes, ErrorCode::CorruptMessage);
    }
    let huge = patched(three_records(), layout::BATCH_LENGTH, &i32::MAX.to_be_bytes());
    check_refused(&huge, ErrorCode::InvalidRecord);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let wrong = |at: usize, with: &[u8]| {
        check_refused(&patched(three_records(), at, with), ErrorCode::InvalidRecord)
    };
    let refused = wrong(layout::BASE_OFFSET, &5_i64.to_be_bytes());
    assert_eq!(refused, RecordError::Invalid(InvalidRecord::BaseOffset(5)));
    wrong(layout::BASE_OFFSET, &(-5_i64).to_be_bytes());
    wrong(layout::BASE_OFFSET, &i64::MAX.to_be_bytes());
    wrong(layout::RECORD_COUNT, &0_i32.to_be_bytes());
    wrong(layout::RECORD_COUNT, &(-1_i32).to_be_bytes());
    wrong(layout::RECORD_COUNT, &4_i32.to_be_bytes());
    wrong(layout::RECORD_COUNT, &i32::MAX.to_be_bytes());
    wrong(layout::LAST_OFFSET_DELTA, &1_i32.to_be_bytes());
    wrong(layout::LAST_OFFSET_DELTA, &(-1_i32).to_be_bytes());
    let control = wrong(layout::ATTRIBUTES, &0x20_i16.to_be_bytes());
    assert_eq!(control, RecordError::Invalid(InvalidRecord::Control));
    wrong(layout::ATTRIBUTES, &0x10_i16.to_be_bytes());
    wrong(layout::PRODUCER_ID, &9_i64.to_be_bytes());
    let append_time = patched(three_records(), layout::ATTRIBUTES, &8_i16.to_be_bytes());
    check_refused(&append_time, ErrorCode::InvalidTimestamp);
    let codec = patched(three_records(), layout::ATTRIBUTES, &5_i16.to_be_bytes());
    check_refused(&codec, ErrorCode::UnsupportedCompressionType);
}

#[test]
fn counts_that_agree_with_each_other_but_not_with_the_records_are_refused() {
    for count in [2_i32, 4] {
        let bytes = patched(three_records(), layout::RECORD_COUNT, &count.to_be_bytes());
        let bytes = patched(bytes, layout::LAST_OFFSET_DELTA, &(count - 1).to_be_bytes());
        check_refused(&bytes, ErrorCode::InvalidRecord);
    }
}

#[test]
fn hostile_record_bytes_are_refused() {
    // The first record: length, attributes, timestamp delta, offset delta, key length, ...
    let first = layout::HEADER_LEN;
    for (at, with) in [
        (first, &[0x01][..]),
        (first, &[0x7e]),
        (first, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (first, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (first + 3, &[0x04]),
        (first + 4, &[0x7e]),
        (first + 6, &[0x7e]),
        (first + 8, &[0x01]),
        (first + 8, &[0x02]),
        (first + 8, &[0xfe]),
    ] {
        check_refused(&patched(three_records(), at, with), ErrorCode::InvalidRecord);
    }
}

#[test]
fn a_batch_above_max_message_bytes_is_refused() {
    let bytes = three_records();
    let rules = Rules { max_message_bytes: bytes.len() - 1, ..Rules::default() };
    let refused = check(&bytes, &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
    let rules = Rules { max_message_bytes: bytes.len(), ..Rules::default() };
    check(&bytes, &rules).unwrap();
}

#[test]
fn a_compacted_topic_names_the_records_without_keys() {
    let bytes = three_records();
    let rules = Rules { is_compacted: true, ..Rules::default() };
    let refused = check(&bytes, &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::InvalidRecord);
    let no_key = |batch_index| RejectedRecord { batch_index, reason: RejectionReason::NoKey };
    assert_eq!(refused.rejected_records(), [no_key(1), no_key(2)]);
}

#[test]
fn timestamps_too_far_from_the_clock_are_refused_one_by_one() {
    let rules = Rules { timestamp_before_max_ms: 1000, ..Rules::default() };
    let times = [NOW.0, NOW.0 - 1000, NOW.0 - 1001, NOW.0 + 3_600_000, NOW.0 + 3_600_001, -1];
    let records: Vec<_> = times.iter().map(|ms| (*ms, None)).collect();
    let bytes = batch(BatchOptions::default(), &records);
    let refused = check(&bytes, &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::InvalidTimestamp);
    let named: Vec<_> = refused.rejected_records().iter().map(|r| r.batch_index).collect();
    assert_eq!(named, [2, 4]);
    let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    check(&bytes, &rules).unwrap();
}

#[test]
fn the_answer_to_a_batch_of_many_bad_records_is_bounded() {
    let bytes = batch(BatchOptions::default(), &vec![(NOW.0, None); 5000]);
    let rules = Rules { is_compacted: true, ..Rules::default() };
    match check(&bytes, &rules).unwrap_err() {
        RecordError::Rejected { records, rejected_count } => {
            assert_eq!((records.len(), rejected_count), (1000, 5000));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn append_time_replaces_the_timestamps_in_the_header_alone() {
    for codec in Codec::ALL {
        let options = BatchOptions { compression: codec.into(), ..BatchOptions::default() };
        let bytes = batch(options, &[(5, None), (9, None)]);
        let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..Rules::default() };
        let stamped = check(&bytes, &rules).unwrap().parts().concat();
        let view = BatchView::parse(&stamped).unwrap();
        view.check_crc().unwrap();
        assert_eq!(view.max_timestamp, NOW);
        assert_eq!(view.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(view.body(), &bytes[layout::HEADER_LEN..]);
        for record in view.records(&mut Scratch::default()).unwrap() {
            assert_eq!(record.unwrap().timestamp, NOW);
        }
    }
}

#[test]
fn a_wrong_max_timestamp_is_made_right() {
    let bytes = patched(three_records(), layout::MAX_TIMESTAMP, &1_i64.to_be_bytes());
    let fixed = check(&bytes, &Rules::default()).unwrap().parts().concat();
    assert_eq!(fixed, three_records());
}

#[test]
fn a_topic_with_a_codec_of_its_own_gets_that() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let options = BatchOptions { compression: from.into(), ..BatchOptions::default() };
            let bytes = batch(options, &[(NOW.0, Some(b"k")), (NOW.0 + 1, None)]);
            let compression = TopicCompression::Fixed(Compression::from(to));
            let rules = Rules { compression, ..Rules::default() };
            let made = check(&bytes, &rules).unwrap().parts().concat();
            let view = BatchView::parse(&made).unwrap();
            view.check_crc().unwrap();
            assert_eq!(view.bytes().len(), made.len());
            assert_eq!(view.attributes.codec(), Ok(to));
            let mut scratch = Scratch::default();
            let keys: Vec<_> =
                view.records(&mut scratch).unwrap().map(|r| r.unwrap().key).collect();
            assert_eq!(keys, [Some(&b"k"[..]), None]);
        }
    }
}

#[test]
fn a_bomb_is_refused() {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Codec::Zstd.into(),
        ..BatchOptions::default()
    });
    let zeros = vec![0; 1 << 20];
    for _ in 0..9 {
        builder.push(RecordToAppend { value: Some(&zeros), ..RecordToAppend::default() });
    }
    let bytes = builder.build().unwrap();
    let mut scratch = Scratch::with_bytes_max(8 << 20);
    let refused = validate(&bytes, &Rules::default(), NOW, &mut scratch).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn damaged_compressed_bytes_are_refused() {
    for codec in &Codec::ALL[1..] {
        let options = BatchOptions { compression: (*codec).into(), ..BatchOptions::default() };
        let bytes = batch(options, &[(NOW.0, Some(&b"some key"[..])); 20]);
        let middle = (layout::HEADER_LEN + bytes.len()) / 2;
        let damaged = patched(bytes, middle, &[0xee, 0xee, 0xee]);
        let refused = check(&damaged, &Rules::default());
        assert!(refused.is_err(), "{codec}");
    }
}

#[test]
fn own_batches_are_looked_at_for_their_shape() {
    let bytes = three_records();
    assert_eq!(ValidBatch::own(&bytes).unwrap().parts().concat(), bytes);
    assert!(matches!(
        ValidBatch::own(&[&bytes[..], &bytes].concat()),
        Err(BatchError::Field { .. })
    ));
    assert!(matches!(ValidBatch::own(&bytes[..70]), Err(BatchError::Short { .. })));
}

type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn record() -> impl Strategy<Value = Record> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    (NOW.0 - 1_000_000..NOW.0 + 1_000_000, bytes(), bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_valid_and_read_again(
        records in proptest::collection::vec(record(), 1..50),
        codec in 0_u8..5,
        sequence in proptest::option::of(0..i32::MAX),
    ) {
        let compression = Codec::from_id(codec).unwrap().into();
        let producer = sequence.map(|base_sequence| Producer {
            id: ProducerId(1), epoch: ProducerEpoch(0), base_sequence,
        });
        let options = BatchOptions { compression, producer, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for (timestamp, key, value) in &records {
            let (timestamp, key, value) = (Timestamp(*timestamp), key.as_deref(), value.as_deref());
            builder.push(RecordToAppend { timestamp, key, value, headers: &[] });
        }
        let bytes = builder.build().unwrap();
        let valid = check(&bytes, &Rules::default()).unwrap();
        prop_assert_eq!(valid.parts().concat(), bytes.clone());
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(view.producer, producer);
        let mut scratch = Scratch::default();
        let read: Vec<Record> = view
            .records(&mut scratch)
            .unwrap()
            .map(Result::unwrap)
            .map(|r| (r.timestamp.0, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec)))
            .collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn garbled_batches_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        codec in 0_u8..5,
    ) {
        let compression = Codec::from_id(codec).unwrap().into();
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let mut bytes = batch(options, &[(NOW.0, Some(&b"k"[..])); 10]);
        for (at, with) in edits {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let bytes = patched(bytes, layout::MAGIC, &[2]);
        if let Ok(valid) = check(&bytes, &Rules::default()) {
            prop_assert_eq!(valid.size_in_bytes(), bytes.len());
        }
        if let Ok(view) = BatchView::parse(&bytes)
            && let Ok(records) = view.records(&mut Scratch::default())
        {
            prop_assert!(records.count() <= bytes.len() + 1);
        }
    }
}
