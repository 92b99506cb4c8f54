//! Broker keys: Klamm's own keys.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static KLAMM;
    "klamm.log.durability": String = Is("synced"), OneOf(&["synced", "page-cache"]), High, ClusterWide, Acted, "What acks=all promises: that the records are on the disks of the in-sync replicas, or in their memory as in Kafka.";
    "klamm.transactional.ids.max": Int = Is("100000"), AtLeast(1), Medium, ReadOnly, Acted, "Transactional ids that a partition of the transaction topic remembers; a new one takes the place of the one idle for longest. Kafka sets no bound.";
    "klamm.groups.max": Int = Is("20000"), AtLeast(1), Medium, ReadOnly, Acted, "Groups that a partition of the offsets topic remembers; for a new one those without members go that nobody has used for longest, with their offsets. If all have members it is refused with COORDINATOR_NOT_AVAILABLE. Kafka sets no bound.";
    "klamm.group.members.max": Int = Is("50000"), AtLeast(1), Medium, ReadOnly, Acted, "Members of all groups of a partition of the offsets topic, member ids that were given out included; a new one is refused with GROUP_MAX_SIZE_REACHED. Kafka bounds single groups only.";
    "klamm.group.offsets.max": Int = Is("200000"), AtLeast(1), Medium, ReadOnly, Acted, "Committed offsets, one for each group and partition, that a partition of the offsets topic remembers; for more the groups without members go that nobody has used for longest, and then new ones are refused with INVALID_COMMIT_OFFSET_SIZE. Those that are there can be renewed. Kafka sets no bound.";
    "klamm.storage.min.free.bytes": Long = Is("-1"), AtLeast(-1), Medium, ReadOnly, Acted, "Bytes that are kept free on the disk of each log directory: with less, producers are refused with KAFKA_STORAGE_ERROR until there is a quarter more, while fetch, deletion, group commits and administration go on. -1: a hundredth of the file system, at most 1 GiB. 0: producers are refused only by a full disk.";
    "klamm.log.scrub.interval.ms": Long = Is("604800000"), AtLeast(-1), Low, ReadOnly, Acted, "How often the checksums of sealed segments are looked at; the first time an hour after the start, or earlier if this is shorter. What is damaged is told in the log with file, byte and cure, and counted in the metrics; nothing is taken offline for it, and readers of what is damaged get an error as before. 0 or -1: never.";
    "klamm.log.scrub.bytes.per.second": Long = Is("8388608"), AtLeast(1), Low, ReadOnly, Acted, "The most that the look at sealed segments reads in a second.";
    "klamm.allow.insecure.listeners": Boolean = Is("false"), Any, High, ReadOnly, Acted, "Whether a listener without protection may be reachable from other machines.";
    "klamm.metrics.listeners": String = Is("http://127.0.0.1:9644"), Any, Medium, ReadOnly, Acted, "Where GET /metrics is answered; empty means nowhere. A port in use stops the start only if this key was set.";
    "klamm.connection.requests.max": Int = Is("16"), Between(1, 1000), Medium, ReadOnly, Acted, "Requests of one connection that are read before the first is answered.";
    "klamm.shutdown.timeout.ms": Long = Is("30000"), AtLeast(0), Medium, ReadOnly, Acted, "How long a stopping node waits for requests in progress.";
}
