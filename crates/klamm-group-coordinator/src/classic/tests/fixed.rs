//! Static members (KIP-345).

use super::*;

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
fn a_static_member_whose_return_cannot_be_written_is_who_it_was() {
    let mut world = World::new();
    let [leader, _] = stable_static(&mut world);
    let again = world.join(static_joining("one", "a-2"));
    world.fail(ErrorCode::KafkaStorageError);
    assert_eq!(world.joined(again).error, ErrorCode::NotCoordinator, "it asks again elsewhere");
    let group = world.shard.group(GROUP).expect("it is there");
    assert_eq!((group.state(), group.leader_id()), (State::Stable, Some(&leader)));
    let synced = world.sync_static(&leader, "one", &[]);
    assert_eq!(world.synced(synced).assignment, "one", "the process before is not fenced");
    let synced = world.sync_static(&"a-2".into(), "one", &[]);
    assert_eq!(world.synced(synced).error, ErrorCode::FencedInstanceId);
}

/// A stable group of static members; the first leads.
fn stable_static(world: &mut World) -> [Str; 2] {
    let a = world.join(static_joining("one", "a-1"));
    world.joined(a);
    let b = world.join(static_joining("two", "b-1"));
    let rejoin = world.join(JoinRequest { member_id: "a-1".into(), ..static_joining("one", "x") });
    world.joined(rejoin);
    world.joined(b);
    let ids = [Str::from("a-1"), Str::from("b-1")];
    world.sync_static(&ids[0], "one", &[(&ids[0], "one"), (&ids[1], "two")]);
    world.sync_static(&ids[1], "two", &[]);
    world.commit();
    assert_eq!(world.state(), State::Stable);
    ids
}

#[test]
fn a_static_leader_that_restarts_keeps_the_assignment_that_there_is() {
    let mut world = World::new();
    stable_static(&mut world);
    let new_client =
        JoinRequest { supports_skipping_assignment: true, ..static_joining("one", "a-2") };
    let back = world.join(new_client);
    world.commit();
    let joined = world.joined(back);
    assert!(joined.skip_assignment, "a new client is told so (KIP-814)");
    assert_eq!((joined.leader_id.as_str(), joined.members.len()), ("a-2", 2));
    let old_client =
        JoinRequest { supports_skipping_assignment: false, ..static_joining("one", "a-3") };
    let back = world.join(old_client);
    world.commit();
    let joined = world.joined(back);
    assert!(!joined.skip_assignment);
    assert_eq!((joined.leader_id.as_str(), joined.members.len()), ("a-2", 0), "it must not divide");
    assert_eq!(world.state(), State::Stable);
    let synced = world.sync_static(&"a-3".into(), "one", &[]);
    assert_eq!(world.synced(synced).assignment, "one");
}

#[test]
fn a_static_member_that_restarts_with_other_protocols_makes_the_others_rejoin() {
    let mut world = World::new();
    stable_static(&mut world);
    let other = JoinRequest {
        protocols: vec![protocol("roundrobin"), protocol("range")],
        ..static_joining("two", "b-2")
    };
    world.join(other);
    assert!(world.uncommitted.is_empty() || world.state() == State::Stable);
    let changed =
        JoinRequest { protocols: vec![protocol("roundrobin")], ..static_joining("two", "b-3") };
    world.join(changed);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn whoever_waits_with_an_old_id_of_a_static_member_is_fenced() {
    let mut world = World::new();
    stable_static(&mut world);
    world.join(joining("c"));
    let waits = world.join(JoinRequest { member_id: "a-1".into(), ..static_joining("one", "x") });
    world.join(static_joining("one", "a-2"));
    assert_eq!(world.joined(waits).error, ErrorCode::FencedInstanceId);
    let late = world.join(JoinRequest { member_id: "a-1".into(), ..static_joining("one", "x") });
    assert_eq!(world.joined(late).error, ErrorCode::FencedInstanceId);
    let sync = world.sync_static(&"a-1".into(), "one", &[]);
    assert_eq!(world.synced(sync).error, ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_that_does_not_rejoin_keeps_its_place_until_its_session_ends() {
    let mut world = World::new();
    let [a, _] = stable_static(&mut world);
    let long = JoinRequest { session_timeout_ms: 60_000, ..static_joining("two", "b-2") };
    world.join(long);
    world.commit();
    let c = world.join(joining("c"));
    let rejoin = world.join(JoinRequest { member_id: a, ..static_joining("one", "x") });
    world.pass(30_000);
    let joined = [c, rejoin].map(|ticket| world.joined(ticket));
    let leader = joined.iter().find(|joined| !joined.members.is_empty()).unwrap();
    assert_eq!(leader.members.len(), 3, "two counts though it is silent");
}

#[test]
fn an_operator_removes_a_static_member_by_its_name_alone() {
    let mut world = World::new();
    stable_static(&mut world);
    let leaver = |id: &str, instance: &str| Leaver {
        member_id: id.into(),
        instance_id: Some(instance.into()),
    };
    let leavers =
        vec![leaver("", "two"), leaver("", "none"), leaver("b-1", "one"), leaver("a-1", "one")];
    let ticket = world.send(Request::Leave(GROUP.into(), leavers));
    let Some(Response::Leave(Ok(left))) = world.answer(ticket) else { panic!("no answer") };
    let errors: Vec<ErrorCode> = left.iter().map(|left| left.error).collect();
    assert_eq!(
        errors,
        [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId, ErrorCode::None]
    );
    assert_eq!(world.state(), State::Empty);
}

#[test]
fn a_static_member_commits_under_its_own_name_only() {
    let mut world = World::new();
    let [a, b] = stable_static(&mut world);
    for (member, instance, error) in [
        (&a, "one", ErrorCode::None),
        (&b, "one", ErrorCode::FencedInstanceId),
        (&a, "none", ErrorCode::UnknownMemberId),
    ] {
        let ticket = world.commit_as(member, Some(instance), 2);
        world.commit();
        assert_eq!(world.commit_error(ticket), Some(error), "{member} {instance}");
    }
}
