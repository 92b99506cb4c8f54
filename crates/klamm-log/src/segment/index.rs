//! The two sparse indexes of a segment: offset to position, timestamp to offset.
//!
//! The active segment's entries are in memory and reach their files many at a time; a sealed
//! segment's are asked for by binary search in the file. An index is never trusted: whoever
//! recovers a log rebuilds the ones that are missing, short or wrong.

use klamm_env::{DiskFile, Patience};
use klamm_model::{Offset, Timestamp};
use std::io;

/// Bytes of an entry of `.index`: relative offset, position.
pub(crate) const ENTRY_BYTES: usize = 8;
/// Bytes of an entry of `.timeindex`: timestamp, relative offset.
pub(crate) const TIME_ENTRY_BYTES: usize = 12;

/// The batch that ends with `offset` starts at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The last offset of a batch, relative to the segment's base offset.
    pub relative_offset: u32,
    /// Where the batch starts in the file.
    pub position: u32,
}

/// Up to `offset` no record has a timestamp larger than `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// The largest timestamp so far.
    pub timestamp: Timestamp,
    /// The last offset of the batch that has it, relative to the segment's base offset.
    pub relative_offset: u32,
}

impl IndexEntry {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word =
            |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().expect("entries are whole"));
        Self { relative_offset: word(0), position: word(4) }
    }
}

impl TimeIndexEntry {
    pub(crate) fn to_bytes(self) -> [u8; TIME_ENTRY_BYTES] {
        let mut bytes = [0; TIME_ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            timestamp: Timestamp(i64::from_be_bytes(
                *bytes.first_chunk().expect("entries are whole"),
            )),
            relative_offset: u32::from_be_bytes(
                *bytes[8..].first_chunk().expect("entries are whole"),
            ),
        }
    }
}

/// The entries of an offset index: as many as are whole, in order and not the zeros of a file
/// that was allocated ahead.
#[must_use]
pub fn decode_index(bytes: &[u8]) -> Vec<IndexEntry> {
    let mut entries: Vec<IndexEntry> = Vec::new();
    for chunk in bytes.chunks_exact(ENTRY_BYTES) {
        let entry = IndexEntry::from_bytes(chunk);
        let is_next = match entries.last() {
            Some(last) => {
                entry.relative_offset > last.relative_offset && entry.position > last.position
            }
            None => entry != IndexEntry { relative_offset: 0, position: 0 },
        };
        if !is_next {
            break;
        }
        entries.push(entry);
    }
    entries
}

/// The entries of a time index; see [`decode_index`].
#[must_use]
pub fn decode_time_index(bytes: &[u8]) -> Vec<TimeIndexEntry> {
    let mut entries: Vec<TimeIndexEntry> = Vec::new();
    for chunk in bytes.chunks_exact(TIME_ENTRY_BYTES) {
        let entry = TimeIndexEntry::from_bytes(chunk);
        let is_next = match entries.last() {
            Some(last) => {
                entry.timestamp > last.timestamp && entry.relative_offset >= last.relative_offset
            }
            None => entry.timestamp.0 > 0 || entry.relative_offset > 0,
        };
        if !is_next {
            break;
        }
        entries.push(entry);
    }
    entries
}

/// The last entry whose offset is not after `relative_offset`.
pub(crate) fn floor(entries: &[IndexEntry], relative_offset: u32) -> Option<IndexEntry> {
    let n = entries.partition_point(|entry| entry.relative_offset <= relative_offset);
    n.checked_sub(1).map(|i| entries[i])
}

/// The last entry whose timestamp is smaller than `timestamp`.
pub(crate) fn time_floor(
    entries: &[TimeIndexEntry],
    timestamp: Timestamp,
) -> Option<TimeIndexEntry> {
    let n = entries.partition_point(|entry| entry.timestamp < timestamp);
    n.checked_sub(1).map(|i| entries[i])
}

/// [`floor`] in a file, without reading all of it.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn floor_in_file(
    file: &dyn DiskFile,
    relative_offset: u32,
    patience: Patience,
) -> io::Result<Option<IndexEntry>> {
    let mut low = 0_u64;
    let mut high = file.len()? / ENTRY_BYTES as u64;
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; ENTRY_BYTES];
        let at = middle * ENTRY_BYTES as u64;
        if patience.read_at(file, &mut bytes, at)? < ENTRY_BYTES {
            return Ok(None);
        }
        let entry = IndexEntry::from_bytes(&bytes);
        if entry.relative_offset <= relative_offset {
            found = Some(entry);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}

/// What an index calls `offset` in a segment that starts at `base_offset`; `None` if it is too
/// far away for 32 bits.
pub(crate) fn relative(offset: Offset, base_offset: Offset) -> Option<u32> {
    let distance = offset.0.checked_sub(base_offset.0)?;
    u32::try_from(distance).ok().filter(|distance| *distance <= i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relative_offset: u32, position: u32) -> IndexEntry {
        IndexEntry { relative_offset, position }
    }

    #[test]
    fn entries_end_where_order_or_allocation_ends() {
        let good = [entry(5, 100), entry(9, 300)];
        let mut bytes: Vec<u8> = good.iter().flat_map(|e| e.to_bytes()).collect();
        bytes.extend_from_slice(&[0; 16]);
        assert_eq!(decode_index(&bytes), good);
        bytes.truncate(12);
        assert_eq!(decode_index(&bytes), good[..1]);
        assert_eq!(decode_index(&[0; 64]), []);
    }

    #[test]
    fn the_floor_is_the_last_entry_not_after_the_offset() {
        let entries = [entry(5, 100), entry(9, 300)];
        assert_eq!(floor(&entries, 4), None);
        assert_eq!(floor(&entries, 5), Some(entries[0]));
        assert_eq!(floor(&entries, 8), Some(entries[0]));
        assert_eq!(floor(&entries, 100), Some(entries[1]));
    }

    #[test]
    fn an_offset_too_far_from_the_base_has_no_entry() {
        assert_eq!(relative(Offset(10), Offset(3)), Some(7));
        assert_eq!(relative(Offset(1 << 31), Offset(0)), None);
        assert_eq!(relative(Offset(2), Offset(3)), None);
    }
}
