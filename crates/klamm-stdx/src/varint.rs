//! Variable-length integers as in protocol buffers: seven bits a byte, low bits first.
//! Signed values are zigzag-coded first. The same format serves records and compact lengths.

/// Most bytes that a 32-bit value takes.
pub const U32_BYTES_MAX: usize = 5;
/// Most bytes that a 64-bit value takes.
pub const U64_BYTES_MAX: usize = 10;

/// Reads an unsigned 32-bit value at the start of `input`; gives it and the bytes it took.
/// `None` if the input ends first or the value does not fit.
#[inline]
#[must_use]
pub fn read_u32(input: &[u8]) -> Option<(u32, usize)> {
    if let Some((value, n)) = read_short(input) {
        return Some((value, n));
    }
    let (value, n) = read_long(input, U32_BYTES_MAX)?;
    u32::try_from(value).ok().map(|value| (value, n))
}

/// Reads an unsigned 64-bit value; see [`read_u32`].
#[inline]
#[must_use]
pub fn read_u64(input: &[u8]) -> Option<(u64, usize)> {
    if let Some((value, n)) = read_short(input) {
        return Some((u64::from(value), n));
    }
    read_long(input, U64_BYTES_MAX)
}

/// Reads a zigzag-coded signed 32-bit value; see [`read_u32`].
#[inline]
#[must_use]
pub fn read_i32(input: &[u8]) -> Option<(i32, usize)> {
    read_u32(input).map(|(value, n)| ((value >> 1) as i32 ^ -((value & 1) as i32), n))
}

/// Reads a zigzag-coded signed 64-bit value; see [`read_u32`].
#[inline]
#[must_use]
pub fn read_i64(input: &[u8]) -> Option<(i64, usize)> {
    read_u64(input).map(|(value, n)| ((value >> 1) as i64 ^ -((value & 1) as i64), n))
}

/// A value of one or two bytes: nearly all that a record holds.
#[inline]
fn read_short(input: &[u8]) -> Option<(u32, usize)> {
    match *input {
        [first, ..] if first < 0x80 => Some((u32::from(first), 1)),
        [first, second, ..] if second < 0x80 => {
            Some((u32::from(first & 0x7f) | u32::from(second) << 7, 2))
        }
        _ => None,
    }
}

#[inline(never)]
fn read_long(input: &[u8], bytes_max: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, byte) in input.iter().take(bytes_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == U64_BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Appends an unsigned value to `out`.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an unsigned value to `out`.
#[inline]
pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write_u64(out, u64::from(value));
}

/// Appends a zigzag-coded signed value to `out`.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u32(out, ((value << 1) ^ (value >> 31)) as u32);
}

/// Appends a zigzag-coded signed value to `out`.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bytes that `value` takes, unsigned.
#[inline]
#[must_use]
pub fn len_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that `value` takes, zigzag-coded.
#[inline]
#[must_use]
pub fn len_i64(value: i64) -> usize {
    len_u64(((value << 1) ^ (value >> 63)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_i64(value: i64, expected: &[u8]) {
        let mut out = Vec::new();
        write_i64(&mut out, value);
        assert_eq!(out, expected);
        assert_eq!(read_i64(expected), Some((value, expected.len())));
        assert_eq!(len_i64(value), expected.len());
    }

    #[test]
    fn signed_values_are_zigzag_coded() {
        check_i64(0, &[0]);
        check_i64(-1, &[1]);
        check_i64(1, &[2]);
        check_i64(63, &[0x7e]);
        check_i64(8191, &[0xfe, 0x7f]);
        check_i64(-8192, &[0xff, 0x7f]);
        check_i64(8192, &[0x80, 0x80, 1]);
        check_i64(-64, &[0x7f]);
        check_i64(64, &[0x80, 1]);
        check_i64(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        check_i64(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn a_value_that_ends_early_or_is_too_long_is_refused() {
        assert_eq!(read_u32(&[]), None);
        assert_eq!(read_u32(&[0x80]), None);
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x10]), None);
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(read_u32(&[0x80, 0x80, 0x80, 0x80, 0x80, 1]), None);
        assert_eq!(read_u64(&[0xff; 11]), None);
        assert_eq!(read_u64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None);
    }
}
