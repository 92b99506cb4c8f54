//! From the log, and away to another broker.

use super::*;

#[test]
fn a_shard_that_is_replayed_from_the_log_goes_on_where_it_was() {
    let mut world = World::new();
    let (a, _) = world.stable_pair();
    world.commit_offset(&a, 2, 7);
    world.commit();
    let mut again = World::new();
    for record in &world.log {
        let (key, value) = record.to_key_value().unwrap();
        let decoded = Record::from_key_value(key, value).unwrap();
        assert_eq!(&decoded, record);
        again.shard.replay(decoded);
    }
    let time = again.time();
    again.shard.on_loaded(time);
    assert_eq!(again.state(), State::Stable);
    assert_eq!(again.committed_offset(), Some(7));
    assert_eq!(again.heartbeat(&a, 2), ErrorCode::None);
    let ticket = again.sync(&a, 2, &[]);
    assert_eq!(again.synced(ticket).assignment, "one");
}

#[test]
fn who_waits_when_the_shard_moves_away_is_told_to_look_elsewhere() {
    let mut world = World::new();
    world.stable_pair();
    let c = world.join(joining("c"));
    let mut actions = Actions::default();
    world.shard.on_unload(&mut actions);
    world.take(actions);
    assert_eq!(world.joined(c).error, ErrorCode::NotCoordinator);
}

#[test]
fn groups_are_spread_over_partitions_by_the_hash_that_java_uses() {
    assert_eq!(klamm_coordinator::partition_for("my-group", 50), 12);
    assert_eq!(klamm_coordinator::partition_for("", 50), 0);
    assert_eq!(
        klamm_coordinator::partition_for("polygenelubricants", 50),
        0,
        "the hash is the smallest number"
    );
}
