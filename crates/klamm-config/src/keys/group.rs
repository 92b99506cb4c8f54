//! Group keys: what one group sets for itself.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static GROUP;
    "consumer.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Acted, "Shortest time between two assignments of a consumer group.";
    "consumer.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ClusterWide, Acted, "How often members of a consumer group report.";
    "consumer.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ClusterWide, Acted, "A member of a consumer group that is silent for this long is removed.";
    "share.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Accepted, "Shortest time between two assignments of a share group.";
    "share.auto.offset.reset": String = Is("latest"), OffsetReset, Medium, ClusterWide, Accepted, "Where a share group starts to read.";
    "share.delivery.count.limit": Int = Is("5"), AtLeast(2), Medium, ClusterWide, Accepted, "How often a record is delivered before it is given up.";
    "share.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ClusterWide, Accepted, "How often members of a share group report.";
    "share.isolation.level": String = Is("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Medium, ClusterWide, Accepted, "Whether a share group sees open transactions.";
    "share.partition.max.record.locks": Int = Is("2000"), AtLeast(100), Medium, ClusterWide, Accepted, "Most records of a partition that a share group holds locked.";
    "share.record.lock.duration.ms": Int = Is("30000"), AtLeast(1000), Medium, ClusterWide, Accepted, "How long a share consumer holds a record.";
    "share.renew.acknowledge.enable": Boolean = Is("true"), Any, Medium, ClusterWide, Accepted, "Whether members may prolong a lock.";
    "share.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ClusterWide, Accepted, "A member of a share group that is silent for this long is removed.";
    "streams.assignment.interval.ms": Int = Is("1000"), AtLeast(0), Medium, ClusterWide, Accepted, "Shortest time between two assignments of a streams group.";
    "streams.heartbeat.interval.ms": Int = Is("5000"), AtLeast(1), Medium, ClusterWide, Accepted, "How often members of a streams group report.";
    "streams.initial.rebalance.delay.ms": Int = Is("3000"), AtLeast(0), Medium, ClusterWide, Accepted, "How long an empty streams group waits for more members before its first rebalance.";
    "streams.num.standby.replicas": Int = Is("0"), AtLeast(0), Medium, ClusterWide, Accepted, "Standby copies of each task of a streams group.";
    "streams.session.timeout.ms": Int = Is("45000"), AtLeast(1), Medium, ClusterWide, Accepted, "A member of a streams group that is silent for this long is removed.";
}
