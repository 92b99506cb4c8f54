//! Broker keys: tiered storage, which is not built.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static REMOTE;
    "remote.fetch.max.wait.ms": Int = Is("500"), AtLeast(1), Medium, ClusterWide, Accepted, "How long a fetch waits for tiered data.";
    "remote.list.offsets.request.timeout.ms": Long = Is("30000"), AtLeast(1), Medium, ClusterWide, Accepted, "How long a lookup of offsets in tiered data may take.";
    "remote.log.index.file.cache.total.size.bytes": Long = Is("1073741824"), AtLeast(1), Low, ClusterWide, Accepted, "Disk space for indexes of tiered segments.";
    "remote.log.index.file.cache.ttl.ms": Long = Is("900000"), AtLeast(-1), Low, ReadOnly, Accepted, "How long an unused index of a tiered segment is kept; -1 means forever.";
    "remote.log.manager.copier.thread.pool.size": Int = Is("10"), AtLeast(1), Medium, ClusterWide, Accepted, "Threads that copy segments to the remote store.";
    "remote.log.manager.copy.max.bytes.per.second": Long = Is("9223372036854775807"), AtLeast(1), Medium, ClusterWide, Accepted, "Most bytes per second that are copied to the remote store.";
    "remote.log.manager.copy.quota.window.num": Int = Is("11"), AtLeast(1), Medium, ReadOnly, Accepted, "Samples kept for the copy quota.";
    "remote.log.manager.copy.quota.window.size.seconds": Int = Is("1"), AtLeast(1), Medium, ReadOnly, Accepted, "Length of one sample of the copy quota.";
    "remote.log.manager.expiration.thread.pool.size": Int = Is("10"), AtLeast(1), Medium, ClusterWide, Accepted, "Threads that delete expired remote segments.";
    "remote.log.manager.fetch.max.bytes.per.second": Long = Is("9223372036854775807"), AtLeast(1), Medium, ClusterWide, Accepted, "Most bytes per second that are read from the remote store.";
    "remote.log.manager.fetch.quota.window.num": Int = Is("11"), AtLeast(1), Medium, ReadOnly, Accepted, "Samples kept for the fetch quota.";
    "remote.log.manager.fetch.quota.window.size.seconds": Int = Is("1"), AtLeast(1), Medium, ReadOnly, Accepted, "Length of one sample of the fetch quota.";
    "remote.log.manager.follower.thread.pool.size": Int = Is("2"), AtLeast(1), Medium, ClusterWide, Accepted, "Threads that follow tiered partitions.";
    "remote.log.manager.task.interval.ms": Long = Is("30000"), AtLeast(1), Low, ReadOnly, Accepted, "How often tiered partitions are looked at.";
    "remote.log.manager.task.retry.backoff.max.ms": Long = Is("30000"), AtLeast(1), Low, ReadOnly, Accepted, "Longest wait after a failed tiering task.";
    "remote.log.manager.task.retry.backoff.ms": Long = Is("500"), AtLeast(1), Low, ReadOnly, Accepted, "First wait after a failed tiering task.";
    "remote.log.manager.task.retry.jitter": Double = Is("0.2"), BetweenF(0.0, 0.5), Low, ReadOnly, Accepted, "Random part of the wait after a failed tiering task.";
    "remote.log.manager.thread.pool.size": Int = Is("2"), AtLeast(1), Medium, ReadOnly, Accepted, "Threads for tiering.";
    "remote.log.metadata.custom.metadata.max.bytes": Int = Is("128"), AtLeast(0), Low, ReadOnly, Accepted, "Most bytes that a remote store may keep with a segment.";
    "remote.log.metadata.manager.class.name": String = Is("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmptyString, Medium, ReadOnly, Accepted, "Java class that keeps the metadata of remote segments; never loaded.";
    "remote.log.metadata.manager.class.path": String = Null, Any, Medium, ReadOnly, Accepted, "Where that class is.";
    "remote.log.metadata.manager.impl.prefix": String = Is("rlmm.config."), NonEmptyString, Medium, ReadOnly, Accepted, "Prefix of the settings of that class.";
    "remote.log.metadata.manager.listener.name": String = Null, NonEmptyString, Medium, ReadOnly, Accepted, "Listener that class connects to.";
    "remote.log.reader.max.pending.tasks": Int = Is("100"), AtLeast(1), Medium, ReadOnly, Accepted, "Reads of tiered data that may wait.";
    "remote.log.reader.threads": Int = Is("10"), AtLeast(1), Medium, ClusterWide, Accepted, "Threads that read tiered data.";
    "remote.log.storage.manager.class.name": String = Null, NonEmptyString, Medium, ReadOnly, Accepted, "Java class of the remote store; never loaded.";
    "remote.log.storage.manager.class.path": String = Null, Any, Medium, ReadOnly, Accepted, "Where that class is.";
    "remote.log.storage.manager.impl.prefix": String = Is("rsm.config."), NonEmptyString, Medium, ReadOnly, Accepted, "Prefix of the settings of that class.";
    "remote.log.storage.system.enable": Boolean = Is("false"), Any, Medium, ReadOnly, Accepted, "Whether topics may be tiered.";
}
