//! `.txnindex`: the aborted transactions of a segment (Kafka: `TransactionIndex`, `AbortedTxn`).

use klamm_model::{Offset, ProducerId};

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// A transaction whose records must not be shown to readers of committed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record in the partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// Everything below was decided when it ended.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        for (i, field) in fields.into_iter().enumerate() {
            bytes[2 + 8 * i..10 + 8 * i].copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// The entries of an index: as many as are whole, of the known version and possible. A crash
    /// can leave zeros where entries were; a marker comes behind what it ends.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Vec<Self> {
        let mut entries = Vec::new();
        for chunk in bytes.chunks_exact(ENTRY_BYTES) {
            let version = i16::from_be_bytes([chunk[0], chunk[1]]);
            let field = |i: usize| {
                i64::from_be_bytes(*chunk[2 + 8 * i..].first_chunk().expect("entries are whole"))
            };
            let entry = Self {
                producer_id: ProducerId(field(0)),
                first_offset: Offset(field(1)),
                last_offset: Offset(field(2)),
                last_stable_offset: Offset(field(3)),
            };
            // A marker comes after what it ends: zeros that a crash left are no entry.
            if version != VERSION || entry.last_offset <= entry.first_offset {
                break;
            }
            entries.push(entry);
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_and_a_torn_one_is_not() {
        let entry = AbortedTransaction {
            producer_id: ProducerId(7),
            first_offset: Offset(10),
            last_offset: Offset(12),
            last_stable_offset: Offset(13),
        };
        let mut bytes = entry.to_bytes().to_vec();
        bytes.extend_from_slice(&entry.to_bytes()[..33]);
        assert_eq!(AbortedTransaction::decode(&bytes), [entry]);
        bytes.truncate(ENTRY_BYTES);
        bytes.extend_from_slice(&[0; 3 * ENTRY_BYTES]);
        assert_eq!(AbortedTransaction::decode(&bytes), [entry], "zeros are no entry");
    }
}
