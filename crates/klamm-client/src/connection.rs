//! One connection to one broker: requests out, answers in, in the same order.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_env::net::Socket;
use klamm_env::task;
use klamm_protocol::{ApiKey, ApiVersionsRequest, Request, RequestHead, decode_response_header};
use klamm_stdx::Str;

use crate::error::{ClientError, Result};

/// Largest answer that is taken.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes read at once before a frame's length is known.
const READ_BYTES: usize = 16 * 1024;

/// How to talk to brokers.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// What we call ourselves.
    pub client_id: Str,
    /// Patience for a connection.
    pub connect_timeout: Duration,
    /// Patience for an answer.
    pub request_timeout: Duration,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: Str::from_static("klamm"),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    options: ConnectionOptions,
    versions: HashMap<ApiKey, RangeInclusive<i16>>,
    next_correlation_id: i32,
    in_flight: VecDeque<(ApiKey, i16, i32)>,
    received: Vec<u8>,
}

impl Connection {
    /// Connects and asks for the versions that the broker serves.
    ///
    /// # Errors
    /// Nobody answers, or who answers does not speak Kafka's protocol.
    pub async fn open(host: &str, port: u16, options: ConnectionOptions) -> Result<Self> {
        let unreachable =
            |error| ClientError::Unreachable { address: format!("{host}:{port}"), error };
        let socket =
            Socket::connect(host, port, options.connect_timeout).await.map_err(unreachable)?;
        let mut this = Self {
            socket,
            options,
            versions: HashMap::new(),
            next_correlation_id: 0,
            in_flight: VecDeque::new(),
            received: Vec::new(),
        };
        this.learn_versions().await?;
        Ok(this)
    }

    async fn learn_versions(&mut self) -> Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("klamm"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..ApiVersionsRequest::default()
        };
        let response = self.call_version(&request, 3).await?;
        if response.error_code != 0 {
            return Err(ClientError::refused(response.error_code, None, "asking for API versions"));
        }
        for api in response.api_keys {
            if let Some(key) = ApiKey::from_code(api.api_key) {
                self.versions.insert(key, api.min_version..=api.max_version);
            }
        }
        Ok(())
    }

    /// The versions that the broker serves.
    #[must_use]
    pub fn served(&self) -> &HashMap<ApiKey, RangeInclusive<i16>> {
        &self.versions
    }

    /// The highest version of an API that both sides know.
    ///
    /// # Errors
    /// There is none.
    pub fn version(&self, api: ApiKey) -> Result<i16> {
        let own = api.stable_versions();
        let version = self.versions.get(&api).map(|served| *served.end().min(own.end()));
        version
            .filter(|v| own.contains(v) && self.versions[&api].contains(v))
            .ok_or(ClientError::NotServed { api })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing in the response is looked at.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response> {
        let version = self.version(R::KEY)?;
        self.call_version(request, version).await
    }

    /// As [`Connection::call`], in a version of the caller's choice.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call_version<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response> {
        self.send(request, version).await?;
        self.receive::<R>().await
    }

    /// Sends a request without waiting. Answers come in the same order.
    ///
    /// # Errors
    /// The connection is lost, or the request cannot be told in this version.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        let head = RequestHead {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.next_correlation_id,
            client_id: Some(self.options.client_id.clone()),
        };
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let mut w = Writer::new();
        w.i32(0);
        head.encode(&mut w)?;
        request.encode(&mut w, version)?;
        let len = i32::try_from(w.len() - 4)
            .map_err(|_| ClientError::Invalid("the request is too large".into()))?;
        w.set_i32(0, len);
        let frame = w.into_vec();
        self.socket.write_all(&frame).await.map_err(ClientError::Disconnected)?;
        self.in_flight.push_back((R::KEY, version, head.correlation_id));
        Ok(())
    }

    /// Forgets the oldest request that was sent: one without an answer (a produce with acks=0).
    pub fn expect_no_answer(&mut self) {
        self.in_flight.pop_back();
    }

    /// Requests whose answers are still to come.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Waits for the answer to the oldest request, which must be of this kind.
    ///
    /// # Errors
    /// See [`ClientError`]. After any the connection is of no more use.
    pub async fn receive<R: Request>(&mut self) -> Result<R::Response> {
        let Some((key, version, correlation_id)) = self.in_flight.pop_front() else {
            return Err(ClientError::Invalid("no request is waiting for an answer".into()));
        };
        assert_eq!(key, R::KEY, "answers are taken in the order of the requests");
        let limit = self.options.request_timeout;
        let frame = match task::timeout(limit, self.read_frame()).await {
            Some(frame) => frame.map_err(ClientError::Disconnected)?,
            None => return Err(ClientError::TimedOut { api: key }),
        };
        let mut reader = Reader::new(frame);
        let told = decode_response_header(&mut reader, key.response_header_version(version))?;
        if told != correlation_id {
            let text = format!("the broker answers request {told} where {correlation_id} is due");
            return Err(ClientError::Disconnected(io::Error::other(text)));
        }
        let response = R::Response::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(response)
    }

    async fn read_frame(&mut self) -> io::Result<Bytes> {
        while self.received.len() < 4 {
            self.read_some(READ_BYTES).await?;
        }
        let prefix = self.received.first_chunk::<4>().expect("four bytes are there");
        let len =
            usize::try_from(i32::from_be_bytes(*prefix)).ok().filter(|len| *len <= FRAME_BYTES_MAX);
        let Some(len) = len else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer's length is impossible",
            ));
        };
        while self.received.len() < 4 + len {
            let missing = 4 + len - self.received.len();
            self.read_some(missing.clamp(READ_BYTES, 1024 * 1024)).await?;
        }
        let rest = self.received.split_off(4 + len);
        let frame = std::mem::replace(&mut self.received, rest);
        Ok(Bytes::from(frame).slice(4..))
    }

    async fn read_some(&mut self, bytes_max: usize) -> io::Result<()> {
        let filled = self.received.len();
        self.received.resize(filled + bytes_max, 0);
        let result = loop {
            if let Err(e) = self.socket.readable().await {
                break Err(e);
            }
            match self.socket.try_read(&mut self.received[filled..]) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => break result,
            }
        };
        self.received.truncate(filled + result.as_ref().unwrap_or(&0));
        result.map(drop)
    }
}
