//! Topics that come, go and grow; subscriptions that change, by name and by pattern.

use super::*;
use crate::consumer::Assignor;

const U: TopicId = Uuid(202);

fn by_pattern(client: &Client, pattern: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { names: None, regex: Some(pattern.into()), ..client.joins(&[]) }
}

#[test]
fn partitions_that_are_added_are_assigned() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.expand(T, 1..3);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(T), [0, 1, 2]);
    assert_eq!(world.group().epoch, 2);
}

#[test]
fn a_topic_that_is_created_later_is_assigned() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t", "u"]);
    world.create("u", U, 2);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(T), a.has(U)), (vec![0], vec![0, 1]));
}

#[test]
fn a_topic_that_is_deleted_is_taken_away() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.create("u", U, 2);
    world.join(&mut a, &["t", "u"]);
    world.delete(U);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(T), a.has(U)), (vec![0], vec![]));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn topics_that_the_group_does_not_read_change_nothing() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    let written = world.log.len();
    world.create("u", U, 2);
    world.pass(1_100);
    world.beat(&mut a);
    assert_eq!(world.log.len(), written);
}

#[test]
fn a_member_that_asks_for_other_topics_gets_them() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.create("u", U, 1);
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    let beat = ConsumerHeartbeat { names: Some(vec!["u".into()]), ..a.tells() };
    let answer = world.send(beat).unwrap();
    a.take(&answer);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(T), a.has(U)), (vec![], vec![0]));
}

#[test]
fn what_a_member_does_not_read_any_more_it_gives_up_before_the_next_target() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.create("u", U, 1);
    world.join(&mut a, &["t", "u"]);
    let beat = ConsumerHeartbeat { names: Some(vec!["u".into()]), ..a.beats() };
    let answer = world.send(beat).unwrap();
    a.take(&answer);
    assert_eq!((world.group().epoch, world.group().target_epoch), (2, 1));
    assert_eq!((a.has(T), a.has(U)), (vec![], vec![0]));
    world.settle(&mut [&mut a]);
    assert_eq!((world.state(), a.has(U)), ("Stable", vec![0]));
}

#[test]
fn a_static_member_that_comes_back_with_other_topics_gets_none_of_the_old() {
    let mut world = World::new(1);
    let mut a = Client::fixed("a", "i");
    world.create("u", U, 1);
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-2)).unwrap();
    let mut b = Client::fixed("b", "i");
    world.join(&mut b, &["u"]);
    assert_eq!((world.group().target_epoch, b.has(T)), (1, vec![]));
    world.settle(&mut [&mut b]);
    assert_eq!((b.has(T), b.has(U)), (vec![], vec![0]));
}

#[test]
fn topics_that_could_not_be_written_down_are_looked_at_again() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.expand(T, 1..2);
    world.refuses_writes = true;
    assert_eq!(world.refused(a.beats()), ErrorCode::NotCoordinator);
    world.refuses_writes = false;
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(T), [0, 1]);
}

const V: TopicId = Uuid(203);

/// A group with patterns, between two looks at them: `u` was there, and is not.
fn between_two_looks() -> (World, Client, Client) {
    let mut world = World::new(1);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.configure("consumer.assignment.interval.ms", "0");
    world.create("u", U, 1);
    let answer = world.send(by_pattern(&a, "t|u")).unwrap();
    a.take(&answer);
    world.beat(&mut a);
    world.delete(U);
    world.join(&mut b, &["t"]);
    (world, a, b)
}

#[test]
fn a_topic_that_comes_and_goes_between_two_looks_at_patterns_is_not_kept() {
    let (mut world, mut a, mut b) = between_two_looks();
    world.create("u", V, 1);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    world.beat(&mut a);
    world.beat(&mut a);
    assert_eq!(a.has(V), [0]);
    world.delete(V);
    world.settle(&mut [&mut a, &mut b, &mut c]);
    assert_eq!((a.has(V), world.state()), (vec![], "Stable"));
}

#[test]
fn a_topic_that_comes_and_goes_after_a_member_has_left_is_not_kept() {
    let (mut world, mut a, b) = between_two_looks();
    world.send(b.leaves(-1)).unwrap();
    world.create("u", V, 1);
    world.beat(&mut a);
    world.beat(&mut a);
    assert_eq!(a.has(V), [0]);
    world.delete(V);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(V), world.state()), (vec![], "Stable"));
}

#[test]
fn members_of_different_topics_share_what_they_have_in_common() {
    let mut world = World::new(4);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.create("u", U, 2);
    world.join(&mut a, &["t", "u"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!((a.has(T).len(), a.has(U).len(), b.has(T).len()), (1, 2, 3));
}

#[test]
fn most_members_choose_the_assignor() {
    let mut world = World::new(4);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    let range = |client: &Client| ConsumerHeartbeat {
        assignor: Some("range".into()),
        ..client.joins(&["t"])
    };
    let answer = world.send(range(&a)).unwrap();
    a.take(&answer);
    world.pass(1_100);
    let answer = world.send(range(&b)).unwrap();
    b.take(&answer);
    assert_eq!(world.group().assignor(&ConsumerLimits::default()), Assignor::Range);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!((a.has(T), b.has(T)), (vec![0, 1], vec![2, 3]));
}

#[test]
fn a_pattern_stands_for_the_topics_that_match_it_now_and_later() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.create("orders-1", U, 1);
    let answer = world.send(by_pattern(&a, "orders-.*")).unwrap();
    a.take(&answer);
    assert_eq!((a.has(T), a.has(U)), (vec![], vec![0]));
    world.create("orders-2", Uuid(203), 2);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(Uuid(203)), [0, 1]);
    world.delete(U);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(U), [0; 0]);
    let before = world.group().clone();
    world.reload();
    assert_eq!(world.group().regexes, before.regexes);
    world.settle(&mut [&mut a]);
    assert_eq!(world.group().epoch, before.epoch);
}

#[test]
fn names_and_a_pattern_add_up_and_a_pattern_that_nobody_has_is_forgotten() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.create("u", U, 1);
    let beat = ConsumerHeartbeat { names: Some(vec!["t".into()]), ..by_pattern(&a, "u+") };
    let answer = world.send(beat).unwrap();
    a.take(&answer);
    assert_eq!((a.has(T), a.has(U)), (vec![0], vec![0]));
    world.pass(1_100);
    let beat = ConsumerHeartbeat { regex: Some(Str::new()), ..a.tells() };
    let answer = world.send(beat).unwrap();
    a.take(&answer);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(T), a.has(U)), (vec![0], vec![]));
    assert!(world.group().regexes.is_empty());
}

#[test]
fn a_pattern_that_cannot_be_understood_is_refused_and_changes_nothing() {
    let mut world = World::new(1);
    let beat = by_pattern(&Client::new("a"), "(");
    assert_eq!(world.refused(beat), ErrorCode::InvalidRegularExpression);
    assert!(world.log.is_empty());
}

#[test]
fn offsets_of_a_topic_that_is_read_stay_and_others_expire() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.commit(&a, MemberEpochs::Known);
    let retention_ms = OffsetLimits::default().retention_ms as u64;
    for _ in 0..=retention_ms / 40_000 {
        world.pass(40_000);
        world.beat(&mut a);
    }
    world.pass(40_000);
    assert!(matches!(world.fetch(None), Ok(FoundOffset::Committed(_))));
    world.send(a.leaves(-1)).unwrap();
    world.pass(1_200_000);
    assert!(world.shard.consumer_group(GROUP).is_none(), "nothing is left of it");
}

#[test]
fn the_hash_of_topics_is_kafkas() {
    let world = World::new(2);
    let name = Str::from("t");
    let names = std::collections::BTreeSet::from([&name]);
    let hash = super::super::topics::metadata_hash(&world.image, &names);
    assert_eq!(hash, HASH_BY_KAFKA);
}

/// What Kafka 4.3.1's `Utils.computeGroupHash` makes of `t` with two partitions without racks and
/// the id of these tests.
const HASH_BY_KAFKA: i64 = -8_829_480_508_593_092_178;

#[test]
fn a_member_that_asks_for_other_topics_is_told_at_once_to_give_up_those_that_it_had() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.create("u", Uuid(202), 1);
    let asks = ConsumerHeartbeat { names: Some(vec!["u".into()]), ..a.tells() };
    let told = world.send(asks).unwrap();
    assert_eq!(told.assignment, Some(vec![]), "though the target is not a second old");
    a.take(&told);
    world.settle(&mut [&mut a]);
    assert_eq!((a.has(T), a.has(Uuid(202))), (vec![], vec![0]));
}
