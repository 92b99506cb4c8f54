//! Reads Kafka's primitive values out of a frame, within a budget of memory.

mod compound;

use bytes::Bytes;
use klamm_model::Uuid;
use klamm_stdx::{Str, varint};

pub use compound::{ARRAY_COUNT_MAX, TAG_COUNT_MAX};

use crate::{DecodeError, Form, RecordsField};

/// Longest text in bytes, in every version (Kafka: the generated readers and writers).
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Memory that a byte of input is worth: a one-letter text takes two bytes on the wire and 32 in
/// memory, and nothing that a working client sends is worse.
const MEMORY_PER_BYTE: usize = 16;
/// Memory that any input is worth, however short.
const MEMORY_SLACK_BYTES: usize = 64 * 1024;

/// Most bytes of memory that an input of so many bytes decodes to, besides itself.
#[must_use]
pub const fn memory_max(input_bytes: usize) -> usize {
    input_bytes.saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_SLACK_BYTES)
}

/// A position in a frame. Texts and byte fields come out as slices of the frame.
#[derive(Debug)]
pub struct Reader {
    input: Bytes,
    at: usize,
    memory_left: usize,
}

impl Reader {
    /// At the start of `input`, with the memory that it is worth.
    #[must_use]
    pub fn new(input: Bytes) -> Self {
        let memory_left = memory_max(input.len());
        Self { input, at: 0, memory_left }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.input.len() - self.at
    }

    /// The bytes that are left, as a slice of the frame.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.input.slice(self.at..)
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { at: self.at, count }),
        }
    }

    /// The next `length` bytes, as a slice of the frame.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let start = self.skip(length)?;
        Ok(self.input.slice(start..self.at))
    }

    /// Steps over `length` bytes; gives where they start.
    #[inline]
    fn skip(&mut self, length: usize) -> Result<usize, DecodeError> {
        let (at, remaining) = (self.at, self.remaining());
        if length > remaining {
            return Err(DecodeError::Truncated { at, needed: length, remaining });
        }
        self.at += length;
        Ok(at)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.skip(N)?;
        Ok(self.input[start..start + N].try_into().expect("a slice of N bytes"))
    }

    /// One byte; everything but zero is true, as in Kafka.
    ///
    /// # Errors
    /// The input ends.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>()?[0] != 0)
    }

    /// An unsigned integer of seven bits a byte.
    ///
    /// # Errors
    /// The input ends, or the value does not fit.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let (at, rest) = (self.at, &self.input[self.at..]);
        match varint::read_u32(rest) {
            Some((value, length)) => {
                self.at += length;
                Ok(value)
            }
            None if rest.len() < varint::U32_BYTES_MAX && rest.iter().all(|b| *b >= 0x80) => {
                let remaining = rest.len();
                Err(DecodeError::Truncated { at, needed: remaining + 1, remaining })
            }
            None => Err(DecodeError::VarintTooLong { at }),
        }
    }

    /// A 128-bit id.
    ///
    /// # Errors
    /// The input ends.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.fixed()?))
    }

    /// The next four bytes as an integer, without moving past them.
    ///
    /// # Errors
    /// The input ends.
    pub fn peek_i32(&mut self) -> Result<i32, DecodeError> {
        let at = self.at;
        let value = self.i32()?;
        self.at = at;
        Ok(value)
    }

    /// A length that is compact or 32 bits; `None` means null.
    #[inline]
    fn length(&mut self, form: Form) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        if form.flexible {
            return Ok((self.unsigned_varint()? as usize).checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::NegativeLength { at, length }),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The input ends, or the text is null, too long or not UTF-8.
    #[inline]
    pub fn string(&mut self, form: Form) -> Result<Str, DecodeError> {
        let at = self.at;
        self.nullable_string(form)?.ok_or(DecodeError::NullNotAllowed { at })
    }

    /// A text or null.
    ///
    /// # Errors
    /// The input ends, or the text is too long or not UTF-8.
    pub fn nullable_string(&mut self, form: Form) -> Result<Option<Str>, DecodeError> {
        let at = self.at;
        let length =
            if form.flexible {
                (self.unsigned_varint()? as usize).checked_sub(1)
            } else {
                match self.i16()? {
                    -1 => None,
                    length => Some(usize::try_from(length).map_err(|_| {
                        DecodeError::NegativeLength { at, length: i32::from(length) }
                    })?),
                }
            };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong { at, length });
        }
        let text = Str::from_utf8(self.take(length)?);
        text.map(Some).map_err(|_| DecodeError::NotUtf8 { at })
    }

    /// A byte field.
    ///
    /// # Errors
    /// The input ends, or the field is null.
    pub fn bytes(&mut self, form: Form) -> Result<Bytes, DecodeError> {
        let at = self.at;
        self.nullable_bytes(form)?.ok_or(DecodeError::NullNotAllowed { at })
    }

    /// A byte field or null.
    ///
    /// # Errors
    /// The input ends.
    pub fn nullable_bytes(&mut self, form: Form) -> Result<Option<Bytes>, DecodeError> {
        match self.length(form)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Record batches.
    ///
    /// # Errors
    /// The input ends, or the field is null.
    pub fn records(&mut self, form: Form) -> Result<RecordsField, DecodeError> {
        self.bytes(form).map(RecordsField::Bytes)
    }

    /// Record batches or null.
    ///
    /// # Errors
    /// The input ends.
    pub fn nullable_records(&mut self, form: Form) -> Result<RecordsField, DecodeError> {
        Ok(self.nullable_bytes(form)?.map_or(RecordsField::Null, RecordsField::Bytes))
    }
}

macro_rules! fixed_width_reads {
    ($($(#[$doc:meta])+ $type:ident),+) => {
        impl Reader {$(
            $(#[$doc])+
            ///
            /// # Errors
            /// The input ends.
            #[inline]
            pub fn $type(&mut self) -> Result<$type, DecodeError> {
                Ok($type::from_be_bytes(self.fixed()?))
            }
        )+}
    };
}

fixed_width_reads!(
    /// One byte.
    i8,
    /// Two bytes, high byte first.
    i16,
    /// Two bytes, high byte first, unsigned.
    u16,
    /// Four bytes, high byte first.
    i32,
    /// Four bytes, high byte first, unsigned.
    u32,
    /// Eight bytes, high byte first.
    i64,
    /// Eight bytes of IEEE 754, high byte first.
    f64
);
