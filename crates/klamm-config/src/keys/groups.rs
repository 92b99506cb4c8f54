//! Broker keys: groups of consumers and their offsets.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static GROUPS;
    "group.min.session.timeout.ms": Int = Is("6000"), Any, Medium, ReadOnly, Acted, "Shortest session timeout that a classic member may ask for.";
    "group.max.session.timeout.ms": Int = Is("1800000"), Any, Medium, ReadOnly, Acted, "Longest session timeout that a classic member may ask for.";
    "group.initial.rebalance.delay.ms": Int = Is("3000"), Any, Medium, ReadOnly, Acted, "How long an empty classic group waits for more members before its first rebalance.";
    "group.max.size": Int = Is("2147483647"), AtLeast(1), Medium, ReadOnly, Acted, "Most members of a classic group.";
    "group.coordinator.append.linger.ms": Int = Is("-1"), AtLeast(-1), Medium, ReadOnly, Acted, "How long the group coordinator gathers records before it writes them; -1 lets it decide.";
    "group.coordinator.background.threads": Int = Is("2"), AtLeast(1), High, ReadOnly, Accepted, "Threads for the group coordinator's background work.";
    "group.coordinator.cached.buffer.max.bytes": Int = Is("1048588"), AtLeast(524288), Medium, ClusterWide, Accepted, "Largest buffer that the group coordinator keeps for writing.";
    "group.coordinator.rebalance.protocols": List = Is("classic,consumer,streams"), ListOf(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly, Acted, "Group protocols that are served.";
    "group.coordinator.threads": Int = Is("4"), AtLeast(1), High, ReadOnly, Accepted, "Threads of the group coordinator.";
    "group.consumer.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Acted, "Shortest time between two assignments of a consumer group.";
    "group.consumer.min.assignment.interval.ms": Int = Is("0"), AtLeast(0), Medium, ReadOnly, Acted, "Least that a group may set for its assignment interval.";
    "group.consumer.max.assignment.interval.ms": Int = Is("15000"), AtLeast(0), Medium, ReadOnly, Acted, "Most that a group may set for its assignment interval.";
    "group.consumer.assignors": List = Is("uniform,range"), Any, Medium, ReadOnly, Acted, "Assignors of the broker; the first is the default.";
    "group.consumer.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Acted, "How often members of a consumer group report.";
    "group.consumer.min.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ReadOnly, Acted, "Least that a group may set for its heartbeat interval.";
    "group.consumer.max.heartbeat.interval.ms": Int = Is("15000"), AtLeast(1), Medium, ReadOnly, Acted, "Most that a group may set for its heartbeat interval.";
    "group.consumer.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Acted, "A member of a consumer group that is silent for this long is removed.";
    "group.consumer.min.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ReadOnly, Acted, "Least that a group may set for its session timeout.";
    "group.consumer.max.session.timeout.ms": Int = Is("60000"), AtLeast(1), Medium, ReadOnly, Acted, "Most that a group may set for its session timeout.";
    "group.consumer.max.size": Int = Is("2147483647"), AtLeast(1), Medium, ReadOnly, Acted, "Most members of a consumer group.";
    "group.consumer.migration.policy": String = Is("bidirectional"), OneOfIgnoreCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, Acted, "Between which protocols a group may move while it runs.";
    "group.consumer.regex.refresh.interval.ms": Int = Is("600000"), AtLeast(10000), Medium, ReadOnly, Accepted, "How often subscriptions by pattern are matched again.";
    "offset.metadata.max.bytes": Int = Is("4096"), Any, High, ReadOnly, Acted, "Longest text that a client may keep with an offset.";
    "offsets.commit.timeout.ms": Int = Is("5000"), AtLeast(1), High, ReadOnly, Acted, "How long a commit may wait for its replicas.";
    "offsets.load.buffer.size": Int = Is("5242880"), AtLeast(1), High, ReadOnly, Acted, "Bytes read at once when offsets are loaded.";
    "offsets.retention.check.interval.ms": Long = Is("600000"), AtLeast(1), High, ReadOnly, Acted, "How often expired offsets are looked for.";
    "offsets.retention.minutes": Int = Is("10080"), AtLeast(1), High, ReadOnly, Acted, "How long the offsets of an empty group are kept.";
    "offsets.topic.compression.codec": Int = Is("0"), Any, High, ReadOnly, Acted, "Codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    "offsets.topic.num.partitions": Int = Is("50"), AtLeast(1), High, ReadOnly, Acted, "Partitions of the offsets topic.";
    "offsets.topic.replication.factor": Short = Is("3"), AtLeast(1), High, ReadOnly, Acted, "Replicas of the offsets topic; with fewer live brokers, as many as there are.";
    "offsets.topic.segment.bytes": Int = Is("104857600"), AtLeast(1), High, ReadOnly, Acted, "Segment size of the offsets topic.";
}
