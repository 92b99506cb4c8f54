//! Broker keys: replicas and their fetchers.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static REPLICATION;
    "auto.leader.rebalance.enable": Boolean = Is("true"), Any, High, ReadOnly, Accepted, "Whether leadership goes back to preferred replicas by itself.";
    "leader.imbalance.check.interval.seconds": Long = Is("300"), AtLeast(1), High, ReadOnly, Accepted, "How often the balance of leaders is checked.";
    "num.replica.fetchers": Int = Is("1"), AtLeast(1), High, ClusterWide, Accepted, "Fetchers per source broker.";
    "replica.alter.log.dirs.io.max.bytes.per.second": Long = Is("9223372036854775807"), AtLeast(0), Medium, ClusterWide, Acted, "Most bytes per second that moves between log directories copy; above 1 MB to be held exactly.";
    "replica.fetch.backoff.ms": Int = Is("1000"), AtLeast(0), Medium, ReadOnly, Accepted, "Wait after a failed replica fetch.";
    "replica.fetch.max.bytes": Int = Is("1048576"), AtLeast(0), Medium, ReadOnly, Accepted, "Bytes that a replica fetch tries to take per partition.";
    "replica.fetch.min.bytes": Int = Is("1"), Any, High, ReadOnly, Accepted, "Fewest bytes that a replica fetch waits for.";
    "replica.fetch.response.max.bytes": Int = Is("10485760"), AtLeast(0), Medium, ReadOnly, Accepted, "Most bytes in the answer to a replica fetch.";
    "replica.fetch.wait.max.ms": Int = Is("500"), Any, High, ReadOnly, Accepted, "How long a replica fetch waits at most.";
    "replica.high.watermark.checkpoint.interval.ms": Long = Is("5000"), Any, High, ReadOnly, Accepted, "How often the high watermarks are written to disk; they are written with the recovery points.";
    "replica.lag.time.max.ms": Long = Is("30000"), Any, High, ReadOnly, Acted, "A follower that has not caught up for this long leaves the ISR.";
    "replica.selector.class": String = Null, Any, Medium, ReadOnly, Accepted, "Java class that chooses the replica a consumer reads from; never loaded.";
    "replica.socket.receive.buffer.bytes": Int = Is("65536"), Any, High, ReadOnly, Accepted, "Receive buffer of a replica fetcher's connection.";
    "replica.socket.timeout.ms": Int = Is("30000"), Any, High, ReadOnly, Accepted, "How long a replica fetcher's request may take.";
    "replication.quota.window.num": Int = Is("11"), AtLeast(1), Low, ReadOnly, Accepted, "Samples kept for the replication quota.";
    "replication.quota.window.size.seconds": Int = Is("1"), AtLeast(1), Low, ReadOnly, Accepted, "Length of one sample of the replication quota.";
    "alter.log.dirs.replication.quota.window.num": Int = Is("11"), AtLeast(1), Low, ReadOnly, Accepted, "Samples kept for the quota of moves between log directories.";
    "alter.log.dirs.replication.quota.window.size.seconds": Int = Is("1"), AtLeast(1), Low, ReadOnly, Accepted, "Length of one sample of the quota of moves between log directories.";
    "follower.fetch.last.tiered.offset.enable": Boolean = Is("false"), Any, Medium, ClusterWide, Accepted, "Whether a new follower of a tiered topic starts at its last tiered offset.";
}
