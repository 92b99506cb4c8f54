//! Why bytes are not a batch.

use std::fmt;

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the batch does.
    Short {
        /// Bytes that the batch or its header would take.
        needed: u64,
        /// Bytes that there are.
        available: usize,
    },
    /// A length field that no batch has.
    Length {
        /// The field's value.
        batch_length: i32,
    },
    /// Another magic than 2.
    Magic {
        /// The byte.
        magic: i8,
    },
    /// A negative number where none can be.
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// The bytes have changed since the checksum was made.
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needed, available } => {
                write!(f, "record batch needs {needed} bytes, there are {available}")
            }
            Self::Length { batch_length } => {
                write!(f, "record batch has the impossible length {batch_length}")
            }
            Self::Magic { magic } => write!(f, "record batch has magic {magic}, not 2"),
            Self::Field { field, value } => write!(f, "record batch has {field} {value}"),
            Self::Crc { expected, actual } => {
                write!(
                    f,
                    "record batch is corrupt: its crc is {actual:#010x}, not {expected:#010x}"
                )
            }
        }
    }
}

impl std::error::Error for BatchError {}
