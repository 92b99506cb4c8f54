//! Properties of both assignors, over many random groups.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{TopicId, Uuid};
use klamm_stdx::Str;

use super::super::partitions::Partitions;
use super::{Assignor, MemberSpec, Spec};

/// A group that changes.
struct World {
    topics: BTreeMap<TopicId, i32>,
    /// Member, topics, target.
    members: BTreeMap<Str, (BTreeSet<TopicId>, Partitions)>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self { topics: BTreeMap::new(), members: BTreeMap::new(), seed }
    }

    /// A number below `n`; the same for the same seed (SplitMix64).
    fn below(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn topic(&mut self, id: u128, partitions: i32) -> TopicId {
        self.topics.insert(Uuid(id), partitions);
        Uuid(id)
    }

    fn member(&mut self, id: &str, topics: &[TopicId]) {
        let topics = topics.iter().copied().collect();
        self.members.entry(id.into()).or_default().0 = topics;
    }

    fn assign(&mut self, assignor: Assignor) {
        let mut spec = Spec { topics: self.topics.clone(), ..Spec::default() };
        let mut seen: BTreeMap<BTreeSet<TopicId>, usize> = BTreeMap::new();
        for (member_id, (topics, target)) in &self.members {
            let known: BTreeSet<TopicId> =
                topics.iter().copied().filter(|id| self.topics.contains_key(id)).collect();
            let next = seen.len();
            let at = *seen.entry(known.clone()).or_insert(next);
            if at == spec.subscriptions.len() {
                spec.subscriptions.push(known);
            }
            spec.members.push(MemberSpec {
                member_id,
                instance_id: None,
                subscription: at,
                target: Some(target),
            });
        }
        let targets = assignor.assign(&spec);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.1 = target;
        }
    }

    fn loads(&self) -> Vec<usize> {
        self.members.values().map(|(_, target)| target.values().map(BTreeSet::len).sum()).collect()
    }

    /// Complete, disjoint, and nobody has what it does not read.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for (topics, target) in self.members.values() {
            for (topic_id, partitions) in target {
                assert!(topics.contains(topic_id), "a member has a topic that it does not read");
                for partition in partitions {
                    assert!((0..self.topics[topic_id]).contains(partition));
                    assert!(seen.insert((*topic_id, *partition)), "a partition has two owners");
                }
            }
        }
        let is_read = |id: &TopicId| self.members.values().any(|(topics, _)| topics.contains(id));
        let n: i32 = self.topics.iter().filter(|(id, _)| is_read(id)).map(|(_, n)| *n).sum();
        assert_eq!(seen.len(), n as usize, "a partition has no owner");
    }

    /// Nobody could give a partition to a reader that has two or more less.
    fn check_balance(&self) {
        let load = |target: &Partitions| target.values().map(BTreeSet::len).sum::<usize>();
        for (_, from) in self.members.values() {
            for topic_id in from.keys() {
                for (topics, to) in self.members.values() {
                    let fits = !topics.contains(topic_id) || load(from) <= load(to) + 1;
                    assert!(fits, "{} beside {}", load(from), load(to));
                }
            }
        }
    }
}

fn random(seed: u64) -> World {
    let mut world = World::new(seed);
    let n_topics = 1 + world.below(5);
    for id in 0..n_topics {
        let n = world.below(12) as i32;
        world.topic(u128::from(id) + 1, n);
    }
    for at in 0..=world.below(9) {
        change(&mut world, at);
    }
    world
}

/// A member comes, goes, or reads something else; a topic grows or goes.
fn change(world: &mut World, at: u64) {
    let id = format!("m{at}");
    match world.below(8) {
        0 => {
            world.members.remove(id.as_str());
        }
        1 => {
            let topic = Uuid(u128::from(world.below(5)) + 1);
            world.topics.entry(topic).and_modify(|n| *n += 2);
        }
        2 => {
            let topic = Uuid(u128::from(world.below(5)) + 1);
            world.topics.remove(&topic);
        }
        n => {
            let all: Vec<TopicId> = world.topics.keys().copied().collect();
            let some: Vec<TopicId> =
                all.iter().copied().filter(|_| n > 4 || world.below(2) == 0).collect();
            world.member(&id, &some);
        }
    }
}

#[test]
fn every_partition_that_is_read_has_one_owner_who_reads_it() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        for seed in 0..2_000 {
            let mut world = random(seed);
            for at in 0..6 {
                world.assign(assignor);
                world.check();
                change(&mut world, at);
            }
        }
    }
}

#[test]
fn uniform_leaves_nobody_two_partitions_behind_who_could_have_one() {
    for seed in 0..2_000 {
        let mut world = random(seed);
        for at in 0..6 {
            world.assign(Assignor::Uniform);
            world.check_balance();
            change(&mut world, at);
        }
    }
}

#[test]
fn uniform_gives_members_of_the_same_topics_the_same_number_within_one() {
    for n_members in 1..20 {
        let mut world = World::new(0);
        let topics = [world.topic(1, 7), world.topic(2, 13)];
        for at in 0..n_members {
            world.member(&format!("m{at}"), &topics);
        }
        world.assign(Assignor::Uniform);
        let loads = world.loads();
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    }
}

#[test]
fn uniform_moves_nothing_where_nothing_changed() {
    for seed in 0..500 {
        let mut world = random(seed);
        world.assign(Assignor::Uniform);
        let before: Vec<_> = world.members.values().map(|(_, target)| target.clone()).collect();
        world.assign(Assignor::Uniform);
        let after: Vec<_> = world.members.values().map(|(_, target)| target.clone()).collect();
        assert_eq!(before, after, "seed {seed}");
    }
}

#[test]
fn uniform_moves_only_what_a_newcomer_gets() {
    let mut world = World::new(0);
    let topic = world.topic(1, 12);
    world.member("a", &[topic]);
    world.member("b", &[topic]);
    world.assign(Assignor::Uniform);
    let before = world.members.clone();
    world.member("c", &[topic]);
    world.assign(Assignor::Uniform);
    assert_eq!(world.loads(), [4, 4, 4]);
    for id in ["a", "b"] {
        assert!(world.members[id].1[&topic].is_subset(&before[id].1[&topic]), "{id}");
    }
}

#[test]
fn uniform_gives_what_a_leaver_had_to_the_others_who_lose_nothing() {
    let mut world = World::new(0);
    let topic = world.topic(1, 12);
    for id in ["a", "b", "c"] {
        world.member(id, &[topic]);
    }
    world.assign(Assignor::Uniform);
    let before = world.members.clone();
    world.members.remove("b");
    world.assign(Assignor::Uniform);
    assert_eq!(world.loads(), [6, 6]);
    for id in ["a", "c"] {
        assert!(world.members[id].1[&topic].is_superset(&before[id].1[&topic]), "{id}");
    }
}

#[test]
fn range_gives_the_same_partitions_of_each_topic_to_the_same_member() {
    let mut world = World::new(0);
    let topics = [world.topic(1, 5), world.topic(2, 5)];
    world.member("a", &topics);
    world.member("b", &topics);
    world.assign(Assignor::Range);
    for topic in topics {
        assert_eq!(world.members["a"].1[&topic], BTreeSet::from([0, 1, 2]));
        assert_eq!(world.members["b"].1[&topic], BTreeSet::from([3, 4]));
    }
}

#[test]
fn range_leaves_members_without_work_where_there_are_more_than_partitions() {
    let mut world = World::new(0);
    let topic = world.topic(1, 1);
    world.member("a", &[topic]);
    world.member("b", &[topic]);
    world.assign(Assignor::Range);
    assert_eq!(world.loads(), [1, 0]);
}

#[test]
fn nobody_gets_nothing_of_nothing() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert!(assignor.assign(&Spec::default()).is_empty());
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::from_name("sticky"), None);
}

#[test]
fn static_members_keep_their_range_when_they_come_back_under_another_id() {
    let topics = BTreeMap::from([(Uuid(1), 4)]);
    let [old, new, other] = ["a".into(), "z".into(), "b".into()];
    let [first, second]: [Str; 2] = ["one".into(), "two".into()];
    let member = |member_id, instance_id| MemberSpec {
        member_id,
        instance_id: Some(instance_id),
        subscription: 0,
        target: None,
    };
    let spec = |members| Spec {
        topics: topics.clone(),
        subscriptions: vec![BTreeSet::from([Uuid(1)])],
        members,
    };
    let before = Assignor::Range.assign(&spec(vec![member(&old, &first), member(&other, &second)]));
    let after = Assignor::Range.assign(&spec(vec![member(&other, &second), member(&new, &first)]));
    assert_eq!(before[0], after[1]);
    assert_eq!(before[1], after[0]);
}
