//! Decompression into a recycled buffer, which grows with what really comes out and stops at a cap;
//! it believes no length that a client wrote.

use std::fmt;
use std::io::{self, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::codec::{Codec, DecompressError};
use crate::snappy;

/// Most bytes that one batch may have when it is not compressed. Kafka has no such bound; with
/// the default `max.message.bytes` of 1 MiB this allows a ratio of 64.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A scratch buffer above this is given back before the next use: one large batch must not cost
/// every worker that much for ever.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// How much room is made at a time for what comes out.
const GROWTH_BYTES: usize = 64 * 1024;
/// zstd's largest window, log 2, that Kafka's own clients use (level 22). Memory of a window is
/// touched only as far as bytes come out, and those are capped.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

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
mod tests;
