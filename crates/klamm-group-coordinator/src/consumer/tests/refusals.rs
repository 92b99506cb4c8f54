//! What is refused, and with which error.

use super::*;
use crate::{JoinRequest, Protocol};

#[test]
fn requests_that_make_no_sense_are_invalid() {
    let mut world = World::new(1);
    let a = Client::new("a");
    let join = a.joins(&["t"]);
    let beats = [
        ConsumerHeartbeat { member_id: Str::new(), ..join.clone() },
        ConsumerHeartbeat { instance_id: Some(Str::new()), ..join.clone() },
        ConsumerHeartbeat { rack_id: Some(" ".into()), ..join.clone() },
        ConsumerHeartbeat { rebalance_timeout_ms: None, ..join.clone() },
        ConsumerHeartbeat { owned: None, ..join.clone() },
        ConsumerHeartbeat { owned: Some(vec![(T, vec![0])]), ..join.clone() },
        ConsumerHeartbeat { names: None, ..join.clone() },
        ConsumerHeartbeat { member_epoch: -3, ..join.clone() },
        a.leaves(-2),
        ConsumerHeartbeat { member_id: Str::new(), brings_id: false, member_epoch: 1, ..join },
    ];
    for beat in beats {
        let told = format!("{beat:?}");
        assert_eq!(world.refused(beat), ErrorCode::InvalidRequest, "{told}");
    }
    assert!(world.log.is_empty());
}

#[test]
fn an_assignor_that_the_broker_does_not_have_is_not_supported() {
    let mut world = World::new(1);
    let beat =
        ConsumerHeartbeat { assignor: Some("sticky".into()), ..Client::new("a").joins(&["t"]) };
    assert_eq!(world.refused(beat), ErrorCode::UnsupportedAssignor);
}

#[test]
fn nobody_reports_to_or_leaves_a_group_that_is_not_there() {
    let mut world = World::new(1);
    let a = Client { epoch: 1, ..Client::new("a") };
    assert_eq!(world.refused(a.beats()), ErrorCode::GroupIdNotFound);
    assert_eq!(world.refused(a.leaves(-1)), ErrorCode::GroupIdNotFound);
}

#[test]
fn a_stranger_is_unknown() {
    let mut world = World::new(1);
    world.join(&mut Client::new("a"), &["t"]);
    let b = Client { epoch: 1, ..Client::new("b") };
    assert_eq!(world.refused(b.beats()), ErrorCode::UnknownMemberId);
    assert_eq!(world.refused(b.leaves(-1)), ErrorCode::UnknownMemberId);
    let fixed = Client { epoch: 1, ..Client::fixed("b", "one") };
    assert_eq!(world.refused(fixed.beats()), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_with_another_epoch_is_fenced() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    let newer = Client { epoch: a.epoch + 1, ..a.clone() };
    assert_eq!(world.refused(newer.tells()), ErrorCode::FencedMemberEpoch);
    let previous = Client { epoch: 1, ..a.clone() };
    assert_eq!(world.send(previous.tells()).unwrap().member_epoch, a.epoch);
    assert_eq!(world.refused(previous.beats()), ErrorCode::FencedMemberEpoch, "it says nothing");
    let more = Client { owned: vec![(T, vec![0, 1])], ..previous };
    assert_eq!(world.refused(more.tells()), ErrorCode::FencedMemberEpoch, "it has too much");
}

#[test]
fn a_static_members_name_is_its_own_while_it_is_there() {
    let mut world = World::new(1);
    let mut a = Client::fixed("a", "one");
    world.join(&mut a, &["t"]);
    let other = Client::fixed("b", "one");
    assert_eq!(world.refused(other.joins(&["t"])), ErrorCode::UnreleasedInstanceId);
    let other = Client { epoch: 1, ..other };
    assert_eq!(world.refused(other.beats()), ErrorCode::FencedInstanceId);
    assert_eq!(world.refused(other.leaves(-2)), ErrorCode::FencedInstanceId);
}

#[test]
fn a_group_that_is_full_takes_nobody_else() {
    let mut world = World::new(1);
    let mut limits = ConsumerLimits::default();
    limits.config.consumer_max_size = 1;
    world.shard = std::mem::replace(
        &mut world.shard,
        GroupShard::new(Limits::default(), OffsetLimits::default()),
    )
    .with_consumer_limits(limits);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    assert_eq!(world.refused(Client::new("b").joins(&["t"])), ErrorCode::GroupMaxSizeReached);
    world.beat(&mut a);
}

#[test]
fn a_join_that_cannot_be_written_did_not_happen() {
    let mut world = World::new(1);
    world.refuses_writes = true;
    let a = Client::new("a");
    assert_eq!(world.refused(a.joins(&["t"])), ErrorCode::NotCoordinator);
    assert!(world.shard.consumer_group(GROUP).is_none());
}

#[test]
fn offsets_are_committed_and_read_by_members_in_their_epoch() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    let early = Client { epoch: 1, ..a.clone() };
    assert_eq!(world.commit(&early, MemberEpochs::Known), ErrorCode::GroupIdNotFound);
    world.join(&mut a, &["t"]);
    assert_eq!(world.commit(&a, MemberEpochs::Known), ErrorCode::None);
    assert_eq!(world.commit(&a, MemberEpochs::Unknown), ErrorCode::UnsupportedVersion);
    let newer = Client { epoch: 2, ..a.clone() };
    assert_eq!(world.commit(&newer, MemberEpochs::Known), ErrorCode::StaleMemberEpoch);
    let stranger = Client { epoch: 1, ..Client::new("x") };
    assert_eq!(world.commit(&stranger, MemberEpochs::Known), ErrorCode::UnknownMemberId);
    let admin = Client { epoch: -1, ..Client::new("") };
    assert_eq!(world.commit(&admin, MemberEpochs::Known), ErrorCode::UnknownMemberId);
    assert!(matches!(world.fetch(None), Ok(FoundOffset::Committed(_))));
    assert!(world.fetch(Some(("a".into(), 1))).is_ok());
    assert_eq!(world.fetch(Some(("a".into(), 2))), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(world.fetch(Some(("x".into(), 1))), Err(ErrorCode::UnknownMemberId));
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.commit(&admin, MemberEpochs::Known), ErrorCode::None);
}

#[test]
fn a_member_that_has_not_heard_of_its_new_epoch_commits_what_it_still_has() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    let behind = Client { epoch: 1, ..a.clone() };
    assert_eq!(world.commit(&behind, MemberEpochs::Known), ErrorCode::None);
    let never = Client { epoch: 1, ..b.clone() };
    assert_eq!(world.commit(&never, MemberEpochs::Known), ErrorCode::StaleMemberEpoch);
}

fn classic_join(member_id: &str) -> Request {
    let join = JoinRequest {
        member_id: member_id.into(),
        instance_id: None,
        client_id: Str::new(),
        client_host: Str::new(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: bytes::Bytes::new() }],
        requires_known_member_id: false,
        supports_skipping_assignment: false,
        new_member_id: "classic".into(),
    };
    Request::Join(GROUP.into(), join)
}

#[test]
fn an_empty_group_changes_its_protocol_and_one_with_words_that_nobody_understands_does_not() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-1)).unwrap();
    let joined = world.ask(classic_join(""));
    assert!(matches!(&joined, Response::Join(j) if j.error.is_none()), "{joined:?}");
    assert!(world.shard.consumer_group(GROUP).is_none());
    assert_eq!(world.refused(a.joins(&["t"])), ErrorCode::GroupIdNotFound);
    let leaver = crate::Leaver { member_id: "classic".into(), instance_id: None };
    world.ask(Request::Leave(GROUP.into(), vec![leaver]));
    world.pass(60_000);
    world.join(&mut a, &["t"]);
    assert!(world.shard.group(GROUP).is_none());
    assert_eq!(world.state(), "Stable");
    world.reload();
    assert!(world.shard.group(GROUP).is_none());
    assert_eq!(world.state(), "Stable");
}
