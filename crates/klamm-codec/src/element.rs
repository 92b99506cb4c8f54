//! What an array can hold, and the form that values take on the wire.

use bytes::Bytes;
use klamm_model::Uuid;
use klamm_stdx::Str;

use crate::{DecodeError, EncodeError, Reader, Writer};

/// How a value is laid out: the version of its message, and whether that version is flexible,
/// which means compact lengths and tagged fields (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The version of the message.
    pub version: i16,
    /// Whether lengths are compact and every struct ends with tagged fields.
    pub flexible: bool,
}

impl Form {
    /// The same version with fixed-width lengths, for the few fields that never became compact.
    #[must_use]
    pub const fn inflexible(self) -> Self {
        Self { version: self.version, flexible: false }
    }
}

/// A value that knows its bytes: a struct of a schema, or a primitive that arrays hold.
pub trait Element: Sized {
    /// The fewest bytes that a value takes in this form. A count of elements is held against it
    /// before memory is taken.
    fn bytes_min(form: Form) -> usize;

    /// Reads one value.
    ///
    /// # Errors
    /// The bytes are not such a value.
    fn read(r: &mut Reader, form: Form) -> Result<Self, DecodeError>;

    /// Appends this value.
    ///
    /// # Errors
    /// The value cannot be told in this version.
    fn write(&self, w: &mut Writer, form: Form) -> Result<(), EncodeError>;
}

macro_rules! fixed_width_elements {
    ($($type:ident: $bytes:literal),+) => {$(
        impl Element for $type {
            fn bytes_min(_: Form) -> usize {
                $bytes
            }

            fn read(r: &mut Reader, _: Form) -> Result<Self, DecodeError> {
                r.$type()
            }

            fn write(&self, w: &mut Writer, _: Form) -> Result<(), EncodeError> {
                w.$type(*self);
                Ok(())
            }
        }
    )+};
}

fixed_width_elements!(bool: 1, i8: 1, i16: 2, u16: 2, i32: 4, u32: 4, i64: 8, f64: 8);

impl Element for Uuid {
    fn bytes_min(_: Form) -> usize {
        16
    }

    fn read(r: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        r.uuid()
    }

    fn write(&self, w: &mut Writer, _: Form) -> Result<(), EncodeError> {
        w.uuid(*self);
        Ok(())
    }
}

impl Element for Str {
    fn bytes_min(form: Form) -> usize {
        if form.flexible { 1 } else { 2 }
    }

    fn read(r: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        r.string(form)
    }

    fn write(&self, w: &mut Writer, form: Form) -> Result<(), EncodeError> {
        w.string(self, form)
    }
}

impl Element for Bytes {
    fn bytes_min(form: Form) -> usize {
        if form.flexible { 1 } else { 4 }
    }

    fn read(r: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        r.bytes(form)
    }

    fn write(&self, w: &mut Writer, form: Form) -> Result<(), EncodeError> {
        w.bytes(self, form)
    }
}
