//! Uniform: everybody as much as possible the same number, and nobody loses what it may keep.
//!
//! Where all members read the same topics, each keeps up to its quota and the rest is dealt out.
//! Where they do not, what nobody has goes to the reader that has least, and then partitions move
//! from those who have most to readers who have two or more less, until nobody has.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{PartitionIndex, TopicId};

use super::super::partitions::Partitions;
use super::Spec;

/// Rounds of balancing; each moves every partition at most once. Every move makes the sum of the
/// squares smaller, so that there is an end, and it comes long before this.
const ROUNDS_MAX: usize = 1_000;

type Slot = (TopicId, PartitionIndex);

pub(super) fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    if spec.members.is_empty() {
        return Vec::new();
    }
    let mut targets = Targets { own: vec![Vec::new(); spec.members.len()] };
    if spec.subscriptions.len() <= 1 {
        same(spec, &mut targets);
    } else {
        mixed(spec, &mut targets);
    }
    targets.own.into_iter().map(|slots| gathered(&slots)).collect()
}

struct Targets {
    own: Vec<Vec<Slot>>,
}

impl Targets {
    fn len(&self, member: usize) -> usize {
        self.own[member].len()
    }
}

fn gathered(slots: &[Slot]) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic_id, partition) in slots {
        partitions.entry(*topic_id).or_default().insert(*partition);
    }
    partitions
}

/// What a member had and may keep: it reads the topic, and the partition exists.
fn kept(spec: &Spec<'_>, member: usize) -> impl Iterator<Item = Slot> {
    let topics = spec.topics_of(member);
    let had = spec.members[member].target.into_iter().flatten();
    had.flat_map(move |(topic_id, partitions)| {
        let n = if topics.contains(topic_id) { spec.topics[topic_id] } else { 0 };
        partitions.range(0..n).map(move |partition| (*topic_id, *partition))
    })
}

/// Every partition that somebody reads.
fn wanted(spec: &Spec<'_>) -> BTreeSet<Slot> {
    let read: BTreeSet<TopicId> = spec.subscriptions.iter().flatten().copied().collect();
    read.into_iter()
        .flat_map(|topic_id| (0..spec.topics[&topic_id]).map(move |p| (topic_id, p)))
        .collect()
}

/// All members read the same topics.
fn same(spec: &Spec<'_>, targets: &mut Targets) {
    let mut free = wanted(spec);
    let quota = free.len() / spec.members.len();
    let mut extra = free.len() % spec.members.len();
    for member in 0..spec.members.len() {
        for slot in kept(spec, member) {
            let n = targets.len(member);
            if n > quota || (n == quota && extra == 0) || !free.remove(&slot) {
                continue;
            }
            extra -= usize::from(n == quota);
            targets.own[member].push(slot);
        }
    }
    let mut free = free.into_iter();
    for member in 0..spec.members.len() {
        let n = targets.len(member);
        targets.own[member].extend(free.by_ref().take(quota.saturating_sub(n)));
    }
    for member in 0..spec.members.len() {
        if targets.len(member) == quota {
            targets.own[member].extend(free.by_ref().take(1));
        }
    }
}

/// Members read different topics.
fn mixed(spec: &Spec<'_>, targets: &mut Targets) {
    let mut owner: BTreeMap<Slot, usize> = BTreeMap::new();
    let mut free = wanted(spec);
    let mut load = vec![0_usize; spec.members.len()];
    for (member, n) in load.iter_mut().enumerate() {
        for slot in kept(spec, member).filter(|slot| free.remove(slot)) {
            owner.insert(slot, member);
            *n += 1;
        }
    }
    let readers = readers(spec);
    let mut free: Vec<Slot> = free.into_iter().collect();
    // Topics that few read come first: their partitions have the least choice.
    free.sort_by_key(|slot| (readers[&slot.0].len(), *slot));
    for slot in free {
        let least = least_loaded(&readers[&slot.0], &load);
        owner.insert(slot, least);
        load[least] += 1;
    }
    for _ in 0..ROUNDS_MAX {
        if !balance(&mut owner, &readers, &mut load) {
            break;
        }
    }
    for (slot, member) in owner {
        targets.own[member].push(slot);
    }
}

fn readers(spec: &Spec<'_>) -> BTreeMap<TopicId, Vec<usize>> {
    let mut readers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for member in 0..spec.members.len() {
        for topic_id in spec.topics_of(member) {
            readers.entry(*topic_id).or_default().push(member);
        }
    }
    readers
}

fn least_loaded(readers: &[usize], load: &[usize]) -> usize {
    *readers.iter().min_by_key(|member| load[**member]).expect("somebody reads what is wanted")
}

/// One round; whether anything moved.
fn balance(
    owner: &mut BTreeMap<Slot, usize>,
    readers: &BTreeMap<TopicId, Vec<usize>>,
    load: &mut [usize],
) -> bool {
    let mut moved = false;
    for (slot, member) in owner.iter_mut() {
        let least = least_loaded(&readers[&slot.0], load);
        if load[*member] > load[least] + 1 {
            load[*member] -= 1;
            load[least] += 1;
            *member = least;
            moved = true;
        }
    }
    moved
}
