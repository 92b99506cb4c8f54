//! The state machine's sentences: each transition and each refusal, through the shard's door.

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
struct World {
    shard: GroupShard,
    now_ms: u64,
    tickets: u64,
    replies: Vec<(Ticket, Response)>,
    uncommitted: Vec<Write>,
    log: Vec<Record>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits { initial_rebalance_delay_ms: 0, ..Limits::default() })
    }

    fn with(limits: Limits) -> Self {
        Self {
            shard: GroupShard::new(limits, OffsetLimits::default()),
            now_ms: 1_000,
            tickets: 0,
            replies: Vec::new(),
            uncommitted: Vec::new(),
            log: Vec::new(),
        }
    }

    fn time(&self) -> Time {
        Time {
            now: Moment(self.now_ms * 1_000_000),
            wall: Timestamp(1_700_000_000_000 + self.now_ms as i64),
        }
    }

    fn take(&mut self, actions: Actions) {
        self.replies.extend(actions.replies);
        self.replies.extend(actions.reads);
        self.uncommitted.extend(actions.writes);
    }

    fn send(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut actions = Actions::default();
        self.shard.on_request(self.time(), request, ticket, &mut actions);
        self.take(actions);
        ticket
    }

    fn commit(&mut self) {
        while !self.uncommitted.is_empty() {
            let write = self.uncommitted.remove(0);
            self.log.extend(write.records.iter().cloned());
            let mut actions = Actions::default();
            self.shard.on_appended(self.time(), &write, &mut actions);
            self.shard.on_committed(self.time(), write, &mut actions);
            self.take(actions);
        }
    }

    fn fail(&mut self, error: ErrorCode) {
        for write in std::mem::take(&mut self.uncommitted) {
            let mut actions = Actions::default();
            self.shard.on_failed(self.time(), write, error, &mut actions);
            self.take(actions);
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.shard.next_timeout().filter(|at| at.0 <= end * 1_000_000) {
            self.now_ms = self.now_ms.max(at.0.div_ceil(1_000_000));
            let mut actions = Actions::default();
            self.shard.on_timeout(self.time(), &mut actions);
            self.take(actions);
        }
        self.now_ms = end;
    }

    fn answer(&mut self, ticket: Ticket) -> Option<Response> {
        let at = self.replies.iter().position(|(t, _)| *t == ticket)?;
        Some(self.replies.remove(at).1)
    }

    fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answer(ticket) {
            Some(Response::Join(joined)) => joined,
            other => panic!("no answer to the join: {other:?}"),
        }
    }

    fn synced(&mut self, ticket: Ticket) -> Synced {
        match self.answer(ticket) {
            Some(Response::Sync(synced)) => synced,
            other => panic!("no answer to the sync: {other:?}"),
        }
    }

    fn join(&mut self, join: JoinRequest) -> Ticket {
        self.send(Request::Join(GROUP.into(), join))
    }

    fn sync(
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

    fn heartbeat(&mut self, member_id: &Str, generation: i32) -> ErrorCode {
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

    fn commit_offset(&mut self, member_id: &str, generation: i32, offset: i64) -> Ticket {
        self.send(Request::CommitOffsets(
            GROUP.into(),
            OffsetCommit {
                member_id: member_id.into(),
                instance_id: None,
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

    fn commit_error(&mut self, ticket: Ticket) -> Option<ErrorCode> {
        match self.answer(ticket)? {
            Response::CommitOffsets(results) => Some(results[0].error),
            other => panic!("not the answer to a commit: {other:?}"),
        }
    }

    fn committed_offset(&mut self) -> Option<i64> {
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

    fn state(&self) -> State {
        self.shard.group(GROUP).expect("the group is there").state()
    }

    /// Two members, stable in generation 2; the first leads.
    fn stable_pair(&mut self) -> (Str, Str) {
        let a = self.join(joining("a"));
        let a = self.joined(a).member_id;
        let b = self.join(joining("b"));
        let rejoin = self.join(JoinRequest { member_id: a.clone(), ..joining("a") });
        self.joined(rejoin);
        let b = self.joined(b).member_id;
        let leader = self.sync(&a, 2, &[(&a, "one"), (&b, "two")]);
        let follower = self.sync(&b, 2, &[]);
        self.commit();
        assert_eq!(self.synced(leader).assignment, "one");
        assert_eq!(self.synced(follower).assignment, "two");
        assert_eq!(self.state(), State::Stable);
        (a, b)
    }
}

fn joining(name: &str) -> JoinRequest {
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

fn protocol(name: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(b"topics") }
}

fn static_joining(instance: &str, new_id: &str) -> JoinRequest {
    JoinRequest {
        instance_id: Some(instance.into()),
        new_member_id: new_id.into(),
        ..joining(instance)
    }
}

#[test]
fn the_first_member_of_an_empty_group_leads_after_the_initial_delay() {
    let mut world = World::with(Limits::default());
    let first = world.join(joining("a"));
    assert_eq!(world.state(), State::PreparingRebalance);
    world.pass(2_999);
    assert_eq!(world.answer(first), None);
    world.pass(1);
    let joined = world.joined(first);
    assert_eq!((joined.error, joined.generation_id), (ErrorCode::None, GenerationId(1)));
    assert_eq!(joined.leader_id, joined.member_id);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(world.state(), State::CompletingRebalance);
}

#[test]
fn a_member_that_comes_during_the_initial_delay_extends_it() {
    let mut world = World::with(Limits::default());
    let a = world.join(joining("a"));
    world.pass(2_000);
    let b = world.join(joining("b"));
    world.pass(3_000);
    assert_eq!(world.answer(a), None);
    world.pass(1_000);
    assert_eq!(world.joined(a).members.len(), 2);
    assert_eq!(world.joined(b).members.len(), 0);
}

#[test]
fn a_member_id_is_given_out_first_when_the_client_must_know_it() {
    let mut world = World::new();
    let join = JoinRequest { requires_known_member_id: true, ..joining("a") };
    let ticket = world.join(join.clone());
    let refused = world.joined(ticket);
    assert_eq!((refused.error, refused.member_id.as_str()), (ErrorCode::MemberIdRequired, "a-id"));
    let ticket = world.join(JoinRequest { member_id: refused.member_id, ..join });
    assert_eq!(world.joined(ticket).error, ErrorCode::None);
}

#[test]
fn a_join_by_an_unknown_member_is_refused() {
    let mut world = World::new();
    let ticket = world.join(JoinRequest { member_id: "ghost".into(), ..joining("a") });
    assert_eq!(world.joined(ticket).error, ErrorCode::UnknownMemberId);
    world.stable_pair();
    let ticket = world.join(JoinRequest { member_id: "ghost".into(), ..joining("a") });
    assert_eq!(world.joined(ticket).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_join_with_a_bad_timeout_group_or_protocol_is_refused() {
    let mut world = World::new();
    let ticket = world.join(JoinRequest { session_timeout_ms: 5_999, ..joining("a") });
    assert_eq!(world.joined(ticket).error, ErrorCode::InvalidSessionTimeout);
    let ticket = world.join(JoinRequest { protocols: vec![], ..joining("a") });
    assert_eq!(world.joined(ticket).error, ErrorCode::InconsistentGroupProtocol);
    let ticket = world.send(Request::Join(Str::new(), joining("a")));
    assert_eq!(world.joined(ticket).error, ErrorCode::InvalidGroupId);
    world.stable_pair();
    let ticket = world.join(JoinRequest { protocols: vec![protocol("sticky")], ..joining("c") });
    assert_eq!(world.joined(ticket).error, ErrorCode::InconsistentGroupProtocol);
    let ticket = world.join(JoinRequest { protocol_type: "connect".into(), ..joining("c") });
    assert_eq!(world.joined(ticket).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_full_group_refuses_the_next_member() {
    let limits = Limits { members_max: 2, initial_rebalance_delay_ms: 0, ..Limits::default() };
    let mut world = World::with(limits);
    world.stable_pair();
    let ticket = world.join(joining("c"));
    assert_eq!(world.joined(ticket).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn the_protocol_that_most_members_prefer_wins() {
    let mut world = World::with(Limits::default());
    let swapped = vec![protocol("roundrobin"), protocol("range")];
    let a = world.join(joining("a"));
    let b = world.join(JoinRequest { protocols: swapped.clone(), ..joining("b") });
    world.join(JoinRequest { protocols: swapped, ..joining("c") });
    world.pass(40_000);
    assert_eq!(world.joined(a).protocol_name.unwrap(), "roundrobin");
    assert_eq!(world.joined(b).protocol_name.unwrap(), "roundrobin");
}

#[test]
fn members_get_their_assignment_only_when_it_is_committed() {
    let mut world = World::new();
    let a = world.join(joining("a"));
    let a = world.joined(a).member_id;
    let ticket = world.sync(&a, 1, &[(&a, "all")]);
    assert_eq!(world.answer(ticket), None);
    assert_eq!(world.state(), State::CompletingRebalance);
    world.commit();
    assert_eq!(world.synced(ticket).assignment, "all");
    assert_eq!(world.state(), State::Stable);
}

#[test]
fn an_assignment_that_could_not_be_written_starts_the_rebalance_again() {
    let mut world = World::new();
    let a = world.join(joining("a"));
    let a = world.joined(a).member_id;
    let ticket = world.sync(&a, 1, &[(&a, "all")]);
    world.fail(ErrorCode::KafkaStorageError);
    assert_eq!(world.synced(ticket).error, ErrorCode::NotCoordinator);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn a_sync_of_another_generation_protocol_or_member_is_refused() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    let ticket = world.sync(&a, 1, &[]);
    assert_eq!(world.synced(ticket).error, ErrorCode::IllegalGeneration);
    let ticket = world.sync(&"ghost".into(), 2, &[]);
    assert_eq!(world.synced(ticket).error, ErrorCode::UnknownMemberId);
    let sync = SyncRequest {
        member_id: a,
        instance_id: None,
        generation_id: GenerationId(2),
        protocol_type: None,
        protocol_name: Some("sticky".into()),
        assignments: vec![],
    };
    let ticket = world.send(Request::Sync(GROUP.into(), sync));
    assert_eq!(world.synced(ticket).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_new_member_makes_the_others_rejoin() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let c = world.join(joining("c"));
    assert_eq!(world.state(), State::PreparingRebalance);
    assert_eq!(world.heartbeat(&a, 2), ErrorCode::RebalanceInProgress);
    let rejoin_a = world.join(JoinRequest { member_id: a, ..joining("a") });
    let rejoin_b = world.join(JoinRequest { member_id: b, ..joining("b") });
    for ticket in [c, rejoin_a, rejoin_b] {
        assert_eq!(world.joined(ticket).generation_id, GenerationId(3));
    }
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let c = world.join(JoinRequest { session_timeout_ms: 60_000, ..joining("c") });
    let rejoin = world.join(JoinRequest { member_id: a, ..joining("a") });
    world.pass(30_000);
    assert_eq!(world.joined(rejoin).error, ErrorCode::None);
    assert_eq!(world.joined(c).error, ErrorCode::None);
    assert_eq!(world.heartbeat(&b, 3), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    world.pass(9_000);
    assert_eq!(world.heartbeat(&a, 2), ErrorCode::None);
    world.pass(1_001);
    assert_eq!(world.state(), State::PreparingRebalance);
    assert_eq!(world.heartbeat(&b, 2), ErrorCode::UnknownMemberId);
    let rejoin = world.join(JoinRequest { member_id: a, ..joining("a") });
    assert_eq!(world.joined(rejoin).members.len(), 1);
}

#[test]
fn a_group_whose_members_are_all_gone_is_empty_and_says_so_in_the_log() {
    let mut world = World::new();
    world.stable_pair();
    world.pass(60_000);
    world.commit();
    assert_eq!(world.state(), State::Empty);
    let Some(Record::Group(last)) = world.log.last() else { panic!("a group record is last") };
    assert!(last.members.is_empty());
}

#[test]
fn a_leader_that_joins_again_has_the_work_divided_again_and_a_follower_has_not() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let follower = world.join(JoinRequest { member_id: b, ..joining("b") });
    assert_eq!(world.joined(follower).generation_id, GenerationId(2));
    assert_eq!(world.state(), State::Stable);
    let leader = world.join(JoinRequest { member_id: a, ..joining("a") });
    assert_eq!(world.answer(leader), None);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_removed() {
    let mut world = World::new();
    let a = world.join(joining("a"));
    let a = world.joined(a).member_id;
    for _ in 0..5 {
        world.pass(5_000);
        assert_eq!(world.heartbeat(&a, 1), ErrorCode::None);
    }
    world.pass(5_000);
    assert_eq!(world.heartbeat(&a, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn members_leave_one_by_one_or_together() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let leaver = |id: &str| Leaver { member_id: id.into(), instance_id: None };
    let ticket = world.send(Request::Leave(GROUP.into(), vec![leaver(&a), leaver("ghost")]));
    let Some(Response::Leave(Ok(left))) = world.answer(ticket) else { panic!("no answer") };
    assert_eq!(left[0].error, ErrorCode::None);
    assert_eq!(left[1].error, ErrorCode::UnknownMemberId);
    assert_eq!(world.state(), State::PreparingRebalance);
    world.send(Request::Leave(GROUP.into(), vec![leaver(&b)]));
    world.pass(30_000);
    assert_eq!(world.state(), State::Empty);
}

#[test]
fn a_static_member_that_restarts_takes_its_place_without_a_rebalance() {
    let mut world = World::new();
    let first = world.join(static_joining("i", "i-1"));
    let old = world.joined(first).member_id;
    let sync = world.send(Request::Sync(
        GROUP.into(),
        SyncRequest {
            member_id: old.clone(),
            instance_id: Some("i".into()),
            generation_id: GenerationId(1),
            protocol_type: None,
            protocol_name: None,
            assignments: vec![(old.clone(), Bytes::from_static(b"all"))],
        },
    ));
    world.commit();
    assert_eq!(world.synced(sync).assignment, "all");

    let again = world.join(static_joining("i", "i-2"));
    assert_eq!(world.answer(again), None, "not before it is written");
    world.commit();
    let joined = world.joined(again);
    assert_eq!((joined.error, joined.generation_id), (ErrorCode::None, GenerationId(1)));
    assert_eq!(joined.member_id, "i-2");
    assert_eq!(world.state(), State::Stable);

    let zombie =
        Heartbeat { member_id: old, instance_id: Some("i".into()), generation_id: GenerationId(1) };
    let ticket = world.send(Request::Heartbeat(GROUP.into(), zombie));
    assert_eq!(world.answer(ticket), Some(Response::Heartbeat(ErrorCode::FencedInstanceId)));
}

#[test]
fn an_offset_is_visible_when_it_is_committed_and_not_before() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    let ticket = world.commit_offset(&a, 2, 7);
    assert_eq!(world.commit_error(ticket), None);
    assert_eq!(world.committed_offset(), None);
    world.commit();
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::None));
    assert_eq!(world.committed_offset(), Some(7));
}

#[test]
fn an_offset_that_could_not_be_written_is_not_there() {
    let mut world = World::new();
    let ticket = world.commit_offset("", -1, 7);
    world.fail(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.committed_offset(), None);
}

#[test]
fn offsets_of_another_generation_or_of_a_stranger_are_refused() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    for (member, generation, error) in [
        (a.as_str(), 1, ErrorCode::IllegalGeneration),
        ("ghost", 2, ErrorCode::UnknownMemberId),
        ("", -1, ErrorCode::UnknownMemberId),
    ] {
        let ticket = world.commit_offset(member, generation, 1);
        assert_eq!(world.commit_error(ticket), Some(error), "{member} {generation}");
    }
    let mut world = World::new();
    let ticket = world.commit_offset("a", 1, 1);
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::IllegalGeneration));
}

#[test]
fn offsets_wait_while_the_leader_divides_the_work() {
    let mut world = World::new();
    let a = world.join(joining("a"));
    let a = world.joined(a).member_id;
    let ticket = world.commit_offset(&a, 1, 1);
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::RebalanceInProgress));
}

#[test]
fn metadata_that_is_too_large_is_refused_line_by_line() {
    let mut world = World::new();
    let line = |partition, bytes: usize| OffsetToCommit {
        topic: "t".into(),
        topic_id: None,
        partition,
        offset: Offset(1),
        leader_epoch: None,
        metadata: "m".repeat(bytes).into(),
    };
    let commit = OffsetCommit {
        member_id: Str::new(),
        instance_id: None,
        generation_id: GenerationId(-1),
        epochs: MemberEpochs::Unknown,
        retention_ms: None,
        offsets: vec![line(0, 4_096), line(1, 4_097)],
    };
    let ticket = world.send(Request::CommitOffsets(GROUP.into(), commit));
    world.commit();
    let Some(Response::CommitOffsets(results)) = world.answer(ticket) else { panic!("no answer") };
    assert_eq!(results[0].error, ErrorCode::None);
    assert_eq!(results[1].error, ErrorCode::OffsetMetadataTooLarge);
}

#[test]
fn only_an_empty_group_can_be_deleted_and_its_offsets_go_with_it() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.commit_offset(&a, 2, 7);
    world.commit();
    let delete = |world: &mut World| {
        let ticket = world.send(Request::Delete(GROUP.into()));
        world.commit();
        world.answer(ticket)
    };
    assert_eq!(delete(&mut world), Some(Response::Delete(ErrorCode::NonEmptyGroup)));
    world.pass(60_000);
    assert_eq!(delete(&mut world), Some(Response::Delete(ErrorCode::None)));
    assert_eq!(world.committed_offset(), None);
    assert_eq!(delete(&mut world), Some(Response::Delete(ErrorCode::GroupIdNotFound)));
}

#[test]
fn the_offsets_of_a_topic_that_members_read_cannot_be_deleted() {
    let mut world = World::new();
    let ask =
        |topic: &'static str| Request::DeleteOffsets(GROUP.into(), vec![(topic.into(), vec![0])]);
    let ticket = world.send(ask("t"));
    assert_eq!(world.answer(ticket), Some(deleted(Err(ErrorCode::GroupIdNotFound))));
    let subscription = |topic: &str| {
        let name = u8::try_from(topic.len()).unwrap();
        let head = [0, 1, 0, 0, 0, 1, 0, name];
        Bytes::from([&head, topic.as_bytes(), &[0xff; 4], &[0; 4]].concat())
    };
    let protocol = Protocol { name: "range".into(), metadata: subscription("read") };
    world.join(JoinRequest { protocols: vec![protocol], ..joining("a") });
    for (topic, error) in [("read", ErrorCode::GroupSubscribedToTopic), ("other", ErrorCode::None)]
    {
        let ticket = world.send(ask(topic));
        let line = crate::PartitionResult { topic: topic.into(), partition: 0, error };
        assert_eq!(world.answer(ticket), Some(deleted(Ok(vec![line]))));
    }
}

fn deleted(lines: Result<Vec<crate::PartitionResult>, ErrorCode>) -> Response {
    Response::DeleteOffsets(lines)
}

#[test]
fn a_producer_that_says_who_it_is_commits_only_in_its_generation() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    let mut ask = |member_id: &Str, generation: i32| {
        let line = OffsetToCommit {
            topic: "t".into(),
            topic_id: None,
            partition: 0,
            offset: Offset(5),
            leader_epoch: None,
            metadata: Str::new(),
        };
        let commit = OffsetCommit {
            member_id: member_id.clone(),
            instance_id: None,
            generation_id: GenerationId(generation),
            epochs: MemberEpochs::Unknown,
            retention_ms: None,
            offsets: vec![line],
        };
        let producer = klamm_coordinator::TransactionalProducer {
            id: klamm_model::ProducerId(1),
            epoch: klamm_model::ProducerEpoch(0),
        };
        let commit = crate::TransactionalCommit { producer, verification: None, commit };
        let ticket = world.send(Request::CommitInTransaction(GROUP.into(), commit));
        world.commit();
        match world.answer(ticket) {
            Some(Response::CommitOffsets(lines)) => lines[0].error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&a, 1), ErrorCode::IllegalGeneration);
    assert_eq!(ask(&"x".into(), 2), ErrorCode::UnknownMemberId);
    assert_eq!(ask(&a, 2), ErrorCode::None);
    // As producers did before KIP-447.
    assert_eq!(ask(&Str::new(), -1), ErrorCode::None);
}

#[test]
fn offsets_of_an_empty_group_expire_and_those_of_a_live_group_do_not() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    world.commit_offset(&a, 2, 7);
    world.commit();
    let day_ms = 24 * 3_600_000;
    for _ in 0..8 * 24 * 720 {
        world.pass(5_000);
        world.heartbeat(&a, 2);
        world.heartbeat(&b, 2);
    }
    world.commit();
    assert_eq!(world.committed_offset(), Some(7));
    world.pass(day_ms);
    world.commit();
    assert_eq!(world.state(), State::Empty);
    world.pass(7 * day_ms);
    world.commit();
    assert_eq!(world.committed_offset(), None);
    world.pass(day_ms);
    world.commit();
    assert!(world.shard.group(GROUP).is_none());
}

#[test]
fn a_shard_that_is_replayed_from_the_log_goes_on_where_it_was() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.commit_offset(&a, 2, 7);
    world.commit();
    let mut again = World::new();
    for record in &world.log {
        let (key, value) = record.to_key_value().unwrap();
        let decoded = Record::from_key_value(key, value).unwrap();
        assert_eq!(&decoded, record);
        again.shard.replay(decoded);
    }
    let time = again.time();
    again.shard.on_loaded(time);
    assert_eq!(again.state(), State::Stable);
    assert_eq!(again.committed_offset(), Some(7));
    assert_eq!(again.heartbeat(&a, 2), ErrorCode::None);
    let ticket = again.sync(&a, 2, &[]);
    assert_eq!(again.synced(ticket).assignment, "one");
}

#[test]
fn who_waits_when_the_shard_moves_away_is_told_to_look_elsewhere() {
    let mut world = World::new();
    world.stable_pair();
    let c = world.join(joining("c"));
    let mut actions = Actions::default();
    world.shard.on_unload(&mut actions);
    world.take(actions);
    assert_eq!(world.joined(c).error, ErrorCode::NotCoordinator);
}

#[test]
fn groups_are_spread_over_partitions_by_the_hash_that_java_uses() {
    assert_eq!(klamm_coordinator::partition_for("my-group", 50), 12);
    assert_eq!(klamm_coordinator::partition_for("", 50), 0);
    assert_eq!(
        klamm_coordinator::partition_for("polygenelubricants", 50),
        0,
        "the hash is the smallest number"
    );
}
