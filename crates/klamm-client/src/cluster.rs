//! The cluster as a client sees it: brokers, topics, and whom to ask for what.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use klamm_env::task;
use klamm_model::{ErrorCode, NodeId, PartitionIndex, TopicId};
use klamm_protocol::{
    FindCoordinatorRequest, MetadataRequest, MetadataResponse, Request,
    metadata_request::MetadataRequestTopic,
};
use klamm_stdx::Str;

use crate::connection::{Connection, ConnectionOptions};
use crate::error::{ClientError, Result};

/// Attempts of a call that fails for a passing reason.
const ATTEMPTS_MAX: u32 = 20;
/// Pause before the second attempt; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

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
            let pair =
                part.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
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

/// A cluster and the connections to its brokers.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    bootstrap: Option<Connection>,
    brokers: HashMap<NodeId, (String, u16)>,
    connections: HashMap<NodeId, Connection>,
    topics: HashMap<Str, TopicInfo>,
}

impl Client {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self {
            options,
            bootstrap: None,
            brokers: HashMap::new(),
            connections: HashMap::new(),
            topics: HashMap::new(),
        }
    }

    /// Asks any broker, trying again while that may help.
    ///
    /// # Errors
    /// No broker could be asked.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response> {
        let mut pause = RETRY_PAUSE_MIN;
        let mut attempt = 1;
        loop {
            let result = match self.any().await {
                Ok(connection) => connection.call(request).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.code().is_none() && error.is_retriable() && attempt < 3 => {
                    self.bootstrap = None;
                    task::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// A connection to some broker.
    ///
    /// # Errors
    /// None of the brokers answers.
    pub async fn any(&mut self) -> Result<&mut Connection> {
        if self.bootstrap.is_none() {
            let mut last = ClientError::Invalid("no broker is named".into());
            for (host, port) in self.options.bootstrap.clone() {
                match Connection::open(&host, port, self.options.connection.clone()).await {
                    Ok(connection) => {
                        self.bootstrap = Some(connection);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            if self.bootstrap.is_none() {
                return Err(last);
            }
        }
        Ok(self.bootstrap.as_mut().expect("it was just made sure of"))
    }

    /// A connection to one broker.
    ///
    /// # Errors
    /// The broker is unknown or does not answer.
    pub async fn broker(&mut self, id: NodeId) -> Result<&mut Connection> {
        if !self.connections.contains_key(&id) {
            let Some((host, port)) = self.brokers.get(&id).cloned() else {
                return Err(ClientError::Invalid(format!("broker {id} is unknown")));
            };
            let connection = Connection::open(&host, port, self.options.connection.clone()).await?;
            self.connections.insert(id, connection);
        }
        Ok(self.connections.get_mut(&id).expect("it was just made sure of"))
    }

    /// Forgets the connection to a broker, after it failed.
    pub fn disconnect(&mut self, id: NodeId) {
        self.connections.remove(&id);
    }

    /// Every broker that is known.
    #[must_use]
    pub fn brokers(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.brokers.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Asks for the cluster's metadata: of these topics, or of all.
    ///
    /// # Errors
    /// No broker could be asked.
    pub async fn metadata(
        &mut self,
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
        for broker in &response.brokers {
            let port = u16::try_from(broker.port).unwrap_or(0);
            self.brokers.insert(NodeId(broker.node_id), (broker.host.to_string(), port));
        }
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().filter(|_| topic.error_code == 0) else {
                continue;
            };
            let leader = |p: &klamm_protocol::metadata_response::MetadataResponsePartition| {
                let is_led = p.error_code == 0 && p.leader_id >= 0;
                (p.partition_index, is_led.then_some(NodeId(p.leader_id)))
            };
            let leaders = topic.partitions.iter().map(leader).collect();
            self.topics.insert(name.detached(), TopicInfo { topic_id: topic.topic_id, leaders });
        }
        Ok(response)
    }

    /// A topic with a leader for each partition, waiting for elections and, where allowed, for
    /// its creation.
    ///
    /// # Errors
    /// It does not exist, or has no leaders for too long.
    pub async fn topic(&mut self, name: &Str, create: AutoCreate) -> Result<TopicInfo> {
        if let Some(known) = self.topics.get(name)
            && known.leaders.values().all(Option::is_some)
        {
            return Ok(known.clone());
        }
        let mut pause = RETRY_PAUSE_MIN;
        let mut last = ErrorCode::UnknownTopicOrPartition;
        for _ in 0..ATTEMPTS_MAX {
            let response = self.metadata(Some(std::slice::from_ref(name)), create).await?;
            let code = response.topics.first().map_or(3, |topic| topic.error_code);
            last = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            if last.is_none() {
                let topic = &self.topics[name];
                if topic.leaders.values().all(Option::is_some) {
                    return Ok(topic.clone());
                }
                last = ErrorCode::LeaderNotAvailable;
            }
            let may_come =
                create == AutoCreate::Allowed || last != ErrorCode::UnknownTopicOrPartition;
            if !last.is_retriable() || !may_come {
                break;
            }
            task::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
        Err(ClientError::refused(last.code(), None, &format!("topic '{name}'")))
    }

    /// Forgets what is known of a topic, after a broker said that it is wrong.
    pub fn forget_topic(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// The broker that coordinates a group.
    ///
    /// # Errors
    /// There is none for too long.
    pub async fn group_coordinator(&mut self, group_id: &Str) -> Result<NodeId> {
        let mut pause = RETRY_PAUSE_MIN;
        let mut last = ClientError::Invalid("the coordinator was not asked for".into());
        for _ in 0..ATTEMPTS_MAX {
            let request = FindCoordinatorRequest {
                coordinator_keys: vec![group_id.clone()],
                ..FindCoordinatorRequest::default()
            };
            let response = self.call(&request).await?;
            let Some(found) = response.coordinators.into_iter().next() else {
                return Err(ClientError::Invalid("the broker named no coordinator".into()));
            };
            if found.error_code == 0 {
                let id = NodeId(found.node_id);
                let port = u16::try_from(found.port).unwrap_or(0);
                self.brokers.insert(id, (found.host.to_string(), port));
                return Ok(id);
            }
            let what = format!("finding the coordinator of group '{group_id}'");
            last = ClientError::refused(found.error_code, found.error_message.as_deref(), &what);
            if !last.is_retriable() {
                break;
            }
            task::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
        Err(last)
    }
}

/// Whether asking for a topic may create it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCreate {
    /// If the broker is configured to.
    Allowed,
    /// Never.
    Never,
}
