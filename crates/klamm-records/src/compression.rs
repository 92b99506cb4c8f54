//! Kafka's codecs. Decompression goes into a recycled buffer, grows with what really comes out,
//! and stops at a cap; it believes no length that a client wrote.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};

use zstd::bulk::Compressor;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::snappy;

/// Most bytes that one batch may have when it is not compressed. Kafka has no such bound; with
/// the default `max.message.bytes` of 1 MiB this allows a ratio of 64.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A scratch buffer above this is given back before the next use: one large batch must not cost
/// every worker that much for ever.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// How much room is made at a time for what comes out.
const GROWTH_BYTES: usize = 64 * 1024;
/// Compressors up to this level are kept for the next batch; those above take many megabytes.
const ZSTD_KEPT_LEVEL_MAX: i32 = 9;

/// zstd's largest window, log 2, that Kafka's own clients use (level 22). Memory of a window is
/// touched only as far as bytes come out, and those are capped.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

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

/// A buffer and decompressor that a worker uses again and again.
pub struct Scratch {
    buffer: Vec<u8>,
    zstd: Option<Decoder<'static>>,
    bytes_max: usize,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::with_bytes_max(DECOMPRESSED_BYTES_MAX)
    }
}

impl Scratch {
    /// A scratch that lets at most `bytes_max` bytes come out of one batch.
    #[must_use]
    pub fn with_bytes_max(bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), zstd: None, bytes_max }
    }

    /// The bytes that `input` holds; `input` itself if it is not compressed.
    ///
    /// # Errors
    /// The input is damaged or holds too much.
    pub fn decompress<'s>(
        &'s mut self,
        codec: Codec,
        input: &'s [u8],
    ) -> Result<&'s [u8], DecompressError> {
        if codec == Codec::None {
            return Ok(input);
        }
        self.release_large();
        self.buffer.clear();
        if let Err(error) = self.fill_from(codec, input) {
            // What was refused is of no use to anyone, and the next use may be far away.
            self.release_large();
            return Err(error);
        }
        Ok(&self.buffer)
    }

    fn release_large(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
            self.zstd = None;
        }
    }

    fn fill_from(&mut self, codec: Codec, input: &[u8]) -> Result<(), DecompressError> {
        match codec {
            Codec::None => Ok(()),
            Codec::Gzip => self.fill(codec, flate2::bufread::MultiGzDecoder::new(input)),
            Codec::Snappy => snappy::decompress(input, &mut self.buffer, self.bytes_max),
            Codec::Lz4 => self.fill(codec, lz4_flex::frame::FrameDecoder::new(input)),
            Codec::Zstd => self.fill_zstd(input),
        }
    }

    fn fill(&mut self, codec: Codec, mut from: impl Read) -> Result<(), DecompressError> {
        loop {
            let start = self.make_room();
            match from.read(&mut self.buffer[start..]) {
                Ok(n) => {
                    self.buffer.truncate(start + n);
                    if n == 0 {
                        return Ok(());
                    }
                    self.check_size()?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.buffer.truncate(start),
                Err(e) => return Err(DecompressError::Damaged { codec, reason: e.to_string() }),
            }
        }
    }

    fn fill_zstd(&mut self, input: &[u8]) -> Result<(), DecompressError> {
        let codec = Codec::Zstd;
        let damaged = |e: io::Error| DecompressError::Damaged { codec, reason: e.to_string() };
        // A decoder that met an error is not used again: it is put back only after success.
        let mut decoder = self.zstd_decoder().map_err(damaged)?;
        let mut from = InBuffer::around(input);
        loop {
            let start = self.make_room();
            let mut into = OutBuffer::around(&mut self.buffer[start..]);
            let hint = decoder.run(&mut from, &mut into).map_err(damaged)?;
            let n = into.pos();
            self.buffer.truncate(start + n);
            self.check_size()?;
            let is_at_end = from.pos() == input.len();
            if is_at_end && hint == 0 {
                break;
            }
            if is_at_end && n == 0 {
                let reason = "it ends in the middle of a frame".to_owned();
                return Err(DecompressError::Damaged { codec, reason });
            }
        }
        self.zstd = Some(decoder);
        Ok(())
    }

    fn zstd_decoder(&mut self) -> io::Result<Decoder<'static>> {
        if let Some(mut decoder) = self.zstd.take() {
            decoder.reinit()?;
            return Ok(decoder);
        }
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(decoder)
    }

    /// Makes the buffer longer by at least [`GROWTH_BYTES`]; gives where the new part starts.
    fn make_room(&mut self) -> usize {
        let start = self.buffer.len();
        let room = self.buffer.capacity() - start;
        self.buffer.resize(start + room.clamp(GROWTH_BYTES, KEPT_BYTES_MAX), 0);
        start
    }

    fn check_size(&self) -> Result<(), DecompressError> {
        if self.buffer.len() > self.bytes_max {
            return Err(DecompressError::TooLarge { bytes_max: self.bytes_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(compression: Compression, input: &[u8]) {
        let mut compressed = Vec::new();
        compression.compress(input, &mut compressed).unwrap();
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            assert_eq!(scratch.decompress(compression.codec, &compressed).unwrap(), input);
        }
    }

    #[test]
    fn what_a_refused_batch_took_is_given_back_at_once() {
        let zeros = vec![0; 4 * KEPT_BYTES_MAX];
        for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
            let mut compressed = Vec::new();
            Compression::from(codec).compress(&zeros, &mut compressed).unwrap();
            let mut scratch = Scratch::with_bytes_max(3 * KEPT_BYTES_MAX);
            assert!(scratch.decompress(codec, &compressed).is_err(), "{codec}");
            assert!(scratch.buffer.capacity() <= KEPT_BYTES_MAX, "{codec}");
        }
    }

    #[test]
    fn what_was_compressed_comes_out_again() {
        let long: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        for codec in Codec::ALL {
            check_round_trip(codec.into(), b"");
            check_round_trip(codec.into(), b"x");
            check_round_trip(codec.into(), &long);
        }
        check_round_trip(Compression::with_level(Codec::Zstd, -5).unwrap(), &long);
        check_round_trip(Compression::with_level(Codec::Gzip, 1).unwrap(), &long);
    }

    #[test]
    fn levels_are_kafkas() {
        assert!(Compression::with_level(Codec::Gzip, 0).is_err());
        assert!(Compression::with_level(Codec::Gzip, 9).is_ok());
        assert!(Compression::with_level(Codec::Lz4, 18).is_err());
        assert!(Compression::with_level(Codec::Zstd, 23).is_err());
        assert!(Compression::with_level(Codec::None, 1).is_err());
    }

    #[test]
    fn a_bomb_of_any_codec_is_stopped_at_the_cap() {
        let zeros = vec![0; 8 << 20];
        for codec in &Codec::ALL[1..] {
            let mut bomb = Vec::new();
            Compression::from(*codec).compress(&zeros, &mut bomb).unwrap();
            let mut scratch = Scratch::with_bytes_max(1 << 20);
            let refused = scratch.decompress(*codec, &bomb).unwrap_err();
            assert_eq!(refused, DecompressError::TooLarge { bytes_max: 1 << 20 }, "{codec}");
            assert!(scratch.buffer.capacity() <= 6 << 20, "{codec}");
        }
    }

    #[test]
    fn a_snappy_block_that_claims_a_gigabyte_gets_no_memory() {
        let mut scratch = Scratch::default();
        let claim = [0xff, 0xff, 0xff, 0xff, 0x03, 0, 0];
        let refused = scratch.decompress(Codec::Snappy, &claim);
        assert!(matches!(refused, Err(DecompressError::Damaged { codec: Codec::Snappy, .. })));
        assert_eq!(scratch.buffer.capacity(), 0);
    }

    #[test]
    fn a_bare_snappy_block_is_read_as_well() {
        let bare = snap::raw::Encoder::new().compress_vec(b"some clients do this").unwrap();
        let mut scratch = Scratch::default();
        assert_eq!(scratch.decompress(Codec::Snappy, &bare).unwrap(), b"some clients do this");
    }

    #[test]
    fn bytes_that_are_cut_off_or_garbled_are_an_error_or_other_bytes_but_no_panic() {
        let input: Vec<u8> = (0..3000_u32).map(|i| (i % 97) as u8).collect();
        let mut scratch = Scratch::with_bytes_max(1 << 20);
        for codec in &Codec::ALL[1..] {
            let mut whole = Vec::new();
            Compression::from(*codec).compress(&input, &mut whole).unwrap();
            for cut in 1..whole.len() {
                if let Ok(out) = scratch.decompress(*codec, &whole[..cut]) {
                    assert!(out.len() <= input.len(), "{codec} cut at {cut}");
                }
                let mut garbled = whole.clone();
                garbled[cut] ^= 0x55;
                if let Ok(out) = scratch.decompress(*codec, &garbled) {
                    assert!(out.len() <= 1 << 20, "{codec} garbled at {cut}");
                }
            }
        }
    }
}
