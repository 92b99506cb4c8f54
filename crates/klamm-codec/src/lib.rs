//! Kafka's encodings: a budgeted [`Reader`], a [`Writer`] and the [`Message`] trait.
//!
//! Knows lengths, nulls, versions and tagged fields (KIP-482); never what a field means, and
//! never a socket or a file. Memory follows bytes that have arrived, not lengths that were
//! promised: a count is checked against the bytes left, and what a frame decodes to is bounded
//! by [`memory_max`].

#![deny(unsafe_code)]

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
#[cfg(feature = "arbitrary")]
pub mod checks;
mod element;
mod error;
mod message;
pub mod prelude;
mod reader;
mod records_field;
mod writer;

pub use element::{Element, Form};
pub use error::{DecodeError, EncodeError};
pub use message::Message;
pub use reader::{ARRAY_COUNT_MAX, Reader, STRING_BYTES_MAX, TAG_COUNT_MAX, memory_max};
pub use records_field::RecordsField;
pub use writer::{Tags, Writer};
