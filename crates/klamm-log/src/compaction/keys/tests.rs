//! What the table of keys remembers, and what it does when it is full.

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
