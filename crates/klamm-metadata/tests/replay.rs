//! Any log of records, valid or not: what a delta makes of it holds together, and a snapshot of
//! the image makes the same image.

use klamm_metadata::{
    Changes, ConfigResource, Loader, MetadataDelta, MetadataImage, MetadataVersion, ReplayError,
    bootstrap_records,
};
use klamm_model::{NodeId, Uuid};
use klamm_persisted::metadata::client_quota_record::EntityData;
use klamm_persisted::metadata::{
    AccessControlEntryRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord,
    ClearElrRecord, ClientQuotaRecord, ConfigRecord, DelegationTokenRecord, FeatureLevelRecord,
    FenceBrokerRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RegisterControllerRecord, RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord, RemoveTopicRecord, RemoveUserScramCredentialRecord, TopicRecord,
    UnfenceBrokerRecord, UnregisterBrokerRecord, UserScramCredentialRecord,
};
use klamm_stdx::Str;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Str> {
    (0..4_u8).prop_map(|n| Str::from(["a", "b", "c.d", "c_d"][usize::from(n)]))
}

fn id() -> impl Strategy<Value = Uuid> {
    (200..204_u128).prop_map(Uuid)
}

fn nodes() -> impl Strategy<Value = Vec<i32>> {
    vec(0..4_i32, 0..3)
}

fn topics() -> impl Strategy<Value = MetadataRecord> {
    let partition = (id(), 0..3_i32, nodes(), (nodes(), nodes()), -1..4_i32).prop_map(
        |(topic_id, partition_id, replicas, (isr, elr), leader)| PartitionRecord {
            topic_id,
            partition_id,
            directories: replicas.iter().map(|node| Uuid(300 + *node as u128)).collect(),
            replicas,
            isr,
            eligible_leader_replicas: Some(elr),
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRecord::default()
        },
    );
    let change = (id(), 0..3_i32, option::of(nodes()), option::of(nodes()), -2..4_i32, -1..3_i8)
        .prop_map(|(topic_id, partition_id, isr, replicas, leader, state)| PartitionChangeRecord {
            topic_id,
            partition_id,
            last_known_elr: isr.clone(),
            isr,
            replicas,
            leader,
            leader_recovery_state: state,
            ..PartitionChangeRecord::default()
        });
    prop_oneof![
        (text(), id()).prop_map(|(name, topic_id)| TopicRecord { name, topic_id }.into()),
        id().prop_map(|topic_id| RemoveTopicRecord { topic_id }.into()),
        text().prop_map(|topic_name| ClearElrRecord { topic_name }.into()),
        Just(ClearElrRecord::default().into()),
        partition.prop_map(MetadataRecord::from),
        change.prop_map(MetadataRecord::from),
    ]
}

fn brokers() -> impl Strategy<Value = MetadataRecord> {
    let register = (0..3_i32, 0..2_i64, any::<bool>(), option::of(text())).prop_map(
        |(broker_id, broker_epoch, fenced, rack)| RegisterBrokerRecord {
            broker_id,
            broker_epoch,
            fenced,
            rack,
            log_dirs: vec![Uuid(300 + broker_id as u128)],
            ..RegisterBrokerRecord::default()
        },
    );
    let change = (0..3_i32, 0..2_i64, -1..3_i8, -1..2_i8).prop_map(
        |(broker_id, broker_epoch, fenced, in_controlled_shutdown)| {
            BrokerRegistrationChangeRecord {
                broker_id,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
                ..BrokerRegistrationChangeRecord::default()
            }
        },
    );
    let life = || (0..3_i32, 0..2_i64);
    prop_oneof![
        register.prop_map(MetadataRecord::from),
        change.prop_map(MetadataRecord::from),
        life().prop_map(|(id, epoch)| FenceBrokerRecord { id, epoch }.into()),
        life().prop_map(|(id, epoch)| UnfenceBrokerRecord { id, epoch }.into()),
        life().prop_map(|(broker_id, broker_epoch)| {
            UnregisterBrokerRecord { broker_id, broker_epoch }.into()
        }),
        (0..3_i32).prop_map(|controller_id| {
            RegisterControllerRecord { controller_id, ..Default::default() }.into()
        }),
    ]
}

fn configs() -> impl Strategy<Value = MetadataRecord> {
    let entity = vec((text(), option::of(text())), 0..3).prop_map(|parts| {
        let part = |(entity_type, entity_name)| EntityData { entity_type, entity_name };
        parts.into_iter().map(part).collect::<Vec<_>>()
    });
    prop_oneof![
        (prop_oneof![Just(2_i8), Just(4)], text(), text(), option::of(text())).prop_map(
            |(resource_type, resource_name, name, value)| {
                ConfigRecord { resource_type, resource_name, name, value }.into()
            }
        ),
        (entity, text(), 0..9_u8, any::<bool>()).prop_map(|(entity, key, value, remove)| {
            ClientQuotaRecord { entity, key, value: f64::from(value), remove }.into()
        }),
        (0..9_i64).prop_map(|next_producer_id| {
            ProducerIdsRecord { broker_id: 1, broker_epoch: 1, next_producer_id }.into()
        }),
        (text(), 0..3_i16).prop_map(|(name, feature_level)| FeatureLevelRecord {
            name,
            feature_level
        }
        .into()),
    ]
}

fn security() -> impl Strategy<Value = MetadataRecord> {
    prop_oneof![
        (id(), text()).prop_map(|(id, principal)| {
            AccessControlEntryRecord { id, principal, ..Default::default() }.into()
        }),
        id().prop_map(|id| RemoveAccessControlEntryRecord { id }.into()),
        (text(), 1..3_i8).prop_map(|(name, mechanism)| {
            UserScramCredentialRecord { name, mechanism, ..Default::default() }.into()
        }),
        (text(), 1..3_i8).prop_map(|(name, mechanism)| {
            RemoveUserScramCredentialRecord { name, mechanism }.into()
        }),
        (text(), text()).prop_map(|(owner, token_id)| {
            DelegationTokenRecord { owner, token_id, ..Default::default() }.into()
        }),
        text().prop_map(|token_id| RemoveDelegationTokenRecord { token_id }.into()),
    ]
}

fn log() -> impl Strategy<Value = Vec<MetadataRecord>> {
    vec(prop_oneof![4 => topics(), 2 => brokers(), 2 => configs(), 1 => security()], 0..60)
}

/// A new cluster of the newest release.
fn cluster() -> MetadataDelta {
    let mut delta = MetadataDelta::new(&MetadataImage::default());
    for record in bootstrap_records(MetadataVersion::LATEST_STABLE) {
        delta.replay(&record.record).expect("the first records of a cluster fit");
    }
    delta
}

fn image_of(records: &[MetadataRecord]) -> MetadataImage {
    let mut delta = cluster();
    for record in records {
        // Most records fit; those that do not must change nothing.
        drop(delta.replay(record));
    }
    delta.apply().0
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_of_an_image_makes_the_same_image(records in log()) {
        let image = image_of(&records);
        let snapshot = image.to_records().unwrap();
        let mut delta = MetadataDelta::new(&MetadataImage::default());
        for record in &snapshot {
            let (read, version) = MetadataRecord::from_frame(record.to_frame().unwrap()).unwrap();
            prop_assert_eq!(version, record.version);
            delta.replay(&read).unwrap();
        }
        prop_assert!(delta.image().says_the_same(&image));
        prop_assert_eq!(delta.image().to_records().unwrap(), snapshot);
    }

    #[test]
    fn a_record_that_does_not_fit_changes_nothing(records in log()) {
        let mut delta = cluster();
        for record in &records {
            let before = delta.clone();
            if delta.replay(record).is_err() {
                prop_assert_eq!(&before, &delta);
            }
        }
    }

    #[test]
    fn every_difference_between_two_images_is_in_the_changes(first in log(), then in log()) {
        let old = image_of(&first);
        let mut delta = MetadataDelta::new(&old);
        for record in &then {
            drop(delta.replay(record));
        }
        let (new, told) = delta.apply();
        let found = Changes::between(&old, &new);
        // An id that goes and comes back, which no controller does, is told as both.
        prop_assert!(told.topics_created.is_superset(&found.topics_created));
        for id in told.topics_created.difference(&found.topics_created) {
            prop_assert!(told.topics_deleted.contains_key(id));
        }
        for id in found.topics_deleted.keys() {
            prop_assert!(told.topics_deleted.contains_key(id));
        }
        // What was changed and changed back may be told all the same.
        prop_assert!(told.partitions_changed.is_superset(&found.partitions_changed));
        prop_assert!(told.configs_changed.is_superset(&found.configs_changed));
        prop_assert!(told.brokers_changed.is_superset(&found.brokers_changed));
        prop_assert!(told.controllers_changed.is_superset(&found.controllers_changed));
        prop_assert!(told.features_changed >= found.features_changed);
        prop_assert!(told.client_quotas_changed >= found.client_quotas_changed);
        prop_assert!(told.producer_ids_changed >= found.producer_ids_changed);
        prop_assert!(told.security_changed >= found.security_changed);
        for partition in &told.partitions_changed {
            prop_assert!(new.topics.by_id(partition.topic_id).is_some());
        }
    }

    #[test]
    fn an_image_is_the_same_whether_or_not_it_was_published_in_between(records in log()) {
        let mut loader = Loader::new(&cluster().apply().0);
        for (i, record) in records.iter().enumerate() {
            drop(loader.replay(record));
            if i % 7 == 0 {
                loader.take();
            }
        }
        prop_assert!(loader.image().says_the_same(&image_of(&records)));
    }
}

fn replay(records: &[MetadataRecord], last: impl Into<MetadataRecord>) -> Option<ReplayError> {
    let mut delta = cluster();
    for record in records {
        delta.replay(record).expect("what comes before fits");
    }
    delta.replay(&last.into()).err()
}

fn topic(name: &str, id: u128) -> MetadataRecord {
    TopicRecord { name: name.into(), topic_id: Uuid(id) }.into()
}

#[test]
fn records_that_do_not_fit_are_refused_with_what_is_wrong() {
    let unknown = ReplayError::UnknownTopic { id: Uuid(7) };
    let partition = PartitionRecord { topic_id: Uuid(7), ..PartitionRecord::default() };
    assert_eq!(replay(&[], partition), Some(unknown.clone()));
    assert_eq!(replay(&[], RemoveTopicRecord { topic_id: Uuid(7) }), Some(unknown.clone()));
    let change = |id| PartitionChangeRecord { topic_id: Uuid(id), ..Default::default() };
    assert_eq!(replay(&[], change(7)), Some(unknown));
    assert!(matches!(
        replay(&[topic("a", 7)], change(7)),
        Some(ReplayError::UnknownPartition { .. })
    ));
    for taken in [topic("a", 8), topic("b", 7)] {
        let error = replay(&[topic("a", 7)], taken);
        assert!(matches!(error, Some(ReplayError::TopicExists { .. })));
    }
    let named = ClearElrRecord { topic_name: "a".into() };
    assert!(matches!(replay(&[], named), Some(ReplayError::UnknownTopicName { .. })));
    let fence = FenceBrokerRecord { id: 1, epoch: 5 };
    assert_eq!(replay(&[], fence.clone()), Some(ReplayError::UnknownBroker { id: NodeId(1) }));
    let broker = RegisterBrokerRecord { broker_id: 1, broker_epoch: 4, ..Default::default() };
    assert!(matches!(replay(&[broker.into()], fence), Some(ReplayError::BrokerEpoch { .. })));
    let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 99 };
    assert!(matches!(replay(&[], level), Some(ReplayError::MetadataVersion(_))));
    let acl = RemoveAccessControlEntryRecord { id: Uuid(7) };
    assert!(matches!(replay(&[], acl), Some(ReplayError::Unknown { .. })));
    let begin = BeginTransactionRecord::default();
    assert!(matches!(replay(&[], begin), Some(ReplayError::Transaction { .. })));
}

#[test]
fn a_topic_that_goes_takes_its_configs_with_it() {
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "a".into(),
        name: "retention.ms".into(),
        value: Some("1".into()),
    };
    let image = image_of(&[
        topic("a", 201),
        config.into(),
        RemoveTopicRecord { topic_id: Uuid(201) }.into(),
        topic("a", 202),
    ]);
    assert_eq!(image.topics.id("a"), Some(Uuid(202)));
    assert_eq!(image.configs_of(&ConfigResource::topic("a")), None);
}

#[test]
fn a_feature_that_is_set_to_zero_is_off() {
    let off = FeatureLevelRecord { name: "group.version".into(), feature_level: 0 };
    let image = image_of(&[off.into()]);
    assert_eq!(image.features.level("group.version"), 0);
    assert!(!image.features.levels.contains_key("group.version"));
}
