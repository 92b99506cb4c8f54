//! Tests of [`super::create_topics`].

use klamm_metadata::ConfigResource;
use klamm_model::{ErrorCode, NodeId, Uuid};
use klamm_persisted::metadata::MetadataRecord;
use klamm_stdx::Str;

use crate::testing::World;
use crate::{CreatedTopics, Layout, Mode, NewTopic};

fn topic(name: &str, partition_count: i32, replication_factor: i16) -> NewTopic {
    let layout = Layout::Automatic { partition_count, replication_factor };
    NewTopic { name: name.into(), layout, configs: Vec::new() }
}

fn manual(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    let layout = Layout::Manual(assignments.iter().map(|(i, ids)| (*i, nodes(ids))).collect());
    NewTopic { name: name.into(), layout, configs: Vec::new() }
}

fn create(world: &mut World, topics: &[NewTopic]) -> CreatedTopics {
    world.run(|c, context| c.create_topics(context, topics, Mode::Apply))
}

fn codes(world: &mut World, topics: &[NewTopic]) -> Vec<ErrorCode> {
    let results = create(world, topics);
    results.into_iter().map(|(_, r)| r.map_or_else(|e| e.code, |_| ErrorCode::None)).collect()
}

#[test]
fn a_topic_is_its_record_then_its_configs_then_its_partitions() {
    let mut world = World::with_brokers(3);
    let mut new = topic("a", 2, 3);
    new.configs = vec![("retention.ms".into(), Some("5".into()))];
    let results = create(&mut world, &[new]);
    let created = results[0].1.as_ref().unwrap();
    assert_eq!((created.partition_count, created.replication_factor), (2, 3));
    assert_eq!(world.image().topics.id("a"), Some(created.id));
    assert_eq!(world.image().config(&ConfigResource::topic("a"), "retention.ms").unwrap(), &"5");
    let kinds: Vec<i16> = world.written.iter().map(|record| record.record.kind()).collect();
    assert_eq!(kinds, [2, 4, 3, 3]);
}

#[test]
fn the_first_live_replica_leads_and_only_live_ones_are_in_sync() {
    let mut world = World::with_brokers(2);
    world.run(|c, context| c.register_broker(context, &crate::testing::to_register(3))).unwrap();
    assert_eq!(codes(&mut world, &[manual("a", &[(0, &[3, 2, 1])])]), [ErrorCode::None]);
    let partition = world.image().topics.partition("a", 0).unwrap();
    assert_eq!(partition.leader, Some(NodeId(2)));
    assert_eq!(partition.isr, [NodeId(2), NodeId(1)]);
    assert_eq!((partition.leader_epoch.0, partition.partition_epoch), (0, 0));
    assert_eq!(partition.directories, [Uuid(203), Uuid(202), Uuid(201)]);
    let refused = codes(&mut world, &[manual("b", &[(0, &[3])])]);
    assert_eq!(refused, [ErrorCode::InvalidReplicaAssignment]);
}

#[test]
fn partition_records_have_the_version_of_the_cluster() {
    for (release, version) in [("3.6", 0), ("3.9", 1), ("4.3", 2)] {
        let mut world = World::of_release(release);
        world.register(1);
        world.create("a", &[&[1]]);
        assert!(matches!(world.written[1].record, MetadataRecord::Partition(_)));
        assert_eq!(world.written[1].version, version, "{release}");
    }
}

#[test]
fn minus_one_means_the_defaults() {
    let mut world = World::with_brokers(3);
    world.controller.settings.num_partitions = 4;
    world.controller.settings.default_replication_factor = 2;
    let results = create(&mut world, &[topic("a", -1, -1)]);
    let created = results[0].1.as_ref().unwrap();
    assert_eq!((created.partition_count, created.replication_factor), (4, 2));
}

#[test]
fn counts_that_are_not_positive_or_too_large_are_refused() {
    let mut world = World::with_brokers(1);
    for (partitions, factor, code) in [
        (0, 1, ErrorCode::InvalidPartitions),
        (-2, 1, ErrorCode::InvalidPartitions),
        (1, 0, ErrorCode::InvalidReplicationFactor),
        (1, -2, ErrorCode::InvalidReplicationFactor),
        (1, 2, ErrorCode::InvalidReplicationFactor),
        (1, i16::MAX, ErrorCode::InvalidReplicationFactor),
        (10_001, 1, ErrorCode::PolicyViolation),
        (i32::MAX, 1, ErrorCode::PolicyViolation),
    ] {
        assert_eq!(codes(&mut world, &[topic("a", partitions, factor)]), [code]);
    }
    assert!(world.image().topics.is_empty());
}

#[test]
fn all_partitions_of_a_request_count_together() {
    let mut world = World::with_brokers(1);
    let got = codes(&mut world, &[topic("a", 6_000, 1), topic("b", 6_000, 1), topic("c", 10, 1)]);
    assert_eq!(got, [ErrorCode::None, ErrorCode::PolicyViolation, ErrorCode::None]);
}

#[test]
fn names_that_are_illegal_taken_or_collide_are_refused() {
    let mut world = World::with_brokers(1);
    world.create("a.b", &[&[1]]);
    for (name, code) in [
        ("", ErrorCode::InvalidTopicException),
        ("..", ErrorCode::InvalidTopicException),
        ("a b", ErrorCode::InvalidTopicException),
        ("a.b", ErrorCode::TopicAlreadyExists),
        ("a_b", ErrorCode::InvalidTopicException),
    ] {
        assert_eq!(codes(&mut world, &[topic(name, 1, 1)]), [code], "{name}");
    }
    let got = codes(&mut world, &[topic("x.y", 1, 1), topic("x_y", 1, 1)]);
    assert_eq!(got, [ErrorCode::None, ErrorCode::InvalidTopicException]);
}

#[test]
fn a_name_that_is_there_twice_is_refused_once_and_not_created() {
    let mut world = World::with_brokers(1);
    let got = codes(&mut world, &[topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)]);
    assert_eq!(got, [ErrorCode::InvalidRequest, ErrorCode::None]);
    assert!(world.image().topics.id("a").is_none());
}

#[test]
fn assignments_by_hand_must_be_complete() {
    let mut world = World::with_brokers(3);
    let cases: [&[(i32, &[i32])]; 8] = [
        &[(1, &[1])],
        &[(0, &[1]), (2, &[1])],
        &[(0, &[1]), (0, &[2])],
        &[(-1, &[1]), (0, &[1])],
        &[(0, &[])],
        &[(0, &[1, 1])],
        &[(0, &[1, 9])],
        &[(0, &[1, 2]), (1, &[1])],
    ];
    for assignments in cases {
        let got = codes(&mut world, &[manual("a", assignments)]);
        assert_eq!(got, [ErrorCode::InvalidReplicaAssignment], "{assignments:?}");
    }
    assert_eq!(codes(&mut world, &[manual("a", &[(1, &[2]), (0, &[1])])]), [ErrorCode::None]);
    assert_eq!(world.image().topics.partition("a", 1).unwrap().replicas, [NodeId(2)]);
    assert_eq!(codes(&mut world, &[manual("b", &[])]), [ErrorCode::InvalidPartitions]);
}

#[test]
fn a_layout_by_hand_and_by_count_is_refused() {
    let by_hand = || vec![(0, vec![NodeId(1)])];
    assert_eq!(Layout::from_request(1, -1, by_hand()), Layout::Contradicting);
    assert_eq!(Layout::from_request(-1, 1, by_hand()), Layout::Contradicting);
    assert_eq!(Layout::from_request(-1, -1, by_hand()), Layout::Manual(by_hand()));
    let mut world = World::with_brokers(1);
    let new = NewTopic { name: "a".into(), layout: Layout::Contradicting, configs: Vec::new() };
    assert_eq!(codes(&mut world, &[new]), [ErrorCode::InvalidRequest]);
}

#[test]
fn configs_that_are_bad_missing_or_repeated_are_refused() {
    let mut world = World::with_brokers(1);
    type Given = &'static [(&'static str, Option<&'static str>)];
    let cases: [(Given, ErrorCode); 4] = [
        (&[("retention.ms", Some("x"))], ErrorCode::InvalidConfig),
        (&[("no.such.config", Some("1"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", None)], ErrorCode::InvalidConfig),
        (&[("retention.ms", Some("1")), ("retention.ms", Some("2"))], ErrorCode::InvalidRequest),
    ];
    for (configs, code) in cases {
        let configs = configs.iter().map(|(n, v)| (Str::from(*n), v.map(Str::from))).collect();
        let new = NewTopic { configs, ..topic("a", 1, 1) };
        assert_eq!(codes(&mut world, &[new]), [code]);
    }
}

#[test]
fn a_request_that_is_only_tried_says_what_would_happen() {
    let mut world = World::with_brokers(1);
    let topics = [topic("a", 3, 1), topic("b", 3, 2)];
    let results = world.run(|c, context| c.create_topics(context, &topics, Mode::ValidateOnly));
    assert_eq!(results[0].1.as_ref().unwrap().partition_count, 3);
    assert_eq!(results[1].1.as_ref().unwrap_err().code, ErrorCode::InvalidReplicationFactor);
    assert!(world.image().topics.is_empty() && world.written.is_empty());
}
