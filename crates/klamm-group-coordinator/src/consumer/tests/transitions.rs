//! Each arrow between the states of a consumer group.

use super::*;
use crate::OffsetLimits;

/// A member that has everything, and its group.
fn stable(world: &mut World) -> Client {
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    assert_eq!(world.state(), "Stable");
    a
}

/// A group whose second member waits for what the first has not given up.
fn reconciling(world: &mut World) -> (Client, Client) {
    let a = stable(world);
    let mut b = Client::new("b");
    world.join(&mut b, &["t"]);
    assert_eq!(world.state(), "Reconciling");
    (a, b)
}

#[test]
fn empty_to_assigning_when_the_first_member_joins() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Empty");
    world.join(&mut Client::new("b"), &["t"]);
    assert_eq!(world.state(), "Assigning", "the last target is not a second old");
}

#[test]
fn assigning_to_reconciling_when_the_target_is_computed() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    let mut b = Client::new("b");
    world.join(&mut b, &["t"]);
    assert_eq!(world.state(), "Assigning");
    world.pass(1_000);
    world.beat(&mut b);
    assert_eq!(world.state(), "Reconciling");
}

#[test]
fn reconciling_to_stable_when_all_have_their_target() {
    let mut world = World::new(2);
    let (mut a, mut b) = reconciling(&mut world);
    world.beat(&mut a);
    world.beat(&mut a);
    assert_eq!(world.state(), "Reconciling");
    world.beat(&mut b);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn reconciling_to_assigning_when_a_member_joins() {
    let mut world = World::new(2);
    reconciling(&mut world);
    world.join(&mut Client::new("c"), &["t"]);
    assert_eq!(world.state(), "Assigning");
}

#[test]
fn reconciling_to_assigning_when_a_member_leaves() {
    let mut world = World::new(2);
    let (_, b) = reconciling(&mut world);
    world.send(b.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Assigning");
}

#[test]
fn stable_to_assigning_when_a_member_leaves() {
    let mut world = World::new(2);
    let (mut a, mut b) = reconciling(&mut world);
    world.settle(&mut [&mut a, &mut b]);
    world.send(b.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Assigning");
}

#[test]
fn stable_to_assigning_when_a_member_fails() {
    let mut world = World::new(2);
    let (mut a, mut b) = reconciling(&mut world);
    world.settle(&mut [&mut a, &mut b]);
    for _ in 0..8 {
        world.pass(5_000);
        world.send(a.beats()).unwrap();
    }
    assert_eq!(world.state(), "Stable");
    world.pass(5_000);
    assert_eq!(world.state(), "Assigning");
}

#[test]
fn stable_to_reconciling_when_a_member_asks_for_other_topics_and_the_target_is_computed_at_once() {
    let mut world = World::new(2);
    let a = stable(&mut world);
    world.create("u", Uuid(202), 1);
    let asks = ConsumerHeartbeat { names: Some(vec!["u".into()]), ..a.beats() };
    world.send(asks).unwrap();
    assert_eq!(world.state(), "Reconciling", "t is not given up yet");
}

#[test]
fn stable_to_assigning_when_topics_grow_within_a_second_of_the_last_target() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.expand(T, 2..4);
    world.beat(&mut a);
    assert_eq!(world.state(), "Assigning");
    world.pass(1_000);
    world.beat(&mut a);
    assert_eq!((world.state(), a.has(T)), ("Stable", vec![0, 1, 2, 3]));
}

#[test]
fn stable_to_empty_when_the_last_member_leaves() {
    let mut world = World::new(2);
    let a = stable(&mut world);
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Empty");
}

#[test]
fn stable_to_empty_when_the_last_member_fails() {
    let mut world = World::new(2);
    stable(&mut world);
    world.pass(45_000);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn empty_to_gone_when_the_group_is_deleted() {
    let mut world = World::new(2);
    let a = stable(&mut world);
    assert_eq!(
        world.ask(Request::Delete(GROUP.into())),
        Response::Delete(ErrorCode::NonEmptyGroup)
    );
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.ask(Request::Delete(GROUP.into())), Response::Delete(ErrorCode::None));
    assert!(world.shard.consumer_group(GROUP).is_none());
}

#[test]
fn empty_to_gone_when_its_offsets_have_expired() {
    let mut world = World::new(2);
    let a = stable(&mut world);
    assert_eq!(world.commit(&a, MemberEpochs::Known), ErrorCode::None);
    world.send(a.leaves(-1)).unwrap();
    let retention_ms = OffsetLimits::default().retention_ms as u64;
    world.pass(retention_ms - 600_000);
    assert_eq!(world.state(), "Empty");
    world.pass(3 * 600_000);
    assert!(world.shard.consumer_group(GROUP).is_none());
}
