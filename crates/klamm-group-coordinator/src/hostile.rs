//! What nobody should ask for: too many, too large, too late, and patterns that other engines never
//! finish. Each is answered with Kafka's error, costs bounded work and leaves others alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Moment;
use klamm_metadata::{MetadataDelta, MetadataImage};
use klamm_model::{ErrorCode, GenerationId, Offset, PartitionIndex, Timestamp, TopicId, Uuid};
use klamm_persisted::metadata::{MetadataRecord, TopicRecord};
use klamm_stdx::Str;

use crate::{
    Actions, Bounds, ConsumerHeartbeat, FoundOffset, GroupShard, Heartbeat, JoinRequest, Leaver,
    Limits, MemberEpochs, OffsetCommit, OffsetFetch, OffsetLimits, OffsetToCommit, Protocol,
    Record, Request, Response, Stability, SyncRequest, Ticket, Time,
};

/// A shard whose log commits at once.
struct World {
    shard: GroupShard,
    now_ms: u64,
    tickets: u64,
    replies: BTreeMap<Ticket, Response>,
    records: usize,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let limits = Limits { initial_rebalance_delay_ms: 0, ..Limits::default() };
        Self {
            shard: GroupShard::new(limits, OffsetLimits::default()).with_bounds(bounds),
            now_ms: 1_000,
            tickets: 0,
            replies: BTreeMap::new(),
            records: 0,
        }
    }

    fn time(&self) -> Time {
        let wall = Timestamp(1_700_000_000_000 + self.now_ms as i64);
        Time { now: Moment(self.now_ms * 1_000_000), wall }
    }

    fn send(&mut self, request: Request) -> Option<Response> {
        self.tickets += 1;
        self.now_ms += 1;
        let (time, ticket) = (self.time(), Ticket(self.tickets));
        let mut actions = Actions::default();
        self.shard.on_request(time, request, ticket, &mut actions);
        let mut queue = vec![actions];
        while let Some(actions) = queue.pop() {
            self.replies.extend(actions.replies);
            for write in actions.writes {
                let mut actions = Actions::default();
                self.records += write.records.len();
                self.shard.on_appended(time, &write, &mut actions);
                self.shard.on_committed(time, write, &mut actions);
                queue.push(actions);
            }
            self.replies.extend(actions.reads);
        }
        self.replies.remove(&ticket)
    }

    #[track_caller]
    fn ask(&mut self, request: Request) -> Response {
        self.send(request).expect("it is answered at once")
    }

    /// Commits offset 1 of some partitions of a topic, as a consumer without a group does.
    #[track_caller]
    fn commit(&mut self, group: &str, partitions: std::ops::Range<i32>) -> Vec<ErrorCode> {
        let line = |partition| line(partition, 1);
        self.commit_lines(group, partitions.map(line).collect())
    }

    #[track_caller]
    fn commit_lines(&mut self, group: &str, offsets: Vec<OffsetToCommit>) -> Vec<ErrorCode> {
        let commit = OffsetCommit {
            member_id: Str::new(),
            instance_id: None,
            generation_id: GenerationId(-1),
            epochs: MemberEpochs::Known,
            retention_ms: None,
            offsets,
        };
        match self.ask(Request::CommitOffsets(group.into(), commit)) {
            Response::CommitOffsets(lines) => lines.into_iter().map(|line| line.error).collect(),
            other => panic!("not the answer to a commit: {other:?}"),
        }
    }

    fn fetch(&mut self, group: &str, partition: PartitionIndex) -> Option<i64> {
        let asked = Some(vec![("t".into(), vec![partition])]);
        let fetch = OffsetFetch { asked, stability: Stability::Any, member: None };
        match self.ask(Request::FetchOffsets(group.into(), fetch)) {
            Response::FetchOffsets(Ok(found)) => match &found.topics[0].1[0].1 {
                FoundOffset::Committed(found) => Some(found.offset.0),
                FoundOffset::None | FoundOffset::Unstable => None,
            },
            other => panic!("not the answer to a fetch: {other:?}"),
        }
    }

    fn join(&mut self, group: &str, join: JoinRequest) -> Option<ErrorCode> {
        match self.send(Request::Join(group.into(), join))? {
            Response::Join(joined) => Some(joined.error),
            other => panic!("not the answer to a join: {other:?}"),
        }
    }

    fn beat(&mut self, group: &str, beat: ConsumerHeartbeat) -> ErrorCode {
        match self.ask(Request::ConsumerHeartbeat(group.into(), Box::new(beat))) {
            Response::ConsumerHeartbeat(Ok(_)) => ErrorCode::None,
            Response::ConsumerHeartbeat(Err(refusal)) => refusal.error,
            other => panic!("not the answer to a heartbeat: {other:?}"),
        }
    }

    fn topics(&mut self, names: impl Iterator<Item = String>) {
        let mut delta = MetadataDelta::new(&MetadataImage::default());
        for (n, name) in names.enumerate() {
            let topic_id: TopicId = Uuid(1_000 + n as u128);
            let topic = TopicRecord { name: name.into(), topic_id };
            delta.replay(&MetadataRecord::from(topic)).unwrap();
        }
        self.shard.on_metadata(&Arc::new(delta.apply().0));
    }
}

fn line(partition: PartitionIndex, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: "t".into(),
        topic_id: None,
        partition,
        offset: Offset(offset),
        leader_epoch: None,
        metadata: Str::new(),
    }
}

fn joining(id: &str) -> JoinRequest {
    JoinRequest {
        member_id: Str::new(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        requires_known_member_id: false,
        supports_skipping_assignment: false,
        new_member_id: id.into(),
    }
}

fn beating(id: &str, pattern: Option<&str>) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: id.into(),
        rebalance_timeout_ms: Some(10_000),
        names: Some(Vec::new()),
        regex: pattern.map(Str::from),
        owned: Some(Vec::new()),
        brings_id: true,
        ..ConsumerHeartbeat::default()
    }
}

fn few() -> Bounds {
    Bounds { groups_max: 1_000, members_max: 1_000, offsets_max: 2_000 }
}

#[test]
fn of_a_million_group_names_only_the_newest_are_remembered_and_groups_in_use_stay() {
    let mut world = World::new(few());
    assert_eq!(world.join("live", joining("m")), Some(ErrorCode::None));
    assert_eq!(world.beat("consumers", beating("m", None)), ErrorCode::None);
    assert_eq!(world.commit("first", 0..1), [ErrorCode::None]);
    for n in 0..1_000_000 {
        assert_eq!(world.commit(&format!("g{n}"), 0..1), [ErrorCode::None]);
        if n % 500 == 0 {
            assert_eq!(world.commit("alone", 0..1), [ErrorCode::None]);
        }
        assert!(world.shard.group_count() <= 1_000);
    }
    assert!(world.shard.group("live").is_some());
    assert!(world.shard.consumer_group("consumers").is_some());
    assert_eq!(world.fetch("alone", 0), Some(1), "who commits now and then is in use");
    assert_eq!(world.fetch("first", 0), None);
    assert_eq!(world.fetch("g999999", 0), Some(1));
    assert_eq!(world.fetch("g999500", 0), Some(1));
}

#[test]
fn a_group_that_comes_when_all_have_members_is_refused_and_they_stay() {
    let mut world = World::new(Bounds { groups_max: 3, ..few() });
    assert_eq!(world.join("a", joining("m")), Some(ErrorCode::None));
    assert_eq!(world.join("b", joining("m")), Some(ErrorCode::None));
    assert_eq!(world.beat("c", beating("m", None)), ErrorCode::None);
    let full = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(world.join("d", joining("m")), Some(full));
    assert_eq!(world.beat("d", beating("m", None)), full);
    assert_eq!(world.commit("d", 0..1), [full]);
    assert_eq!(world.shard.group_count(), 3);
    let leaver = Leaver { member_id: "m".into(), instance_id: None };
    world.ask(Request::Leave("a".into(), vec![leaver]));
    world.now_ms += 10_000;
    assert_eq!(world.join("d", joining("m")), Some(ErrorCode::None), "a is empty now");
    assert!(world.shard.group("a").is_none());
}

#[test]
fn of_a_million_members_only_so_many_are_let_in_and_they_stay() {
    let mut world = World::new(few());
    assert_eq!(world.beat("consumers", beating("first", None)), ErrorCode::None);
    let mut refused = 0;
    for n in 0..500_000 {
        let id = format!("m{n}");
        if world.join("g", joining(&id)) == Some(ErrorCode::GroupMaxSizeReached) {
            refused += 1;
        }
        let error = world.beat("consumers", beating(&id, None));
        refused += usize::from(error == ErrorCode::GroupMaxSizeReached);
    }
    assert_eq!(refused, 1_000_000 - 999);
    let known = world.shard.consumer_group("consumers").unwrap().members().count();
    assert!(known > 400, "{known}");
    assert_eq!(world.beat("consumers", beating("first", None)), ErrorCode::None, "it is known");
}

#[test]
fn member_ids_that_are_given_out_count_until_they_expire() {
    let mut world = World::new(Bounds { members_max: 100, ..few() });
    let ask =
        |n: usize| JoinRequest { requires_known_member_id: true, ..joining(&format!("m{n}")) };
    for n in 0..100 {
        assert_eq!(world.join("g", ask(n)), Some(ErrorCode::MemberIdRequired));
    }
    assert_eq!(world.join("g", ask(100)), Some(ErrorCode::GroupMaxSizeReached));
    world.now_ms += 10_001;
    let mut actions = Actions::default();
    world.shard.on_timeout(world.time(), &mut actions);
    assert_eq!(world.join("g", ask(101)), Some(ErrorCode::MemberIdRequired));
}

#[test]
fn a_member_counts_and_has_its_clock_when_it_is_in_the_log_though_nothing_is_committed() {
    let mut world = World::new(few());
    let beat = Request::ConsumerHeartbeat("g".into(), Box::new(beating("m", None)));
    let mut actions = Actions::default();
    world.shard.on_request(world.time(), beat, Ticket(1), &mut actions);
    assert_eq!((world.shard.roll.members(), world.shard.roll.next()), (0, None));
    let mut more = Actions::default();
    world.shard.on_appended(world.time(), &actions.writes[0], &mut more);
    let session = world.time().now.plus_ms(45_000);
    assert_eq!((world.shard.roll.members(), world.shard.roll.next()), (1, Some(session)));
}

#[test]
fn a_static_member_that_restarts_has_its_place_though_there_is_no_room() {
    let mut world = World::new(Bounds { members_max: 1, ..few() });
    let fixed = |id: &str| JoinRequest { instance_id: Some("one".into()), ..joining(id) };
    assert_eq!(world.join("g", fixed("m1")), Some(ErrorCode::None));
    assert_eq!(world.join("g", joining("m2")), Some(ErrorCode::GroupMaxSizeReached));
    assert_ne!(world.join("g", fixed("m3")), Some(ErrorCode::GroupMaxSizeReached));
}

#[test]
fn of_a_million_offsets_only_so_many_are_kept_and_those_can_be_renewed() {
    let mut world = World::new(few());
    let mut kept = 0;
    for n in 0..1_000 {
        let answers = world.commit("g", n * 1_000..(n + 1) * 1_000);
        let is_kept = |error: &&ErrorCode| error.is_none();
        kept += answers.iter().filter(is_kept).count();
        let is_known = |e: &ErrorCode| e.is_none() || *e == ErrorCode::InvalidCommitOffsetSize;
        assert!(answers.iter().all(is_known));
    }
    assert_eq!(kept, 2_000);
    assert_eq!(world.commit_lines("g", vec![line(7, 9)]), [ErrorCode::None]);
    assert_eq!(world.fetch("g", 7), Some(9));
    assert_eq!(world.commit("other", 0..1), [ErrorCode::None], "an idle group makes room");
    assert_eq!(world.fetch("g", 7), None);
}

#[test]
fn offsets_that_are_renewed_make_nobody_go_though_there_is_no_room() {
    let mut world = World::new(Bounds { offsets_max: 20, ..few() });
    assert_eq!(world.commit("idle", 0..10), vec![ErrorCode::None; 10]);
    assert_eq!(world.commit("g", 0..10), vec![ErrorCode::None; 10]);
    assert_eq!(world.commit("g", 0..10), vec![ErrorCode::None; 10]);
    assert_eq!(world.fetch("idle", 0), Some(1));
    assert_eq!(world.commit("g", 5..11), vec![ErrorCode::None; 6]);
    assert_eq!(world.fetch("idle", 0), None);
    assert_eq!(world.fetch("g", 10), Some(1));
}

#[test]
fn offsets_of_a_transaction_count_once_wherever_they_end() {
    let mut world = World::new(few());
    let tombstones = world.records;
    assert_eq!(world.commit("g", 0..10), vec![ErrorCode::None; 10]);
    assert_eq!(world.records - tombstones, 10);
    assert_eq!(world.shard.offsets.len(), 10);
    assert_eq!(world.commit("g", 5..15), vec![ErrorCode::None; 10]);
    assert_eq!(world.shard.offsets.len(), 15);
    world.ask(Request::DeleteOffsets("g".into(), vec![("t".into(), (0..5).collect())]));
    assert_eq!(world.shard.offsets.len(), 10);
    world.ask(Request::TopicDeleted("t".into()));
    assert_eq!(world.shard.offsets.len(), 0);
}

#[test]
fn offsets_below_and_above_any_log_are_kept_as_they_are() {
    let mut world = World::new(few());
    let lines = [-5, 0, i64::MAX].into_iter().zip(0..).map(|(offset, p)| line(p, offset));
    assert_eq!(world.commit_lines("g", lines.collect()), [ErrorCode::None; 3]);
    assert_eq!([0, 1, 2].map(|p| world.fetch("g", p)), [Some(-5), Some(0), Some(i64::MAX)]);
}

#[test]
fn requests_for_a_group_that_is_not_there_make_none() {
    let mut world = World::new(few());
    let (member_id, generation_id) = (Str::from("m"), GenerationId(3));
    let instance_id = None;
    let stranger = JoinRequest { member_id: "m".into(), ..joining("x") };
    assert_eq!(world.join("g", stranger), Some(ErrorCode::UnknownMemberId));
    let sync = SyncRequest {
        member_id: member_id.clone(),
        instance_id: None,
        generation_id,
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    };
    match world.ask(Request::Sync("g".into(), sync)) {
        Response::Sync(synced) => assert_eq!(synced.error, ErrorCode::UnknownMemberId),
        other => panic!("not the answer to a sync: {other:?}"),
    }
    let heartbeat = Heartbeat { member_id: member_id.clone(), instance_id, generation_id };
    let unknown = ErrorCode::UnknownMemberId;
    let answer = world.ask(Request::Heartbeat("g".into(), heartbeat));
    assert_eq!(answer, Response::Heartbeat(unknown));
    let leaver = Leaver { member_id, instance_id: None };
    let answer = world.ask(Request::Leave("g".into(), vec![leaver]));
    assert_eq!(answer, Response::Leave(Err(unknown)));
    let late = ConsumerHeartbeat { member_epoch: 3, ..beating("m", None) };
    assert_eq!(world.beat("g", late), ErrorCode::GroupIdNotFound);
    let answer = world.ask(Request::Delete("g".into()));
    assert_eq!(answer, Response::Delete(ErrorCode::GroupIdNotFound));
    assert_eq!(world.ask(Request::Describe("g".into())), Response::Describe(None));
    match world.ask(Request::DescribeConsumers("g".into())) {
        Response::DescribeConsumers(Err(refusal)) => {
            assert_eq!(refusal.error, ErrorCode::GroupIdNotFound);
        }
        other => panic!("not the answer to a describe: {other:?}"),
    }
    assert_eq!(world.fetch("g", 0), None);
    assert_eq!(world.shard.group_count(), 0);
    assert_eq!(world.shard.next_timeout(), None, "nothing is left to look at");
}

/// Patterns that a backtracking engine would not finish, or that need much of any engine.
fn bombs() -> Vec<String> {
    vec![
        format!("({}+)+b", "a".repeat(500)),
        "(a|aa)+".repeat(140),
        format!("{}{}", "a?".repeat(250), "a".repeat(250)),
        format!(".*a.{{{}}}", 240),
        format!("(.*a.*){{{}}}b", 60),
        "[a-z]*[0-9]*".repeat(80),
        format!("({})*x", (0..100).map(|n| format!("a{n}")).collect::<Vec<_>>().join("|")),
        r"\pL*\PL*".repeat(120),
        "(((((((((a{1,9}){1,9}){1,9}){1,9}){1,9}){1,9}){1,9}){1,9}){1,9})".to_owned(),
        "(?i)(ſK)*".repeat(100),
        format!("{}{}", "(".repeat(500), ")".repeat(500)),
    ]
}

#[test]
fn a_pattern_of_a_thousand_characters_is_matched_with_ten_thousand_topics_or_refused() {
    let mut world = World::new(few());
    let long = |n: usize| format!("{}{n:05}", "a1".repeat(100));
    world.topics((0..10_000).map(long));
    for (n, bomb) in bombs().into_iter().enumerate() {
        assert!(bomb.len() <= 1_100, "{}", bomb.len());
        let error = world.beat("g", beating(&format!("m{n}"), Some(&bomb)));
        let is_known = error.is_none() || error == ErrorCode::InvalidRegularExpression;
        assert!(is_known, "{bomb}: {error:?}");
    }
}

#[test]
fn a_record_that_no_group_can_be_made_of_is_skipped() {
    let empty = Record::GroupTombstone { group_id: "g".into() };
    let mut world = World::new(few());
    world.shard.replay(empty);
    assert_eq!(world.shard.group_count(), 0);
}
