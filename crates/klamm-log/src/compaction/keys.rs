//! The last offset of each key, in a table of fixed size (Kafka: `SkimpyOffsetMap`).
//!
//! A key is known by 128 bits of XXH3 under a random secret of this process: two keys are taken
//! for one with a probability of 2^-128, also if somebody chooses them. The crate is in the tree
//! already, under lz4; MD5, as Kafka has it, costs a hundred times as much.
//!
//! What remains is waiting for memory: the table is far larger than any cache. So keys are asked
//! for many at a time, after [`KeyOffsets::touch`] has had their slots fetched side by side; and
//! it begins small and grows where it lies, since new memory is dearer than all the hashing.

use klamm_env::Random;
use klamm_model::Offset;
use klamm_records::BatchHeader;
use twox_hash::XxHash3_128;

use super::superseded::Superseded;

/// Bytes of a slot: the hash, and the offset plus one; 0 is a vacant slot.
pub(super) const SLOT_BYTES: u64 = 24;
/// Secrets of XXH3 have at least 136 bytes; the reference has 192.
const SECRET_BYTES: usize = 192;
/// Keys that are asked for at once: more fetches than a processor has under way at a time.
pub(super) const AT_ONCE: usize = 64;
/// No table is smaller.
const SLOTS_MIN: u64 = 64;
/// A table for more keys begins with so many slots.
const SLOTS_FIRST: usize = 1 << 16;
/// At this part, `.0 / .1`, a table grows while it may: beyond, searches become long.
const GROWTH_LOAD: (usize, usize) = (2, 3);
/// Of the bytes for the table, this part at most is for what is superseded: a bit for each of 33
/// million records with the 128 MB of `log.cleaner.dedupe.buffer.size`.
const SUPERSEDED_SHARE: u64 = 32;

type Slot = [u64; 3];
const VACANT: Slot = [0; 3];

/// What keys are hashed under.
#[derive(Clone)]
pub struct KeySecret {
    seed: u64,
    bytes: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySecret").finish_non_exhaustive()
    }
}

impl KeySecret {
    /// A secret that nobody knows.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&random.bits().to_le_bytes());
        }
        Self { seed: random.bits(), bytes }
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed_and_secret(self.seed, &self.bytes, key)
            .expect("the secret is long enough")
    }
}

/// The table has no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Keys and their last offsets.
#[derive(Debug)]
pub(super) struct KeyOffsets {
    secret: KeySecret,
    slots: Vec<Slot>,
    slots_max: usize,
    len: usize,
    len_max: usize,
    latest_offset: Offset,
    superseded: Superseded,
}

impl KeyOffsets {
    /// A table for the keys of the offsets from `first` up to `end`, of at most `bytes_max`
    /// bytes, filled up to `load_factor`.
    pub(super) fn new(
        secret: &KeySecret,
        (first, end): (Offset, Offset),
        (bytes_max, load_factor): (u64, f64),
    ) -> Self {
        let span = u64::try_from(end.0 - first.0).unwrap_or(0);
        let superseded = Superseded::new(first, span, bytes_max / SUPERSEDED_SHARE);
        let slots_max = (bytes_max - superseded.bytes()) / SLOT_BYTES;
        // Twice the room that is needed, where there is room: short searches.
        let slots_max = span.saturating_mul(2).max(SLOTS_MIN).min(slots_max).max(1);
        let slots_max = usize::try_from(slots_max).expect("a table fits into the address space");
        // One slot stays vacant, so that every search ends.
        let len_max = ((slots_max as f64 * load_factor) as usize).min(slots_max - 1);
        Self {
            secret: secret.clone(),
            slots: vec![VACANT; at_least_doubled(SLOTS_FIRST / 2, slots_max)],
            slots_max,
            len: 0,
            len_max,
            latest_offset: Offset(-1),
            superseded,
        }
    }

    /// The hash of a key, for the questions below.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u128 {
        self.secret.hash(key)
    }

    /// The slot where the search for a hash begins: its upper bits, scaled to the number of
    /// slots, which may be any.
    #[inline]
    fn home(&self, hash: u128) -> usize {
        self.home_of((hash >> 64) as u64)
    }

    #[inline]
    fn home_of(&self, high: u64) -> usize {
        ((u128::from(high) * self.slots.len() as u128) >> 64) as usize
    }

    /// Has the slots of many hashes fetched at once; says nothing.
    #[inline]
    pub(super) fn touch(&self, hashes: impl Iterator<Item = u128>) {
        // Both ends: a slot may lie in two lines of the cache.
        let ends = |hash| {
            let slot = &self.slots[self.home(hash)];
            slot[0] ^ slot[2]
        };
        let fetched = hashes.fold(0, |sum, hash| sum ^ ends(hash));
        std::hint::black_box(fetched);
    }

    /// Where a hash is, or would be: its slot's number, and whether it is there.
    #[inline]
    fn find(&self, hash: u128) -> (usize, bool) {
        let (high, low) = ((hash >> 64) as u64, hash as u64);
        let mut at = self.home(hash);
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 {
                return (at, false);
            }
            if slot[0] == high && slot[1] == low {
                return (at, true);
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// The key of `hash` is at `offset`, which is after all offsets given before.
    #[inline]
    pub(super) fn put(&mut self, hash: u128, offset: Offset) -> Result<(), Full> {
        let (mut at, is_known) = self.find(hash);
        if is_known {
            // In a damaged log an offset may come twice; then nothing goes for it.
            let before = offset_in(&self.slots[at]);
            if before < offset {
                self.superseded.note(before);
            }
        } else {
            if self.len >= self.len_max {
                return Err(Full);
            }
            if self.len >= self.slots.len() / GROWTH_LOAD.1 * GROWTH_LOAD.0
                && self.slots.len() < self.slots_max
            {
                self.grow();
                at = self.find(hash).0;
            }
            self.len += 1;
        }
        let stored = u64::try_from(offset.0).expect("offsets are not negative") + 1;
        self.slots[at] = [(hash >> 64) as u64, hash as u64, stored];
        self.latest_offset = offset;
        Ok(())
    }

    /// Makes the table at least twice as large, where it lies: memory that it has stays in use.
    ///
    /// The home of a hash moves up at least as far as it was from the start. So from the top
    /// down each slot finds its new place above those that are still to be moved; the few that
    /// do not, close to the start or pushed around the end, are put in when all others are.
    #[cold]
    fn grow(&mut self) {
        let before = self.slots.len();
        let after = at_least_doubled(before, self.slots_max);
        self.slots.reserve_exact(after - before);
        self.slots.resize(after, VACANT);
        let mut late = Vec::new();
        for from in (0..before).rev() {
            let slot = std::mem::replace(&mut self.slots[from], VACANT);
            if slot == VACANT {
                continue;
            }
            let home = self.home_of(slot[0]);
            let vacant = |to: &usize| self.slots[*to][2] == 0;
            match (home..after).find(vacant).filter(|_| home >= from) {
                Some(to) => self.slots[to] = slot,
                None => late.push(slot),
            }
        }
        for slot in late {
            let hash = u128::from(slot[0]) << 64 | u128::from(slot[1]);
            let (to, _) = self.find(hash);
            self.slots[to] = slot;
        }
    }

    /// The last offset of a key.
    #[inline]
    pub(super) fn last_offset(&self, hash: u128) -> Option<Offset> {
        let (at, is_known) = self.find(hash);
        is_known.then(|| offset_in(&self.slots[at]))
    }

    /// All up to and with this offset was put in; -1 before the first.
    pub(super) fn latest_offset(&self) -> Offset {
        self.latest_offset
    }

    /// Whether it is known of every record of a batch if it is [superseded](Self::superseded), so
    /// that its key need not be asked for.
    pub(super) fn has_decided(&self, batch: &BatchHeader) -> bool {
        batch.last_offset() <= self.latest_offset && self.superseded.covers(batch)
    }

    /// The records that a newer one of their key has come after.
    pub(super) fn superseded(&self) -> &Superseded {
        &self.superseded
    }

    /// What lies up to `offset` was looked at.
    pub(super) fn advance(&mut self, offset: Offset) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Which part of what may be filled is filled.
    pub(super) fn utilization(&self) -> f64 {
        if self.len_max == 0 { 1.0 } else { self.len as f64 / self.len_max as f64 }
    }
}

/// The size after this one. The last step is a large one rather than a small one, so that every
/// step doubles.
fn at_least_doubled(slots: usize, slots_max: usize) -> usize {
    if slots.saturating_mul(4) > slots_max { slots_max } else { slots * 2 }
}

/// Where the record of a slot that is not vacant is.
#[inline]
fn offset_in(slot: &Slot) -> Offset {
    Offset(slot[2] as i64 - 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The same numbers each time.
    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicU64);

    impl Random for Counting {
        fn bits(&self) -> u64 {
            let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
    }

    pub(in crate::compaction) fn secret(seed: u64) -> KeySecret {
        KeySecret::new(&Counting(seed.into()))
    }

    fn put(keys: &mut KeyOffsets, key: &[u8], offset: i64) -> Result<(), Full> {
        keys.put(keys.hash(key), Offset(offset))
    }

    fn last(keys: &KeyOffsets, key: &[u8]) -> Option<Offset> {
        let hash = keys.hash(key);
        keys.touch([hash].into_iter());
        keys.last_offset(hash)
    }

    #[test]
    fn each_key_has_its_last_offset() {
        let mut keys = KeyOffsets::new(&secret(1), (Offset(0), Offset(1000)), (1 << 20, 0.9));
        for offset in 0..5000_i64 {
            put(&mut keys, (offset % 997).to_string().as_bytes(), offset).unwrap();
        }
        for key in 0..997_i64 {
            let expected = (0..5000).rev().find(|offset| offset % 997 == key).map(Offset);
            assert_eq!(last(&keys, key.to_string().as_bytes()), expected);
        }
        assert_eq!(last(&keys, b"another"), None);
        assert_eq!(keys.latest_offset(), Offset(4999));
    }

    #[test]
    fn a_full_table_takes_no_new_key_but_newer_offsets_of_known_ones() {
        let bytes = SLOT_BYTES * 100 + 72;
        let span = (Offset(0), Offset(1 << 30));
        let mut keys = KeyOffsets::new(&secret(2), span, (bytes, 0.5));
        for key in 0..50_i64 {
            put(&mut keys, &key.to_be_bytes(), key).unwrap();
        }
        assert_eq!(put(&mut keys, b"one more", 50), Err(Full));
        assert_eq!(keys.latest_offset(), Offset(49), "what does not fit is not covered");
        put(&mut keys, &7_i64.to_be_bytes(), 50).unwrap();
        assert_eq!(last(&keys, &7_i64.to_be_bytes()), Some(Offset(50)));
        assert!((keys.utilization() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_table_that_grows_loses_nothing_wherever_a_hash_has_its_home() {
        // Hashes whose homes are crowded at both ends: pushed around the end, and close to the
        // start, where the new place of a slot is not above the old one.
        let highs = (0..250_000_u64).map(|n| match n {
            n if n >= 600 => n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n if n % 2 == 0 => n,
            n => u64::MAX - n,
        });
        let hashes: Vec<u128> = highs.zip(1..).map(|(h, n)| u128::from(h) << 64 | n).collect();
        let span = (Offset(0), Offset(1 << 20));
        let mut keys = KeyOffsets::new(&secret(4), span, (SLOT_BYTES << 20, 0.9));
        let mut sizes = vec![keys.slots.len()];
        for (hash, offset) in hashes.iter().zip(0..) {
            keys.put(*hash, Offset(offset)).unwrap();
            if keys.slots.len() != sizes[sizes.len() - 1] {
                sizes.push(keys.slots.len());
                let known = &hashes[..=offset as usize];
                for (hash, expected) in known.iter().zip(0..) {
                    assert_eq!(keys.last_offset(*hash), Some(Offset(expected)));
                }
            }
        }
        assert!(sizes.len() >= 3 && sizes.windows(2).all(|w| w[1] >= 2 * w[0]), "{sizes:?}");
        assert_eq!(keys.len, hashes.len());
    }

    #[test]
    fn a_table_has_no_more_memory_than_its_keys_need_and_never_more_than_it_may() {
        let span = (Offset(0), Offset(10_000_000));
        let bytes = (3 << 20) - SLOT_BYTES;
        let mut keys = KeyOffsets::new(&secret(5), span, (bytes, 0.9));
        let taken =
            |keys: &KeyOffsets| keys.slots.capacity() as u64 * SLOT_BYTES + keys.superseded.bytes();
        assert!(taken(&keys) <= bytes);
        assert_eq!(keys.slots.len(), keys.slots_max, "it cannot double");
        let mut keys_of_more = KeyOffsets::new(&secret(5), span, (bytes * 8, 0.9));
        for offset in 0..200_000_i64 {
            put(&mut keys_of_more, &(offset % 1000).to_be_bytes(), offset).unwrap();
        }
        assert_eq!(keys_of_more.slots.capacity(), SLOTS_FIRST);
        let mut offset = 0;
        while put(&mut keys, &i64::to_be_bytes(offset), offset) == Ok(()) {
            offset += 1;
        }
        assert!(taken(&keys) <= bytes);
        assert!(offset as u64 >= bytes * 9 / 10 * 31 / 32 / SLOT_BYTES - 1, "{offset}");
    }

    #[test]
    fn a_record_is_superseded_when_a_newer_one_of_its_key_is_put() {
        let mut keys = KeyOffsets::new(&secret(6), (Offset(10), Offset(100)), (1 << 20, 0.9));
        put(&mut keys, b"a", 10).unwrap();
        put(&mut keys, b"b", 11).unwrap();
        assert!(!keys.superseded().has(Offset(10)));
        put(&mut keys, b"a", 12).unwrap();
        let superseded = |offset| keys.superseded().has(Offset(offset));
        assert_eq!([10, 11, 12].map(superseded), [true, false, false]);
        put(&mut keys, b"a", 12).unwrap();
        assert!(!keys.superseded().has(Offset(12)), "it is not newer than itself");
    }

    #[test]
    fn a_table_without_room_is_full_at_once_and_still_answers() {
        let mut keys = KeyOffsets::new(&secret(3), (Offset(0), Offset(10)), (0, 0.9));
        assert_eq!(put(&mut keys, b"k", 0), Err(Full));
        assert_eq!(last(&keys, b"k"), None);
    }

    #[test]
    fn another_secret_gives_other_hashes() {
        assert_ne!(secret(1).hash(b"key"), secret(1000).hash(b"key"));
        assert_eq!(secret(1).hash(b"key"), secret(1).hash(b"key"));
    }
}
