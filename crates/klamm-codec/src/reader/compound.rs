//! Arrays and structs out of a frame: their memory is charged before any is taken, and what a newer
//! version has added is stepped over.

use super::Reader;
use crate::{DecodeError, Element, Form};

/// Most elements of one array. No request of a working client comes near it.
pub const ARRAY_COUNT_MAX: usize = 1_000_000;
/// Most tagged fields of one struct; Kafka's largest schema has nine.
pub const TAG_COUNT_MAX: usize = 10_000;
/// Elements that an array has room for before the first of them has been read.
const CAPACITY_INITIAL_MAX: usize = 1_000;

impl Reader {
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
