//! Classic members of a group of the consumer protocol.

use klamm_model::Offset;

use super::*;
use crate::{MemberEpochs, OffsetCommit, OffsetToCommit};

/// A group with one member of the consumer protocol that has all of `t`.
fn with_consumer(world: &mut World) -> Client {
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    world.settle(&mut [&mut c]);
    c
}

#[test]
fn a_classic_member_that_joins_a_consumer_group_is_given_an_id_its_epoch_and_its_part() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::new("a");
    let first = world.try_join(JoinRequest { requires_known_member_id: true, ..a.joins() });
    assert_eq!((first.error, first.member_id.as_str()), (ErrorCode::MemberIdRequired, "a"));
    assert!(world.group().member("a").is_none());
    let again = JoinRequest { requires_known_member_id: true, member_id: "a".into(), ..a.joins() };
    let joined = world.try_join(again);
    assert_eq!((joined.error, joined.generation_id.0), (ErrorCode::None, world.group().epoch));
    a.generation = joined.generation_id.0;
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    assert_eq!((a.owned.len(), c.has(T).len()), (1, 1));
}

#[test]
fn a_classic_member_is_told_to_rejoin_when_what_it_waits_for_is_free() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::new("a");
    world.rejoin(&mut a);
    assert_eq!(a.owned, [], "c still has everything");
    assert_eq!(world.classic_beat(&a), ErrorCode::None, "there is nothing to rejoin for");
    world.pass(1_100);
    world.beat(&mut c);
    world.beat(&mut c);
    assert_eq!(c.has(T).len(), 1);
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    world.rejoin(&mut a);
    assert_eq!(a.owned.len(), 1);
}

#[test]
fn a_cooperative_member_gives_up_what_it_has_to_before_it_is_in_the_new_epoch() {
    let mut world = world(2, "bidirectional");
    let mut a = Classic::cooperative("a");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let before = a.generation;
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    let joined = world.try_join(a.joins());
    assert_eq!(joined.generation_id.0, before, "it still has what it is to give up");
    let synced = world.try_sync(a.syncs());
    assert_eq!(partitions(&synced.assignment), [0]);
    assert_eq!(world.beat(&mut c).assignment, None, "a has not given it up yet");
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    a.owned = vec![0];
    world.rejoin(&mut a);
    assert_eq!((a.generation, &a.owned[..]), (before + 1, &[0][..]));
    world.beat(&mut c);
    assert_eq!(c.has(T), [1]);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn requests_of_other_generations_members_and_protocols_are_refused() {
    let mut world = world(2, "bidirectional");
    let c = with_consumer(&mut world);
    let mut a = Classic::fixed("a", "one");
    world.rejoin(&mut a);
    let beat = |world: &mut World, member: Classic| {
        let synced = world.try_sync(member.syncs()).error;
        assert_eq!(world.classic_beat(&member), synced, "both see the same");
        synced
    };
    let late = Classic { generation: a.generation - 1, ..a.clone() };
    assert_eq!(beat(&mut world, late), ErrorCode::IllegalGeneration);
    let early = Classic { generation: a.generation + 1, ..a.clone() };
    assert_eq!(beat(&mut world, early), ErrorCode::IllegalGeneration);
    assert_eq!(beat(&mut world, Classic::new("x")), ErrorCode::UnknownMemberId);
    assert_eq!(beat(&mut world, Classic::fixed("a", "two")), ErrorCode::UnknownMemberId);
    assert_eq!(beat(&mut world, Classic::fixed("b", "one")), ErrorCode::FencedInstanceId);
    let consumer = Classic { generation: c.epoch, ..Classic::new("c") };
    assert_eq!(beat(&mut world, consumer), ErrorCode::UnknownMemberId);
    let other = SyncRequest { protocol_name: Some("roundrobin".into()), ..a.syncs() };
    assert_eq!(world.try_sync(other).error, ErrorCode::InconsistentGroupProtocol);
    let other = SyncRequest { protocol_type: Some("connect".into()), ..a.syncs() };
    assert_eq!(world.try_sync(other).error, ErrorCode::InconsistentGroupProtocol);
    let silent = SyncRequest { protocol_type: None, protocol_name: None, ..a.syncs() };
    assert_eq!(world.try_sync(silent).error, ErrorCode::None);
}

#[test]
fn a_sync_in_an_epoch_that_is_over_is_told_to_rejoin() {
    let mut world = world(2, "bidirectional");
    with_consumer(&mut world);
    let mut a = Classic::new("a");
    world.rejoin(&mut a);
    world.pass(1_100);
    world.join(&mut Client::new("d"), &["t"]);
    assert!(world.group().target_epoch > a.generation);
    assert_eq!(world.try_sync(a.syncs()).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_classic_join_is_refused_by_policy_protocol_timeout_size_or_words() {
    let joins = || Classic::new("a").joins();
    let mut strict = world(1, "disabled");
    with_consumer(&mut strict);
    assert_eq!(strict.try_join(joins()).error, ErrorCode::InconsistentGroupProtocol);

    let mut world = world(1, "bidirectional");
    with_consumer(&mut world);
    let connect = JoinRequest { protocol_type: "connect".into(), ..joins() };
    assert_eq!(world.try_join(connect).error, ErrorCode::InconsistentGroupProtocol);
    let none = JoinRequest { protocols: Vec::new(), ..joins() };
    assert_eq!(world.try_join(none).error, ErrorCode::InconsistentGroupProtocol);
    let short = JoinRequest { session_timeout_ms: 1, ..joins() };
    assert_eq!(world.try_join(short).error, ErrorCode::InvalidSessionTimeout);
    let words = vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"\0") }];
    let words = JoinRequest { protocols: words, ..joins() };
    assert_eq!(world.try_join(words).error, ErrorCode::UnknownServerError);
    world.rejoin(&mut Classic::new("a"));
    let other = Classic::cooperative("b").joins();
    assert_eq!(world.try_join(other).error, ErrorCode::InconsistentGroupProtocol);
    let stranger = JoinRequest { member_id: "x".into(), ..Classic::fixed("x", "one").joins() };
    assert_eq!(world.try_join(stranger).error, ErrorCode::UnknownMemberId);

    let mut small = consumers("bidirectional");
    small.config.consumer_max_size = 1;
    let mut full = World::with(1, Limits::default(), small);
    with_consumer(&mut full);
    assert_eq!(full.try_join(joins()).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_join_that_could_not_be_written_is_told_so() {
    let mut world = world(1, "bidirectional");
    with_consumer(&mut world);
    world.refuses_writes = true;
    assert_eq!(world.try_join(Classic::new("a").joins()).error, ErrorCode::NotCoordinator);
    assert!(world.group().member("a").is_none());
}

#[test]
fn a_classic_member_that_is_silent_for_its_own_session_is_removed() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::new("a");
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    world.pass(SESSION_MS as u64 - 1_200);
    world.beat(&mut c);
    assert!(world.group().member("a").is_some());
    world.pass(1_200);
    assert!(world.group().member("a").is_none());
    assert!(world.group().member("c").is_some());
}

#[test]
fn a_classic_member_that_does_not_rejoin_in_time_is_removed() {
    let mut world = world(2, "bidirectional");
    let mut a = Classic::new("a");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    for _ in 0..4 {
        assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
        world.pass(REBALANCE_MS as u64 / 4);
        world.beat(&mut c);
    }
    assert_eq!(world.classic_beat(&a), ErrorCode::UnknownMemberId);
    a.owned.clear();
    world.settle_both(&mut [], &mut [&mut c]);
    assert_eq!(c.has(T), [0, 1]);
}

#[test]
fn a_classic_member_that_joins_and_never_asks_for_its_part_is_removed() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic { topics: vec!["u".into()], ..Classic::new("a") };
    a.generation = world.try_join(a.joins()).generation_id.0;
    for _ in 0..4 {
        assert_eq!(world.classic_beat(&a), ErrorCode::None);
        world.pass(REBALANCE_MS as u64 / 4);
        world.beat(&mut c);
    }
    assert_eq!(world.classic_beat(&a), ErrorCode::UnknownMemberId);
    world.beat(&mut c);
}

#[test]
fn a_classic_member_that_rejoins_and_syncs_has_no_clock_but_its_session() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::new("a");
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    for _ in 0..10 {
        world.pass(SESSION_MS as u64 / 2);
        assert_eq!(world.classic_beat(&a), ErrorCode::None);
        world.beat(&mut c);
    }
}

#[test]
fn members_leave_by_id_or_by_the_operators_name_whatever_their_protocol() {
    let mut world = world(3, "bidirectional");
    with_consumer(&mut world);
    let (mut a, mut b) = (Classic::new("a"), Classic::fixed("b", "two"));
    world.rejoin(&mut a);
    world.rejoin(&mut b);
    world.join(&mut Client::fixed("d", "four"), &["t"]);
    assert_eq!(
        world.leave(&[("x", None), ("x", Some("two")), ("", Some("none")), ("b", Some("four"))]),
        [
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
        ]
    );
    let before = world.group().epoch;
    assert_eq!(
        world.leave(&[("a", None), ("", Some("two")), ("d", Some("four"))]),
        [ErrorCode::None; 3]
    );
    assert_eq!(world.group().epoch, before + 1, "once for all");
    assert_eq!(world.group().members().count(), 1);
}

#[test]
fn a_static_classic_member_that_restarts_keeps_its_place_in_a_consumer_group() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::fixed("a", "one");
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    let (before, had) = (world.group().epoch, a.owned.clone());
    let mut again = Classic::fixed("a2", "one");
    world.rejoin(&mut again);
    assert_eq!((world.group().epoch, &again.owned), (before, &had));
    assert_eq!(world.classic_beat(&a), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_consumer_takes_the_place_of_a_classic_process_without_leave() {
    let mut world = world(2, "bidirectional");
    let mut c = with_consumer(&mut world);
    let mut a = Classic::fixed("a", "one");
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    let mut again = Client::fixed("a2", "one");
    world.join(&mut again, &["t"]);
    assert_eq!(again.has(T), a.owned);
    let second = Client::fixed("a3", "one");
    assert_eq!(world.refused(second.joins(&["t"])), ErrorCode::UnreleasedInstanceId);
}

#[test]
fn a_classic_member_commits_by_its_generation() {
    let mut world = world(2, "bidirectional");
    with_consumer(&mut world);
    let mut a = Classic::new("a");
    world.rejoin(&mut a);
    let mut commit = |generation: i32| {
        let commit = OffsetCommit {
            member_id: "a".into(),
            instance_id: None,
            generation_id: GenerationId(generation),
            epochs: MemberEpochs::Unknown,
            retention_ms: None,
            offsets: vec![OffsetToCommit {
                topic: "t".into(),
                topic_id: None,
                partition: 0,
                offset: Offset(7),
                leader_epoch: None,
                metadata: Str::new(),
            }],
        };
        match world.ask(Request::CommitOffsets(GROUP.into(), commit)) {
            Response::CommitOffsets(results) => results[0].error,
            other => panic!("not the answer to a commit: {other:?}"),
        }
    };
    assert_eq!(commit(a.generation), ErrorCode::None);
    assert_eq!(commit(a.generation + 1), ErrorCode::IllegalGeneration);
    assert_eq!(commit(a.generation - 1), ErrorCode::IllegalGeneration);
}

#[test]
fn a_classic_heartbeat_asks_for_a_rejoin_when_a_target_is_due_that_nobody_else_computes() {
    let mut world = world(2, "upgrade");
    with_consumer(&mut world);
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    world.rejoin(&mut a);
    world.rejoin(&mut b);
    world.leave(&[("c", None)]);
    assert_eq!(world.state(), "Assigning");
    world.pass(1_100);
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    world.settle_both(&mut [&mut a, &mut b], &mut []);
    assert_eq!((a.owned.len(), b.owned.len()), (1, 1));
}
