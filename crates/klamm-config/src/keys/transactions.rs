//! Broker keys: Transactions and their coordinator.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static TRANSACTIONS;
    "transaction.max.timeout.ms": Int = Is("900000"), AtLeast(1), High, ReadOnly, Acted, "Longest timeout that a transaction may ask for.";
    "transactional.id.expiration.ms": Int = Is("604800000"), AtLeast(1), High, ReadOnly, Acted, "How long an idle transactional id is remembered.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Int = Is("10000"), AtLeast(1), Low, ReadOnly, Acted, "How often transactions that took too long are looked for.";
    "transaction.remove.expired.transaction.cleanup.interval.ms": Int = Is("3600000"), AtLeast(1), Low, ReadOnly, Acted, "How often expired transactional ids are looked for.";
    "transaction.partition.verification.enable": Boolean = Is("true"), Any, Low, ClusterWide, Acted, "Whether a partition asks the coordinator before it takes the first record of a transaction.";
    "transaction.state.log.load.buffer.size": Int = Is("5242880"), AtLeast(1), High, ReadOnly, Acted, "Bytes read at once when transactions are loaded.";
    "transaction.state.log.min.isr": Int = Is("2"), AtLeast(1), High, ReadOnly, Acted, "Fewest in-sync replicas of the transaction topic.";
    "transaction.state.log.num.partitions": Int = Is("50"), AtLeast(1), High, ReadOnly, Acted, "Partitions of the transaction topic.";
    "transaction.state.log.replication.factor": Short = Is("3"), AtLeast(1), High, ReadOnly, Acted, "Replicas of the transaction topic; with fewer live brokers, as many as there are.";
    "transaction.state.log.segment.bytes": Int = Is("104857600"), AtLeast(1), High, ReadOnly, Acted, "Segment size of the transaction topic.";
    "transaction.two.phase.commit.enable": Boolean = Is("false"), Any, Low, ReadOnly, Accepted, "Whether a transaction may take part in a two-phase commit of others.";
    "add.partitions.to.txn.retry.backoff.ms": Int = Is("20"), AtLeast(1), High, ReadOnly, Accepted, "First wait before a partition is added to a transaction again.";
    "add.partitions.to.txn.retry.backoff.max.ms": Int = Is("100"), AtLeast(0), High, ReadOnly, Acted, "Longest wait for the markers of the last transaction, before a request is told CONCURRENT_TRANSACTIONS.";
}
