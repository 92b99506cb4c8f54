//! Topic keys. Where the broker has a key for the default, the synonym table names it.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static TOPIC;
    "cleanup.policy": List = Is("delete"), ListOf(&["compact", "delete"]), Medium, ClusterWide, Acted, "What happens to old records: delete, compact, both, or nothing.";
    "compression.gzip.level": Int = Is("-1"), GzipLevel, Medium, ClusterWide, Acted, "Level of gzip, when the broker compresses.";
    "compression.lz4.level": Int = Is("9"), Between(1, 17), Medium, ClusterWide, Acted, "Level of lz4, when the broker compresses.";
    "compression.type": String = Is("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium, ClusterWide, Acted, "Codec that batches are stored with; producer keeps what the producer chose.";
    "compression.zstd.level": Int = Is("3"), Between(-131072, 22), Medium, ClusterWide, Acted, "Level of zstd, when the broker compresses.";
    "delete.retention.ms": Long = Is("86400000"), AtLeast(0), Medium, ClusterWide, Acted, "How long a deletion marker stays in a compacted topic.";
    "file.delete.delay.ms": Long = Is("60000"), AtLeast(0), Medium, ClusterWide, Acted, "Wait before the files of a removed segment are deleted.";
    "flush.messages": Long = Is("9223372036854775807"), AtLeast(1), Medium, ClusterWide, Acted, "A partition is synced after this many records, whoever waits or not.";
    "flush.ms": Long = Is("9223372036854775807"), AtLeast(0), Medium, ClusterWide, Acted, "A partition is synced at the latest after this time, which log.flush.scheduler.interval.ms has looked at.";
    "follower.replication.throttled.replicas": List = Is(""), ThrottledReplicas, Medium, ClusterWide, Accepted, "Replicas whose fetching is limited, as partition:broker or *.";
    "index.interval.bytes": Int = Is("4096"), AtLeast(0), Medium, ClusterWide, Acted, "Bytes of records between two entries of an index.";
    "internal.segment.bytes": Int = Null, Any, Medium, ClusterWide, Acted, "Segment size below the public minimum; for tests.";
    "leader.replication.throttled.replicas": List = Is(""), ThrottledReplicas, Medium, ClusterWide, Accepted, "Replicas whose being fetched is limited, as partition:broker or *.";
    "local.retention.bytes": Long = Is("-2"), AtLeast(-2), Medium, ClusterWide, Accepted, "Bytes of a tiered partition that stay local; -2 means as retention.";
    "local.retention.ms": Long = Is("-2"), AtLeast(-2), Medium, ClusterWide, Accepted, "How long a tiered partition's segments stay local; -2 means as retention.";
    "max.compaction.lag.ms": Long = Is("9223372036854775807"), AtLeast(1), Medium, ClusterWide, Acted, "How long a record stays uncompacted at most.";
    "max.message.bytes": Int = Is("1048588"), AtLeast(0), Medium, ClusterWide, Acted, "Largest record batch that is accepted, after compression.";
    "message.timestamp.after.max.ms": Long = Is("3600000"), AtLeast(0), Medium, ClusterWide, Acted, "How far a record's time may lie in the future.";
    "message.timestamp.before.max.ms": Long = Is("9223372036854775807"), AtLeast(0), Medium, ClusterWide, Acted, "How far a record's time may lie in the past.";
    "message.timestamp.type": String = Is("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, Acted, "Whether a record's time is its creation or its arrival.";
    "min.cleanable.dirty.ratio": Double = Is("0.5"), BetweenF(0.0, 1.0), Medium, ClusterWide, Acted, "Part of a log that must be uncleaned before it is compacted.";
    "min.compaction.lag.ms": Long = Is("0"), AtLeast(0), Medium, ClusterWide, Acted, "How long a record stays uncompacted at least.";
    "min.insync.replicas": Int = Is("1"), AtLeast(1), Medium, ClusterWide, Acted, "Fewest in-sync replicas with which acks=all is accepted.";
    "preallocate": Boolean = Is("false"), Any, Medium, ClusterWide, Acted, "Whether a new segment's room is reserved at once.";
    "remote.log.copy.disable": Boolean = Is("false"), Any, Medium, ClusterWide, Accepted, "Whether a tiered topic stops copying to the remote store.";
    "remote.log.delete.on.disable": Boolean = Is("false"), Any, Medium, ClusterWide, Accepted, "Whether tiered data is deleted when tiering is switched off.";
    "remote.storage.enable": Boolean = Is("false"), Any, Medium, ClusterWide, Accepted, "Whether the topic is tiered.";
    "retention.bytes": Long = Is("-1"), Any, Medium, ClusterWide, Acted, "Size of a partition above which its oldest segments are deleted; -1 means no limit.";
    "retention.ms": Long = Is("604800000"), AtLeast(-1), Medium, ClusterWide, Acted, "Age at which segments are deleted, -1 for never.";
    "segment.bytes": Int = Is("1073741824"), AtLeast(1048576), Medium, ClusterWide, Acted, "Size at which a partition starts a new segment.";
    "segment.index.bytes": Int = Is("10485760"), AtLeast(4), Medium, ClusterWide, Acted, "Largest offset index of a segment.";
    "segment.jitter.ms": Long = Is("0"), AtLeast(0), Medium, ClusterWide, Acted, "Most that is randomly taken off the age of a segment.";
    "segment.ms": Long = Is("604800000"), AtLeast(1), Medium, ClusterWide, Acted, "Age at which a partition starts a new segment.";
    "unclean.leader.election.enable": Boolean = Is("false"), Any, Medium, ClusterWide, Acted, "Whether a replica that may lack records may lead when nobody else can.";
    "klamm.durability": String = Is("synced"), OneOf(&["synced", "page-cache"]), Medium, ClusterWide, Acted, "What acks=all promises: that the records are on the disks of the in-sync replicas, or in their memory as in Kafka.";
}

/// The broker key that gives each topic key its default (Kafka: `ServerTopicConfigSynonyms`).
pub(crate) static BROKER_SYNONYMS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"),
    ("compression.type", "compression.type"),
    ("compression.zstd.level", "compression.zstd.level"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
    ("klamm.durability", "klamm.log.durability"),
];
