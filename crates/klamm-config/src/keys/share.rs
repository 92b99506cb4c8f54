//! Broker keys: Share groups and streams groups.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static SHARE;
    "group.share.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Accepted, "Shortest time between two assignments of a share group.";
    "group.share.min.assignment.interval.ms": Int = Is("0"), AtLeast(0), Medium, ReadOnly, Accepted, "Least that a share group may set for its assignment interval.";
    "group.share.max.assignment.interval.ms": Int = Is("15000"), AtLeast(0), Medium, ReadOnly, Accepted, "Most that a share group may set for its assignment interval.";
    "group.share.assignors": List = Is("simple"), Any, Medium, ReadOnly, Accepted, "Assignors for share groups.";
    "group.share.delivery.count.limit": Int = Is("5"), Between(2, 10), Medium, ReadOnly, Accepted, "How often a record is delivered before it is given up.";
    "group.share.min.delivery.count.limit": Int = Is("2"), Between(2, 5), Medium, ReadOnly, Accepted, "Least that a share group may set for its delivery count.";
    "group.share.max.delivery.count.limit": Int = Is("10"), Between(5, 25), Medium, ReadOnly, Accepted, "Most that a share group may set for its delivery count.";
    "group.share.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Accepted, "How often members of a share group report.";
    "group.share.min.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Accepted, "Least that a share group may set for its heartbeat interval.";
    "group.share.max.heartbeat.interval.ms": Int = Is("15000"), AtLeast(1), Medium, ReadOnly, Accepted, "Most that a share group may set for its heartbeat interval.";
    "group.share.initialize.retry.interval.ms": Int = Is("30000"), AtLeast(1), Low, ReadOnly, Accepted, "Wait before a share partition's state is initialised again.";
    "group.share.partition.max.record.locks": Int = Is("2000"), Between(100, 10000), Medium, ReadOnly, Accepted, "Most records of a partition that a share group holds locked.";
    "group.share.min.partition.max.record.locks": Int = Is("100"), Between(100, 2000), Medium, ReadOnly, Accepted, "Least that a share group may set for its record locks.";
    "group.share.max.partition.max.record.locks": Int = Is("4000"), Between(2000, 10000), Medium, ReadOnly, Accepted, "Most that a share group may set for its record locks.";
    "group.share.record.lock.duration.ms": Int = Is("30000"), Between(1000, 3600000), Medium, ReadOnly, Accepted, "How long a share consumer holds a record.";
    "group.share.min.record.lock.duration.ms": Int = Is("15000"), Between(1000, 30000), Medium, ReadOnly, Accepted, "Least that a share group may set for its lock duration.";
    "group.share.max.record.lock.duration.ms": Int = Is("60000"), Between(30000, 3600000), Medium, ReadOnly, Accepted, "Most that a share group may set for its lock duration.";
    "group.share.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Accepted, "A member of a share group that is silent for this long is removed.";
    "group.share.min.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Accepted, "Least that a share group may set for its session timeout.";
    "group.share.max.session.timeout.ms": Int = Is("60000"), AtLeast(1), Medium, ReadOnly, Accepted, "Most that a share group may set for its session timeout.";
    "group.share.max.share.sessions": Int = Is("2000"), AtLeast(1), Medium, ReadOnly, Accepted, "Share sessions that are remembered.";
    "group.share.max.size": Int = Is("200"), Between(1, 1000), Medium, ReadOnly, Accepted, "Most members of a share group.";
    "group.share.persister.class.name": String = Is("org.apache.kafka.server.share.persister.DefaultStatePersister"), Any, Medium, ReadOnly, Accepted, "Java class that keeps the state of share groups; never loaded.";
    "group.streams.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Accepted, "Shortest time between two assignments of a streams group.";
    "group.streams.min.assignment.interval.ms": Int = Is("0"), AtLeast(0), Medium, ReadOnly, Accepted, "Least that a streams group may set for its assignment interval.";
    "group.streams.max.assignment.interval.ms": Int = Is("15000"), AtLeast(0), Medium, ReadOnly, Accepted, "Most that a streams group may set for its assignment interval.";
    "group.streams.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Accepted, "How often members of a streams group report.";
    "group.streams.min.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Accepted, "Least that a streams group may set for its heartbeat interval.";
    "group.streams.max.heartbeat.interval.ms": Int = Is("15000"), AtLeast(1), Medium, ReadOnly, Accepted, "Most that a streams group may set for its heartbeat interval.";
    "group.streams.initial.rebalance.delay.ms": Int = Is("3000"), AtLeast(0), Medium, ReadOnly, Accepted, "How long an empty streams group waits for more members before its first rebalance.";
    "group.streams.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Accepted, "A member of a streams group that is silent for this long is removed.";
    "group.streams.min.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Accepted, "Least that a streams group may set for its session timeout.";
    "group.streams.max.session.timeout.ms": Int = Is("60000"), AtLeast(1), Medium, ReadOnly, Accepted, "Most that a streams group may set for its session timeout.";
    "group.streams.max.size": Int = Is("2147483647"), AtLeast(1), Medium, ReadOnly, Accepted, "Most members of a streams group.";
    "group.streams.num.standby.replicas": Int = Is("0"), AtLeast(0), Medium, ReadOnly, Accepted, "Standby copies of each task of a streams group.";
    "group.streams.max.standby.replicas": Int = Is("2"), AtLeast(0), Medium, ReadOnly, Accepted, "Most that a streams group may set for its standby copies.";
    "share.coordinator.append.linger.ms": Int = Is("-1"), AtLeast(-1), Medium, ReadOnly, Accepted, "How long the share coordinator gathers records before it writes them; -1 lets it decide.";
    "share.coordinator.cached.buffer.max.bytes": Int = Is("1048588"), AtLeast(524288), Medium, ClusterWide, Accepted, "Largest buffer that the share coordinator keeps for writing.";
    "share.coordinator.cold.partition.snapshot.interval.ms": Int = Is("300000"), AtLeast(1), Low, ReadOnly, Accepted, "How often an idle share partition gets a snapshot.";
    "share.coordinator.load.buffer.size": Int = Is("5242880"), AtLeast(1), High, ReadOnly, Accepted, "Bytes read at once when share state is loaded.";
    "share.coordinator.snapshot.update.records.per.snapshot": Int = Is("500"), Between(0, 500), Medium, ReadOnly, Accepted, "Updates of a share partition between two snapshots.";
    "share.coordinator.state.topic.compression.codec": Int = Is("0"), Any, High, ReadOnly, Accepted, "Codec of the share state topic, as a number.";
    "share.coordinator.state.topic.min.isr": Short = Is("2"), AtLeast(1), High, ReadOnly, Accepted, "Fewest in-sync replicas of the share state topic.";
    "share.coordinator.state.topic.num.partitions": Int = Is("50"), AtLeast(1), High, ReadOnly, Accepted, "Partitions of the share state topic.";
    "share.coordinator.state.topic.prune.interval.ms": Int = Is("300000"), AtLeast(1), Low, ReadOnly, Accepted, "How often superseded records of the share state topic are removed.";
    "share.coordinator.state.topic.replication.factor": Short = Is("3"), AtLeast(1), High, ReadOnly, Accepted, "Replicas of the share state topic.";
    "share.coordinator.state.topic.segment.bytes": Int = Is("104857600"), AtLeast(1), High, ReadOnly, Accepted, "Segment size of the share state topic.";
    "share.coordinator.threads": Int = Is("1"), AtLeast(1), Medium, ReadOnly, Accepted, "Threads of the share coordinator.";
    "share.coordinator.write.timeout.ms": Int = Is("5000"), AtLeast(1), High, ReadOnly, Accepted, "How long a write of the share coordinator may take.";
}
