//! 128-bit ids of topics, directories and clusters, in Kafka's text form.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id. Its text is unpadded URL-safe base64, 22 characters (Kafka: `Uuid.java`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub u128);

/// The id of a topic; a recreated topic has another one.
pub type TopicId = Uuid;
/// The id of a log directory.
pub type DirectoryId = Uuid;

/// A text that is no [`Uuid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UuidParseError(pub String);

impl fmt::Display for UuidParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no id: expected 22 characters of A-Z, a-z, 0-9, '-' and '_'", self.0)
    }
}

impl std::error::Error for UuidParseError {}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LEN: usize = 22;

impl Uuid {
    /// "No id" on the wire and on disk.
    pub const ZERO: Self = Self(0);
    /// The id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Self = Self(1);
    /// Directory id: not assigned to a directory yet (Kafka: `DirectoryId.UNASSIGNED`).
    pub const DIRECTORY_UNASSIGNED: Self = Self(0);
    /// Directory id: in a directory that is offline (Kafka: `DirectoryId.LOST`).
    pub const DIRECTORY_LOST: Self = Self(1);
    /// Directory id: placed by a version without directory ids (Kafka: `DirectoryId.MIGRATING`).
    pub const DIRECTORY_MIGRATING: Self = Self(2);

    /// Ids below this are reserved by Kafka.
    const RESERVED: u128 = 100;

    /// A version 4 id from 128 random bits; `None` if Kafka would not use it: reserved, or its
    /// text starts with a dash, which command lines take for an option.
    #[must_use]
    pub fn from_random(bits: u128) -> Option<Self> {
        let bits = bits & !(0xf000 << 64) & !(0b11 << 62) | (0x4000 << 64) | (0b10 << 62);
        let first = (bits >> 122) as usize;
        (bits >= Self::RESERVED && ALPHABET[first] != b'-').then_some(Self(bits))
    }

    /// From 16 bytes, big-endian.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// As 16 bytes, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Whether this is "no id".
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; TEXT_LEN];
        for (i, c) in text.iter_mut().enumerate() {
            let shift = 122_i32 - 6 * i as i32;
            let six = if shift >= 0 { self.0 >> shift } else { self.0 << -shift };
            *c = ALPHABET[(six & 63) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("base64 is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = UuidParseError;

    fn from_str(text: &str) -> Result<Self, UuidParseError> {
        let refuse = || UuidParseError(text.chars().take(64).collect());
        if text.len() != TEXT_LEN {
            return Err(refuse());
        }
        let mut bits = 0_u128;
        for (i, c) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|a| *a == c).ok_or_else(refuse)? as u128;
            let shift = 122_i32 - 6 * i as i32;
            bits |= if shift >= 0 { six << shift } else { six >> -shift };
        }
        Ok(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_one_that_kafka_prints() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id: Uuid = "xA2vzEOMSWuYt7P8DL4zWQ".parse().unwrap();
        assert_eq!(id.to_string(), "xA2vzEOMSWuYt7P8DL4zWQ");
        assert_eq!(Uuid::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn a_text_of_the_wrong_length_or_alphabet_is_refused() {
        for text in ["", "abc", "xA2vzEOMSWuYt7P8DL4zWQ=", "xA2vzEOMSWuYt7P8DL4z+Q"] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_random_id_is_version_4_and_never_starts_with_a_dash() {
        let id = Uuid::from_random(u128::MAX / 3).unwrap();
        assert_eq!(id.to_bytes()[6] >> 4, 4);
        assert_eq!(id.to_bytes()[8] >> 6, 0b10);
        assert_eq!(Uuid::from_random(62 << 122), None);
    }
}
