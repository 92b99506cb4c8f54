//! Snappy as Kafka has it: raw blocks inside the frame of the xerial library, or one bare block.

use crate::codec::{Codec, DecompressError};

/// How a xerial frame starts; two big-endian version numbers follow.
const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const FRAME_HEADER_LEN: usize = 16;
/// The version numbers that the Java library writes, both.
const VERSION: i32 = 1;
/// What the Java library puts into a block.
const BLOCK_BYTES: usize = 32 * 1024;
/// A copy element makes at most 64 bytes out of 2; no honest block claims a larger ratio, so a
/// larger claim is refused before memory is taken for it.
const RATIO_MAX: usize = 32;

pub(crate) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let start = length_at + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let n = encoder.compress(block, &mut out[start..]).map_err(|e| e.to_string())?;
        out.truncate(start + n);
        // A block has at most 32 KiB: its compressed length is far from 2^31.
        out[length_at..start].copy_from_slice(&(n as u32).to_be_bytes());
    }
    Ok(())
}

pub(crate) fn decompress(
    input: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), DecompressError> {
    let Some(mut rest) = input.strip_prefix(MAGIC).and_then(|_| input.get(FRAME_HEADER_LEN..))
    else {
        return block(input, out, bytes_max);
    };
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (bytes, after) = after.split_at_checked(length).ok_or_else(torn)?;
        block(bytes, out, bytes_max)?;
        rest = after;
    }
    Ok(())
}

fn block(input: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), DecompressError> {
    let damaged =
        |e: snap::Error| DecompressError::Damaged { codec: Codec::Snappy, reason: e.to_string() };
    let len = snap::raw::decompress_len(input).map_err(damaged)?;
    if len > input.len().saturating_mul(RATIO_MAX) {
        let reason = format!("a block of {} bytes claims to hold {len}", input.len());
        return Err(DecompressError::Damaged { codec: Codec::Snappy, reason });
    }
    let start = out.len();
    if len > bytes_max.saturating_sub(start) {
        return Err(DecompressError::TooLarge { bytes_max });
    }
    out.resize(start + len, 0);
    let n = snap::raw::Decoder::new().decompress(input, &mut out[start..]).map_err(damaged)?;
    out.truncate(start + n);
    Ok(())
}

fn torn() -> DecompressError {
    let reason = "a block is longer than the bytes that are left".to_owned();
    DecompressError::Damaged { codec: Codec::Snappy, reason }
}
