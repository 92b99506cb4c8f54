//! Appends Kafka's primitive values to a buffer.

mod tags;

use bytes::Bytes;
use klamm_model::Uuid;
use klamm_stdx::{Str, varint};

pub use tags::Tags;

use crate::reader::STRING_BYTES_MAX;
use crate::{Element, EncodeError, Form, RecordsField};

/// A growing buffer of bytes, and the places where bytes that are not in memory belong.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    cuts: Vec<usize>,
    deferred_bytes: usize,
}

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { out: Vec::new(), cuts: Vec::new(), deferred_bytes: 0 }
    }

    /// Appends to what `out` holds, so that a recycled buffer can be used again.
    #[must_use]
    pub const fn from_vec(out: Vec<u8>) -> Self {
        Self { out, cuts: Vec::new(), deferred_bytes: 0 }
    }

    /// The bytes so far.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// The bytes so far, and the places where deferred ones belong; see [`Writer::cuts`].
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<usize>) {
        (self.out, self.cuts)
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.out
    }

    /// Bytes in the buffer, without deferred ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Positions in the buffer where the deferred records belong, one for each
    /// [`RecordsField::Deferred`] in the order they were written.
    #[must_use]
    pub fn cuts(&self) -> &[usize] {
        &self.cuts
    }

    /// Bytes of all deferred records. The whole message has these and [`Writer::len`].
    #[must_use]
    pub const fn deferred_bytes(&self) -> usize {
        self.deferred_bytes
    }

    /// Overwrites four bytes at `at`, for a length that is known only afterwards.
    ///
    /// # Panics
    /// The four bytes have not been written yet.
    pub fn set_i32(&mut self, at: usize, value: i32) {
        self.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte, zero or one.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// An unsigned integer of seven bits a byte.
    #[inline]
    pub fn unsigned_varint(&mut self, value: u32) {
        varint::write_u32(&mut self.out, value);
    }

    /// A 128-bit id.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.out.extend_from_slice(&value.to_bytes());
    }

    /// A length that is compact or 32 bits; `None` is null.
    fn length(&mut self, length: Option<usize>, form: Form) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if form.flexible {
                self.out.push(0);
            } else {
                self.i32(-1);
            }
            return Ok(());
        };
        let told = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if form.flexible {
            self.unsigned_varint(told as u32 + 1);
        } else {
            self.i32(told);
        }
        Ok(())
    }

    /// A text.
    ///
    /// # Errors
    /// It is too long.
    pub fn string(&mut self, text: &Str, form: Form) -> Result<(), EncodeError> {
        let length = text.len();
        if length > STRING_BYTES_MAX {
            return Err(EncodeError::TooLong { length });
        }
        if form.flexible {
            self.unsigned_varint(length as u32 + 1);
        } else {
            self.i16(length as i16);
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A text or null.
    ///
    /// # Errors
    /// It is too long.
    pub fn nullable_string(&mut self, text: Option<&Str>, form: Form) -> Result<(), EncodeError> {
        match text {
            Some(text) => self.string(text, form)?,
            None if form.flexible => self.out.push(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// A byte field.
    ///
    /// # Errors
    /// It is too long.
    pub fn bytes(&mut self, bytes: &Bytes, form: Form) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(bytes), form)
    }

    /// A byte field or null.
    ///
    /// # Errors
    /// It is too long.
    pub fn nullable_bytes(&mut self, bytes: Option<&Bytes>, form: Form) -> Result<(), EncodeError> {
        self.length(bytes.map(Bytes::len), form)?;
        if let Some(bytes) = bytes {
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Record batches or null; deferred ones leave a cut.
    ///
    /// # Errors
    /// They are too long.
    pub fn records(&mut self, records: &RecordsField, form: Form) -> Result<(), EncodeError> {
        match records {
            RecordsField::Null => self.length(None, form),
            RecordsField::Bytes(bytes) => self.bytes(bytes, form),
            RecordsField::Deferred(bytes) => {
                self.length(Some(*bytes as usize), form)?;
                self.cuts.push(self.out.len());
                self.deferred_bytes += *bytes as usize;
                Ok(())
            }
        }
    }

    /// An array.
    ///
    /// # Errors
    /// It is too long, or an element cannot be told in this version.
    pub fn array<T: Element>(&mut self, elements: &[T], form: Form) -> Result<(), EncodeError> {
        self.nullable_array(Some(elements), form)
    }

    /// An array or null.
    ///
    /// # Errors
    /// As [`Writer::array`].
    pub fn nullable_array<T: Element>(
        &mut self,
        elements: Option<&[T]>,
        form: Form,
    ) -> Result<(), EncodeError> {
        self.length(elements.map(<[T]>::len), form)?;
        elements.unwrap_or_default().iter().try_for_each(|element| element.write(self, form))
    }

    /// A struct behind a byte that says whether there is one.
    ///
    /// # Errors
    /// The struct cannot be told in this version.
    pub fn nullable_struct<T: Element>(
        &mut self,
        value: Option<&T>,
        form: Form,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                value.write(self, form)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// A struct in a tagged field; see [`crate::Reader::tagged_nullable_struct`].
    ///
    /// # Errors
    /// The struct cannot be told in this version.
    pub fn tagged_nullable_struct<T: Element>(
        &mut self,
        value: Option<&T>,
        form: Form,
    ) -> Result<(), EncodeError> {
        self.unsigned_varint(u32::from(value.is_some()));
        value.map_or(Ok(()), |value| value.write(self, form))
    }

    /// The end of a struct that has no tagged field to write.
    #[inline]
    pub fn end_struct(&mut self, form: Form) {
        if form.flexible {
            self.out.push(0);
        }
    }
}

macro_rules! fixed_width_writes {
    ($($(#[$doc:meta])+ $type:ident),+) => {
        impl Writer {$(
            $(#[$doc])+
            #[inline]
            pub fn $type(&mut self, value: $type) {
                self.out.extend_from_slice(&value.to_be_bytes());
            }
        )+}
    };
}

fixed_width_writes!(
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

/// Checks a field that `version` does not have: it must have its default value, or be lost.
///
/// # Errors
/// It has another value.
pub fn absent(is_default: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_default { Ok(()) } else { Err(EncodeError::NotInVersion { field, version }) }
}

/// Checks a field that `version` cannot tell as null.
///
/// # Errors
/// It is null.
pub fn present(is_present: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_present { Ok(()) } else { Err(EncodeError::NullNotAllowed { field, version }) }
}
