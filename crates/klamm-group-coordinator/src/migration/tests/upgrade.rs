//! From the classic protocol to the consumer one.

use super::*;

#[test]
fn a_consumer_that_joins_a_live_classic_group_makes_it_one_of_the_consumer_protocol() {
    let mut world = world(4, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    (a.owned, b.owned) = (vec![0, 1], vec![2, 3]);
    world.classic_group(&mut [&mut a, &mut b]);
    let mut c = Client::new("c");
    let answer = world.join(&mut c, &["t"]);
    assert_eq!(answer.member_epoch, a.generation + 1);
    assert!(world.shard.group(GROUP).is_none());
    let group = world.group();
    assert_eq!((group.epoch, group.target_epoch), (a.generation + 1, a.generation + 1));
    let member = group.member("a").unwrap();
    assert_eq!(member.subscription.names, ["t"]);
    assert_eq!(member.subscription.classic.as_ref().unwrap().session_timeout_ms, SESSION_MS);
    assert_eq!(member.current.assigned[&T], [(0, a.generation), (1, a.generation)].into());
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
    let mut n = [a.owned.len(), b.owned.len(), c.has(T).len()];
    n.sort_unstable();
    assert_eq!(n, [1, 1, 2]);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn what_a_rebalance_was_to_divide_is_divided_although_only_a_static_member_changes_its_protocol() {
    let mut world = world(2, "bidirectional");
    let (mut a, mut b) = (Classic::fixed("a", "i"), Classic::new("b"));
    (a.owned, b.owned) = (vec![0], vec![1]);
    world.classic_group(&mut [&mut a, &mut b]);
    world.leave(&[("b", None)]);
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    let mut c = Client::fixed("c", "i");
    world.join(&mut c, &["t"]);
    world.settle(&mut [&mut c]);
    assert_eq!(c.has(T), [0, 1]);
}

#[test]
fn partitions_that_came_before_an_upgrade_are_divided_by_it() {
    let mut world = world(1, "bidirectional");
    let mut a = Classic::fixed("a", "i");
    a.owned = vec![0];
    world.classic_group(&mut [&mut a]);
    world.expand(T, 1..2);
    let mut c = Client::fixed("c", "i");
    world.join(&mut c, &["t"]);
    world.settle(&mut [&mut c]);
    assert_eq!(c.has(T), [0, 1]);
}

#[test]
fn members_of_both_protocols_are_told_apart() {
    let mut world = world(2, "bidirectional");
    let mut a = Classic::new("a");
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    world.join(&mut Client::new("b"), &["t"]);
    match world.ask(Request::DescribeConsumers(GROUP.into())) {
        Response::DescribeConsumers(Ok(group)) => {
            let kinds: Vec<(&str, bool)> =
                group.members.iter().map(|m| (m.member_id.as_str(), m.is_classic)).collect();
            assert_eq!(kinds, [("a", true), ("b", false)]);
        }
        other => panic!("not the answer to a describe: {other:?}"),
    }
}

#[test]
fn who_waits_in_a_join_when_the_group_is_upgraded_is_told_to_rejoin() {
    let mut world = world(2, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    let waits = world.begin_join(&b);
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    let told = world.joined(waits);
    assert_eq!((told.error, told.member_id.as_str()), (ErrorCode::RebalanceInProgress, "b"));
    b.generation = 0;
    world.rejoin(&mut b);
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
}

#[test]
fn who_waits_in_a_sync_when_the_group_is_upgraded_is_told_to_rejoin() {
    let mut world = world(2, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    world.classic_group(&mut [&mut a, &mut b]);
    let tickets = [world.begin_join(&a), world.begin_join(&b)];
    let generations = tickets.map(|ticket| world.joined(ticket).generation_id.0);
    (a.generation, b.generation) = (generations[0], generations[1]);
    let waits = world.begin(Request::Sync(GROUP.into(), b.syncs()));
    assert_eq!(world.classic_state(), State::CompletingRebalance);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    assert_eq!(world.synced(waits).error, ErrorCode::RebalanceInProgress);
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
}

#[test]
fn a_group_is_upgraded_before_its_first_generation_too() {
    let limits = Limits::default();
    let mut world = World::with(2, limits, consumers("bidirectional"));
    let mut a = Classic::new("a");
    let waits = world.begin_join(&a);
    let mut b = Client::new("b");
    assert_eq!(world.join(&mut b, &["t"]).member_epoch, 1);
    assert_eq!(world.joined(waits).error, ErrorCode::RebalanceInProgress);
    a.generation = 0;
    world.rejoin(&mut a);
    world.settle_both(&mut [&mut a], &mut [&mut b]);
    assert_eq!((a.owned.len(), b.has(T).len()), (1, 1));
}

#[test]
fn an_empty_group_of_any_type_is_upgraded_whatever_the_policy_says() {
    let mut world = world(1, "disabled");
    let mut a = Classic::new("a");
    world.classic_group(&mut [&mut a]);
    world.leave(&[("a", None)]);
    assert_eq!(world.classic_state(), State::Empty);
    assert_eq!(world.join(&mut Client::new("b"), &["t"]).member_epoch, 1);
}

#[track_caller]
fn stays_classic(mut world: World, why: &str) {
    let refusal = world.send(Client::new("c").joins(&["t"])).unwrap_err();
    assert_eq!(refusal.error, ErrorCode::GroupIdNotFound);
    assert!(refusal.message.contains(why), "{}", refusal.message);
    assert_eq!(world.classic_state(), State::Stable);
    assert!(world.shard.consumer_group(GROUP).is_none());
}

#[test]
fn a_group_is_not_upgraded_against_the_policy() {
    for policy in ["disabled", "downgrade"] {
        let mut world = world(1, policy);
        world.classic_group(&mut [&mut Classic::new("a")]);
        stays_classic(world, "migration.policy does not allow it");
    }
}

#[test]
fn a_group_of_another_type_is_not_upgraded() {
    let mut world = world(1, "bidirectional");
    let connect = JoinRequest { protocol_type: "connect".into(), ..Classic::new("a").joins() };
    let joined = world.try_join(connect);
    let sync = SyncRequest {
        protocol_type: None,
        generation_id: joined.generation_id,
        ..Classic::new("a").syncs()
    };
    world.begin(Request::Sync(GROUP.into(), sync));
    stays_classic(world, "its members are no consumers");
}

#[test]
fn a_group_that_is_too_large_is_not_upgraded() {
    let limits = Limits { initial_rebalance_delay_ms: 0, ..Limits::default() };
    let mut consumers = consumers("bidirectional");
    consumers.config.consumer_max_size = 1;
    let mut world = World::with(1, limits, consumers);
    world.classic_group(&mut [&mut Classic::new("a"), &mut Classic::new("b")]);
    stays_classic(world, "more members than group.consumer.max.size");
}

#[test]
fn a_group_with_words_that_no_consumer_says_is_not_upgraded() {
    let mut world = world(1, "bidirectional");
    let words = Protocol { name: "range".into(), metadata: Bytes::from_static(b"\0") };
    let joined =
        world.try_join(JoinRequest { protocols: vec![words], ..Classic::new("a").joins() });
    let sync = SyncRequest { generation_id: joined.generation_id, ..Classic::new("a").syncs() };
    world.begin(Request::Sync(GROUP.into(), sync));
    stays_classic(world, "cannot be read");
}

#[test]
fn a_group_with_an_assignor_that_has_words_of_its_own_is_not_upgraded() {
    let mut world = world(1, "bidirectional");
    let joined = world.try_join(Classic::new("a").joins());
    let sync = SyncRequest {
        generation_id: joined.generation_id,
        assignments: vec![("a".into(), assignment(&[0], Some("mine")))],
        ..Classic::new("a").syncs()
    };
    world.begin(Request::Sync(GROUP.into(), sync));
    stays_classic(world, "its assignor adds data");
}

#[test]
fn an_upgrade_that_could_not_be_written_did_not_happen() {
    let mut world = world(2, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    a.owned = vec![0, 1];
    world.classic_group(&mut [&mut a]);
    world.refuses_writes = true;
    assert_eq!(world.refused(Client::new("c").joins(&["t"])), ErrorCode::NotCoordinator);
    world.refuses_writes = false;
    assert_eq!(world.classic_beat(&a), ErrorCode::None);
    world.classic_group(&mut [&mut a, &mut b]);
}

#[test]
fn a_heartbeat_that_cannot_be_decided_leaves_the_group_classic() {
    let mut world = world(2, "bidirectional");
    world.classic_group(&mut [&mut Classic::new("a")]);
    let mut beat = Client::new("c").joins(&["t"]);
    beat.regex = Some("(".into());
    assert_eq!(world.refused(beat), ErrorCode::InvalidRegularExpression);
    assert_eq!(world.classic_state(), State::Stable);
    let late = Client { epoch: 4, ..Client::new("c") };
    assert_eq!(world.refused(late.beats()), ErrorCode::GroupIdNotFound);
    assert_eq!(world.classic_state(), State::Stable);
}

#[test]
fn a_static_classic_member_that_restarts_with_the_consumer_protocol_keeps_its_partitions() {
    let mut world = world(4, "bidirectional");
    let (mut a, mut b) = (Classic::fixed("a", "one"), Classic::fixed("b", "two"));
    (a.owned, b.owned) = (vec![0, 1], vec![2, 3]);
    world.classic_group(&mut [&mut a, &mut b]);
    let mut again = Client::fixed("a2", "one");
    let answer = world.join(&mut again, &["t"]);
    assert_eq!((answer.member_epoch, again.has(T)), (b.generation, vec![0, 1]));
    assert_eq!(world.group().members().count(), 2);
    assert_eq!(world.classic_beat(&a), ErrorCode::FencedInstanceId);
    assert_eq!(world.classic_beat(&b), ErrorCode::None, "nothing changes for the others");
}

#[test]
fn a_partition_that_a_leader_gave_twice_has_one_owner_after_the_upgrade() {
    let mut world = world(2, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    (a.owned, b.owned) = (vec![0, 1], vec![1]);
    world.classic_group(&mut [&mut a, &mut b]);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    assert!(world.group().member("b").unwrap().current.assigned.is_empty());
    b.owned.clear();
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
}

#[test]
fn what_cooperative_members_have_while_they_rebalance_is_not_given_to_others() {
    let mut world = world(4, "bidirectional");
    let (mut a, mut b) = (Classic::cooperative("a"), Classic::cooperative("b"));
    (a.owned, b.owned) = (vec![0, 1], vec![2, 3]);
    world.classic_group(&mut [&mut a, &mut b]);
    let joins = [world.begin_join(&a), world.begin_join(&b)];
    for ticket in joins {
        assert_eq!(world.joined(ticket).error, ErrorCode::None);
    }
    // The rebalance begins anew, which forgets who has what; a and b have it still.
    world.begin_join(&Classic::cooperative("d"));
    assert_eq!(world.classic_state(), State::PreparingRebalance);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    assert_eq!(c.has(T), []);
    let had = |world: &World, id: &str| world.group().member(id).unwrap().current.assigned.clone();
    assert_eq!(had(&world, "a")[&T].keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(had(&world, "b")[&T].keys().copied().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_shard_that_replays_an_upgrade_goes_on_with_it() {
    let mut world = world(4, "bidirectional");
    let (mut a, mut b) = (Classic::new("a"), Classic::new("b"));
    (a.owned, b.owned) = (vec![0, 1], vec![2, 3]);
    world.classic_group(&mut [&mut a, &mut b]);
    let mut c = Client::new("c");
    world.join(&mut c, &["t"]);
    world.reload();
    assert!(world.shard.group(GROUP).is_none());
    assert_eq!(world.classic_beat(&a), ErrorCode::RebalanceInProgress);
    world.settle_both(&mut [&mut a, &mut b], &mut [&mut c]);
}
