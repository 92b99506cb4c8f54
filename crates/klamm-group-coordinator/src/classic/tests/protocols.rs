//! Which protocol a group agrees on, and groups of other types than consumers.

use super::*;

#[test]
fn the_protocol_that_most_members_prefer_wins() {
    let mut world = World::with(Limits::default());
    let swapped = vec![protocol("roundrobin"), protocol("range")];
    let a = world.join(joining("a"));
    let b = world.join(JoinRequest { protocols: swapped.clone(), ..joining("b") });
    world.join(JoinRequest { protocols: swapped, ..joining("c") });
    world.pass(40_000);
    assert_eq!(world.joined(a).protocol_name.unwrap(), "roundrobin");
    assert_eq!(world.joined(b).protocol_name.unwrap(), "roundrobin");
}

/// A protocol list in order of preference.
fn speaks(names: &[&str]) -> Vec<Protocol> {
    names.iter().map(|name| protocol(name)).collect()
}

#[test]
fn a_protocol_that_not_all_speak_does_not_win_however_many_like_it() {
    let mut world = World::with(Limits::default());
    let a = world.join(JoinRequest { protocols: speaks(&["sticky", "range"]), ..joining("a") });
    world.join(JoinRequest { protocols: speaks(&["sticky", "range"]), ..joining("b") });
    world.join(JoinRequest { protocols: speaks(&["range"]), ..joining("c") });
    world.pass(40_000);
    assert_eq!(world.joined(a).protocol_name.unwrap(), "range");
}

#[test]
fn consumers_change_to_the_cooperative_protocol_one_by_one() {
    let mut world = World::new();
    let (eager, both, done) = (
        speaks(&["range"]),
        speaks(&["cooperative-sticky", "range"]),
        speaks(&["cooperative-sticky"]),
    );
    let speak = |id: &Str, protocols: &[Protocol]| JoinRequest {
        member_id: id.clone(),
        protocols: protocols.to_vec(),
        ..joining(id.trim_end_matches("-id"))
    };
    let fresh = |name: &str| JoinRequest { protocols: eager.clone(), ..joining(name) };
    let a = world.join(fresh("a"));
    let a = world.joined(a).member_id;
    let b = world.join(fresh("b"));
    let rejoin = world.join(speak(&a, &eager));
    assert_eq!(world.joined(rejoin).protocol_name.unwrap(), "range");
    let b = world.joined(b).member_id;
    // The first round: each learns the new one and still speaks the old one.
    for (told, expected) in [
        ([&both, &eager], "range"),
        ([&both, &both], "cooperative-sticky"),
        ([&done, &both], "cooperative-sticky"),
        ([&done, &done], "cooperative-sticky"),
    ] {
        let first = world.join(speak(&a, told[0]));
        let second = world.join(speak(&b, told[1]));
        if world.state() == State::PreparingRebalance {
            world.join(speak(&a, told[0]));
        }
        let chosen = [first, second].map(|ticket| world.last_protocol(ticket));
        let chosen = chosen.into_iter().flatten().last();
        assert_eq!(chosen.as_deref().unwrap_or(expected), expected);
        assert_eq!(world.shard.group(GROUP).unwrap().protocol_name().unwrap(), expected);
    }
    let old = world.join(fresh("c"));
    assert_eq!(world.joined(old).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_group_of_another_type_than_consumers_works_the_same() {
    let mut world = World::new();
    let worker = JoinRequest {
        protocol_type: "connect".into(),
        protocols: speaks(&["sessioned", "compatible"]),
        ..joining("w")
    };
    let ticket = world.join(worker);
    let joined = world.joined(ticket);
    assert_eq!(joined.protocol_type.as_deref(), Some("connect"));
    assert_eq!(joined.protocol_name.as_deref(), Some("sessioned"));
    let sync = world.sync(&joined.member_id, 1, &[(&joined.member_id, "tasks")]);
    world.commit();
    assert_eq!(world.synced(sync).assignment, "tasks");
    let consumer = world.join(joining("c"));
    assert_eq!(world.joined(consumer).error, ErrorCode::InconsistentGroupProtocol);
    match world.shard.group(GROUP) {
        Some(group) => assert_eq!(group.protocol_type().unwrap(), "connect"),
        None => panic!("the group is there"),
    }
}

#[test]
fn a_member_may_know_very_many_protocols() {
    let mut world = World::new();
    let known =
        |n: usize| Protocol { name: format!("p{n:06}").as_str().into(), metadata: Bytes::new() };
    // The first one twice.
    let all =
        |range: std::ops::Range<usize>| range.clone().chain([range.start]).map(known).collect();
    let a = world.join(JoinRequest { protocols: all(0..100_000), ..joining("a") });
    assert_eq!(world.joined(a).protocol_name.as_deref(), Some("p000000"));
    let b = world.join(JoinRequest { protocols: all(50_000..150_000), ..joining("b") });
    let a = world.shard.group(GROUP).unwrap().members().next().unwrap().member_id.clone();
    let rejoin = JoinRequest { member_id: a, protocols: all(0..100_000), ..joining("a") };
    let rejoin = world.join(rejoin);
    assert_eq!(world.joined(rejoin).protocol_name.as_deref(), Some("p050000"));
    assert_eq!(world.joined(b).protocol_name.as_deref(), Some("p050000"));
}
