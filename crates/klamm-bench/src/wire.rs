//! One blocking connection: frames that were encoded beforehand, and answers into one buffer.
//! Never reconnects: a broken connection voids the window.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_protocol::{Request, RequestHead, decode_response_header};
use klamm_stdx::Str;

use crate::LoadError;

/// Longest wait for an answer: far above any broker's slowest, so that only a hang reaches it.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest answer that is taken: what the largest fetch here asks for is a sixth of it.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a frame holds its correlation id: after the length, the key and the version.
const CORRELATION_ID: std::ops::Range<usize> = 8..12;

/// A request as bytes, with its length in front.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    /// Encodes a request.
    ///
    /// # Errors
    /// The version cannot tell the request.
    pub fn encode<R: Request>(request: &R, version: i16) -> Result<Self, LoadError> {
        let head = RequestHead {
            api_key: R::KEY,
            api_version: version,
            correlation_id: 0,
            client_id: Some(Str::from_static("klamm-load")),
        };
        let mut w = Writer::new();
        w.i32(0);
        head.encode(&mut w)?;
        request.encode(&mut w, version)?;
        let mut bytes = w.into_vec();
        let len = u32::try_from(bytes.len() - 4)
            .map_err(|_| LoadError::unexpected(format!("a frame of {} bytes", bytes.len())))?;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        Ok(Self { bytes })
    }

    /// The bytes, under a correlation id.
    pub fn stamped(&mut self, correlation_id: i32) -> &[u8] {
        self.bytes[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        &self.bytes
    }
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(address: SocketAddr) -> Result<Self, LoadError> {
        let doing = |error| LoadError::system(format!("connect to {address}"), error);
        let stream = TcpStream::connect(address).map_err(doing)?;
        stream.set_nodelay(true).map_err(doing)?;
        stream.set_read_timeout(Some(ANSWER_WAIT_MAX)).map_err(doing)?;
        stream.set_write_timeout(Some(ANSWER_WAIT_MAX)).map_err(doing)?;
        Ok(Self { stream, next_correlation_id: 0 })
    }

    /// The socket, for a loop over many.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends a frame; gives its correlation id.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, frame: &mut Frame) -> Result<i32, LoadError> {
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let bytes = frame.stamped(self.next_correlation_id);
        self.stream.write_all(bytes).map_err(|error| LoadError::system("send a request", error))?;
        Ok(self.next_correlation_id)
    }

    /// Receives the answer to a request that was sent.
    ///
    /// # Errors
    /// Those of the socket; the bytes are not that answer.
    pub fn receive<R: Request>(
        &mut self,
        correlation_id: i32,
        version: i16,
    ) -> Result<R::Response, LoadError> {
        let doing = |error| LoadError::system("receive an answer", error);
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(doing)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(LoadError::unexpected(format!("an answer of {length} bytes")));
        }
        let mut answer = Vec::with_capacity(length);
        (&mut self.stream).take(length as u64).read_to_end(&mut answer).map_err(doing)?;
        decode_answer::<R>(Bytes::from(answer), correlation_id, version)
    }

    /// Sends a request and receives its answer.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`].
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, LoadError> {
        let correlation_id = self.send(&mut Frame::encode(request, version)?)?;
        self.receive::<R>(correlation_id, version)
    }
}

/// Reads an answer, without its length.
///
/// # Errors
/// The bytes are not the answer to this request.
pub fn decode_answer<R: Request>(
    answer: Bytes,
    correlation_id: i32,
    version: i16,
) -> Result<R::Response, LoadError> {
    let mut r = Reader::new(answer);
    let answered = decode_response_header(&mut r, R::KEY.response_header_version(version))?;
    if answered != correlation_id {
        return Err(LoadError::unexpected(format!("answer {answered}, not {correlation_id}")));
    }
    let response = R::Response::decode(&mut r, version)?;
    r.finish()?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_protocol::{ApiVersionsRequest, ProduceRequest};

    #[test]
    fn a_frame_starts_with_its_length_and_bears_the_correlation_id_that_it_is_sent_under() {
        let mut frame = Frame::encode(&ProduceRequest::default(), 12).unwrap();
        let bytes = frame.stamped(77).to_vec();
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let head = RequestHead::decode(&mut Reader::new(Bytes::from(bytes).slice(4..))).unwrap();
        assert_eq!(head.correlation_id, 77);
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let answer = Bytes::from_static(&[0, 0, 0, 9]);
        let error = decode_answer::<ApiVersionsRequest>(answer, 8, 0).unwrap_err();
        assert_eq!(error.to_string(), "answer 9, not 8");
    }

    #[test]
    fn a_torn_answer_is_refused() {
        let answer = Bytes::from_static(&[0, 0, 0, 9, 0]);
        let error = decode_answer::<ApiVersionsRequest>(answer, 9, 0).unwrap_err();
        assert!(matches!(error, LoadError::Decode(_)), "{error}");
    }
}
