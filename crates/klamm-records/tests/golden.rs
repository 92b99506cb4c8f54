//! Batches that Kafka's own `MemoryRecordsBuilder` (4.3.1) wrote: we read them, and write the same.

#![expect(clippy::unwrap_used, reason = "in a test, a failure to make the input is a failure")]

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{
    BatchBuilder, BatchOptions, BatchView, Codec, EndTxnMarker, HeaderToAppend, Producer,
    RecordToAppend, Scratch, TimestampType, batches,
};

/// For each codec a batch of four records at offset 100, epoch 7; then, at 200 and epoch 8, three
/// records of a transaction and its abort; then, at 204 and epoch 9, a record in LogAppendTime.
const JAVA: &[u8] = include_bytes!("golden/batches.bin");

fn java() -> Vec<BatchView<'static>> {
    let views: Vec<_> = batches(JAVA).map(Result::unwrap).collect();
    assert_eq!(views.len(), 8);
    for view in &views {
        view.check_crc().unwrap();
    }
    views
}

fn large_value() -> Vec<u8> {
    (0..1000_u32).map(|i| (i % 50) as u8).collect()
}

#[test]
fn records_of_every_codec_are_read_as_java_wrote_them() {
    let mut scratch = Scratch::default();
    for (view, codec) in java().iter().zip(Codec::ALL) {
        assert_eq!(view.attributes.codec(), Ok(codec));
        assert_eq!(view.partition_leader_epoch, LeaderEpoch(7));
        assert_eq!((view.base_offset, view.next_offset()), (Offset(100), Offset(104)));
        assert_eq!(view.max_timestamp, Timestamp(1_700_000_000_005));
        assert_eq!(view.producer, None);
        let records: Vec<_> = view.records(&mut scratch).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.len(), 4);
        assert_eq!(records[0].offset, Offset(100));
        assert_eq!(records[0].key, Some(&b"key"[..]));
        let headers: Vec<_> = records[0].headers().map(|h| (h.key, h.value)).collect();
        assert_eq!(headers, [(&b"h1"[..], Some(&b"one"[..])), (&b"h2"[..], None)]);
        assert_eq!((records[1].key, records[1].value), (None, Some(&b"no key"[..])));
        assert_eq!((records[2].offset, records[2].value), (Offset(102), None));
        assert_eq!(records[2].timestamp, Timestamp(1_699_999_999_000));
        assert_eq!(records[3].key, Some(&b""[..]));
        assert_eq!(records[3].value, Some(&large_value()[..]));
    }
}

#[test]
fn a_transaction_and_its_marker_are_read_as_java_wrote_them() {
    let views = java();
    let (data, marker, appended) = (&views[5], &views[6], &views[7]);
    let producer =
        Producer { id: ProducerId(4711), epoch: ProducerEpoch(3), base_sequence: i32::MAX - 1 };
    assert_eq!(data.producer, Some(producer));
    assert_eq!(data.last_sequence(), Some(0));
    assert!(data.attributes.is_transactional() && !data.attributes.is_control());
    assert!(marker.attributes.is_transactional() && marker.attributes.is_control());
    let mut scratch = Scratch::default();
    let record = marker.records(&mut scratch).unwrap().next().unwrap().unwrap();
    let parsed = EndTxnMarker::parse(&record).unwrap();
    assert_eq!(parsed, Some(EndTxnMarker { is_abort: true, coordinator_epoch: 42 }));
    assert_eq!(appended.attributes.timestamp_type(), TimestampType::LogAppendTime);
    let record = appended.records(&mut scratch).unwrap().next().unwrap().unwrap();
    assert_eq!(record.timestamp, Timestamp(1_700_000_000_200));
}

#[test]
fn an_uncompressed_batch_has_the_bytes_that_java_writes() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(100),
        partition_leader_epoch: Some(LeaderEpoch(7)),
        ..BatchOptions::default()
    });
    let headers = [
        HeaderToAppend { key: "h1", value: Some(b"one") },
        HeaderToAppend { key: "h2", value: None },
    ];
    let large = large_value();
    let mut push = |ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers| {
        builder.push(RecordToAppend { timestamp: Timestamp(ms), key, value, headers });
    };
    push(1_700_000_000_000, Some(b"key"), Some(b"value"), &headers[..]);
    push(1_700_000_000_005, None, Some(b"no key"), &[]);
    push(1_699_999_999_000, Some(b"tombstone"), None, &[]);
    push(1_700_000_000_001, Some(b""), Some(&large), &[]);
    assert_eq!(builder.build().unwrap(), java()[0].bytes());
}

#[test]
fn the_end_of_a_transaction_has_the_bytes_that_java_writes() {
    let marker = EndTxnMarker { is_abort: true, coordinator_epoch: 42 };
    let bytes = marker.batch(ProducerId(4711), ProducerEpoch(3), Timestamp(1_700_000_000_100));
    let mut own = klamm_records::ValidBatch::own(&bytes).unwrap();
    own.place(Offset(203), LeaderEpoch(8));
    assert_eq!(own.parts().concat(), java()[6].bytes());
}
