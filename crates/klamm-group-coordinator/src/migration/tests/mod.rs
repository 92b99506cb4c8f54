//! The sentences of migration, through the shard's door.

mod downgrade;
mod members;
mod random;
mod upgrade;

use bytes::Bytes;
use klamm_codec::{Message, Writer};
use klamm_config::{BrokerConfig, GroupsConfig, Properties};
use klamm_model::{ErrorCode, GenerationId};
use klamm_persisted::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
use klamm_stdx::Str;

use crate::consumer::ConsumerLimits;
use crate::consumer::tests::{Client, GROUP, T, World};
use crate::{
    Heartbeat, JoinRequest, Joined, Leaver, LeftMember, Limits, Protocol, Request, Response, State,
    SyncRequest, Synced, Ticket,
};

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 20_000;

/// A client of the classic protocol: an eager one gives everything up before it joins.
#[derive(Debug, Clone)]
struct Classic {
    id: Str,
    instance_id: Option<Str>,
    generation: i32,
    /// Partitions of `t`.
    owned: Vec<i32>,
    topics: Vec<Str>,
    protocol: &'static str,
}

impl Classic {
    fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            instance_id: None,
            generation: -1,
            owned: Vec::new(),
            topics: vec!["t".into()],
            protocol: "range",
        }
    }

    fn fixed(id: &str, instance_id: &str) -> Self {
        Self { instance_id: Some(instance_id.into()), ..Self::new(id) }
    }

    fn cooperative(id: &str) -> Self {
        Self { protocol: "cooperative-sticky", ..Self::new(id) }
    }

    fn is_eager(&self) -> bool {
        self.protocol == "range"
    }

    fn joins(&self) -> JoinRequest {
        JoinRequest {
            member_id: if self.generation < 0 { Str::new() } else { self.id.clone() },
            instance_id: self.instance_id.clone(),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: self.protocol.into(), metadata: self.metadata() }],
            requires_known_member_id: false,
            supports_skipping_assignment: true,
            new_member_id: self.id.clone(),
        }
    }

    fn metadata(&self) -> Bytes {
        let line = consumer_protocol_subscription::TopicPartition {
            topic: "t".into(),
            partitions: self.owned.clone(),
        };
        let told = ConsumerProtocolSubscription {
            topics: self.topics.clone(),
            owned_partitions: if self.owned.is_empty() { Vec::new() } else { vec![line] },
            ..ConsumerProtocolSubscription::default()
        };
        bytes_of(&told, 3)
    }

    fn syncs(&self) -> SyncRequest {
        SyncRequest {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            generation_id: GenerationId(self.generation),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(self.protocol.into()),
            assignments: Vec::new(),
        }
    }

    fn beats(&self) -> Heartbeat {
        Heartbeat {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            generation_id: GenerationId(self.generation),
        }
    }
}

fn bytes_of<M: Message>(told: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    w.i16(version);
    told.encode(&mut w, version).unwrap();
    w.into_vec().into()
}

fn assignment(partitions: &[i32], user_data: Option<&'static str>) -> Bytes {
    let line = consumer_protocol_assignment::TopicPartition {
        topic: "t".into(),
        partitions: partitions.to_vec(),
    };
    let told = ConsumerProtocolAssignment {
        assigned_partitions: vec![line],
        user_data: user_data.map(|words| Bytes::from_static(words.as_bytes())),
    };
    bytes_of(&told, 3)
}

fn partitions(bytes: &Bytes) -> Vec<i32> {
    let told = super::embedded::assignment(bytes).unwrap();
    let mut all: Vec<i32> = told.partitions.into_iter().flat_map(|(_, p)| p).collect();
    all.sort_unstable();
    all
}

fn consumers(policy: &str) -> ConsumerLimits {
    let loaded = BrokerConfig::load(&Properties::default()).unwrap().config.groups;
    let config = GroupsConfig { consumer_migration_policy: policy.to_owned(), ..loaded };
    ConsumerLimits::new(config)
}

fn world(partitions: i32, policy: &str) -> World {
    let limits = Limits { initial_rebalance_delay_ms: 0, ..Limits::default() };
    World::with(partitions, limits, consumers(policy))
}

impl World {
    fn begin_join(&mut self, client: &Classic) -> Ticket {
        self.begin(Request::Join(GROUP.into(), client.joins()))
    }

    #[track_caller]
    fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.replies.remove(&ticket) {
            Some(Response::Join(joined)) => joined,
            other => panic!("no answer to the join: {other:?}"),
        }
    }

    #[track_caller]
    fn synced(&mut self, ticket: Ticket) -> Synced {
        match self.replies.remove(&ticket) {
            Some(Response::Sync(synced)) => synced,
            other => panic!("no answer to the sync: {other:?}"),
        }
    }

    #[track_caller]
    fn try_join(&mut self, join: JoinRequest) -> Joined {
        let ticket = self.begin(Request::Join(GROUP.into(), join));
        self.joined(ticket)
    }

    #[track_caller]
    fn try_sync(&mut self, sync: SyncRequest) -> Synced {
        let ticket = self.begin(Request::Sync(GROUP.into(), sync));
        self.synced(ticket)
    }

    /// A classic client joins a consumer group and takes what it gets.
    #[track_caller]
    fn rejoin(&mut self, client: &mut Classic) {
        if client.is_eager() {
            client.owned.clear();
        }
        let joined = self.try_join(client.joins());
        assert_eq!(joined.error, ErrorCode::None);
        assert_eq!((joined.leader_id.as_str(), joined.members.len()), ("", 0), "nobody leads");
        assert_eq!(joined.protocol_name.as_deref(), Some(client.protocol));
        (client.id, client.generation) = (joined.member_id, joined.generation_id.0);
        let synced = self.try_sync(client.syncs());
        assert_eq!(synced.error, ErrorCode::None);
        client.owned = partitions(&synced.assignment);
    }

    #[track_caller]
    fn classic_beat(&mut self, client: &Classic) -> ErrorCode {
        match self.ask(Request::Heartbeat(GROUP.into(), client.beats())) {
            Response::Heartbeat(error) => error,
            other => panic!("no answer to the heartbeat: {other:?}"),
        }
    }

    #[track_caller]
    fn leave(&mut self, leavers: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let leaver = |(id, instance): &(&str, Option<&str>)| Leaver {
            member_id: Str::from(*id),
            instance_id: instance.map(Str::from),
        };
        let leavers = leavers.iter().map(leaver).collect();
        match self.ask(Request::Leave(GROUP.into(), leavers)) {
            Response::Leave(Ok(left)) => left.iter().map(|left: &LeftMember| left.error).collect(),
            other => panic!("no answer to the leave: {other:?}"),
        }
    }

    /// A stable classic group in which each client has what it owns.
    #[track_caller]
    fn classic_group(&mut self, clients: &mut [&mut Classic]) {
        let tickets: Vec<Ticket> = clients.iter().map(|client| self.begin_join(client)).collect();
        for (client, ticket) in clients.iter_mut().zip(tickets) {
            client.generation = 0;
            // Whoever came first has an answer already, and joins again for the others.
            if let Some(Response::Join(joined)) = self.replies.remove(&ticket) {
                client.generation = joined.generation_id.0;
            }
        }
        self.divide(clients);
    }

    /// All join again, and the leader divides the work as it is.
    #[track_caller]
    fn divide(&mut self, clients: &mut [&mut Classic]) {
        let tickets: Vec<Ticket> = clients.iter().map(|client| self.begin_join(client)).collect();
        let mut leader = Str::new();
        for (client, ticket) in clients.iter_mut().zip(tickets) {
            let joined = self.joined(ticket);
            assert_eq!(joined.error, ErrorCode::None);
            client.generation = joined.generation_id.0;
            leader = joined.leader_id;
        }
        let parts: Vec<(Str, Bytes)> =
            clients.iter().map(|c| (c.id.clone(), assignment(&c.owned, None))).collect();
        for client in clients.iter() {
            let assignments = if client.id == leader { parts.clone() } else { Vec::new() };
            self.begin(Request::Sync(GROUP.into(), SyncRequest { assignments, ..client.syncs() }));
        }
        assert_eq!(self.classic_state(), State::Stable);
    }

    #[track_caller]
    fn classic_state(&self) -> State {
        self.shard.group(GROUP).expect("the group is classic").state()
    }

    /// Everybody does what it is told until nobody is told anything new.
    #[track_caller]
    fn settle_both(&mut self, classics: &mut [&mut Classic], clients: &mut [&mut Client]) {
        for _ in 0..30 {
            self.pass(1_100);
            let written = self.log.len();
            for client in clients.iter_mut() {
                self.beat(client);
            }
            for client in classics.iter_mut() {
                if self.classic_beat(client) == ErrorCode::RebalanceInProgress {
                    self.rejoin(client);
                }
            }
            self.check_both(classics, clients);
            if self.log.len() == written {
                return;
            }
        }
        panic!("the group does not settle");
    }

    /// No partition is with two clients.
    #[track_caller]
    fn check_both(&self, classics: &[&mut Classic], clients: &[&mut Client]) {
        let mut all: Vec<i32> = classics.iter().flat_map(|client| client.owned.clone()).collect();
        all.extend(clients.iter().flat_map(|client| client.has(T)));
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n, "a partition has two owners: {classics:?} {clients:?}");
    }
}
