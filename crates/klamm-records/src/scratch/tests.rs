//! What is compressed is read back; what is damaged or too large is refused.

use super::*;
use crate::compression::Compression;

fn check_round_trip(compression: Compression, input: &[u8]) {
    let mut compressed = Vec::new();
    compression.compress(input, &mut compressed).unwrap();
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        assert_eq!(scratch.decompress(compression.codec(), &compressed).unwrap(), input);
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
