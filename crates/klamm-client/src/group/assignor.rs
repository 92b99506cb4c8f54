//! The range assignor (Kafka: `RangeAssignor`): of each topic every member gets a run of
//! partitions, the first ones one more. And the bytes in which members tell and are told. Decides
//! only.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_model::{PartitionIndex, TopicPartition};
use klamm_persisted::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use klamm_stdx::Str;

use crate::error::Result;

/// The assignor's name in the group's protocol.
pub(crate) const RANGE: &str = "range";
/// The newest form of subscriptions and assignments; older readers skip what they do not know.
const VERSION: i16 = 3;

/// A member as the group's leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    /// Static members (KIP-345) come first, by their instance id.
    pub(crate) order: (bool, Str),
    pub(crate) member_id: Str,
    pub(crate) topics: Vec<Str>,
}

impl Member {
    pub(crate) fn new(member_id: Str, instance_id: Option<Str>, topics: Vec<Str>) -> Self {
        let order = match instance_id {
            Some(instance_id) => (false, instance_id),
            None => (true, member_id.clone()),
        };
        Self { order, member_id, topics }
    }
}

/// Partitions for members.
pub(crate) fn assign_ranges(
    mut members: Vec<Member>,
    partition_counts: &BTreeMap<Str, i32>,
) -> BTreeMap<Str, Vec<TopicPartition>> {
    members.sort_unstable();
    let mut assigned: BTreeMap<Str, Vec<TopicPartition>> =
        members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect();
    for (topic, count) in partition_counts {
        let takers: Vec<_> =
            members.iter().filter(|member| member.topics.contains(topic)).collect();
        let n_takers = i32::try_from(takers.len()).unwrap_or(i32::MAX);
        if n_takers == 0 {
            continue;
        }
        let (each, extra) = (count / n_takers, count % n_takers);
        let mut first = 0;
        for (i, member) in (0..n_takers).zip(takers) {
            let end = first + each + i32::from(i < extra);
            let partitions = (first..end).map(|index| TopicPartition::new(topic.clone(), index));
            assigned.entry(member.member_id.clone()).or_default().extend(partitions);
            first = end;
        }
    }
    assigned
}

/// What a member tells when it joins.
pub(crate) fn subscription(topics: &[Str]) -> Result<Bytes> {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        ..ConsumerProtocolSubscription::default()
    };
    let mut w = Writer::new();
    w.i16(VERSION);
    subscription.encode(&mut w, VERSION)?;
    Ok(w.into_vec().into())
}

/// The topics in what a member told.
pub(crate) fn subscribed_topics(bytes: Bytes) -> Result<Vec<Str>> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?.clamp(0, VERSION);
    let subscription = ConsumerProtocolSubscription::decode(&mut r, version)?;
    Ok(subscription.topics.iter().map(Str::detached).collect())
}

/// What the leader tells a member.
pub(crate) fn assignment(partitions: &[TopicPartition]) -> Result<Bytes> {
    let mut topics: BTreeMap<Str, Vec<PartitionIndex>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition);
    }
    let topic =
        |(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: topics.into_iter().map(topic).collect(),
        user_data: None,
    };
    let mut w = Writer::new();
    w.i16(VERSION);
    assignment.encode(&mut w, VERSION)?;
    Ok(w.into_vec().into())
}

/// The partitions in what the leader told; no bytes are no partitions.
pub(crate) fn assigned_partitions(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes);
    let version = r.i16()?.clamp(0, VERSION);
    let assignment = ConsumerProtocolAssignment::decode(&mut r, version)?;
    let mut partitions = Vec::new();
    for topic in &assignment.assigned_partitions {
        let name = topic.topic.detached();
        for partition in &topic.partitions {
            partitions.push(TopicPartition::new(name.clone(), *partition));
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(n_members: usize, counts: &[(&'static str, i32)], expected: &[&str]) {
        let counts: BTreeMap<Str, i32> =
            counts.iter().map(|(name, count)| (Str::from(*name), *count)).collect();
        let topics: Vec<Str> = counts.keys().cloned().collect();
        let member = |i: usize| Member::new(format!("m{i}").into(), None, topics.clone());
        let assigned = assign_ranges((0..n_members).rev().map(member).collect(), &counts);
        let text = |partitions: &Vec<TopicPartition>| {
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            names.join(" ")
        };
        assert_eq!(assigned.values().map(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_member_gets_a_run_of_each_topic_and_the_first_get_one_more() {
        check(2, &[("a", 3), ("b", 3)], &["a-0 a-1 b-0 b-1", "a-2 b-2"]);
        check(3, &[("a", 12)], &["a-0 a-1 a-2 a-3", "a-4 a-5 a-6 a-7", "a-8 a-9 a-10 a-11"]);
        check(3, &[("a", 2)], &["a-0", "a-1", ""]);
        check(1, &[], &[""]);
    }

    #[test]
    fn static_members_come_first_and_only_takers_of_a_topic_get_it() {
        let counts = BTreeMap::from([("a".into(), 2), ("b".into(), 1)]);
        let assigned = assign_ranges(
            vec![
                Member::new("x".into(), None, vec!["a".into(), "b".into()]),
                Member::new("y".into(), Some("i".into()), vec!["a".into()]),
            ],
            &counts,
        );
        assert_eq!(assigned["y"], [TopicPartition::new("a", 0)]);
        assert_eq!(assigned["x"], [TopicPartition::new("a", 1), TopicPartition::new("b", 0)]);
    }

    #[test]
    fn bytes_of_a_member_that_is_no_consumer_are_an_error() {
        for bytes in [&b""[..], b"\0", b"\0\x01\0\0\0\x05", b"\0\0\xff\xff\xff\xff"] {
            assert!(subscribed_topics(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
        assert!(assigned_partitions(Bytes::from_static(b"\0\0\0\0\0\x09")).is_err());
        assert_eq!(assigned_partitions(Bytes::new()).unwrap(), []);
    }

    #[test]
    fn a_subscription_is_the_bytes_that_kafkas_consumer_sends() {
        let bytes = subscription(&["t".into()]).unwrap();
        let expected = b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(&bytes[..], expected);
        assert_eq!(subscribed_topics(bytes).unwrap(), ["t"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_partition_has_one_owner_and_shares_differ_by_one(
            n_members in 1_usize..9, count in 0_i32..40,
        ) {
            let counts = BTreeMap::from([(Str::from("t"), count)]);
            let member = |i: usize| Member::new(format!("m{i}").into(), None, vec!["t".into()]);
            let assigned = assign_ranges((0..n_members).map(member).collect(), &counts);
            let mut all: Vec<_> = assigned.values().flatten().map(|p| p.partition).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            let sizes: Vec<_> = assigned.values().map(Vec::len).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            for partitions in assigned.values() {
                let bytes = assignment(partitions).unwrap();
                prop_assert_eq!(&assigned_partitions(bytes).unwrap(), partitions);
            }
        }
    }
}
