//! Which partition a record goes to.

use bytes::Bytes;

/// Seed and constants of MurmurHash2, 32 bits, as Kafka's Java client uses it (Kafka:
/// `Utils.murmur2`); keyed records of all clients meet in the same partition.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// MurmurHash2 of `data`.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks have four bytes"));
        k = k.wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        k = k.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of a key among `n_partitions`.
#[must_use]
pub fn partition_for_key(key: &[u8], n_partitions: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    positive % n_partitions.max(1)
}

/// Keyed records go by their key; others stay in one partition until its batch is full, then
/// move on, so that batches are large (KIP-480).
#[derive(Debug, Default)]
pub struct Partitioner {
    sticky: i32,
}

impl Partitioner {
    /// The partition for a record.
    #[must_use]
    pub fn partition(&self, key: Option<&Bytes>, n_partitions: i32) -> i32 {
        match key {
            Some(key) => partition_for_key(key, n_partitions),
            None => self.sticky % n_partitions.max(1),
        }
    }

    /// The sticky partition's batch is full.
    pub fn on_full(&mut self, n_partitions: i32) {
        self.sticky = (self.sticky + 1) % n_partitions.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        // From Kafka's own UtilsTest.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn records_without_a_key_stay_together_until_the_batch_is_full() {
        let mut partitioner = Partitioner::default();
        assert_eq!(partitioner.partition(None, 3), 0);
        assert_eq!(partitioner.partition(None, 3), 0);
        partitioner.on_full(3);
        assert_eq!(partitioner.partition(None, 3), 1);
    }
}
