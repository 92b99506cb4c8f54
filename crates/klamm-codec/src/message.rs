//! What every message can do. The generated code says only what differs.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{DecodeError, Element, EncodeError, Form, Reader, Writer};

/// A message of one of Kafka's schemas, in all its versions.
pub trait Message: Element + Default + Clone + Debug + PartialEq {
    /// The schema's name.
    const NAME: &'static str;
    /// The versions that the schema has, one that is not stable yet included.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `None` if there is none.
    const FLEXIBLE_FROM: Option<i16>;

    /// The form of a version. Says nothing about whether the version exists.
    #[must_use]
    fn form(version: i16) -> Form {
        Form { version, flexible: Self::FLEXIBLE_FROM.is_some_and(|from| version >= from) }
    }

    /// Reads a message and leaves what follows it.
    ///
    /// # Errors
    /// The version does not exist, or the bytes are not such a message.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        Self::read(r, Self::form(version))
    }

    /// Reads a message that must take all of `input`.
    ///
    /// # Errors
    /// As [`Message::decode`], and bytes that follow the message.
    fn decode_exact(input: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut r = Reader::new(input);
        let message = Self::decode(&mut r, version)?;
        r.finish()?;
        Ok(message)
    }

    /// Appends this message. After an error `w` holds a part of it.
    ///
    /// # Errors
    /// The version does not exist, or cannot tell this message.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.write(w, Self::form(version))
    }

    /// This message in bytes of its own.
    ///
    /// # Errors
    /// As [`Message::encode`].
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        self.encode(&mut w, version)?;
        Ok(Bytes::from(w.into_vec()))
    }
}
