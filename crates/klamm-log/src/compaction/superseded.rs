//! Which records of the dirty part have a newer one of their key: a bit for each offset. What was
//! found out while keys were learned need not be asked again when the segments are written: a
//! bit lies in the processor's cache, a slot of the table does not.

use klamm_model::Offset;
use klamm_records::BatchHeader;

/// Offsets in a word.
const WORD_BITS: u64 = u64::BITS as u64;

/// Offsets from the first dirty one on, as far as there is room for them.
#[derive(Debug)]
pub(super) struct Superseded {
    first: Offset,
    words: Vec<u64>,
}

impl Superseded {
    /// None yet, of up to `span` offsets from `first` on, in at most `bytes_max` bytes.
    pub(super) fn new(first: Offset, span: u64, bytes_max: u64) -> Self {
        let words = span.div_ceil(WORD_BITS).min(bytes_max / size_of::<u64>() as u64);
        let words = usize::try_from(words).expect("it is a part of what fits into memory");
        Self { first, words: vec![0; words] }
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.words.len() * size_of::<u64>()) as u64
    }

    /// How far an offset is from the first; `None` outside.
    #[inline]
    fn place(&self, offset: Offset) -> Option<u64> {
        let place = u64::try_from(offset.0.checked_sub(self.first.0)?).ok()?;
        (place < self.words.len() as u64 * WORD_BITS).then_some(place)
    }

    /// A newer record of its key has come after the one at `offset`.
    #[inline]
    pub(super) fn note(&mut self, offset: Offset) {
        if let Some(place) = self.place(offset) {
            self.words[(place / WORD_BITS) as usize] |= 1 << (place % WORD_BITS);
        }
    }

    /// Whether every offset of a batch has its bit.
    pub(super) fn covers(&self, header: &BatchHeader) -> bool {
        self.place(header.base_offset).is_some() && self.place(header.last_offset()).is_some()
    }

    /// Whether a newer record has come after the one at `offset`; `false` outside.
    #[inline]
    pub(super) fn has(&self, offset: Offset) -> bool {
        let Some(place) = self.place(offset) else { return false };
        self.words[(place / WORD_BITS) as usize] >> (place % WORD_BITS) & 1 == 1
    }

    /// How many there are in a batch.
    pub(super) fn count(&self, header: &BatchHeader) -> u64 {
        self.count_between(header.base_offset, header.last_offset())
    }

    /// How many there are from `first_offset` to `last_offset`; 0 if either is outside.
    pub(super) fn count_between(&self, first_offset: Offset, last_offset: Offset) -> u64 {
        let (Some(first), Some(last)) = (self.place(first_offset), self.place(last_offset)) else {
            return 0;
        };
        let (from, to) = ((first / WORD_BITS) as usize, (last / WORD_BITS) as usize);
        let mut count = 0;
        for (i, word) in self.words[from..=to].iter().enumerate() {
            let mut word = *word;
            if i == 0 {
                word &= u64::MAX << (first % WORD_BITS);
            }
            if i == to - from {
                word &= u64::MAX >> (WORD_BITS - 1 - last % WORD_BITS);
            }
            count += u64::from(word.count_ones());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::{LeaderEpoch, Timestamp};
    use klamm_records::Attributes;

    use super::*;

    fn batch(base: i64, last: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(base),
            batch_length: 100,
            partition_leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: i32::try_from(last - base).unwrap(),
            base_timestamp: Timestamp(0),
            max_timestamp: Timestamp(0),
            producer: None,
            record_count: 1,
        }
    }

    #[test]
    fn every_offset_has_a_bit_of_its_own_and_batches_are_counted_to_their_ends() {
        let mut superseded = Superseded::new(Offset(1000), 300, 1 << 10);
        let noted = [1000, 1001, 1063, 1064, 1127, 1128, 1299];
        noted.iter().for_each(|offset| superseded.note(Offset(*offset)));
        for offset in 990..1400 {
            assert_eq!(superseded.has(Offset(offset)), noted.contains(&offset), "{offset}");
        }
        for base in 1000..1299 {
            for last in base..1300 {
                let expected = noted.iter().filter(|n| (base..=last).contains(*n)).count() as u64;
                assert_eq!(superseded.count(&batch(base, last)), expected, "{base} to {last}");
            }
        }
    }

    #[test]
    fn what_is_outside_is_not_covered_and_noted_nowhere() {
        let mut superseded = Superseded::new(Offset(64), 64, 1 << 10);
        for offset in [0, 63, 128, i64::MAX] {
            superseded.note(Offset(offset));
            assert!(!superseded.has(Offset(offset)), "{offset}");
        }
        assert!(superseded.covers(&batch(64, 127)));
        assert_eq!(superseded.count(&batch(64, 127)), 0);
        for outside in [batch(63, 70), batch(127, 128), batch(128, 130)] {
            assert!(!superseded.covers(&outside));
            assert_eq!(superseded.count(&outside), 0);
        }
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        assert_eq!(Superseded::new(Offset(0), u64::MAX, 100).bytes(), 96);
        assert_eq!(Superseded::new(Offset(0), 65, 100).bytes(), 16);
        assert_eq!(Superseded::new(Offset(0), 65, 7).bytes(), 0);
    }
}
