//! The first records of a new cluster. Never touches a cluster that has any.

use klamm_metadata::{CONFIG_BROKER, MetadataImage, MetadataVersion, VersionedRecord, features};
use klamm_persisted::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, MetadataRecord,
};
use klamm_stdx::Str;

use crate::{Context, Controller, ControllerResult};

/// Whether the metadata log said anything before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It did; nothing is written.
    Continued,
    /// The cluster is new; it has its first records now.
    Bootstrapped,
}

impl Controller {
    /// Writes the records that the cluster was formatted with, if there are none (Kafka:
    /// `ActivationRecordsGenerator`): in one transaction, so that nobody sees half a cluster.
    pub fn activate(
        &self,
        context: &Context<'_>,
        bootstrap: &[VersionedRecord],
    ) -> ControllerResult<Activation> {
        if !context.image.says_the_same(&MetadataImage::default()) || bootstrap.is_empty() {
            return ControllerResult::unchanged(Activation::Continued);
        }
        let level = |wanted: &str| {
            bootstrap.iter().find_map(|record| match &record.record {
                MetadataRecord::FeatureLevel(r) if r.name == *wanted => Some(r.feature_level),
                _ => None,
            })
        };
        let version = level(features::METADATA_VERSION)
            .and_then(|level| MetadataVersion::from_level(level).ok())
            .unwrap_or(MetadataVersion::MINIMUM);
        let mut records = bootstrap.to_vec();
        if level(features::ELIGIBLE_LEADER_REPLICAS_VERSION).is_some_and(|level| level > 0) {
            // From here on elections go by it, so it must be the same for all controllers.
            let min_insync_replicas = ConfigRecord {
                resource_type: CONFIG_BROKER,
                resource_name: Str::new(),
                name: Str::from_static("min.insync.replicas"),
                value: Some(Str::from(self.settings.min_insync_replicas.to_string())),
            };
            records.push(VersionedRecord::new(min_insync_replicas, version));
        }
        if version.has_transactions() {
            let name = Some(Str::from_static("Bootstrap records"));
            records.insert(0, VersionedRecord::new(BeginTransactionRecord { name }, version));
            records.push(VersionedRecord::new(EndTransactionRecord {}, version));
        }
        ControllerResult::new(records, Activation::Bootstrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use klamm_metadata::{ConfigResource, bootstrap_records};

    fn activate(world: &mut World, release: &str) -> Activation {
        let records = bootstrap_records(MetadataVersion::from_name(release).unwrap());
        world.run(|c, context| c.activate(context, &records))
    }

    #[test]
    fn a_new_cluster_gets_the_records_that_kafkas_controller_writes() {
        let mut world = World::of_release("4.3");
        world.replace(&MetadataImage::default());
        assert_eq!(activate(&mut world, "4.3"), Activation::Bootstrapped);
        let kinds: Vec<i16> = world.written.iter().map(|record| record.record.kind()).collect();
        assert_eq!(kinds, [23, 12, 12, 12, 12, 12, 12, 4, 24]);
        let cluster = ConfigResource::broker("");
        assert_eq!(world.image().config(&cluster, "min.insync.replicas").unwrap(), &"1");
        assert_eq!(activate(&mut world, "4.3"), Activation::Continued);
        assert!(world.written.is_empty());
    }

    #[test]
    fn an_old_release_has_neither_transactions_nor_a_cluster_wide_min_isr() {
        let mut world = World::of_release("4.3");
        world.replace(&MetadataImage::default());
        assert_eq!(activate(&mut world, "3.5"), Activation::Bootstrapped);
        assert_eq!(world.written.len(), 1);
        assert_eq!(world.image().features.metadata_version.name(), "3.5-IV2");
    }
}
