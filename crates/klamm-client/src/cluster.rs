//! The cluster as a client sees it: brokers, topics, and whom to ask for what. Never keeps a
//! borrow across an await: all clones of a [`Client`] may be used at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use klamm_env::Env;
use klamm_model::{ErrorCode, NodeId, PartitionIndex, TopicId};
use klamm_protocol::{
    MetadataRequest, MetadataResponse, Request, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponsePartition,
};
use klamm_stdx::Str;

use crate::client_options::ClientOptions;
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// Attempts of a call whose connection failed.
const CALL_ATTEMPTS_MAX: u32 = 3;

/// What is known of a topic.
#[derive(Debug, Clone, Default)]
pub struct TopicInfo {
    /// Its id.
    pub topic_id: TopicId,
    /// Each partition's leader, if it has one.
    pub leaders: BTreeMap<PartitionIndex, Option<NodeId>>,
}

/// Whether asking for a topic may create it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCreate {
    /// If the broker is configured to.
    Allowed,
    /// Never.
    Never,
}

/// What a connection is for. A request that waits at the broker holds up those behind it, so a
/// group's membership does not share a connection with its fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Records and offsets.
    Data,
    /// A group's coordinator.
    Coordinator,
}

/// A cluster and the connections to its brokers. A clone is the same client.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    options: ClientOptions,
    state: RefCell<State>,
    /// Held while connecting, so that two callers do not open the same connection twice.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    bootstrap: Option<Connection>,
    brokers: HashMap<NodeId, (String, u16)>,
    connections: HashMap<(NodeId, Purpose), Connection>,
    topics: HashMap<Str, TopicInfo>,
}

impl Client {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(env: Env, options: ClientOptions) -> Self {
        let state = RefCell::default();
        let connecting = tokio::sync::Mutex::new(());
        Self { inner: Rc::new(Inner { env, options, state, connecting }) }
    }

    /// Clock and random source.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// Asks any broker, trying again while that may help.
    ///
    /// # Errors
    /// No broker could be asked.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        let mut retry = Retry::new(CALL_ATTEMPTS_MAX);
        loop {
            let result = match self.any().await {
                Ok(connection) => connection.call(request).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_retriable() && retry.again().await => {}
                other => return other,
            }
        }
    }

    /// A connection to some broker: one that is open, or the first that answers.
    ///
    /// # Errors
    /// None of the brokers answers.
    pub async fn any(&self) -> Result<Connection> {
        let _connecting = self.inner.connecting.lock().await;
        let open = |state: &State| state.bootstrap.clone().filter(|c| !c.is_closed());
        if let Some(connection) = open(&self.inner.state.borrow()) {
            return Ok(connection);
        }
        let mut addresses = self.inner.options.bootstrap.clone();
        addresses.extend(self.inner.state.borrow().brokers.values().cloned());
        let mut last = ClientError::Invalid("no broker is named".into());
        for (host, port) in addresses {
            match Connection::open(&host, port, self.inner.options.connection.clone()).await {
                Ok(connection) => {
                    self.inner.state.borrow_mut().bootstrap = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A connection to one broker.
    ///
    /// # Errors
    /// The broker is unknown or does not answer.
    pub async fn broker(&self, id: NodeId, purpose: Purpose) -> Result<Connection> {
        let _connecting = self.inner.connecting.lock().await;
        let open = |state: &State| state.connections.get(&(id, purpose)).cloned();
        if let Some(connection) = open(&self.inner.state.borrow()).filter(|c| !c.is_closed()) {
            return Ok(connection);
        }
        let address = self.inner.state.borrow().brokers.get(&id).cloned();
        let Some((host, port)) = address else {
            return Err(ClientError::Invalid(format!("broker {id} is unknown")));
        };
        let options = self.inner.options.connection.clone();
        let connection = Connection::open(&host, port, options).await?;
        self.inner.state.borrow_mut().connections.insert((id, purpose), connection.clone());
        Ok(connection)
    }

    /// Asks for the cluster's metadata: of these topics, or of all.
    ///
    /// # Errors
    /// No broker could be asked.
    pub async fn metadata(
        &self,
        topics: Option<&[Str]>,
        create: AutoCreate,
    ) -> Result<MetadataResponse> {
        let wanted =
            |name: &Str| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|names| names.iter().map(wanted).collect()),
            allow_auto_topic_creation: create == AutoCreate::Allowed,
            ..MetadataRequest::default()
        };
        let response = self.call(&request).await?;
        let mut state = self.inner.state.borrow_mut();
        for broker in &response.brokers {
            state.learn_broker(broker.node_id, &broker.host, broker.port);
        }
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().filter(|_| topic.error_code == 0) else {
                continue;
            };
            let leader = |p: &MetadataResponsePartition| {
                let is_led = p.error_code == 0 && p.leader_id >= 0;
                (p.partition_index, is_led.then_some(NodeId(p.leader_id)))
            };
            let leaders = topic.partitions.iter().map(leader).collect();
            state.topics.insert(name.detached(), TopicInfo { topic_id: topic.topic_id, leaders });
        }
        drop(state);
        Ok(response)
    }

    /// A topic with a leader for each partition, waiting for elections and, where allowed, for
    /// its creation.
    ///
    /// # Errors
    /// It does not exist, or has no leaders for too long.
    pub async fn topic(&self, name: &Str, create: AutoCreate) -> Result<TopicInfo> {
        let is_led = |topic: &TopicInfo| {
            !topic.leaders.is_empty() && topic.leaders.values().all(Option::is_some)
        };
        if let Some(known) = self.inner.state.borrow().topics.get(name)
            && is_led(known)
        {
            return Ok(known.clone());
        }
        let mut retry = Retry::default();
        loop {
            let response = self.metadata(Some(std::slice::from_ref(name)), create).await?;
            let code = response.topics.first().map_or(3, |topic| topic.error_code);
            let mut error = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            if error.is_none() {
                let known = self.inner.state.borrow().topics.get(name).cloned();
                match known.filter(is_led) {
                    Some(topic) => return Ok(topic),
                    None => error = ErrorCode::LeaderNotAvailable,
                }
            }
            let may_come =
                create == AutoCreate::Allowed || error != ErrorCode::UnknownTopicOrPartition;
            if !(error.is_retriable() && may_come && retry.again().await) {
                return Err(ClientError::refused(error.code(), None, &format!("topic '{name}'")));
            }
        }
    }

    /// Where a broker is, as somebody has just told.
    pub(crate) fn learn_broker(&self, id: i32, host: &str, port: i32) {
        self.inner.state.borrow_mut().learn_broker(id, host, port);
    }

    /// Forgets what is known of a topic, after a broker said that it is wrong.
    pub fn forget_topic(&self, name: &str) {
        self.inner.state.borrow_mut().topics.remove(name);
    }
}

impl State {
    fn learn_broker(&mut self, id: i32, host: &str, port: i32) {
        let address = (host.to_owned(), u16::try_from(port).unwrap_or(0));
        let id = NodeId(id);
        if self.brokers.get(&id) != Some(&address) {
            self.connections.retain(|(other, _), _| *other != id);
            self.brokers.insert(id, address);
        }
    }
}
