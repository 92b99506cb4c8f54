//! The state machine's sentences, through the shard's door: each arrow of the drawing in
//! `transitions`, then what is refused and what each rule says.

mod fixed;
mod join;
mod load;
mod offsets;
mod protocols;
mod retention;
mod sync;
mod transitions;

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::{ErrorCode, GenerationId, Offset, Timestamp};
use klamm_stdx::Str;

use super::{Heartbeat, JoinRequest, Joined, Leaver, Limits, Protocol, State, SyncRequest, Synced};
use crate::{
    Actions, FoundOffset, GroupShard, MemberEpochs, OffsetCommit, OffsetFetch, OffsetLimits,
    OffsetToCommit, Record, Request, Response, Stability, Ticket, Time, Write,
};

const GROUP: &str = "g";

/// A shard with a clock and a log that commits when it is told to.
pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) now_ms: u64,
    pub(super) tickets: u64,
    pub(super) replies: Vec<(Ticket, Response)>,
    pub(super) uncommitted: Vec<Write>,
    pub(super) log: Vec<Record>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits { initial_rebalance_delay_ms: 0, ..Limits::default() })
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self {
            shard: GroupShard::new(limits, OffsetLimits::default()),
            now_ms: 1_000,
            tickets: 0,
            replies: Vec::new(),
            uncommitted: Vec::new(),
            log: Vec::new(),
        }
    }

    pub(super) fn time(&self) -> Time {
        Time {
            now: Moment(self.now_ms * 1_000_000),
            wall: Timestamp(1_700_000_000_000 + self.now_ms as i64),
        }
    }

    pub(super) fn take(&mut self, actions: Actions) {
        self.replies.extend(actions.replies);
        self.replies.extend(actions.reads);
        self.uncommitted.extend(actions.writes);
    }

    pub(super) fn send(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut actions = Actions::default();
        self.shard.on_request(self.time(), request, ticket, &mut actions);
        self.take(actions);
        ticket
    }

    pub(super) fn commit(&mut self) {
        while !self.uncommitted.is_empty() {
            let write = self.uncommitted.remove(0);
            self.log.extend(write.records.iter().cloned());
            let mut actions = Actions::default();
            self.shard.on_appended(self.time(), &write, &mut actions);
            self.shard.on_committed(self.time(), write, &mut actions);
            self.take(actions);
        }
    }

    pub(super) fn fail(&mut self, error: ErrorCode) {
        for write in std::mem::take(&mut self.uncommitted) {
            let mut actions = Actions::default();
            self.shard.on_failed(self.time(), write, error, &mut actions);
            self.take(actions);
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.shard.next_timeout().filter(|at| at.0 <= end * 1_000_000) {
            self.now_ms = self.now_ms.max(at.0.div_ceil(1_000_000));
            let mut actions = Actions::default();
            self.shard.on_timeout(self.time(), &mut actions);
            self.take(actions);
        }
        self.now_ms = end;
    }

    pub(super) fn answer(&mut self, ticket: Ticket) -> Option<Response> {
        let at = self.replies.iter().position(|(t, _)| *t == ticket)?;
        Some(self.replies.remove(at).1)
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answer(ticket) {
            Some(Response::Join(joined)) => joined,
            other => panic!("no answer to the join: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> Synced {
        match self.answer(ticket) {
            Some(Response::Sync(synced)) => synced,
            other => panic!("no answer to the sync: {other:?}"),
        }
    }

    pub(super) fn join(&mut self, join: JoinRequest) -> Ticket {
        self.send(Request::Join(GROUP.into(), join))
    }

    pub(super) fn sync(
        &mut self,
        member_id: &Str,
        generation: i32,
        assignments: &[(&Str, &'static str)],
    ) -> Ticket {
        let part = |(id, text): &(&Str, &'static str)| {
            ((*id).clone(), Bytes::from_static(text.as_bytes()))
        };
        self.send(Request::Sync(
            GROUP.into(),
            SyncRequest {
                member_id: member_id.clone(),
                instance_id: None,
                generation_id: GenerationId(generation),
                protocol_type: None,
                protocol_name: None,
                assignments: assignments.iter().map(part).collect(),
            },
        ))
    }

    pub(super) fn heartbeat(&mut self, member_id: &Str, generation: i32) -> ErrorCode {
        let heartbeat = Heartbeat {
            member_id: member_id.clone(),
            instance_id: None,
            generation_id: GenerationId(generation),
        };
        let ticket = self.send(Request::Heartbeat(GROUP.into(), heartbeat));
        match self.answer(ticket) {
            Some(Response::Heartbeat(error)) => error,
            other => panic!("no answer to the heartbeat: {other:?}"),
        }
    }

    pub(super) fn commit_offset(
        &mut self,
        member_id: &str,
        generation: i32,
        offset: i64,
    ) -> Ticket {
        self.send_commit((member_id, None), generation, offset)
    }

    /// Commits offset 1 as a member with the operator's name.
    pub(super) fn commit_as(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Ticket {
        self.send_commit((member_id, instance_id), generation, 1)
    }

    fn send_commit(
        &mut self,
        (member_id, instance_id): (&str, Option<&str>),
        generation: i32,
        offset: i64,
    ) -> Ticket {
        self.send(Request::CommitOffsets(
            GROUP.into(),
            OffsetCommit {
                member_id: member_id.into(),
                instance_id: instance_id.map(Str::from),
                generation_id: GenerationId(generation),
                epochs: MemberEpochs::Unknown,
                retention_ms: None,
                offsets: vec![OffsetToCommit {
                    topic: "t".into(),
                    topic_id: None,
                    partition: 0,
                    offset: Offset(offset),
                    leader_epoch: None,
                    metadata: Str::new(),
                }],
            },
        ))
    }

    pub(super) fn commit_error(&mut self, ticket: Ticket) -> Option<ErrorCode> {
        match self.answer(ticket)? {
            Response::CommitOffsets(results) => Some(results[0].error),
            other => panic!("not the answer to a commit: {other:?}"),
        }
    }

    pub(super) fn committed_offset(&mut self) -> Option<i64> {
        let ticket = self.send(Request::FetchOffsets(
            GROUP.into(),
            OffsetFetch {
                asked: Some(vec![("t".into(), vec![0])]),
                stability: Stability::Any,
                member: None,
            },
        ));
        match self.answer(ticket) {
            Some(Response::FetchOffsets(Ok(found))) => match &found.topics[0].1[0].1 {
                FoundOffset::Committed(found) => Some(found.offset.0),
                FoundOffset::None | FoundOffset::Unstable => None,
            },
            other => panic!("not the answer to a fetch: {other:?}"),
        }
    }

    pub(super) fn state(&self) -> State {
        self.shard.group(GROUP).expect("the group is there").state()
    }

    /// Two members in generation 2 whose leader, the first, has not divided the work.
    pub(super) fn completing_pair(&mut self) -> (Str, Str) {
        let a = self.join(joining("a"));
        let a = self.joined(a).member_id;
        let b = self.join(joining("b"));
        let rejoin = self.join(JoinRequest { member_id: a.clone(), ..joining("a") });
        self.joined(rejoin);
        let b = self.joined(b).member_id;
        assert_eq!(self.state(), State::CompletingRebalance);
        (a, b)
    }

    pub(super) fn leave(&mut self, ids: &[&Str]) {
        let leaver = |id: &&Str| Leaver { member_id: (*id).clone(), instance_id: None };
        let leavers: Vec<Leaver> = ids.iter().map(leaver).collect();
        let ticket = self.send(Request::Leave(GROUP.into(), leavers));
        match self.answer(ticket) {
            Some(Response::Leave(Ok(left))) => assert!(left.iter().all(|l| l.error.is_none())),
            other => panic!("no answer to the leave: {other:?}"),
        }
    }

    pub(super) fn sync_static(
        &mut self,
        member_id: &Str,
        instance: &str,
        assignments: &[(&Str, &'static str)],
    ) -> Ticket {
        let part = |(id, text): &(&Str, &'static str)| {
            ((*id).clone(), Bytes::from_static(text.as_bytes()))
        };
        let generation_id = self.shard.group(GROUP).expect("the group is there").generation_id();
        self.send(Request::Sync(
            GROUP.into(),
            SyncRequest {
                member_id: member_id.clone(),
                instance_id: Some(instance.into()),
                generation_id,
                protocol_type: None,
                protocol_name: None,
                assignments: assignments.iter().map(part).collect(),
            },
        ))
    }

    pub(super) fn answered(&self, ticket: Ticket) -> bool {
        self.replies.iter().any(|(t, _)| *t == ticket)
    }

    /// The protocol that an answer to a join told, if it is there.
    pub(super) fn last_protocol(&mut self, ticket: Ticket) -> Option<Str> {
        match self.answer(ticket)? {
            Response::Join(joined) => joined.protocol_name,
            other => panic!("not the answer to a join: {other:?}"),
        }
    }

    /// Two members, stable in generation 2; the first leads.
    pub(super) fn stable_pair(&mut self) -> (Str, Str) {
        let (a, b) = self.completing_pair();
        let leader = self.sync(&a, 2, &[(&a, "one"), (&b, "two")]);
        let follower = self.sync(&b, 2, &[]);
        self.commit();
        assert_eq!(self.synced(leader).assignment, "one");
        assert_eq!(self.synced(follower).assignment, "two");
        assert_eq!(self.state(), State::Stable);
        (a, b)
    }
}

pub(super) fn joining(name: &str) -> JoinRequest {
    JoinRequest {
        member_id: Str::new(),
        instance_id: None,
        client_id: name.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range"), protocol("roundrobin")],
        requires_known_member_id: false,
        supports_skipping_assignment: false,
        new_member_id: format!("{name}-id").into(),
    }
}

pub(super) fn protocol(name: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(b"topics") }
}

pub(super) fn static_joining(instance: &str, new_id: &str) -> JoinRequest {
    JoinRequest {
        instance_id: Some(instance.into()),
        new_member_id: new_id.into(),
        ..joining(instance)
    }
}

/// The join of a member that has an id, with another protocol besides.
pub(super) fn again(id: &Str, name: &str, more: &str) -> JoinRequest {
    let mut join = JoinRequest { member_id: id.clone(), ..joining(name) };
    join.protocols.push(protocol(more));
    join
}
