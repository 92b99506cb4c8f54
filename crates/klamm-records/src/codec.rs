//! Kafka's codecs by number and name, and what goes wrong with them.

use std::fmt;

/// A compression codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// zstd frames (KIP-110).
    Zstd,
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// By the number in a batch's attributes.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The number in a batch's attributes.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// By Kafka's name, such as `lz4`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A compressor that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionError {
    /// The codec.
    pub codec: Codec,
    /// What it says.
    pub reason: String,
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot compress: {}", self.codec, self.reason)
    }
}

impl std::error::Error for CompressionError {}

/// Why compressed bytes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecompressError {
    /// They are not what the codec makes.
    Damaged {
        /// The codec.
        codec: Codec,
        /// What the decompressor says.
        reason: String,
    },
    /// More comes out of them than is allowed.
    TooLarge {
        /// What is allowed.
        bytes_max: usize,
    },
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { codec, reason } => write!(f, "{codec} data is damaged: {reason}"),
            Self::TooLarge { bytes_max } => {
                write!(f, "the batch has more than {bytes_max} bytes when it is decompressed")
            }
        }
    }
}

impl std::error::Error for DecompressError {}
