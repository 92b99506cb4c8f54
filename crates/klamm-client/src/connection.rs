//! One connection to one broker: requests out, answers in, in the same order. Many requests may
//! be on their way at once; a task of the worker reads and writes.

mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_env::net::Socket;
use klamm_env::task;
use klamm_protocol::{ApiKey, ApiVersionsRequest, Request, RequestHead, decode_response_header};
use klamm_stdx::Str;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::{ClientError, Result};
use wire::{Outgoing, Waiting};

/// Requests that wait to be written; more make the caller wait. A producer has five in flight.
const WAITING_REQUESTS_MAX: usize = 64;
/// The version of the first question: every broker since 2.4 serves it, and answers older and
/// newer ones in a form that can be read.
const API_VERSIONS_VERSION: i16 = 3;

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

/// A connection. A clone is the same connection; it closes with its last clone.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Rc<Shared>,
    requests: mpsc::Sender<Outgoing>,
}

#[derive(Debug)]
struct Shared {
    options: ConnectionOptions,
    versions: RefCell<HashMap<ApiKey, RangeInclusive<i16>>>,
    /// The cluster's feature levels, when the connection was opened.
    features: RefCell<HashMap<Str, i16>>,
    next_correlation_id: Cell<i32>,
    /// Why it ended, once it has.
    ended: RefCell<Option<Arc<io::Error>>>,
    /// Told when the connection is to end although it works: an answer did not come.
    give_up: Notify,
}

/// An answer that is still to come.
#[derive(Debug)]
pub struct PendingAnswer<R> {
    shared: Rc<Shared>,
    /// Keeps the connection open until the answer is here.
    _requests: mpsc::Sender<Outgoing>,
    frame: oneshot::Receiver<Bytes>,
    key: ApiKey,
    version: i16,
    limit: Duration,
    request: PhantomData<R>,
}

impl Connection {
    /// Connects and asks for the versions that the broker serves.
    ///
    /// # Errors
    /// Nobody answers, or who answers does not speak Kafka's protocol.
    pub async fn open(host: &str, port: u16, options: ConnectionOptions) -> Result<Self> {
        let unreachable = |error| ClientError::Unreachable {
            address: format!("{host}:{port}"),
            error: Arc::new(error),
        };
        let socket =
            Socket::connect(host, port, options.connect_timeout).await.map_err(unreachable)?;
        let shared = Rc::new(Shared {
            options,
            versions: RefCell::default(),
            features: RefCell::default(),
            next_correlation_id: Cell::new(0),
            ended: RefCell::new(None),
            give_up: Notify::new(),
        });
        let (requests, outgoing) = mpsc::channel(WAITING_REQUESTS_MAX);
        task::spawn_local(drive(socket, Rc::clone(&shared), outgoing));
        let this = Self { shared, requests };
        this.learn_versions().await?;
        Ok(this)
    }

    async fn learn_versions(&self) -> Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("klamm"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        };
        let response = self.call_version(&request, API_VERSIONS_VERSION).await?;
        if response.error_code != 0 {
            return Err(ClientError::refused(response.error_code, None, "asking for API versions"));
        }
        let levels = response.finalized_features.iter();
        *self.shared.features.borrow_mut() =
            levels.map(|feature| (feature.name.detached(), feature.max_version_level)).collect();
        let mut versions = self.shared.versions.borrow_mut();
        for api in response.api_keys {
            if let Some(key) = ApiKey::from_code(api.api_key) {
                versions.insert(key, api.min_version..=api.max_version);
            }
        }
        Ok(())
    }

    /// Whether the connection has ended; a new one is needed then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.ended.borrow().is_some()
    }

    /// The highest version of an API that both sides know.
    ///
    /// # Errors
    /// There is none.
    pub fn version(&self, api: ApiKey) -> Result<i16> {
        let own = api.stable_versions();
        let versions = self.shared.versions.borrow();
        let served = versions.get(&api).ok_or(ClientError::NotServed { api })?;
        let version = *served.end().min(own.end());
        if own.contains(&version) && served.contains(&version) {
            Ok(version)
        } else {
            Err(ClientError::NotServed { api })
        }
    }

    /// The level of a feature when the connection was opened; 0 if it has none (KIP-584).
    #[must_use]
    pub fn feature_level(&self, feature: &str) -> i16 {
        self.shared.features.borrow().get(feature).copied().unwrap_or(0)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing in the response is looked at.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.call_version(request, self.version(R::KEY)?).await
    }

    /// As [`Connection::call`], in a version of the caller's choice.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_version<R: Request>(&self, request: &R, version: i16) -> Result<R::Response> {
        self.start(request, version).await?.answer().await
    }

    /// Sends a request; its answer is waited for by [`PendingAnswer::answer`]. Requests leave in
    /// the order of these calls.
    ///
    /// # Errors
    /// The connection has ended, or the request cannot be told in this version.
    pub async fn start<R: Request>(&self, request: &R, version: i16) -> Result<PendingAnswer<R>> {
        let (sender, frame) = oneshot::channel();
        self.send(request, version, Some(sender)).await?;
        Ok(PendingAnswer {
            shared: Rc::clone(&self.shared),
            _requests: self.requests.clone(),
            frame,
            key: R::KEY,
            version,
            limit: self.shared.options.request_timeout,
            request: PhantomData,
        })
    }

    /// Sends a request that has no answer: a produce with acks=0.
    ///
    /// # Errors
    /// As [`Connection::start`].
    pub async fn send_only<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        self.send(request, version, None).await
    }

    async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        answer: Option<oneshot::Sender<Bytes>>,
    ) -> Result<()> {
        let correlation_id = self.shared.next_correlation_id.get();
        self.shared.next_correlation_id.set(correlation_id.wrapping_add(1));
        let head = RequestHead {
            api_key: R::KEY,
            api_version: version,
            correlation_id,
            client_id: Some(self.shared.options.client_id.clone()),
        };
        let mut w = Writer::new();
        w.i32(0);
        head.encode(&mut w)?;
        request.encode(&mut w, version)?;
        let len = i32::try_from(w.len() - 4)
            .map_err(|_| ClientError::Invalid("the request is too large".into()))?;
        w.set_i32(0, len);
        let outgoing = Outgoing { frame: w.into_vec(), correlation_id, answer };
        self.requests.send(outgoing).await.map_err(|_| self.shared.end())
    }
}

impl Shared {
    fn end(&self) -> ClientError {
        match &*self.ended.borrow() {
            Some(error) => ClientError::Disconnected(Arc::clone(error)),
            None => ClientError::disconnected(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl<R: Request> PendingAnswer<R> {
    /// With another patience than the connection's: for requests that wait at the broker.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// See [`ClientError`]. After a timeout the connection is given up: what comes later on it
    /// has nobody who waits.
    pub async fn answer(self) -> Result<R::Response> {
        let frame = match task::timeout(self.limit, self.frame).await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Err(self.shared.end()),
            None => {
                self.shared.give_up.notify_one();
                return Err(ClientError::TimedOut { api: self.key });
            }
        };
        let mut reader = Reader::new(frame);
        decode_response_header(&mut reader, self.key.response_header_version(self.version))?;
        let response = R::Response::decode(&mut reader, self.version)?;
        reader.finish()?;
        Ok(response)
    }
}

/// Reads and writes until the connection ends or nobody holds it.
async fn drive(socket: Socket, shared: Rc<Shared>, outgoing: mpsc::Receiver<Outgoing>) {
    let waiting = Waiting::default();
    let error = tokio::select! {
        biased;
        error = wire::read(&socket, &waiting) => error,
        error = wire::write(&socket, &waiting, outgoing) => error,
        () = shared.give_up.notified() => io::ErrorKind::TimedOut.into(),
    };
    *shared.ended.borrow_mut() = Some(Arc::new(error));
}
