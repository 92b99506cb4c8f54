//! How members get their part.

use super::*;

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
fn a_member_that_the_leader_left_out_gets_nothing() {
    let mut world = World::new();
    let (a, b) = world.completing_pair();
    let waits = world.sync(&b, 2, &[]);
    world.sync(&a, 2, &[(&a, "all")]);
    world.commit();
    let synced = world.synced(waits);
    assert_eq!((synced.error, synced.assignment), (ErrorCode::None, Bytes::new()));
}

#[test]
fn an_assignment_of_a_generation_that_is_over_is_history() {
    let mut world = World::new();
    let (a, _) = world.completing_pair();
    world.sync(&a, 2, &[(&a, "old")]);
    world.join(joining("c"));
    world.commit();
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn a_heartbeat_or_a_sync_while_others_join_is_told_to_rejoin() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.join(joining("c"));
    assert_eq!(world.heartbeat(&a, 2), ErrorCode::RebalanceInProgress);
    let sync = world.sync(&a, 2, &[]);
    assert_eq!(world.synced(sync).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_heartbeat_of_another_generation_or_member_is_refused() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    assert_eq!(world.heartbeat(&a, 1), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat(&a, 3), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat(&"ghost".into(), 2), ErrorCode::UnknownMemberId);
}
