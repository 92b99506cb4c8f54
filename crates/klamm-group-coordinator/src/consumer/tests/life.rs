//! Joining, dividing, leaving, coming back.

use super::*;
use crate::GroupFilter;

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut world = World::new(3);
    let mut a = Client::new("a");
    let answer = world.join(&mut a, &["t"]);
    assert_eq!((answer.member_epoch, a.has(T)), (1, vec![0, 1, 2]));
    assert_eq!(world.state(), "Stable");
    assert_eq!(world.group().epoch, 1);
}

#[test]
fn a_member_without_an_id_is_given_one() {
    let mut world = World::new(1);
    let beat = ConsumerHeartbeat {
        brings_id: false,
        new_member_id: "made".into(),
        ..Client::new("").joins(&["t"])
    };
    assert_eq!(world.send(beat).unwrap().member_id, "made");
}

#[test]
fn a_heartbeat_that_changes_nothing_writes_nothing() {
    let mut world = World::new(3);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    let written = world.log.len();
    let answer = world.send(a.beats()).unwrap();
    assert_eq!(answer.assignment, None);
    assert_eq!(answer.member_epoch, 1);
    assert_eq!(world.log.len(), written);
}

#[test]
fn a_partition_is_given_only_when_its_former_owner_has_revoked_it() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    let answer = world.join(&mut b, &["t"]);
    assert_eq!((answer.member_epoch, b.has(T)), (2, vec![]));
    assert_eq!(world.state(), "Reconciling");
    let told = world.send(a.tells()).unwrap();
    assert_eq!((told.member_epoch, told.assignment), (1, Some(vec![(T, vec![0])])));
    assert_eq!(world.beat(&mut b).assignment, None, "a still has it");
    a.owned = vec![(T, vec![0])];
    assert_eq!(world.beat(&mut a).member_epoch, 2);
    world.beat(&mut b);
    assert_eq!((a.has(T), b.has(T)), (vec![0], vec![1]));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut world = World::new(2);
    let mut a = Client::new("a");
    world.send(a.joins(&["t"])).unwrap();
    let again = world.join(&mut a, &["t"]);
    assert_eq!((again.member_epoch, a.has(T)), (1, vec![0, 1]));
    assert_eq!(world.group().epoch, 1);
}

#[test]
fn a_member_that_rejoins_with_epoch_0_keeps_its_place() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    let before = a.has(T);
    a.owned.clear();
    world.join(&mut a, &["t"]);
    assert_eq!(a.has(T), before);
}

#[test]
fn many_members_that_come_together_cost_one_assignment_a_second() {
    let mut world = World::new(6);
    let mut first = Client::new("m0");
    world.join(&mut first, &["t"]);
    let mut others: Vec<Client> = (1..6).map(|n| Client::new(&format!("m{n}"))).collect();
    for client in &mut others {
        world.join(client, &["t"]);
    }
    assert_eq!((world.group().epoch, world.group().target_epoch), (6, 1));
    assert_eq!(world.state(), "Assigning");
    world.pass(1_000);
    world.beat(&mut others[0]);
    assert_eq!(world.group().target_epoch, 6);
    let mut all: Vec<&mut Client> = others.iter_mut().chain([&mut first]).collect();
    world.settle(&mut all);
    assert!(all.iter().all(|client| client.has(T).len() == 1));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn a_thousand_members_form_a_group_in_few_assignments() {
    let mut world = World::new(1_000);
    let mut clients: Vec<Client> = (0..1_000).map(|n| Client::new(&format!("m{n:04}"))).collect();
    for client in &mut clients {
        world.join(client, &["t"]);
        world.now_ms += 1;
    }
    let mut all: Vec<&mut Client> = clients.iter_mut().collect();
    world.settle(&mut all);
    assert!(all.iter().all(|client| client.has(T).len() == 1));
    let is_target = |record: &&Record| matches!(record, Record::Consumer(r) if matches!(r.change, super::super::Change::TargetEpoch(_)));
    assert!(world.log.iter().filter(is_target).count() <= 4);
}

#[test]
fn what_a_leaver_had_goes_to_the_others() {
    let mut world = World::new(4);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    let answer = world.send(b.leaves(-1)).unwrap();
    assert_eq!(answer.member_epoch, -1);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(T), [0, 1, 2, 3]);
}

#[test]
fn a_group_that_the_last_member_left_is_empty() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.state(), "Empty");
    world.pass(1_100);
    assert_eq!(world.join(&mut Client::new("b"), &["t"]).assignment, Some(vec![(T, vec![0])]));
}

#[test]
fn a_member_that_is_silent_for_its_session_is_removed() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    for _ in 0..9 {
        world.pass(5_000);
        world.beat(&mut a);
    }
    assert!(world.group().member("b").is_none());
    world.settle(&mut [&mut a]);
    assert_eq!(a.has(T), [0, 1]);
}

#[test]
fn a_removal_that_cannot_be_written_is_tried_again() {
    let mut world = World::new(1);
    world.join(&mut Client::new("a"), &["t"]);
    world.refuses_writes = true;
    world.pass(45_000);
    assert!(world.group().member("a").is_some());
    world.refuses_writes = false;
    world.pass(1_000);
    assert!(world.group().member("a").is_none());
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_removed_although_that_could_not_be_written_at_first() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.send(a.tells()).unwrap();
    world.refuses_writes = true;
    world.pass(10_000);
    world.refuses_writes = false;
    world.send(a.beats()).unwrap();
    assert!(world.group().member("a").is_some());
    world.pass(1_000);
    assert!(world.group().member("a").is_none());
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_removed() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.send(a.tells()).unwrap();
    for _ in 0..9 {
        world.pass(1_000);
        world.send(a.beats()).unwrap();
    }
    assert!(world.group().member("a").is_some());
    world.pass(1_000);
    assert!(world.group().member("a").is_none());
    assert_eq!(world.refused(a.beats()), ErrorCode::UnknownMemberId);
    world.settle(&mut [&mut b]);
    assert_eq!(b.has(T), [0, 1]);
}

#[test]
fn a_static_member_that_leaves_for_a_while_comes_back_to_what_it_had() {
    let mut world = World::new(2);
    let (mut a, mut b) = (Client::fixed("a", "one"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.settle(&mut [&mut a, &mut b]);
    let (epoch, had) = (world.group().epoch, a.has(T));
    assert_eq!(world.send(a.leaves(-2)).unwrap().member_epoch, -2);
    assert_eq!(world.beat(&mut b).assignment, None);
    let mut back = Client::fixed("c", "one");
    world.join(&mut back, &["t"]);
    assert_eq!((world.group().epoch, back.has(T)), (epoch, had));
    assert!(world.group().member("a").is_none());
    assert_eq!(world.refused(a.beats()), ErrorCode::FencedInstanceId);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn a_static_member_that_does_not_come_back_is_removed_with_its_session() {
    let mut world = World::new(1);
    let mut a = Client::fixed("a", "one");
    world.join(&mut a, &["t"]);
    world.send(a.leaves(-2)).unwrap();
    world.pass(45_000);
    assert_eq!(world.state(), "Empty");
    assert_eq!(world.refused(a.beats()), ErrorCode::UnknownMemberId);
}

#[test]
fn an_administrator_removes_members_by_their_names() {
    let mut world = World::new(1);
    let mut a = Client::fixed("a", "one");
    world.join(&mut a, &["t"]);
    let leaver = |member_id: &str, instance_id: Option<&str>| crate::Leaver {
        member_id: member_id.into(),
        instance_id: instance_id.map(Str::from),
    };
    let leavers = vec![leaver("b", None), leaver("", Some("two")), leaver("", Some("one"))];
    let Response::Leave(Ok(left)) = world.ask(Request::Leave(GROUP.into(), leavers)) else {
        panic!("not the answer to a leave");
    };
    let errors: Vec<ErrorCode> = left.iter().map(|line| line.error).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(errors, [unknown, unknown, ErrorCode::None]);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn a_group_is_the_same_after_its_log_is_replayed() {
    let mut world = World::new(4);
    let (mut a, mut b) = (Client::fixed("a", "one"), Client::new("b"));
    world.join(&mut a, &["t"]);
    world.pass(1_100);
    world.join(&mut b, &["t"]);
    world.send(a.tells()).unwrap();
    let before = format!("{:?}", world.ask(Request::DescribeConsumers(GROUP.into())));
    world.reload();
    assert_eq!(format!("{:?}", world.ask(Request::DescribeConsumers(GROUP.into()))), before);
    a.owned = vec![(T, vec![0, 1])];
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!((a.has(T), b.has(T)), (vec![0, 1], vec![2, 3]));
}

#[test]
fn members_get_a_whole_session_after_their_group_is_loaded() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.pass(40_000);
    world.reload();
    world.pass(44_000);
    assert!(world.group().member("a").is_some());
    world.pass(1_000);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn members_are_asked_to_report_often_while_the_group_settles_only() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    assert_eq!(world.join(&mut a, &["t"]).heartbeat_interval_ms, 1_000);
    world.pass(5_000);
    assert_eq!(world.beat(&mut a).heartbeat_interval_ms, 5_000);
}

#[test]
fn a_groups_own_configuration_acts_while_it_runs() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    world.configure("consumer.heartbeat.interval.ms", "9000");
    world.configure("consumer.session.timeout.ms", "50000");
    world.pass(10_000);
    assert_eq!(world.beat(&mut a).heartbeat_interval_ms, 9_000);
    world.pass(49_000);
    assert!(world.group().member("a").is_some());
    world.pass(1_000);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn a_group_is_listed_with_its_type_and_deleted_when_it_is_empty() {
    let mut world = World::new(1);
    let mut a = Client::new("a");
    world.join(&mut a, &["t"]);
    let list = |world: &mut World, states: &[&str], types: &[&str]| {
        let filter = GroupFilter::new(states.iter().copied(), types.iter().copied());
        match world.ask(Request::List(filter.into())) {
            Response::List(lines) => lines.len(),
            other => panic!("not a list: {other:?}"),
        }
    };
    assert_eq!(list(&mut world, &["stable"], &["Consumer"]), 1);
    assert_eq!(list(&mut world, &[], &["classic"]), 0);
    assert_eq!(list(&mut world, &["Empty"], &[]), 0);
    let delete = || Request::Delete(GROUP.into());
    assert_eq!(world.ask(delete()), Response::Delete(ErrorCode::NonEmptyGroup));
    world.send(a.leaves(-1)).unwrap();
    assert_eq!(world.ask(delete()), Response::Delete(ErrorCode::None));
    assert!(world.shard.consumer_group(GROUP).is_none());
    world.reload();
    assert!(world.shard.consumer_group(GROUP).is_none());
    assert_eq!(world.ask(delete()), Response::Delete(ErrorCode::GroupIdNotFound));
}
