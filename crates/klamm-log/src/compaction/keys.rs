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
pub(super) mod tests;
