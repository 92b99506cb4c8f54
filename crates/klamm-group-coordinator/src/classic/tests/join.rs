//! Who may join, and who is told to come again.

use super::*;

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
fn a_session_may_be_as_long_as_the_broker_says_and_no_longer() {
    let mut world = World::with(Limits { session_timeout_ms_max: 20_000, ..Limits::default() });
    for (ms, error) in [
        (5_999, Some(ErrorCode::InvalidSessionTimeout)),
        (6_000, None),
        (20_000, None),
        (20_001, Some(ErrorCode::InvalidSessionTimeout)),
    ] {
        let name = format!("m{ms}");
        let ticket = world.join(JoinRequest { session_timeout_ms: ms, ..joining(&name) });
        let refused = match world.answer(ticket) {
            Some(Response::Join(joined)) => Some(joined.error),
            _ => None,
        };
        assert_eq!(refused, error, "{ms}");
    }
}

#[test]
fn an_id_that_was_given_out_is_waited_for_and_forgotten_after_its_session() {
    let mut world = World::new();
    let (a, b) = world.stable_pair();
    let asks = JoinRequest { requires_known_member_id: true, ..joining("c") };
    let ticket = world.join(asks.clone());
    assert_eq!(world.joined(ticket).error, ErrorCode::MemberIdRequired);
    assert_eq!(world.state(), State::Stable, "nobody rejoins for an id");
    let (first, second) =
        (world.join(again(&a, "a", "sticky")), world.join(again(&b, "b", "sticky")));
    assert_eq!(world.answer(first), None, "c may still come");
    world.pass(10_000);
    assert_eq!(world.joined(first).error, ErrorCode::None);
    assert_eq!(world.joined(second).error, ErrorCode::None);
    let late = world.join(JoinRequest { member_id: "c-id".into(), ..asks });
    assert_eq!(world.joined(late).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_join_that_is_sent_again_takes_the_place_of_the_first() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    let first = world.join(again(&a, "a", "sticky"));
    let second = world.join(again(&a, "a", "sticky"));
    assert_eq!(world.joined(first).error, ErrorCode::UnknownMemberId);
    assert_eq!(world.answer(second), None);
}

#[test]
fn a_full_group_that_rebalances_lets_those_in_who_come_first() {
    let limits = Limits { members_max: 2, initial_rebalance_delay_ms: 0, ..Limits::default() };
    let mut world = World::with(limits);
    let (a, b) = world.stable_pair();
    world.leave(&[&b]);
    let c = world.join(joining("c"));
    let rejoin = world.join(JoinRequest { member_id: a.clone(), ..joining("a") });
    assert_eq!(world.joined(c).error, ErrorCode::None);
    assert_eq!(world.joined(rejoin).error, ErrorCode::None);
    let d = world.join(joining("d"));
    assert_eq!(world.joined(d).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn the_initial_delay_is_extended_up_to_the_rebalance_timeout_and_no_further() {
    let mut world = World::with(Limits::default());
    let first = world.join(joining("m0"));
    for n in 1..20 {
        world.pass(2_500);
        world.join(joining(&format!("m{n}")));
        if world.state() != State::PreparingRebalance || world.answered(first) {
            break;
        }
    }
    assert!(world.now_ms <= 31_000 + 2_500, "{}", world.now_ms);
    assert!(world.joined(first).error.is_none());
}
