//! What stands before every request and response. A frame's four bytes of length are not here.

use std::fmt;

use klamm_codec::{DecodeError, EncodeError, Message, Reader, Writer};
use klamm_stdx::Str;

use crate::{ApiKey, RequestHeader, ResponseHeader};

/// Who asks for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The kind of the request.
    pub api_key: ApiKey,
    /// Its version, which may be one that does not exist.
    pub api_version: i16,
    /// What the response repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

/// Why a frame does not start with a request's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderError {
    /// A kind of request that Kafka does not have.
    UnknownApiKey {
        /// The kind's code.
        code: i16,
        /// The version asked for.
        api_version: i16,
    },
    /// The bytes are no header.
    Malformed(DecodeError),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownApiKey { code, api_version } => {
                write!(f, "request has unknown api key {code} (version {api_version})")
            }
            Self::Malformed(error) => write!(f, "request header: {error}"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl From<DecodeError> for HeaderError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl RequestHead {
    /// Reads a header and leaves the request. Whether the request's version exists is left to
    /// the caller, because an unknown version of `ApiVersions` has an answer (KIP-511).
    ///
    /// # Errors
    /// The kind is unknown, or the bytes are no header.
    pub fn decode(r: &mut Reader) -> Result<Self, HeaderError> {
        // The kind and version say which version the header has, so they are looked at first.
        let kind = r.peek_i32()?;
        let (code, api_version) = ((kind >> 16) as i16, kind as i16);
        let api_key =
            ApiKey::from_code(code).ok_or(HeaderError::UnknownApiKey { code, api_version })?;
        let header = RequestHeader::decode(r, api_key.request_header_version(api_version))?;
        Ok(Self {
            api_key,
            api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
        })
    }

    /// Appends this header.
    ///
    /// # Errors
    /// The client id is too long.
    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let header = RequestHeader {
            request_api_key: self.api_key.code(),
            request_api_version: self.api_version,
            correlation_id: self.correlation_id,
            client_id: self.client_id.clone(),
        };
        header.encode(w, self.api_key.request_header_version(self.api_version))
    }

    /// Appends the header of the response to this request.
    pub fn encode_response(&self, w: &mut Writer) {
        encode_response_header(
            w,
            self.api_key.response_header_version(self.api_version),
            self.correlation_id,
        );
    }
}

/// Appends a response's header.
pub fn encode_response_header(w: &mut Writer, header_version: i16, correlation_id: i32) {
    // Written by hand: it is in every response, and cannot fail.
    w.i32(correlation_id);
    if header_version > 0 {
        w.unsigned_varint(0);
    }
}

/// Reads a response's header and leaves the response; gives the correlation id.
///
/// # Errors
/// The bytes are no header.
pub fn decode_response_header(r: &mut Reader, header_version: i16) -> Result<i32, DecodeError> {
    ResponseHeader::decode(r, header_version).map(|header| header.correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn head(api_key: ApiKey, api_version: i16) -> RequestHead {
        RequestHead { api_key, api_version, correlation_id: 7, client_id: Some(Str::from("c")) }
    }

    fn check(head: &RequestHead, expected: &[u8]) {
        let mut w = Writer::new();
        head.encode(&mut w).unwrap();
        w.raw(b"body");
        assert_eq!(w.as_slice(), [expected, b"body"].concat());
        let mut r = Reader::new(Bytes::from(w.into_vec()));
        assert_eq!(RequestHead::decode(&mut r).as_ref(), Ok(head));
        assert_eq!(r.rest(), "body");
    }

    #[test]
    fn the_client_id_keeps_its_fixed_length_in_the_flexible_header() {
        check(&head(ApiKey::Produce, 8), &[0, 0, 0, 8, 0, 0, 0, 7, 0, 1, b'c']);
        check(&head(ApiKey::Produce, 9), &[0, 0, 0, 9, 0, 0, 0, 7, 0, 1, b'c', 0]);
    }

    #[test]
    fn a_version_that_does_not_exist_yet_still_has_a_header() {
        check(&head(ApiKey::ApiVersions, 99), &[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0]);
    }

    #[test]
    fn an_unknown_kind_is_told_apart_from_a_broken_header() {
        let decode =
            |bytes: &'static [u8]| RequestHead::decode(&mut Reader::new(Bytes::from_static(bytes)));
        assert_eq!(
            decode(&[0, 5, 0, 1]),
            Err(HeaderError::UnknownApiKey { code: 5, api_version: 1 })
        );
        for length in 0..12 {
            let header = &[0, 0, 0, 9, 0, 0, 0, 7, 0, 1, b'c', 0][..length];
            assert!(matches!(decode(header), Err(HeaderError::Malformed(_))), "{length}");
        }
    }

    #[test]
    fn a_response_header_is_read_back() {
        for version in 0..=1 {
            let mut w = Writer::new();
            encode_response_header(&mut w, version, 42);
            let mut r = Reader::new(Bytes::from(w.into_vec()));
            assert_eq!(decode_response_header(&mut r, version), Ok(42));
            assert_eq!(r.finish(), Ok(()));
        }
    }
}
