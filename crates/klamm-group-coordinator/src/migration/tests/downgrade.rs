//! From the consumer protocol to the classic one.

use super::*;

/// A classic member that has both partitions, of which a consumer that is gone was to have one.
fn torn(world: &mut World) -> Classic {
    let mut a = Classic::new("a");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let mut b = Client::new("b");
    world.join(&mut b, &["t"]);
    world.send(b.leaves(-1)).unwrap();
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    a
}

#[test]
fn what_a_member_has_not_given_up_is_not_anothers_if_the_group_goes_to_and_fro() {
    let mut world = world(2, "bidirectional");
    let mut a = torn(&mut world);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    world.check_both(&[&mut a], &[&mut c]);
    assert_eq!(world.classic_beat(&a), ErrorCode::IllegalGeneration);
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut c]);
    assert_eq!((a.owned.len(), c.has(T).len()), (1, 1));
}

#[test]
fn a_group_that_was_to_rebalance_makes_everybody_join_wherever_it_is_loaded() {
    let mut world = world(2, "bidirectional");
    let mut a = Classic::new("a");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let mut b = Client::new("b");
    world.join(&mut b, &["t"]);
    world.settle_both(&mut [&mut a], &mut [&mut b]);
    world.send(b.leaves(-1)).unwrap();
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    world.reload();
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress, "b's part is nobody's");
}

#[test]
fn a_consumer_group_whose_end_cannot_be_written_goes_on_although_a_classic_member_comes() {
    let mut world = world(2, "bidirectional");
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-1)).unwrap();
    world.refuses_writes = true;
    let mut b = Classic::new("b");
    world.begin_join(&b);
    assert!(world.shard.group(GROUP).is_none(), "a group is of one protocol");
    assert_eq!(world.state(), "Empty");
    world.refuses_writes = false;
    b.owned = vec![0, 1];
    world.classic_group(&mut [&mut b]);
    assert!(world.shard.consumer_group(GROUP).is_none());
}

/// Two classic members and one of the consumer protocol, settled.
fn mixed(world: &mut World) -> (Classic, Classic, Client) {
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    (a.owned, b.owned) = (vec![0, 1, 2], vec![3, 4, 5]);
    world.classic_group(&mut [&mut a, &mut b]);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
    (a, b, c)
}

/// The classic members do as they are told and have everything in the end.
#[track_caller]
fn goes_on(world: &mut World, a: &mut Classic, b: &mut Classic) {
    assert!(world.shard.consumer_group(GROUP).is_none());
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    assert_eq!(world.classic_beat(a), ErrorCode::RebalanceInProgress);
    assert_eq!(world.classic_beat(b), ErrorCode::RebalanceInProgress);
    let before = a.generation;
    (a.owned, b.owned) = (vec![0, 1, 2], vec![3, 4, 5]);
    world.divide(&mut [a, b]);
    assert!(a.generation > before, "generations go on where epochs were");
}

#[test]
fn when_the_last_consumer_leaves_the_group_is_classic_again_and_rebalances() {
    let mut world = world(6, "bidirectional");
    let (mut a, mut b, c) = mixed(&mut world);
    assert_eq!(world.send(c.leaves(-1)).unwrap().member_epoch, -1);
    goes_on(&mut world, &mut a, &mut b);
}

#[test]
fn when_the_last_consumer_is_silent_for_its_session_the_group_is_classic_again() {
    let mut world = world(6, "bidirectional");
    let (mut a, mut b, _) = mixed(&mut world);
    for _ in 0..9 {
        world.pass(5_000);
        world.classic_beat(&a);
        world.classic_beat(&b);
    }
    goes_on(&mut world, &mut a, &mut b);
}

#[test]
fn when_an_operator_removes_the_last_consumer_the_group_is_classic_again() {
    let mut world = world(6, "bidirectional");
    let (mut a, mut b, _) = mixed(&mut world);
    assert_eq!(
        world.leave(&[("c", None), ("c", None)]),
        [ErrorCode::None, ErrorCode::UnknownMemberId]
    );
    goes_on(&mut world, &mut a, &mut b);
}

#[test]
fn members_that_do_not_rejoin_the_classic_group_are_left_behind() {
    let mut world = world(6, "bidirectional");
    let (mut a, _, c) = mixed(&mut world);
    world.send(c.leaves(-1)).unwrap();
    let waits = world.begin_join(&a);
    world.pass(REBALANCE_MS as u64);
    let joined = world.joined(waits);
    a.generation = joined.generation_id.0;
    assert_eq!((joined.leader_id.as_str(), joined.members.len()), ("a", 1));
}

#[test]
fn the_records_of_a_downgrade_end_the_consumer_group_and_give_each_member_what_it_had() {
    let mut world = world(6, "bidirectional");
    let (mut a, mut b, c) = mixed(&mut world);
    world.send(c.leaves(-1)).unwrap();
    match world.log.last() {
        Some(crate::Record::Group(written)) => {
            let has: Vec<(&str, Vec<i32>)> = written
                .members
                .iter()
                .map(|m| (m.member_id.as_str(), partitions(&m.assignment)))
                .collect();
            assert_eq!(has, [("a", a.owned.clone()), ("b", b.owned.clone())]);
            assert_eq!(written.generation_id.0, a.generation);
            assert_eq!(written.protocol_name.as_deref(), Some("range"));
            assert_eq!(written.leader_id, None, "nobody has divided what c had");
        }
        other => panic!("not a classic group: {other:?}"),
    }
    world.reload();
    assert!(world.shard.consumer_group(GROUP).is_none());
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    world.divide(&mut [&mut a, &mut b]);
}

/// Two static members, the second of the consumer protocol, settled.
fn mixed_static(world: &mut World) -> (Classic, Client) {
    let mut a = Classic::fixed("a", "one");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let mut b = Client::fixed("b", "two");
    world.join(&mut b, &["t"]);
    world.settle_both(&mut [&mut a], &mut [&mut b]);
    (a, b)
}

#[test]
fn a_classic_process_in_the_last_consumers_static_place_makes_the_group_classic_at_once() {
    let mut world = world(2, "bidirectional");
    let (a, b) = mixed_static(&mut world);
    let mut again = Classic::fixed("b2", "two");
    let joined = world.try_join(again.joins());
    assert_eq!((joined.error, joined.member_id.as_str()), (ErrorCode::None, "b2"));
    again.generation = joined.generation_id.0;
    assert_eq!(world.classic_state(), State::Stable, "everybody has its part");
    let synced = world.try_sync(again.syncs());
    assert_eq!(partitions(&synced.assignment), b.has(T));
    assert_eq!(world.classic_beat(&a), ErrorCode::None);
    assert_eq!(world.classic_beat(&again), ErrorCode::None);
    assert_eq!(world.refused(b.beats()), ErrorCode::GroupIdNotFound);
}

#[test]
fn a_classic_process_in_a_static_place_that_wants_other_topics_makes_the_others_rejoin() {
    let mut world = world(2, "bidirectional");
    let (mut a, _) = mixed_static(&mut world);
    let mut again = Classic::fixed("b2", "two");
    again.topics = vec!["t".into(), "u".into()];
    let waits = world.begin_join(&again);
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    let other = world.begin_join(&a);
    let joined = world.joined(waits);
    assert_eq!((joined.error, joined.member_id.as_str()), (ErrorCode::None, "b2"));
    a.generation = world.joined(other).generation_id.0;
    assert_eq!(joined.generation_id.0, a.generation);
}

#[test]
fn a_downgrade_that_could_not_be_written_did_not_happen_and_who_waits_for_it_is_told() {
    let mut world = world(2, "bidirectional");
    let (a, mut b) = mixed_static(&mut world);
    let again = Classic { topics: vec!["u".into()], ..Classic::fixed("b2", "two") };
    world.refuses_writes = true;
    assert_eq!(world.refused(b.leaves(-1)), ErrorCode::NotCoordinator);
    assert_eq!(world.try_join(again.joins()).error, ErrorCode::NotCoordinator);
    let same = Classic::fixed("b2", "two");
    assert_eq!(world.try_join(same.joins()).error, ErrorCode::NotCoordinator);
    world.refuses_writes = false;
    assert_eq!(world.classic_beat(&a), ErrorCode::None);
    world.beat(&mut b);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn a_group_whose_policy_forbids_it_stays_one_of_the_consumer_protocol_and_works() {
    let mut world = world(6, "upgrade");
    let (mut a, mut b, c) = mixed(&mut world);
    world.send(c.leaves(-1)).unwrap();
    world.settle_both(&mut [&mut a, &mut b], &mut []);
    assert_eq!((a.owned.len(), b.owned.len()), (3, 3), "what the leaver had goes to them");
    assert_eq!(world.state(), "Stable");
}

#[test]
fn a_group_that_is_too_large_for_a_classic_one_stays_what_it_is() {
    let limits = Limits { initial_rebalance_delay_ms: 0, members_max: 2, ..Limits::default() };
    let mut world = World::with(6, limits, consumers("bidirectional"));
    let (mut a, mut b, c) = mixed(&mut world);
    let mut d = Classic::new("d");
    world.rejoin(&mut d);
    world.send(c.leaves(-1)).unwrap();
    world.settle_both(&mut [&mut a, &mut b, &mut d], &mut []);
    assert_eq!(a.owned.len() + b.owned.len() + d.owned.len(), 6);
    assert_eq!(world.leave(&[("d", None)]), [ErrorCode::None]);
    assert!(world.shard.consumer_group(GROUP).is_none(), "now it fits");
}

#[test]
fn a_group_that_the_last_member_left_is_empty_and_not_classic() {
    let mut world = world(2, "bidirectional");
    let (mut a, b) = mixed_static(&mut world);
    world.leave(&[("", Some("one"))]);
    assert_eq!(world.classic_beat(&a), ErrorCode::UnknownMemberId);
    world.send(b.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Empty");
    a.generation = -1;
    let joined = world.try_join(a.joins());
    assert_eq!((joined.error, joined.generation_id.0), (ErrorCode::None, 1));
}

#[test]
fn epochs_and_generations_only_grow_from_one_protocol_to_the_other_and_back() {
    let mut world = world(6, "bidirectional");
    let (mut a, mut b, c) = mixed(&mut world);
    let mut last = a.generation;
    world.send(c.leaves(-1)).unwrap();
    for round in 0..3 {
        world.divide(&mut [&mut a, &mut b]);
        assert!(a.generation > last);
        let mut again = Client::new(&format!("c{round}"));
        let joined = world.join(&mut again, &["t"]);
        assert!(joined.member_epoch > a.generation);
        world.settle_both(&mut [&mut a, &mut b], &mut [&mut again]);
        last = a.generation;
        world.send(again.leaves(-1)).unwrap();
    }
}
