//! Record batches that lie, sent to a live broker: each is refused with Kafka's code for it, none
//! is stored, and none costs memory.

use klamm_model::{ErrorCode, ProducerEpoch, ProducerId};
use klamm_protocol::FetchRequest;
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_records::{BatchOptions, Codec, Compression, EndTxnMarker, Producer, crc32c, layout};
use klamm_stdx::Str;
use klamm_testkit::{Broker, BrokerOptions, Client, batch_of};

/// Most memory that the broker may hold on to after a bomb.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// What a bomb would take.
const BOMB_BYTES: usize = 256 << 20;

/// Changes a batch and gives it the checksum that fits.
fn sealed(mut batch: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut batch);
    let length = u32::try_from(batch.len() - layout::LOG_OVERHEAD).expect("a short batch");
    batch[layout::BATCH_LENGTH..][..4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[layout::ATTRIBUTES..]);
    batch[layout::CRC..][..4].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn three() -> Vec<u8> {
    batch_of(BatchOptions::default(), &[b"one", b"two", b"three"])
}

fn put(at: usize, bytes: &'static [u8]) -> impl FnOnce(&mut Vec<u8>) {
    move |batch| batch[at..][..bytes.len()].copy_from_slice(bytes)
}

#[test]
fn a_batch_that_lies_is_refused_with_the_code_that_kafka_has_for_it() {
    use ErrorCode::{
        CorruptMessage, InvalidRecord, InvalidTimestamp, MessageTooLarge,
        UnsupportedCompressionType,
    };
    let broker = Broker::start("batches");
    let mut client = broker.client();
    client.create_topic("batches", 1, &[]);
    let good = three();
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    let raw = |at, bytes| {
        let mut batch = good.clone();
        put(at, bytes)(&mut batch);
        batch
    };
    let resealed = |at, bytes| sealed(good.clone(), put(at, bytes));
    // The deltas of the first record: length, attributes, timestamp delta, offset delta.
    let second_delta = layout::HEADER_LEN + 3;
    let marker = EndTxnMarker { is_abort: false, coordinator_epoch: 0 };
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("a changed byte", changed, CorruptMessage),
        ("another crc", raw(layout::CRC, &[0, 0, 0, 0]), CorruptMessage),
        ("no record at all", Vec::new(), InvalidRecord),
        ("part of a header", good[..30].to_vec(), InvalidRecord),
        ("a cut batch", good[..good.len() - 1].to_vec(), InvalidRecord),
        ("two batches", [good.clone(), good.clone()].concat(), InvalidRecord),
        ("bytes after it", [good.clone(), vec![0; 7]].concat(), InvalidRecord),
        ("magic 0", raw(layout::MAGIC, &[0]), InvalidRecord),
        ("magic 1", raw(layout::MAGIC, &[1]), InvalidRecord),
        ("magic 3", raw(layout::MAGIC, &[3]), CorruptMessage),
        ("no length", raw(layout::BATCH_LENGTH, &[0, 0, 0, 0]), CorruptMessage),
        ("a negative length", raw(layout::BATCH_LENGTH, &[0xff; 4]), CorruptMessage),
        ("a huge length", raw(layout::BATCH_LENGTH, &[0x7f, 0xff, 0xff, 0xff]), InvalidRecord),
        ("more records", resealed(layout::RECORD_COUNT, &[0, 0, 0, 4]), InvalidRecord),
        ("fewer records", resealed(layout::RECORD_COUNT, &[0, 0, 0, 2]), InvalidRecord),
        ("billions of records", resealed(layout::RECORD_COUNT, &[0x7f; 4]), InvalidRecord),
        ("negative records", resealed(layout::RECORD_COUNT, &[0xff; 4]), InvalidRecord),
        ("another last offset", resealed(layout::LAST_OFFSET_DELTA, &[0, 0, 0, 9]), InvalidRecord),
        ("a delta that jumps", resealed(second_delta, &[4]), InvalidRecord),
        ("a control batch", marker.batch(ProducerId(1), ProducerEpoch(0), now()), InvalidRecord),
        ("a codec of no name", resealed(layout::ATTRIBUTES, &[0, 5]), UnsupportedCompressionType),
        ("gzip that is none", resealed(layout::ATTRIBUTES, &[0, 1]), InvalidRecord),
        ("lz4 that is none", resealed(layout::ATTRIBUTES, &[0, 3]), InvalidRecord),
        ("time set by the broker", resealed(layout::ATTRIBUTES, &[0, 8]), InvalidTimestamp),
        ("far future", resealed(layout::BASE_TIMESTAMP, &[0x0f]), InvalidTimestamp),
        ("too large", batch_of(BatchOptions::default(), &[&vec![0; 1_100_000]]), MessageTooLarge),
    ];
    let mut wrong = Vec::new();
    for (what, batch, expected) in &cases {
        let code = client.produce_code("batches", 0, batch);
        if code != *expected {
            wrong.push(format!("{what}: {code:?}, not {expected:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(client.end_offset("batches", 0), 0, "nothing of all this is stored");
    assert_eq!(client.produce_code("batches", 0, &good), ErrorCode::None);
    assert_eq!(client.fetch_all("batches", 0, 0).len(), 3);
}

fn now() -> klamm_model::Timestamp {
    klamm_model::Timestamp(0)
}

#[test]
fn sequences_that_repeat_are_answered_alike_and_gaps_are_refused() {
    let broker = Broker::start("batches-sequences");
    let mut client = broker.client();
    client.create_topic("sequences", 1, &[]);
    let producer = |epoch, base_sequence| {
        let producer =
            Producer { id: ProducerId(4711), epoch: ProducerEpoch(epoch), base_sequence };
        let options = BatchOptions { producer: Some(producer), ..BatchOptions::default() };
        batch_of(options, &[b"a", b"b"])
    };
    let mut send = |epoch, sequence| {
        let answer = client.produce("sequences", 0, &producer(epoch, sequence));
        (ErrorCode::from_code(answer.error_code).unwrap(), answer.base_offset)
    };
    assert_eq!(send(0, 0), (ErrorCode::None, 0));
    assert_eq!(send(0, 2), (ErrorCode::None, 2));
    assert_eq!(send(0, 2), (ErrorCode::None, 2), "a repetition is not stored again");
    assert_eq!(send(0, 0), (ErrorCode::None, 0), "nor is the one before it");
    assert_eq!(send(0, 8).0, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(send(1, 0), (ErrorCode::None, 4));
    assert_eq!(send(0, 4).0, ErrorCode::InvalidProducerEpoch);
    assert_eq!(client.end_offset("sequences", 0), 6);
}

/// A batch whose records are `BOMB_BYTES` of zeros before they were compressed.
fn bomb(codec: Codec) -> Vec<u8> {
    let zeros = vec![0; BOMB_BYTES];
    let mut body = Vec::new();
    Compression::from(codec).compress(&zeros, &mut body).expect("zeros can be compressed");
    sealed(three(), |batch| {
        batch.truncate(layout::HEADER_LEN);
        batch[layout::ATTRIBUTES + 1] = codec.id();
        batch.append(&mut body);
    })
}

fn check_small_batches(client: &mut Client, codec: Codec) {
    let options = BatchOptions { compression: codec.into(), ..BatchOptions::default() };
    let batch = batch_of(options, &[b"small"]);
    assert_eq!(client.produce_code("bombs", 0, &batch), ErrorCode::None, "{codec}");
}

#[test]
fn a_batch_that_explodes_when_it_is_decompressed_is_refused_and_leaves_no_memory_behind() {
    let options = BrokerOptions::default().with("message.max.bytes", "33554432");
    let broker = Broker::start_with("bombs", options);
    let mut client = broker.client();
    client.create_topic("bombs", 1, &[]);
    let bombs = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].map(|c| (c, bomb(c)));
    for (codec, _) in &bombs {
        check_small_batches(&mut client, *codec);
    }
    let before = broker.resident_bytes();
    for (codec, bomb) in &bombs {
        // Several connections, so that every worker of the broker meets one.
        for _ in 0..4 {
            let code = broker.client().produce_code("bombs", 0, bomb);
            assert_eq!(code, ErrorCode::MessageTooLarge, "{codec}");
        }
        let growth = broker.resident_bytes().saturating_sub(before);
        println!(
            "{codec}: {} bytes promise {} MiB, {} KiB before, {} KiB more after, {} KiB at most",
            bomb.len(),
            BOMB_BYTES >> 20,
            before >> 10,
            growth >> 10,
            broker.resident_bytes_max() >> 10,
        );
        assert!(growth < GROWTH_BYTES_MAX, "{codec}: {growth} bytes more than before");
        check_small_batches(&mut client, *codec);
    }
    assert_eq!(client.end_offset("bombs", 0), 8);
}

#[test]
fn a_snappy_block_that_says_that_it_is_huge_is_refused() {
    let broker = Broker::start("batches-snappy");
    let mut client = broker.client();
    client.create_topic("snappy", 1, &[]);
    let before = broker.resident_bytes();
    // A plain block: its length as a varint, 2^31 - 1 and 2^32 - 1, then next to nothing.
    for length in [&[0xff, 0xff, 0xff, 0xff, 0x07][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let batch = sealed(three(), |batch| {
            batch.truncate(layout::HEADER_LEN);
            batch[layout::ATTRIBUTES + 1] = Codec::Snappy.id();
            batch.extend_from_slice(length);
            batch.extend_from_slice(b"\x00x");
        });
        let code = client.produce_code("snappy", 0, &batch);
        assert!(matches!(code, ErrorCode::MessageTooLarge | ErrorCode::InvalidRecord), "{code:?}");
    }
    assert!(broker.resident_bytes() < before + GROWTH_BYTES_MAX);
}

#[test]
fn a_fetch_that_is_refused_has_empty_records_and_not_none() {
    let broker = Broker::start("batches-refused");
    let mut client = broker.client();
    client.create_topic("refused", 1, &[]);
    let partition = FetchPartition {
        fetch_offset: 5,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: Str::from("refused"),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    let request =
        FetchRequest { topics: vec![topic], max_bytes: 1 << 20, ..FetchRequest::default() };
    let answer = client.ask(&request, 12);
    let line = &answer.responses[0].partitions[0];
    assert_eq!(line.error_code, ErrorCode::OffsetOutOfRange.code());
    // librdkafka takes null for a broken answer and asks again without end.
    assert_eq!(line.records.as_bytes().map(|bytes| bytes.len()), Some(0));
}
