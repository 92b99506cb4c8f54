//! Cuts a stream of bytes into frames: a 32-bit length, then that many bytes.
//!
//! ```text
//!            length known, fits what was read            length known, large
//!  Between ───────────────────────────────▶ frame   ┌──────────────────────▶ Large ──▶ frame
//!     │  part of a small frame                      │                          (reads go straight
//!     └──────────────▶ carried over ────────────────┘                           into its buffer)
//! ```
//! `Between` holds no memory of its own: bytes are read into the worker's scratch buffer.

use std::fmt;

use bytes::Bytes;

use crate::pool::{FrameBuffer, FramePool};
use crate::reply::FRAME_LEN_BYTES;

/// Frames up to this size are copied out of the worker's scratch buffer; larger ones get a
/// buffer from the pool and the rest of them is read straight into it.
pub(crate) const SMALL_FRAME_BYTES_MAX: usize = 32 * 1024;

/// A length that no frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    Negative(i32),
    TooLarge { len: i32, len_max: usize },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(len) => write!(f, "frame length {len} is negative"),
            Self::TooLarge { len, len_max } => {
                write!(f, "frame length {len} is larger than socket.request.max.bytes ({len_max})")
            }
        }
    }
}

/// What stands at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Not even a length.
    Unknown,
    /// A frame of this many bytes, after its length; whole if as many bytes are there.
    Frame { len: usize },
}

/// Looks at the front of `bytes`.
pub(crate) fn front(bytes: &[u8], len_max: usize) -> Result<Front, FrameError> {
    let Some(prefix) = bytes.first_chunk::<FRAME_LEN_BYTES>() else { return Ok(Front::Unknown) };
    let len = i32::from_be_bytes(*prefix);
    let Ok(size) = usize::try_from(len) else { return Err(FrameError::Negative(len)) };
    if size > len_max {
        return Err(FrameError::TooLarge { len, len_max });
    }
    Ok(Front::Frame { len: size })
}

/// A large frame that is being read.
#[derive(Debug)]
pub(crate) struct LargeFrame {
    buffer: FrameBuffer,
    filled: usize,
}

impl LargeFrame {
    /// Starts a frame of `len` bytes with those that were read already.
    pub(crate) fn start(pool: &FramePool, len: usize, head: &[u8]) -> Self {
        let mut buffer = pool.take(len);
        buffer.bytes_mut()[..head.len()].copy_from_slice(head);
        Self { buffer, filled: head.len() }
    }

    /// Where the next bytes go.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.filled..]
    }

    /// `n` more bytes are there.
    pub(crate) fn advance(&mut self, n: usize) {
        self.filled += n;
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.filled == self.buffer.as_ref().len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        debug_assert!(self.is_whole());
        self.buffer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_no_frame_may_have_is_refused() {
        assert_eq!(front(&(-1_i32).to_be_bytes(), 100), Err(FrameError::Negative(-1)));
        let too_large = FrameError::TooLarge { len: i32::MAX, len_max: 100 };
        assert_eq!(front(&i32::MAX.to_be_bytes(), 100), Err(too_large));
        assert_eq!(front(&100_i32.to_be_bytes(), 100), Ok(Front::Frame { len: 100 }));
        assert_eq!(front(&0_i32.to_be_bytes(), 100), Ok(Front::Frame { len: 0 }));
    }

    #[test]
    fn a_length_that_is_not_there_yet_is_unknown() {
        for n in 0..FRAME_LEN_BYTES {
            assert_eq!(front(&[0xff; 3][..n.min(3)], 100), Ok(Front::Unknown));
        }
    }

    #[test]
    fn a_large_frame_is_filled_in_place() {
        let mut frame = LargeFrame::start(&FramePool::default(), 5, b"ab");
        frame.rest()[..3].copy_from_slice(b"cde");
        frame.advance(3);
        assert!(frame.is_whole());
        assert_eq!(&frame.into_bytes()[..], b"abcde");
    }
}
