//! The cluster's topics, which come, go and grow, and what members want to read of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::{MetadataDelta, MetadataImage};
use klamm_model::{PartitionIndex, TopicId, Uuid};
use klamm_persisted::metadata::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use klamm_stdx::Str;

use crate::random::Seeded;

/// A partition, whatever its topic is called.
pub(in crate::coordinators) type Partition = (TopicId, PartitionIndex);

/// The names of topics.
const NAMES: [&str; 3] = ["a1", "a2", "b1"];
/// Partitions that a topic grows to at most.
const PARTITIONS_MAX: i32 = 6;

/// A pattern, and which names it stands for by our own reckoning.
type Pattern = (&'static str, fn(&str) -> bool);

const PATTERNS: [Pattern; 4] = [
    ("a.*", |name| name.starts_with('a')),
    (".*1", |name| name.ends_with('1')),
    (".*", |_| true),
    ("b1|zz", |name| name == "b1"),
];

/// What a member wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinators) enum Wants {
    Names(Vec<Str>),
    Pattern(&'static str),
}

impl Wants {
    pub(in crate::coordinators) fn names(random: &mut Seeded) -> Self {
        let mut names: Vec<Str> =
            NAMES.iter().filter(|_| random.one_in(2)).map(|name| Str::from(*name)).collect();
        if names.is_empty() {
            names.push(Str::from(*random.pick(&NAMES)));
        }
        Self::Names(names)
    }

    pub(in crate::coordinators) fn pattern(random: &mut Seeded) -> Self {
        Self::Pattern(random.pick(&PATTERNS).0)
    }

    /// Whether it wants a topic.
    pub(in crate::coordinators) fn reads(&self, name: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|wanted| *wanted == *name),
            Self::Pattern(text) => is_match(text, name),
        }
    }
}

/// Whether a name is one of a pattern's.
pub(in crate::coordinators) fn is_match(pattern: &str, name: &str) -> bool {
    PATTERNS.iter().any(|(text, stands_for)| *text == pattern && stands_for(name))
}

/// The topics.
#[derive(Debug)]
pub(in crate::coordinators) struct Cluster {
    pub(in crate::coordinators) image: Arc<MetadataImage>,
    last_id: u128,
}

impl Cluster {
    /// Some topics.
    pub(in crate::coordinators) fn new(random: &mut Seeded) -> Self {
        let mut this = Self { image: Arc::default(), last_id: 200 };
        for name in NAMES {
            if random.one_in(2) || name == NAMES[0] {
                this.create(name, 1 + random.below(4) as i32);
            }
        }
        this
    }

    /// One topic, for good.
    pub(in crate::coordinators) fn of(name: &str, partitions: i32) -> Self {
        let mut this = Self { image: Arc::default(), last_id: 200 };
        this.create(name, partitions);
        this
    }

    /// A topic comes, goes, or grows; gives the name of one that went.
    pub(in crate::coordinators) fn change(&mut self, random: &mut Seeded) -> Option<Str> {
        let name = *random.pick(&NAMES);
        let Some(topic) = self.image.topics.by_name(name).cloned() else {
            self.create(name, 1 + random.below(4) as i32);
            return None;
        };
        let n = topic.partitions.len() as i32;
        if n < PARTITIONS_MAX && random.one_in(2) {
            self.expand(topic.id, n..n + 1);
            return None;
        }
        self.apply(&[RemoveTopicRecord { topic_id: topic.id }.into()]);
        Some(Str::from(name))
    }

    /// Whether a partition exists.
    pub(in crate::coordinators) fn has(&self, (topic_id, index): Partition) -> bool {
        let topic = self.image.topics.by_id(topic_id);
        topic.is_some_and(|topic| topic.partition(index).is_some())
    }

    /// A topic's name.
    pub(in crate::coordinators) fn name(&self, topic_id: TopicId) -> Option<&Str> {
        self.image.topics.by_id(topic_id).map(|topic| &topic.name)
    }

    /// Every partition that somebody wants.
    pub(in crate::coordinators) fn wanted(
        &self,
        reads: impl Fn(&str) -> bool,
    ) -> BTreeSet<Partition> {
        let topics = self.image.topics.iter().filter(|topic| reads(&topic.name));
        topics.flat_map(|topic| topic.partitions.keys().map(|p| (topic.id, *p))).collect()
    }

    fn create(&mut self, name: &str, partitions: i32) {
        self.last_id += 1;
        let topic_id = Uuid(self.last_id);
        self.apply(&[TopicRecord { name: name.into(), topic_id }.into()]);
        self.expand(topic_id, 0..partitions);
    }

    fn expand(&mut self, topic_id: TopicId, partitions: std::ops::Range<i32>) {
        let record = |partition_id| {
            MetadataRecord::from(PartitionRecord {
                topic_id,
                partition_id,
                replicas: vec![1],
                isr: vec![1],
                directories: vec![Uuid(300)],
                leader: 1,
                ..PartitionRecord::default()
            })
        };
        self.apply(&partitions.map(record).collect::<Vec<_>>());
    }

    fn apply(&mut self, records: &[MetadataRecord]) {
        let mut delta = MetadataDelta::new(&self.image);
        for record in records {
            delta.replay(record).expect("our own record");
        }
        self.image = Arc::new(delta.apply().0);
    }
}
