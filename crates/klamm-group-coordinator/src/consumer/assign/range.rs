//! Range: each topic's partitions in a row, member by member.

use std::collections::BTreeMap;

use klamm_model::TopicId;

use super::super::partitions::Partitions;
use super::Spec;

pub(super) fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    let mut targets = vec![Partitions::new(); spec.members.len()];
    for (topic_id, readers) in readers_by_topic(spec) {
        let n = spec.topics[&topic_id];
        let n_readers = i32::try_from(readers.len()).unwrap_or(i32::MAX);
        let (each, extra) = (n / n_readers, n % n_readers);
        let mut next = 0;
        for (rank, member) in (0..).zip(readers) {
            let end = next + each + i32::from(rank < extra);
            if end > next {
                targets[member].insert(topic_id, (next..end).collect());
            }
            next = end;
        }
    }
    targets
}

/// Who reads a topic: static members by the operator's name for them, so that they keep their
/// place over restarts, then the others by id.
fn readers_by_topic(spec: &Spec<'_>) -> BTreeMap<TopicId, Vec<usize>> {
    let mut order: Vec<usize> = (0..spec.members.len()).collect();
    order.sort_by_key(|at| {
        let member = &spec.members[*at];
        (member.instance_id.is_none(), member.instance_id, member.member_id)
    });
    let mut readers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for member in order {
        for topic_id in spec.topics_of(member) {
            readers.entry(*topic_id).or_default().push(member);
        }
    }
    readers
}
