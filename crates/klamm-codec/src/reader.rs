//! Reads Kafka's primitive values out of a frame, within a budget of memory.

use bytes::Bytes;
use klamm_model::Uuid;
use klamm_stdx::{Str, varint};

use crate::{DecodeError, Element, Form, RecordsField};

/// Most elements of one array. No request of a working client comes near it.
pub const ARRAY_COUNT_MAX: usize = 1_000_000;
/// Most tagged fields of one struct; Kafka's largest schema has nine.
pub const TAG_COUNT_MAX: usize = 10_000;
/// Longest text in bytes, in every version (Kafka: the generated readers and writers).
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Memory that a byte of input is worth: a one-letter text takes two bytes on the wire and 32 in
/// memory, and nothing that a working client sends is worse.
const MEMORY_PER_BYTE: usize = 16;
/// Memory that any input is worth, however short.
const MEMORY_SLACK_BYTES: usize = 64 * 1024;
/// Elements that an array has room for before the first of them has been read.
const CAPACITY_INITIAL_MAX: usize = 1_000;

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

    /// An array.
    ///
    /// # Errors
    /// The input ends, the array is null or claims more than the input can hold, or an element
    /// is not one.
    pub fn array<T: Element>(&mut self, form: Form) -> Result<Vec<T>, DecodeError> {
        let at = self.at;
        self.nullable_array(form)?.ok_or(DecodeError::NullNotAllowed { at })
    }

    /// An array or null.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn nullable_array<T: Element>(
        &mut self,
        form: Form,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.array_count(form, T::bytes_min(form), size_of::<T>())? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count.min(CAPACITY_INITIAL_MAX));
        for _ in 0..count {
            if elements.len() == elements.capacity() {
                // Doubled like any vector, but never past the count that the budget was charged.
                elements.reserve_exact(elements.len().min(count - elements.len()));
            }
            elements.push(T::read(self, form)?);
        }
        Ok(Some(elements))
    }

    /// A count of elements that fit both the bytes and the memory that are left. The memory is
    /// charged here, before any is taken.
    fn array_count(
        &mut self,
        form: Form,
        bytes_min: usize,
        element_memory: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let Some(count) = self.length(form)? else { return Ok(None) };
        let count_max = (self.remaining() / bytes_min.max(1)).min(ARRAY_COUNT_MAX);
        if count > count_max {
            return Err(DecodeError::TooManyElements { at, count, count_max });
        }
        let (needed, left) = (count.saturating_mul(element_memory), self.memory_left);
        self.memory_left =
            left.checked_sub(needed).ok_or(DecodeError::MemoryExceeded { at, needed, left })?;
        Ok(Some(count))
    }

    /// A struct behind a byte that says whether there is one; below zero is null, as in Kafka.
    ///
    /// # Errors
    /// The input ends, or the bytes are no such struct.
    pub fn nullable_struct<T: Element>(&mut self, form: Form) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { T::read(self, form).map(Some) }
    }

    /// A struct in a tagged field, behind a varint that says whether there is one: zero is null.
    /// Kafka marks these unlike other structs (Kafka: `MessageDataGenerator`).
    ///
    /// # Errors
    /// The input ends, or the bytes are no such struct.
    pub fn tagged_nullable_struct<T: Element>(
        &mut self,
        form: Form,
    ) -> Result<Option<T>, DecodeError> {
        if self.unsigned_varint()? == 0 { Ok(None) } else { T::read(self, form).map(Some) }
    }

    /// The end of a struct that has no tagged fields of its own: those that are there are
    /// stepped over.
    ///
    /// # Errors
    /// The input ends, or there are too many tagged fields.
    #[inline]
    pub fn end_struct(&mut self, form: Form) -> Result<(), DecodeError> {
        self.tags(form, |_, _| Ok(false))
    }

    /// The end of a struct with tagged fields. `read` is given each tag, reads the value of
    /// those it knows, and says whether it did; the others are stepped over. A tag may come
    /// twice and in any order: the last one holds, as in Kafka.
    ///
    /// # Errors
    /// The input ends, there are too many tagged fields, or a value does not end where its size
    /// says.
    #[inline]
    pub fn tags(
        &mut self,
        form: Form,
        mut read: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !form.flexible {
            return Ok(());
        }
        for _ in 0..self.tag_count()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let (start, remaining) = (self.at, self.remaining());
            if size > remaining {
                return Err(DecodeError::Truncated { at: start, needed: size, remaining });
            }
            if read(self, tag)? {
                let taken = self.at - start;
                if taken != size {
                    return Err(DecodeError::TaggedFieldSize { tag, size, taken });
                }
            } else {
                self.skip(size)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn tag_count(&mut self) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.unsigned_varint()? as usize;
        if count > TAG_COUNT_MAX { Err(DecodeError::TooManyTags { at, count }) } else { Ok(count) }
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
