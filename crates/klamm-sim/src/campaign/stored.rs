//! A batch as the model knows it: its bytes as they must lie in the log, and what they mean.

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{
    BatchBuilder, BatchOptions, Codec, Compression, EndTxnMarker, Producer, RecordToAppend,
    ValidBatch,
};

use crate::random::Seeded;

/// When everything takes place.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Who wrote a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    /// Of the first record; -1 for a marker.
    pub(crate) sequence: i32,
}

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Data,
    Transaction,
    Marker { is_abort: bool, coordinator_epoch: i32 },
}

/// A record of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Only where the partition is compacted.
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
}

/// What a batch of records is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) count: usize,
    pub(crate) writer: Option<Writer>,
    pub(crate) purpose: Purpose,
    /// Its records have keys, and some are tombstones.
    pub(crate) is_keyed: bool,
}

/// Keys of a compacted partition: few, so that records replace each other.
const KEYS: usize = 9;

/// A batch before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    pub(crate) timestamps: Vec<i64>,
    /// Of its records; a marker has none.
    pub(crate) contents: Vec<Content>,
    pub(crate) writer: Option<Writer>,
    pub(crate) purpose: Purpose,
}

/// A batch in the log.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) base: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) draft: Draft,
    /// The runs of the cleaner that there had been when it was appended.
    pub(crate) runs_before: usize,
}

impl Draft {
    /// A batch of records with values that nobody has seen before.
    pub(crate) fn data(random: &mut Seeded, wish: Wish) -> Self {
        let Wish { count, writer, purpose, is_keyed } = wish;
        let lz4 = Compression::with_level(Codec::Lz4, 1).unwrap_or(Compression::NONE);
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: if random.one_in(6) { lz4 } else { Compression::NONE },
            producer: writer.map(Writer::to_producer),
            is_transactional: purpose == Purpose::Transaction,
            ..BatchOptions::default()
        });
        let (mut timestamps, mut contents) = (Vec::with_capacity(count), Vec::new());
        for i in 0..count {
            let timestamp = NOW.0 + random.between(-50, 400);
            timestamps.push(timestamp);
            let content = Content::new(random, i == 0, is_keyed);
            builder.push(RecordToAppend {
                timestamp: Timestamp(timestamp),
                key: content.key.as_deref(),
                value: content.value.as_deref(),
                ..RecordToAppend::default()
            });
            contents.push(content);
        }
        let bytes = builder.build().expect("lz4 compresses anything");
        Self { bytes, timestamps, contents, writer, purpose }
    }

    /// The end of a producer's transaction.
    pub(crate) fn marker(id: i64, epoch: i16, is_abort: bool, coordinator_epoch: i32) -> Self {
        let marker = EndTxnMarker { is_abort, coordinator_epoch };
        Self {
            bytes: marker.batch(ProducerId(id), ProducerEpoch(epoch), NOW),
            timestamps: vec![NOW.0],
            contents: Vec::new(),
            writer: Some(Writer { id, epoch, sequence: -1 }),
            purpose: Purpose::Marker { is_abort, coordinator_epoch },
        }
    }

    /// The batch at its place, with the bytes that the log must hold.
    pub(crate) fn at(mut self, base: i64, leader_epoch: i32) -> Stored {
        let mut batch = ValidBatch::own(&self.bytes).expect("it was just built");
        batch.place(Offset(base), LeaderEpoch(leader_epoch));
        self.bytes = batch.parts().concat();
        Stored { base, leader_epoch, draft: self, runs_before: 0 }
    }
}

impl Content {
    fn new(random: &mut Seeded, is_first: bool, is_keyed: bool) -> Self {
        let len = match random.below(30) {
            // At most one large one, so that the batch fits into the smallest segment.
            0 if is_first => 3000 + random.below(2500),
            0..4 => random.below(600),
            _ => random.below(120),
        };
        let mut value = random.bits().to_be_bytes().to_vec();
        value.resize(8 + len, (random.bits() % 251) as u8);
        if !is_keyed {
            return Self { key: None, value: Some(value) };
        }
        let key = Some(format!("key-{}", random.below(KEYS)).into_bytes());
        Self { key, value: Some(value).filter(|_| !random.one_in(4)) }
    }
}

impl Writer {
    fn to_producer(self) -> Producer {
        Producer {
            id: ProducerId(self.id),
            epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequence,
        }
    }
}

impl Stored {
    pub(crate) fn count(&self) -> i64 {
        self.draft.timestamps.len() as i64
    }

    pub(crate) fn last(&self) -> i64 {
        self.base + self.count() - 1
    }

    pub(crate) fn next(&self) -> i64 {
        self.base + self.count()
    }

    pub(crate) fn last_sequence(&self) -> Option<i32> {
        let writer = self.draft.writer.filter(|writer| writer.sequence >= 0)?;
        Some(writer.sequence + self.draft.timestamps.len() as i32 - 1)
    }

    pub(crate) fn max_timestamp(&self) -> i64 {
        self.draft.timestamps.iter().copied().max().unwrap_or(-1)
    }
}
