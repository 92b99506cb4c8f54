//! The names that generated code uses, in one import.

pub use crate::element::{Element, Form};
pub use crate::error::{DecodeError, EncodeError};
pub use crate::message::Message;
pub use crate::reader::Reader;
pub use crate::records_field::RecordsField;
pub use crate::writer::{Writer, absent, present};
pub use bytes::Bytes;
pub use klamm_model::Uuid;
pub use klamm_stdx::Str;

#[cfg(feature = "arbitrary")]
pub use crate::arbitrary::{Arbitrary, Source};
