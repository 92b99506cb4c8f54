//! Who may commit, and what is there then.

use super::*;

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
fn a_group_whose_first_offsets_could_not_be_written_is_not_there() {
    let mut world = World::new();
    world.commit_offset("", -1, 7);
    world.fail(ErrorCode::NotLeaderOrFollower);
    assert!(world.shard.group(GROUP).is_none());
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
fn a_consumer_outside_of_groups_commits_while_the_group_has_no_members() {
    let mut world = World::new();
    let ticket = world.commit_offset("", -1, 7);
    world.commit();
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::None));
    assert_eq!((world.state(), world.committed_offset()), (State::Empty, Some(7)));
    let (a, b) = world.stable_pair();
    let ticket = world.commit_offset("", -1, 8);
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::UnknownMemberId));
    world.leave(&[&a, &b]);
    world.commit();
    let ticket = world.commit_offset("", -1, 9);
    world.commit();
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::None));
    assert_eq!(world.committed_offset(), Some(9));
}

#[test]
fn a_member_may_commit_while_the_others_join() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.join(joining("c"));
    assert_eq!(world.state(), State::PreparingRebalance);
    let ticket = world.commit_offset(&a, 2, 7);
    world.commit();
    assert_eq!(world.commit_error(ticket), Some(ErrorCode::None));
}
