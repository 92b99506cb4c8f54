//! The cluster as a client sees it: brokers, topics, and whom to ask for what. Never keeps a
//! borrow across an await: all clones of a [`Client`] may be used at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use klamm_env::Env;
use klamm_model::{ErrorCode, NodeId, PartitionIndex, TopicId};
use klamm_protocol::{
    FindCoordinatorRequest, MetadataRequest, MetadataResponse, Request,
    metadata_request::MetadataRequestTopic, metadata_response::MetadataResponsePartition,
};
use klamm_stdx::Str;

use crate::connection::{Connection, ConnectionOptions};
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// Attempts of a call whose connection failed.
const CALL_ATTEMPTS_MAX: u32 = 3;

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Brokers to ask first, as host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// How to talk to them.
    pub connection: ConnectionOptions,
}

impl ClientOptions {
    /// From Kafka's form: `host:port,host:port`.
    ///
    /// # Errors
    /// A part of the text is no host and port.
    pub fn parse(bootstrap: &str) -> Result<Self> {
        let mut parsed = Vec::new();
        for part in bootstrap.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let pair = part
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
                .filter(|(host, port)| !host.is_empty() && *port > 0);
            let Some((host, port)) = pair else {
                return Err(ClientError::Invalid(format!(
                    "'{part}' is no broker: expected host:port"
                )));
            };
            parsed.push((host.trim_matches(['[', ']']).to_owned(), port));
        }
        if parsed.is_empty() {
            return Err(ClientError::Invalid("no broker is named: expected host:port".into()));
        }
        Ok(Self { bootstrap: parsed, connection: ConnectionOptions::default() })
    }
}

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

/// What a coordinator looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinated {
    /// A group.
    Group,
    /// A transactional id.
    TransactionalId,
}

impl Coordinated {
    /// Kafka: `CoordinatorType`.
    fn to_wire(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::TransactionalId => 1,
        }
    }
}

impl std::fmt::Display for Coordinated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::TransactionalId => "transactional id",
        })
    }
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

    /// Forgets what is known of a topic, after a broker said that it is wrong.
    pub fn forget_topic(&self, name: &str) {
        self.inner.state.borrow_mut().topics.remove(name);
    }

    /// The broker that coordinates a group.
    ///
    /// # Errors
    /// There is none for too long.
    pub async fn group_coordinator(&self, group_id: &Str) -> Result<NodeId> {
        self.coordinator(Coordinated::Group, group_id).await
    }

    /// The broker that coordinates a group or a transactional id.
    ///
    /// # Errors
    /// There is none for too long.
    pub async fn coordinator(&self, what: Coordinated, name: &Str) -> Result<NodeId> {
        let key_type = what.to_wire();
        let mut retry = Retry::default();
        loop {
            let version = self.any().await?.version(klamm_protocol::ApiKey::FindCoordinator)?;
            let request = match version {
                ..=3 => {
                    FindCoordinatorRequest { key: name.clone(), key_type, ..Default::default() }
                }
                _ => FindCoordinatorRequest {
                    key_type,
                    coordinator_keys: vec![name.clone()],
                    ..Default::default()
                },
            };
            let response = self.call(&request).await?;
            let found = match response.coordinators.into_iter().next() {
                Some(found) => found,
                None => klamm_protocol::find_coordinator_response::Coordinator {
                    key: name.clone(),
                    node_id: response.node_id,
                    host: response.host,
                    port: response.port,
                    error_code: response.error_code,
                    error_message: response.error_message,
                },
            };
            if found.error_code == 0 {
                let mut state = self.inner.state.borrow_mut();
                state.learn_broker(found.node_id, &found.host, found.port);
                return Ok(NodeId(found.node_id));
            }
            let what = format!("finding the coordinator of {what} '{name}'");
            let error =
                ClientError::refused(found.error_code, found.error_message.as_deref(), &what);
            if !(error.is_retriable() && retry.again().await) {
                return Err(error);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_by_host_and_port() {
        let parse = |text| ClientOptions::parse(text).map(|options| options.bootstrap);
        assert_eq!(parse("a:1, b:2").unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(parse("[::1]:9092").unwrap(), [("::1".to_owned(), 9092)]);
    }

    #[test]
    fn a_broker_without_host_or_port_is_refused() {
        for text in ["", ",", "a", "a:", ":9092", "a:0", "a:65536", "a:x", "a:1,b"] {
            assert!(matches!(ClientOptions::parse(text), Err(ClientError::Invalid(_))), "{text}");
        }
    }
}
