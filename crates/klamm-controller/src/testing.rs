//! A controller and an image for tests of single operations: records are replayed at once, as if
//! committed. Never part of a release.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use klamm_env::{Moment, Random};
use klamm_metadata::{
    Configs, Endpoint, Loader, MetadataImage, MetadataVersion, VersionedRecord, bootstrap_records,
};
use klamm_model::{BrokerEpoch, NodeId, Offset, Uuid};
use klamm_persisted::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};
use klamm_stdx::Str;

use crate::{
    BrokerToRegister, ConfigRules, ConfigShape, Context, Controller, ControllerResult, NewTopic,
    Settings,
};
use crate::{Layout, Mode};

/// The cluster of all tests.
pub(crate) const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// Knows a number, a list, and values that must not be "bad".
pub(crate) struct TestRules;

impl ConfigRules for TestRules {
    fn check(&self, _: i8, name: &str, value: &str) -> Result<(), String> {
        match name {
            "retention.ms" | "min.insync.replicas" if value.parse::<i64>().is_err() => {
                Err(format!("'{value}' is no number"))
            }
            "retention.ms"
            | "min.insync.replicas"
            | "cleanup.policy"
            | "unclean.leader.election.enable"
            | "interval.ms" => Ok(()),
            _ => Err(format!("config '{name}' is unknown")),
        }
    }

    fn check_together(&self, _: i8, configs: &Configs) -> Result<(), String> {
        let value = |name: &str| configs.get(name).and_then(|value| value.parse::<i64>().ok());
        match (value("interval.ms"), value("retention.ms")) {
            (Some(interval), Some(retention)) if interval > retention => {
                Err("interval.ms is longer than retention.ms".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn shape(&self, _: i8, name: &str) -> ConfigShape {
        if name == "cleanup.policy" { ConfigShape::List } else { ConfigShape::Single }
    }

    fn default_value(&self, _: i8, name: &str) -> Option<Str> {
        (name == "cleanup.policy").then(|| Str::from_static("delete"))
    }
}

/// Counts; ids differ and that is all.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

impl Random for Counting {
    fn bits(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A controller, its image, and the offset of the next record.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) now: Moment,
    /// What the last operation wrote.
    pub(crate) written: Vec<VersionedRecord>,
    loader: Loader,
    next_offset: i64,
    random: Counting,
}

impl World {
    /// A new cluster of a release without brokers.
    pub(crate) fn of_release(name: &str) -> Self {
        let controller = Controller::new(Settings::new(CLUSTER_ID), Arc::new(TestRules));
        let mut world = Self {
            controller,
            now: Moment(1),
            written: Vec::new(),
            loader: Loader::new(&MetadataImage::default()),
            next_offset: 0,
            random: Counting::default(),
        };
        let version = MetadataVersion::from_name(name).unwrap();
        world.replay(bootstrap_records(version));
        world
    }

    /// A new cluster with unfenced brokers from 1.
    pub(crate) fn with_brokers(count: i32) -> Self {
        let mut world = Self::of_release("4.3");
        for id in 1..=count {
            world.register(id);
        }
        world
    }

    /// Registers and unfences a broker with one log directory.
    pub(crate) fn register(&mut self, id: i32) {
        self.register_with(&to_register(id));
    }

    pub(crate) fn register_with(&mut self, broker: &BrokerToRegister) {
        let id = broker.id.0;
        self.run(|c, context| c.register_broker(context, broker)).unwrap();
        let (_, epoch) = self.broker(id);
        self.replay_one(BrokerRegistrationChangeRecord {
            broker_id: id,
            broker_epoch: epoch.0,
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        });
    }

    /// Creates a topic with replicas given for each partition.
    pub(crate) fn create(&mut self, name: &str, partitions: &[&[i32]]) {
        let manual = partitions.iter().enumerate();
        let manual = manual.map(|(i, ids)| (i as i32, ids.iter().copied().map(NodeId).collect()));
        let topic = NewTopic {
            name: name.into(),
            layout: Layout::Manual(manual.collect()),
            configs: Vec::new(),
        };
        let results = self.run(|c, context| c.create_topics(context, &[topic], Mode::Apply));
        assert!(results[0].1.is_ok(), "{results:?}");
    }

    pub(crate) fn image(&self) -> &MetadataImage {
        self.loader.image()
    }

    pub(crate) fn broker(&self, id: i32) -> (NodeId, BrokerEpoch) {
        let broker = self.image().cluster.broker(NodeId(id)).unwrap();
        (broker.id, broker.epoch)
    }

    /// Starts again from an image.
    pub(crate) fn replace(&mut self, image: &MetadataImage) {
        self.loader = Loader::new(image);
    }

    /// Decides, and replays what was decided; every record can be written.
    pub(crate) fn run<T>(
        &mut self,
        decide: impl FnOnce(&mut Controller, &Context<'_>) -> ControllerResult<T>,
    ) -> T {
        let context = Context {
            image: self.loader.image(),
            next_offset: Offset(self.next_offset),
            now: self.now,
            random: &self.random,
        };
        let result = decide(&mut self.controller, &context);
        self.replay(result.records);
        result.response
    }

    pub(crate) fn replay_one(&mut self, record: impl Into<MetadataRecord>) {
        let version = self.image().features.metadata_version;
        self.replay(vec![VersionedRecord::new(record, version)]);
    }

    fn replay(&mut self, records: Vec<VersionedRecord>) {
        for record in &records {
            record.to_frame().unwrap();
            self.loader.replay(&record.record).unwrap();
        }
        self.next_offset += records.len() as i64;
        self.written = records;
    }
}

/// A broker with one log directory that can run everything.
pub(crate) fn to_register(id: i32) -> BrokerToRegister {
    BrokerToRegister {
        id: NodeId(id),
        cluster_id: CLUSTER_ID.into(),
        incarnation_id: Uuid(1000 + id as u128),
        previous_epoch: None,
        endpoints: vec![Endpoint {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: BrokerToRegister::our_features(),
        rack: None,
        log_dirs: vec![Uuid(200 + id as u128)],
        cordoned_log_dirs: None,
    }
}
