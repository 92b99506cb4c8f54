//! How long offsets are kept in each state of a group.

use super::*;

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

const DAY_MS: u64 = 24 * 3_600_000;

/// What a consumer says that it reads.
fn reads(topic: &str) -> Protocol {
    let name = u8::try_from(topic.len()).unwrap();
    let head = [0, 1, 0, 0, 0, 1, 0, name];
    let metadata = Bytes::from([&head, topic.as_bytes(), &[0xff; 4], &[0; 4]].concat());
    Protocol { name: "range".into(), metadata }
}

/// A stable group of one member that lives for days between heartbeats, with an offset of `t`.
fn stable_with_offset(protocol_type: &str, protocol: Protocol) -> (World, Str) {
    let limits = Limits {
        initial_rebalance_delay_ms: 0,
        session_timeout_ms_max: i32::MAX,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let ticket = world.join(JoinRequest {
        protocol_type: protocol_type.into(),
        protocols: vec![protocol],
        session_timeout_ms: i32::MAX,
        ..joining("a")
    });
    let id = world.joined(ticket).member_id;
    world.sync(&id, 1, &[(&id, "all")]);
    world.commit();
    world.commit_offset(&id, 1, 7);
    world.commit();
    assert_eq!((world.state(), world.committed_offset()), (State::Stable, Some(7)));
    (world, id)
}

#[test]
fn an_offset_of_a_topic_that_a_stable_group_reads_does_not_expire() {
    let (mut world, _) = stable_with_offset("consumer", reads("t"));
    world.pass(20 * DAY_MS);
    world.commit();
    assert_eq!((world.state(), world.committed_offset()), (State::Stable, Some(7)));
}

#[test]
fn an_offset_of_a_topic_that_a_stable_group_reads_no_more_expires_by_its_age() {
    let (mut world, id) = stable_with_offset("consumer", reads("u"));
    world.pass(6 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), Some(7));
    world.commit_offset(&id, 1, 8);
    world.commit();
    world.pass(6 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), Some(8), "it was renewed");
    world.pass(2 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), None);
}

#[test]
fn offsets_of_a_stable_group_that_cannot_be_understood_do_not_expire() {
    let (mut world, _) = stable_with_offset("consumer", protocol("range"));
    world.pass(20 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), Some(7));
}

#[test]
fn offsets_of_a_stable_group_of_another_type_never_expire_by_topic() {
    let (mut world, _) = stable_with_offset("connect", reads("u"));
    world.pass(20 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), Some(7));
}

#[test]
fn offsets_of_a_group_that_rebalances_do_not_expire() {
    let (mut world, _) = stable_with_offset("consumer", reads("u"));
    world.pass(6 * DAY_MS);
    let slow = JoinRequest { rebalance_timeout_ms: i32::MAX, ..joining("b") };
    world.join(JoinRequest { protocols: vec![reads("u")], ..slow });
    assert_eq!(world.state(), State::PreparingRebalance);
    world.pass(10 * 60_000);
    assert_eq!(world.committed_offset(), Some(7));
}

#[test]
fn the_offsets_of_an_empty_group_are_kept_for_the_retention_from_when_it_was_left() {
    let (mut world, id) = stable_with_offset("consumer", reads("t"));
    world.pass(20 * DAY_MS);
    world.leave(&[&id]);
    world.commit();
    world.pass(7 * DAY_MS - 600_000);
    world.commit();
    assert_eq!((world.state(), world.committed_offset()), (State::Empty, Some(7)));
    world.pass(2 * 600_000);
    world.commit();
    assert_eq!(world.committed_offset(), None);
}

#[test]
fn offsets_of_a_consumer_outside_of_groups_expire_by_their_age() {
    let mut world = World::new();
    world.commit_offset("", -1, 7);
    world.commit();
    world.pass(6 * DAY_MS);
    world.commit_offset("", -1, 8);
    world.commit();
    world.pass(6 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), Some(8));
    world.pass(2 * DAY_MS);
    world.commit();
    assert_eq!(world.committed_offset(), None);
}

/// A group with more offsets than tombstones fit into a batch.
fn many_offsets() -> (World, usize) {
    let mut world = World::new();
    let count = 20_000;
    let line = |partition| OffsetToCommit {
        topic: "t".repeat(100).as_str().into(),
        topic_id: None,
        partition,
        offset: Offset(7),
        leader_epoch: None,
        metadata: Str::new(),
    };
    world.send(Request::CommitOffsets(
        GROUP.into(),
        OffsetCommit {
            member_id: Str::new(),
            instance_id: None,
            generation_id: GenerationId(-1),
            epochs: MemberEpochs::Unknown,
            retention_ms: None,
            offsets: (0..count).map(line).collect(),
        },
    ));
    world.commit();
    (world, count as usize)
}

/// What a broker's `max.message.bytes` is by default.
const BATCH_BYTES_MAX: usize = 1_048_588;

fn assert_each_fits(world: &World, count: usize) {
    let size = |write: &Write| write.records.iter().map(Record::size_in_bytes).sum::<usize>();
    let sizes: Vec<usize> = world.uncommitted.iter().map(size).collect();
    assert!(sizes.iter().sum::<usize>() > BATCH_BYTES_MAX, "{sizes:?} says too little");
    assert!(sizes.iter().all(|size| *size < BATCH_BYTES_MAX), "{sizes:?}");
    let records: usize = world.uncommitted.iter().map(|write| write.records.len()).sum();
    assert!(records >= count);
}

#[test]
fn more_offsets_than_fit_into_a_batch_expire_in_several() {
    let (mut world, count) = many_offsets();
    world.pass(7 * DAY_MS + DAY_MS / 2);
    assert_each_fits(&world, count);
    world.commit();
    world.pass(DAY_MS);
    world.commit();
    assert!(world.shard.group(GROUP).is_none() && world.shard.offsets.is_empty());
}

#[test]
fn a_group_with_more_offsets_than_fit_into_a_batch_is_deleted() {
    let (mut world, count) = many_offsets();
    let ticket = world.send(Request::Delete(GROUP.into()));
    assert_each_fits(&world, count);
    world.commit();
    assert_eq!(world.answer(ticket), Some(Response::Delete(ErrorCode::None)));
    assert!(world.shard.group(GROUP).is_none() && world.shard.offsets.is_empty());
}

#[test]
fn the_offsets_of_a_deleted_topic_go_however_many_they_are() {
    let (mut world, count) = many_offsets();
    world.send(Request::TopicDeleted("t".repeat(100).as_str().into()));
    assert_each_fits(&world, count);
    world.commit();
    assert_eq!(world.shard.offsets.len(), 0);
}

fn delete_offsets(world: &mut World, partitions: Vec<i32>) -> Ticket {
    let topic = "t".repeat(100).as_str().into();
    world.send(Request::DeleteOffsets(GROUP.into(), vec![(topic, partitions)]))
}

/// The codes of the lines, each once; or that of the whole.
fn deleted(world: &mut World, ticket: Ticket) -> Vec<ErrorCode> {
    let mut codes: Vec<ErrorCode> = match world.answer(ticket) {
        Some(Response::DeleteOffsets(Ok(lines))) => lines.into_iter().map(|l| l.error).collect(),
        Some(Response::DeleteOffsets(Err(code))) => vec![code],
        other => panic!("no answer to the deletion: {other:?}"),
    };
    codes.dedup();
    codes
}

#[test]
fn more_offsets_than_fit_into_a_batch_are_deleted_by_request() {
    let (mut world, count) = many_offsets();
    let ticket = delete_offsets(&mut world, (0..count as i32).collect());
    assert_each_fits(&world, count);
    assert_eq!(world.answer(ticket), None, "nothing is committed yet");
    world.commit();
    assert_eq!(deleted(&mut world, ticket), [ErrorCode::None]);
    assert_eq!(world.shard.offsets.len(), 0);
}

#[test]
fn an_offset_that_is_deleted_many_times_in_a_request_is_written_once() {
    let (mut world, count) = many_offsets();
    let ticket = delete_offsets(&mut world, vec![7; 100_000]);
    let records: usize = world.uncommitted.iter().map(|write| write.records.len()).sum();
    assert_eq!(records, 1);
    world.commit();
    assert_eq!(deleted(&mut world, ticket), [ErrorCode::None]);
    assert_eq!(world.shard.offsets.len(), count - 1);
}

#[test]
fn a_deletion_of_which_a_part_cannot_be_written_is_answered_as_failed() {
    let (mut world, count) = many_offsets();
    let ticket = delete_offsets(&mut world, (0..count as i32).collect());
    let rest = world.uncommitted.split_off(1);
    world.fail(ErrorCode::KafkaStorageError);
    assert_eq!(deleted(&mut world, ticket), [ErrorCode::CoordinatorNotAvailable]);
    world.uncommitted = rest;
    world.commit();
    assert_ne!(world.shard.offsets.len(), 0);
}
