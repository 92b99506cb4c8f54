//! A field that holds record batches, which the network layer may splice in from a file.

use bytes::Bytes;

/// Record batches inside a message. Decoding gives `Null` or `Bytes`, never `Deferred`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RecordsField {
    /// No records.
    #[default]
    Null,
    /// The batches themselves.
    Bytes(Bytes),
    /// This many bytes of batches that are not in memory. Only the length is written; the sender
    /// puts the bytes in at the cut that the writer remembers (`Writer::cuts`).
    Deferred(u32),
}

impl RecordsField {
    /// Length of the batches in bytes; nothing counts as empty.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Deferred(bytes) => *bytes as usize,
        }
    }

    /// Whether there are no batches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches, if they are in memory.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Deferred(_) => None,
        }
    }
}
