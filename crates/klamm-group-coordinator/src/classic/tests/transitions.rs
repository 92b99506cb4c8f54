//! Each arrow between the states of a group.

use super::*;

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
fn empty_to_preparing_when_the_first_member_joins() {
    let mut world = World::with(Limits::default());
    world.join(joining("a"));
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn preparing_to_completing_when_all_have_joined() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let first = world.join(again(&a, "a", "sticky"));
    assert_eq!(world.state(), State::PreparingRebalance);
    let second = world.join(again(&b, "b", "sticky"));
    assert_eq!(world.state(), State::CompletingRebalance);
    assert_eq!(world.joined(first).generation_id, world.joined(second).generation_id);
}

#[test]
fn preparing_to_completing_when_time_is_up() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let rejoin = world.join(again(&a, "a", "sticky"));
    for _ in 0..6 {
        assert_eq!(world.heartbeat(&b, 2), ErrorCode::RebalanceInProgress);
        assert_eq!(world.answer(rejoin), None, "b is alive and may still join");
        world.pass(5_000);
    }
    assert_eq!(world.joined(rejoin).members.len(), 1);
    assert_eq!(world.state(), State::CompletingRebalance);
}

#[test]
fn preparing_to_empty_when_nobody_is_left() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    world.leave(&[&a]);
    assert_eq!(world.state(), State::PreparingRebalance);
    world.leave(&[&b]);
    assert_eq!(world.state(), State::Empty);
    world.commit();
    let Some(Record::Group(last)) = world.log.last() else { panic!("a group record is last") };
    assert!(last.members.is_empty());
}

#[test]
fn completing_to_stable_when_the_leaders_assignment_is_committed() {
    let mut world = World::new();
    let (a, _) = world.completing_pair();
    let sync = world.sync(&a, 2, &[(&a, "all")]);
    assert_eq!(world.state(), State::CompletingRebalance);
    world.commit();
    assert_eq!(world.state(), State::Stable);
    assert_eq!(world.synced(sync).assignment, "all");
}

#[test]
fn completing_to_preparing_when_a_member_joins() {
    let mut world = World::new();
    let (_, b) = world.completing_pair();
    let waits = world.sync(&b, 2, &[]);
    world.join(joining("c"));
    assert_eq!(world.state(), State::PreparingRebalance);
    assert_eq!(world.synced(waits).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn completing_to_preparing_when_a_member_asks_for_something_else() {
    let mut world = World::new();
    let (_, b) = world.completing_pair();
    world.join(again(&b, "b", "sticky"));
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn completing_stays_when_a_member_asks_the_same_again() {
    let mut world = World::new();
    let (_, b) = world.completing_pair();
    let again = world.join(JoinRequest { member_id: b, ..joining("b") });
    assert_eq!(world.joined(again).generation_id, GenerationId(2));
    assert_eq!(world.state(), State::CompletingRebalance);
}

#[test]
fn completing_to_preparing_when_a_member_leaves() {
    let mut world = World::new();
    let (_, b) = world.completing_pair();
    world.leave(&[&b]);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn completing_to_preparing_when_a_member_fails() {
    let mut world = World::new();
    let (a, b) = world.completing_pair();
    world.pass(9_000);
    assert_eq!(world.heartbeat(&a, 2), ErrorCode::None);
    world.pass(1_000);
    assert_eq!(world.state(), State::PreparingRebalance);
    assert_eq!(world.heartbeat(&b, 2), ErrorCode::UnknownMemberId);
}

#[test]
fn completing_to_preparing_when_a_leader_never_divides_the_work() {
    let mut world = World::new();
    let (a, b) = world.completing_pair();
    let waits = world.sync(&b, 2, &[]);
    for _ in 0..5 {
        world.pass(5_000);
        assert_eq!(world.heartbeat(&a, 2), ErrorCode::None);
    }
    world.pass(5_000);
    assert_eq!(world.state(), State::PreparingRebalance);
    assert_eq!(world.synced(waits).error, ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&a, 2), ErrorCode::UnknownMemberId);
}

#[test]
fn stable_to_preparing_when_a_member_joins() {
    let mut world = World::new();
    world.stable_pair();
    world.join(joining("c"));
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn stable_to_preparing_when_a_member_asks_for_something_else() {
    let mut world = World::new();
    let (_, b) = world.stable_pair();
    world.join(again(&b, "b", "sticky"));
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn stable_to_preparing_when_a_member_leaves() {
    let mut world = World::new();
    let (_, b) = world.stable_pair();
    world.leave(&[&b]);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn stable_to_preparing_when_a_member_fails() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.pass(9_000);
    world.heartbeat(&a, 2);
    world.pass(1_000);
    assert_eq!(world.state(), State::PreparingRebalance);
}

#[test]
fn empty_to_dead_when_the_group_is_deleted() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    world.leave(&[&a, &b]);
    world.commit();
    assert_eq!(world.state(), State::Empty);
    let ticket = world.send(Request::Delete(GROUP.into()));
    world.commit();
    assert_eq!(world.answer(ticket), Some(Response::Delete(ErrorCode::None)));
    assert!(world.shard.group(GROUP).is_none());
}

#[test]
fn empty_to_dead_when_nothing_is_left_to_keep() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    world.leave(&[&a, &b]);
    world.commit();
    world.pass(600_000);
    world.commit();
    assert!(world.shard.group(GROUP).is_none());
}

#[test]
fn a_thousand_members_form_a_group_in_one_generation() {
    let mut world = World::with(Limits::default());
    let tickets: Vec<Ticket> =
        (0..1_000).map(|n| world.join(joining(&format!("m{n:04}")))).collect();
    world.pass(7_000);
    let joined: Vec<Joined> = tickets.into_iter().map(|ticket| world.joined(ticket)).collect();
    assert!(joined.iter().all(|joined| joined.generation_id == GenerationId(1)));
    let leader = joined.iter().find(|joined| !joined.members.is_empty()).unwrap();
    assert_eq!(leader.members.len(), 1_000);
    let parts: Vec<(&Str, &'static str)> =
        leader.members.iter().map(|member| (&member.member_id, "part")).collect();
    let leads = world.sync(&leader.member_id, 1, &parts);
    world.commit();
    assert_eq!(world.synced(leads).assignment, "part");
    for member in &joined {
        let sync = world.sync(&member.member_id, 1, &[]);
        assert_eq!(world.synced(sync).assignment, "part");
    }
    assert_eq!(world.state(), State::Stable);
}
