//! Where the batches of the dirty part lie, some pages at a time. When keys are learned each batch
//! is read; of an extent of which every record is superseded nothing is read again.

use klamm_model::Offset;
use klamm_records::BatchHeader;

use super::source::Placed;

/// Neighbouring batches of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it begins in its segment, and where it ends.
    pub(super) position: u64,
    pub(super) end: u64,
    /// Its first offset, and the one after its last.
    pub(super) first_offset: Offset,
    pub(super) next_offset: Offset,
    pub(super) record_count: u64,
    /// Whether nothing but its records matters: it has no marker and is no part of a transaction.
    is_plain: bool,
}

/// Extents in the order of the log, from the first dirty offset on, as far as there is room.
#[derive(Debug)]
pub(super) struct Extents {
    extents: Vec<Extent>,
    len_max: usize,
    bytes_min: u64,
    /// A batch had no room: those that come now do not follow on what is there.
    has_gap: bool,
}

impl Extents {
    /// None yet: extents of `bytes_min` bytes or a batch, in at most `bytes_max` bytes of memory.
    pub(super) fn new(bytes_min: u64, bytes_max: u64) -> Self {
        let len_max = bytes_max / size_of::<Extent>() as u64;
        let len_max = usize::try_from(len_max).unwrap_or(usize::MAX);
        Self { extents: Vec::new(), len_max, bytes_min, has_gap: false }
    }

    /// The most memory that it takes.
    pub(super) fn bytes_max(&self) -> u64 {
        (self.len_max * size_of::<Extent>()) as u64
    }

    /// The next batch of the log, which is dirty as a whole.
    pub(super) fn note(&mut self, placed: &Placed<'_>) {
        let batch = &placed.batch;
        let is_plain = is_plain(batch);
        let end = placed.position + batch.bytes().len() as u64;
        let record_count = u64::from(batch.record_count.unsigned_abs());
        if let Some(last) = self.extents.last_mut()
            && last.end == placed.position
            && last.is_plain == is_plain
            && last.end - last.position < self.bytes_min
            && !self.has_gap
        {
            last.end = end;
            last.next_offset = batch.next_offset();
            last.record_count += record_count;
            return;
        }
        if self.extents.len() == self.len_max {
            self.has_gap = true;
            return;
        }
        self.extents.push(Extent {
            position: placed.position,
            end,
            first_offset: batch.base_offset,
            next_offset: batch.next_offset(),
            record_count,
            is_plain,
        });
    }

    /// Those between two offsets of which nothing but the records matters.
    pub(super) fn plain_between(&self, from: Offset, end: Offset) -> impl Iterator<Item = &Extent> {
        let first = self.extents.partition_point(|extent| extent.first_offset < from);
        let extents = self.extents[first..].iter();
        extents.take_while(move |extent| extent.next_offset <= end).filter(|e| e.is_plain)
    }
}

fn is_plain(batch: &BatchHeader) -> bool {
    !batch.attributes.is_control() && !batch.attributes.is_transactional()
}

#[cfg(test)]
mod tests {
    use klamm_model::{ProducerEpoch, ProducerId, Timestamp};
    use klamm_records::{BatchBuilder, BatchOptions, BatchView, Producer, RecordToAppend};

    use super::*;

    struct Log {
        extents: Extents,
        position: u64,
        offset: i64,
    }

    impl Log {
        fn new(bytes_min: u64, len_max: u64) -> Self {
            let bytes_max = len_max * size_of::<Extent>() as u64;
            Self { extents: Extents::new(bytes_min, bytes_max), position: 0, offset: 0 }
        }

        /// Appends a batch of two records.
        fn batch(&mut self, is_transactional: bool) -> u64 {
            let id = ProducerId(1);
            let producer = Producer { id, epoch: ProducerEpoch(0), base_sequence: 0 };
            let mut builder = BatchBuilder::new(BatchOptions {
                base_offset: Offset(self.offset),
                producer: Some(producer),
                is_transactional,
                ..BatchOptions::default()
            });
            for _ in 0..2 {
                let timestamp = Timestamp(0);
                builder.push(RecordToAppend { timestamp, ..RecordToAppend::default() });
            }
            let bytes = builder.build().unwrap();
            let batch = BatchView::parse(&bytes).unwrap();
            self.extents.note(&Placed { batch, position: self.position, is_last: false });
            self.position += bytes.len() as u64;
            self.offset += 2;
            bytes.len() as u64
        }

        fn plain(&self, from: i64, end: i64) -> Vec<(i64, i64, u64)> {
            let facts = |e: &Extent| (e.first_offset.0, e.next_offset.0, e.record_count);
            self.extents.plain_between(Offset(from), Offset(end)).map(facts).collect()
        }
    }

    #[test]
    fn batches_are_joined_until_an_extent_is_large_enough() {
        let mut log = Log::new(100, 10);
        let len = log.batch(false);
        assert!(len < 100 && 2 * len > 100);
        (0..4).for_each(|_| assert_eq!(log.batch(false), len));
        assert_eq!(log.plain(0, 100), [(0, 4, 4), (4, 8, 4), (8, 10, 2)]);
        let last = log.extents.extents[2];
        assert_eq!((last.position, last.end), (4 * len, 5 * len));
        assert_eq!(log.plain(1, 9), [(4, 8, 4)], "only those that are whole between the offsets");
    }

    #[test]
    fn another_segment_and_a_transaction_begin_another_extent() {
        let mut log = Log::new(1 << 20, 10);
        log.batch(false);
        log.position = 0;
        log.batch(false);
        log.batch(true);
        log.batch(true);
        log.batch(false);
        assert_eq!(log.plain(0, 100), [(0, 2, 2), (2, 4, 2), (8, 10, 2)]);
    }

    #[test]
    fn what_has_no_room_is_not_noted_and_what_was_noted_stays() {
        let mut log = Log::new(1, 3);
        for _ in 0..5 {
            log.batch(false);
        }
        assert_eq!(log.plain(0, 100), [(0, 2, 2), (2, 4, 2), (4, 6, 2)]);
        // As if another segment came to where the last extent ends.
        let mut gap = Log::new(1 << 20, 1);
        let len = gap.batch(false);
        gap.position = 0;
        gap.batch(false);
        assert_eq!(gap.position, len);
        gap.batch(false);
        assert_eq!(gap.plain(0, 100), [(0, 2, 2)]);
        let mut none = Log::new(1, 0);
        none.batch(false);
        assert_eq!(none.plain(0, 100), []);
    }
}
