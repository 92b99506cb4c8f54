//! Compression with Kafka's codecs and levels.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use zstd::bulk::Compressor;

use crate::codec::{Codec, CompressionError};
use crate::snappy;

/// Compressors up to this level are kept for the next batch; those above take many megabytes.
const ZSTD_KEPT_LEVEL_MAX: i32 = 9;

/// A codec with its level. Kafka's levels (KIP-390): gzip 1-9, lz4 1-17, zstd -131072-22.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    codec: Codec,
    level: i32,
}

/// A level that a codec does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelError {
    /// The codec.
    pub codec: Codec,
    /// The level.
    pub level: i32,
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no compression level {}", self.codec, self.level)
    }
}

impl std::error::Error for LevelError {}

impl From<Codec> for Compression {
    /// With the codec's default level, which is Kafka's.
    fn from(codec: Codec) -> Self {
        let level = match codec {
            Codec::None | Codec::Snappy => 0,
            Codec::Gzip => 6,
            Codec::Lz4 => 9,
            Codec::Zstd => 3,
        };
        Self { codec, level }
    }
}

impl Compression {
    /// Not compressed.
    pub const NONE: Self = Self { codec: Codec::None, level: 0 };

    /// A codec at a level. The LZ4 encoder has one speed: its level is checked and not used.
    ///
    /// # Errors
    /// Kafka does not have this level for the codec.
    pub fn with_level(codec: Codec, level: i32) -> Result<Self, LevelError> {
        let levels = match codec {
            Codec::None | Codec::Snappy => 0..=0,
            Codec::Gzip => 1..=9,
            Codec::Lz4 => 1..=17,
            Codec::Zstd => -131_072..=22,
        };
        if levels.contains(&level) {
            Ok(Self { codec, level })
        } else {
            Err(LevelError { codec, level })
        }
    }

    /// The codec.
    #[must_use]
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// Appends the compressed form of `input` to `out`.
    ///
    /// # Errors
    /// The library refused, which none does with enough memory.
    pub fn compress(self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        let codec = self.codec;
        self.compress_io(input, out).map_err(|e| CompressionError { codec, reason: e.to_string() })
    }

    fn compress_io(self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self.codec {
            Codec::None => out.extend_from_slice(input),
            Codec::Gzip => {
                let level = flate2::Compression::new(self.level.unsigned_abs());
                let mut encoder = flate2::write::GzEncoder::new(out, level);
                encoder.write_all(input)?;
                encoder.finish()?;
            }
            Codec::Snappy => snappy::compress(input, out).map_err(io::Error::other)?,
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(lz4_frame(), out);
                encoder.write_all(input)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Codec::Zstd => zstd_compress(self.level, input, out)?,
        }
        Ok(())
    }
}

thread_local! {
    /// The last compressor of this thread: to make one takes longer than to compress a batch.
    static ZSTD: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
}

/// One frame that tells how long its content is, so that tables are no larger than a batch needs.
fn zstd_compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let kept = ZSTD.with_borrow_mut(Option::take).filter(|(of, _)| *of == level);
    let mut compressor = match kept {
        Some((_, compressor)) => compressor,
        None => Compressor::new(level)?,
    };
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
    let len = compressor.compress_to_buffer(input, &mut out[start..])?;
    out.truncate(start + len);
    if level <= ZSTD_KEPT_LEVEL_MAX {
        ZSTD.set(Some((level, compressor)));
    }
    Ok(())
}

/// The frame that Kafka's Java client reads: version 1, independent blocks of 64 KiB.
fn lz4_frame() -> lz4_flex::frame::FrameInfo {
    lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent)
}
