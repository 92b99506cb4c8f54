//! `.snapshot` files: the producers as of an offset, so that only later batches must be replayed
//! (Kafka: `ProducerStateManager`, version 1).
//!
//! ```text
//! version i16 | crc32c u32 of what follows | count i32 |
//! (producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32,
//!  timestamp i64, coordinator epoch i32, transaction's first offset i64) …
//! ```

use std::collections::VecDeque;
use std::fmt;

use klamm_model::{Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::producers::entry::{ProducerEntry, RememberedBatch};
use crate::producers::state::ProducerState;

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const CRC_AT: usize = 2;
const COVERED_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;

/// Why a file is no snapshot. It is removed and the log replayed from further back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotError {
    /// Not as long as its count says.
    Length {
        /// What there is.
        bytes: usize,
    },
    /// A version that is not known.
    Version(i16),
    /// The checksum differs.
    Crc,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => write!(f, "producer snapshot of {bytes} bytes is torn"),
            Self::Version(version) => write!(f, "producer snapshot has version {version}"),
            Self::Crc => write!(f, "producer snapshot's checksum differs"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// The file's bytes.
#[must_use]
pub fn encode_snapshot(state: &ProducerState) -> Vec<u8> {
    let mut producers: Vec<(ProducerId, &ProducerEntry)> = state.iter().collect();
    producers.sort_by_key(|(id, _)| *id);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * producers.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let count = i32::try_from(producers.len()).expect("producers are bounded by memory");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (id, entry) in producers {
        let last = entry.batches.back();
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.transaction_first_offset.map_or(-1, |o| o.0).to_be_bytes());
    }
    let crc = klamm_records::crc32c(&bytes[COVERED_FROM..]);
    bytes[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers in a file.
///
/// # Errors
/// The bytes are no snapshot.
pub fn decode_snapshot(bytes: &[u8]) -> Result<ProducerState, SnapshotError> {
    if bytes.len() < HEADER_BYTES {
        return Err(SnapshotError::Length { bytes: bytes.len() });
    }
    let version = i16::from_be_bytes(field(bytes, 0));
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if klamm_records::crc32c(&bytes[COVERED_FROM..]) != u32::from_be_bytes(field(bytes, CRC_AT)) {
        return Err(SnapshotError::Crc);
    }
    let count = i32::from_be_bytes(field(bytes, COVERED_FROM));
    let entries = &bytes[HEADER_BYTES..];
    if usize::try_from(count).ok().and_then(|n| n.checked_mul(ENTRY_BYTES)) != Some(entries.len()) {
        return Err(SnapshotError::Length { bytes: bytes.len() });
    }
    let mut state = ProducerState::default();
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let (id, entry) = decode_entry(entry);
        state.insert(id, entry);
    }
    Ok(state)
}

fn decode_entry(bytes: &[u8]) -> (ProducerId, ProducerEntry) {
    let last_sequence = i32::from_be_bytes(field(bytes, 10));
    let last_offset = i64::from_be_bytes(field(bytes, 14));
    let timestamp = Timestamp(i64::from_be_bytes(field(bytes, 26)));
    let first_offset = i64::from_be_bytes(field(bytes, 38));
    let batch = RememberedBatch {
        last_sequence,
        last_offset: Offset(last_offset),
        offset_delta: i32::from_be_bytes(field(bytes, 22)),
        timestamp,
    };
    let entry = ProducerEntry {
        epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 8))),
        batches: if last_offset >= 0 { VecDeque::from([batch]) } else { VecDeque::new() },
        last_timestamp: timestamp,
        transaction_first_offset: (first_offset >= 0).then_some(Offset(first_offset)),
        coordinator_epoch: i32::from_be_bytes(field(bytes, 34)),
    };
    (ProducerId(i64::from_be_bytes(field(bytes, 0))), entry)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("lengths were checked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ProducerState {
        let mut state = ProducerState::default();
        let batch = RememberedBatch {
            last_sequence: 5,
            last_offset: Offset(9),
            offset_delta: 2,
            timestamp: Timestamp(77),
        };
        let entry = ProducerEntry {
            epoch: ProducerEpoch(3),
            batches: VecDeque::from([batch]),
            last_timestamp: Timestamp(77),
            transaction_first_offset: Some(Offset(7)),
            coordinator_epoch: 2,
        };
        state.insert(ProducerId(1000), entry);
        state
    }

    #[test]
    fn a_snapshot_is_read_back() {
        assert_eq!(decode_snapshot(&encode_snapshot(&state())), Ok(state()));
        assert_eq!(encode_snapshot(&state()).len(), HEADER_BYTES + ENTRY_BYTES);
    }

    #[test]
    fn a_snapshot_that_is_torn_flipped_or_of_another_version_is_refused() {
        let good = encode_snapshot(&state());
        for n in 0..good.len() {
            assert!(decode_snapshot(&good[..n]).is_err(), "{n} bytes");
            let mut flipped = good.clone();
            flipped[n] ^= 1;
            assert!(decode_snapshot(&flipped).is_err(), "byte {n} flipped");
        }
    }
}
