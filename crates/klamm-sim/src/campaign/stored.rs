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

/// A batch before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) writer: Option<Writer>,
    pub(crate) purpose: Purpose,
}

/// A batch in the log.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) base: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) draft: Draft,
}

impl Draft {
    /// A batch of `count` records with values that nobody has seen before.
    pub(crate) fn data(
        random: &mut Seeded,
        count: usize,
        writer: Option<Writer>,
        purpose: Purpose,
    ) -> Self {
        let lz4 = Compression::with_level(Codec::Lz4, 1).unwrap_or(Compression::NONE);
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: if random.one_in(6) { lz4 } else { Compression::NONE },
            producer: writer.map(Writer::to_producer),
            is_transactional: purpose == Purpose::Transaction,
            ..BatchOptions::default()
        });
        let mut timestamps = Vec::with_capacity(count);
        for i in 0..count {
            let timestamp = NOW.0 + random.between(-50, 400);
            timestamps.push(timestamp);
            let len = match random.below(30) {
                // At most one large one, so that the batch fits into the smallest segment.
                0 if i == 0 => 3000 + random.below(2500),
                0..4 => random.below(600),
                _ => random.below(120),
            };
            let mut value = random.bits().to_be_bytes().to_vec();
            value.resize(8 + len, (random.bits() % 251) as u8);
            builder.push(RecordToAppend {
                timestamp: Timestamp(timestamp),
                value: Some(&value),
                ..RecordToAppend::default()
            });
        }
        let bytes = builder.build().expect("lz4 compresses anything");
        Self { bytes, timestamps, writer, purpose }
    }

    /// The end of a producer's transaction.
    pub(crate) fn marker(id: i64, epoch: i16, is_abort: bool, coordinator_epoch: i32) -> Self {
        let marker = EndTxnMarker { is_abort, coordinator_epoch };
        Self {
            bytes: marker.batch(ProducerId(id), ProducerEpoch(epoch), NOW),
            timestamps: vec![NOW.0],
            writer: Some(Writer { id, epoch, sequence: -1 }),
            purpose: Purpose::Marker { is_abort, coordinator_epoch },
        }
    }

    /// The batch at its place, with the bytes that the log must hold.
    pub(crate) fn at(mut self, base: i64, leader_epoch: i32) -> Stored {
        let mut batch = ValidBatch::own(&self.bytes).expect("it was just built");
        batch.place(Offset(base), LeaderEpoch(leader_epoch));
        self.bytes = batch.parts().concat();
        Stored { base, leader_epoch, draft: self }
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
