//! Why bytes are no message, and why a message has no bytes.

use std::fmt;

/// Why bytes are no message. `at` is the byte of the input where the offending value starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The message has no such version.
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The input ends inside a value.
    Truncated {
        /// Where the value starts.
        at: usize,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A length is below zero and not the one that means null.
    NegativeLength {
        /// Where the length stands.
        at: usize,
        /// The length.
        length: i32,
    },
    /// Null where the version does not allow it.
    NullNotAllowed {
        /// Where the length stands.
        at: usize,
    },
    /// A text longer than Kafka allows.
    StringTooLong {
        /// Where the text starts.
        at: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A text that is not UTF-8.
    NotUtf8 {
        /// Where the text starts.
        at: usize,
    },
    /// A variable-length integer that does not fit 32 bits.
    VarintTooLong {
        /// Where it starts.
        at: usize,
    },
    /// An array of more elements than the bytes left can hold, or than are ever taken.
    TooManyElements {
        /// Where the count stands.
        at: usize,
        /// The count.
        count: usize,
        /// The most that would have been taken here.
        count_max: usize,
    },
    /// More tagged fields than are ever taken.
    TooManyTags {
        /// Where the count stands.
        at: usize,
        /// The count.
        count: usize,
    },
    /// A tagged field whose value does not end where its size says.
    TaggedFieldSize {
        /// The tag.
        tag: u32,
        /// Bytes that the field has according to its size.
        size: usize,
        /// Bytes that its value took.
        taken: usize,
    },
    /// The message would take more memory than its bytes are worth.
    MemoryExceeded {
        /// Where the array stands that is too much.
        at: usize,
        /// Bytes of memory that it takes.
        needed: usize,
        /// Bytes of memory that are left.
        left: usize,
    },
    /// A record of a kind that is not known.
    UnknownKind {
        /// What the kinds are of.
        of: &'static str,
        /// The kind's number.
        kind: i64,
    },
    /// A frame whose own version is not known.
    UnknownFrameVersion {
        /// The frame's version.
        version: u32,
    },
    /// Bytes after the end of the message.
    TrailingBytes {
        /// Where the message ended.
        at: usize,
        /// Bytes that follow it.
        count: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion { message, version } => {
                write!(f, "{message} has no version {version}")
            }
            Self::Truncated { at, needed, remaining } => {
                write!(f, "value at byte {at} takes {needed} bytes, {remaining} are left")
            }
            Self::NegativeLength { at, length } => write!(f, "length at byte {at} is {length}"),
            Self::NullNotAllowed { at } => write!(f, "value at byte {at} is null"),
            Self::StringTooLong { at, length } => {
                write!(f, "text at byte {at} is {length} bytes long")
            }
            Self::NotUtf8 { at } => write!(f, "text at byte {at} is not UTF-8"),
            Self::VarintTooLong { at } => {
                write!(f, "variable-length integer at byte {at} does not fit 32 bits")
            }
            Self::TooManyElements { at, count, count_max } => {
                write!(f, "array at byte {at} claims {count} elements, at most {count_max} fit")
            }
            Self::TooManyTags { at, count } => {
                write!(f, "struct at byte {at} claims {count} tagged fields")
            }
            Self::TaggedFieldSize { tag, size, taken } => {
                write!(f, "tagged field {tag} has size {size} but its value took {taken} bytes")
            }
            Self::MemoryExceeded { at, needed, left } => {
                write!(f, "array at byte {at} takes {needed} bytes of memory, {left} are left")
            }
            Self::UnknownKind { of, kind } => write!(f, "{of} has no kind {kind}"),
            Self::UnknownFrameVersion { version } => {
                write!(f, "record frame has version {version}")
            }
            Self::TrailingBytes { at, count } => {
                write!(f, "message ends at byte {at}, {count} bytes follow")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a message has no bytes in a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// The message has no such version.
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field that the version does not have, and that must not be dropped, has a value.
    NotInVersion {
        /// The field, as struct and name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null, and the version has no null there.
    NullNotAllowed {
        /// The field, as struct and name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A text, a byte field or an array is longer than its length can tell.
    TooLong {
        /// The length.
        length: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion { message, version } => {
                write!(f, "{message} has no version {version}")
            }
            Self::NotInVersion { field, version } => {
                write!(f, "{field} has a value, and version {version} has no such field")
            }
            Self::NullNotAllowed { field, version } => {
                write!(f, "{field} is null, which version {version} cannot tell")
            }
            Self::TooLong { length } => write!(f, "a field has length {length}"),
        }
    }
}

impl std::error::Error for EncodeError {}
