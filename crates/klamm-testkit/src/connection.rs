//! One connection and its frames, as they are: whatever a test wants to send is sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_protocol::{ApiKey, Request, RequestHead, decode_response_header};
use klamm_stdx::Str;

use crate::wait::WAIT_MAX;

/// Longest answer that is taken: Kafka's own bound for requests.
const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// A connection to a broker.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        Ok(Self { stream, next_correlation_id: 1 })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket; a broker that closed the connection is one.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame: its length and then its content.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_frame(&mut self, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.send_bytes(&[&length.to_be_bytes(), content].concat())
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends a request; gives its correlation id.
    ///
    /// # Errors
    /// Those of the socket; the version cannot tell the request.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> io::Result<i32> {
        let correlation_id = self.correlation_id();
        let frame = frame_of(&head(R::KEY, version, correlation_id), request)?;
        self.send_frame(&frame)?;
        Ok(correlation_id)
    }

    fn correlation_id(&mut self) -> i32 {
        self.next_correlation_id += 1;
        self.next_correlation_id
    }

    /// The next frame; `None` if the broker closed the connection instead.
    ///
    /// # Errors
    /// Those of the socket, and a broker that does neither in time.
    pub fn receive_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        if !read_or_closed(&mut self.stream, &mut length)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut frame = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut frame)?;
        if frame.len() < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Bytes::from(frame)))
    }

    /// Whether the broker closes the connection without another word.
    ///
    /// # Errors
    /// The broker does nothing in time.
    pub fn is_closed(&mut self) -> io::Result<bool> {
        Ok(self.receive_frame()?.is_none())
    }

    /// Receives the answer to a request that was sent.
    ///
    /// # Errors
    /// The connection was closed, or the bytes are not that answer.
    pub fn receive<R: Request>(
        &mut self,
        correlation_id: i32,
        version: i16,
    ) -> io::Result<R::Response> {
        let frame = self.receive_frame()?.ok_or_else(|| {
            io::Error::new(
                ErrorKind::ConnectionAborted,
                format!("closed instead of an answer to {} v{version}", R::KEY),
            )
        })?;
        let mut r = Reader::new(frame);
        let answered = decode_response_header(&mut r, R::KEY.response_header_version(version))
            .map_err(io::Error::other)?;
        if answered != correlation_id {
            return Err(io::Error::other(format!("answer {answered}, not {correlation_id}")));
        }
        let response = R::Response::decode(&mut r, version).map_err(io::Error::other)?;
        r.finish().map_err(io::Error::other)?;
        Ok(response)
    }

    /// Sends a request and receives its answer.
    ///
    /// # Errors
    /// As [`RawConnection::send`] and [`RawConnection::receive`].
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        let correlation_id = self.send(request, version)?;
        self.receive::<R>(correlation_id, version)
    }
}

/// A header such as tests send.
#[must_use]
pub fn head(api_key: ApiKey, api_version: i16, correlation_id: i32) -> RequestHead {
    let client_id = Some(Str::from_static("testkit"));
    RequestHead { api_key, api_version, correlation_id, client_id }
}

/// A request with its header, without the length.
///
/// # Errors
/// The version cannot tell the request.
pub fn frame_of<M: Message>(head: &RequestHead, request: &M) -> io::Result<Vec<u8>> {
    let mut w = Writer::new();
    head.encode(&mut w)
        .and_then(|()| request.encode(&mut w, head.api_version))
        .map_err(io::Error::other)?;
    Ok(w.into_vec())
}

/// Fills `buffer`; `false` if the connection was closed before its first byte.
fn read_or_closed(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    match stream.read_exact(buffer) {
        Ok(()) => Ok(true),
        // A peer that closes with unread bytes in its socket resets the connection.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
