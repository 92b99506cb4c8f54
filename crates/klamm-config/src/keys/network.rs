//! Broker keys: sockets, requests, connections, quotas and Kafka's metrics settings.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static NETWORK;
    "num.network.threads": Int = Null, AtLeast(1), High, ClusterWide, Acted, "Worker threads; each serves its connections' requests to the end."; was Is("3") => "unset means one worker per processor core";
    "num.io.threads": Int = Is("8"), AtLeast(1), High, ClusterWide, Accepted, "Request handler threads; requests run on the worker of their connection instead.";
    "queued.max.requests": Int = Is("500"), AtLeast(1), High, ReadOnly, Accepted, "Requests that may wait between network and handler threads; there is no such queue.";
    "queued.max.request.bytes": Long = Is("-1"), Any, Medium, ReadOnly, Acted, "Most bytes of requests that are held in memory at once; -1 lets the broker decide.";
    "socket.send.buffer.bytes": Int = Is("-1"), Any, High, ReadOnly, Acted, "Send buffer of a connection in the kernel; -1 leaves it to the system."; was Is("102400") => "a system that fits the buffer to the connection sends a fetch with a third of the CPU";
    "socket.receive.buffer.bytes": Int = Is("-1"), Any, High, ReadOnly, Acted, "Receive buffer of a connection in the kernel; -1 leaves it to the system."; was Is("102400") => "a system that fits the buffer to the connection receives large batches with fewer wake-ups";
    "socket.request.max.bytes": Int = Is("104857600"), AtLeast(1), High, ReadOnly, Acted, "Largest request that is accepted.";
    "socket.listen.backlog.size": Int = Is("50"), AtLeast(1), Medium, ReadOnly, Acted, "Connections that may wait to be accepted.";
    "socket.connection.setup.timeout.ms": Long = Is("10000"), Any, Medium, ReadOnly, Accepted, "How long the first try to connect to another node may take.";
    "socket.connection.setup.timeout.max.ms": Long = Is("30000"), Any, Medium, ReadOnly, Accepted, "How long a later try to connect to another node may take.";
    "connections.max.idle.ms": Long = Is("600000"), Any, Medium, ReadOnly, Acted, "A connection without traffic for this long is closed.";
    "connection.failed.authentication.delay.ms": Int = Is("100"), AtLeast(0), Low, ReadOnly, Accepted, "How long the answer to a failed authentication is held back.";
    "connections.max.reauth.ms": Long = Is("0"), Any, Medium, ReadOnly, Accepted, "How long an authentication lasts before it must be renewed; 0 means forever.";
    "max.connections": Int = Is("2147483647"), AtLeast(0), Medium, ClusterWide, Acted, "Most connections at one time.";
    "max.connections.per.ip": Int = Is("2147483647"), AtLeast(0), Medium, ClusterWide, Acted, "Most connections at one time from one address.";
    "max.connections.per.ip.overrides": String = Is(""), Any, Medium, ClusterWide, Acted, "Other limits for single addresses, as host:limit.";
    "max.connection.creation.rate": Int = Is("2147483647"), AtLeast(0), Medium, ClusterWide, Accepted, "Most new connections per second.";
    "max.incremental.fetch.session.cache.slots": Int = Is("1000"), AtLeast(0), Medium, ReadOnly, Acted, "Fetch sessions that are remembered.";
    "max.request.partition.size.limit": Int = Is("2000"), AtLeast(1), Medium, ReadOnly, Acted, "Most partitions in one answer of DescribeTopicPartitions.";
    "fetch.max.bytes": Int = Is("57671680"), AtLeast(1024), Medium, ReadOnly, Acted, "Most bytes in one fetch answer.";
    "request.timeout.ms": Int = Is("30000"), Any, High, ReadOnly, Accepted, "How long a request that the broker sends may take.";
    "quota.window.num": Int = Is("11"), AtLeast(1), Low, ReadOnly, Accepted, "Samples kept for client quotas.";
    "quota.window.size.seconds": Int = Is("1"), AtLeast(1), Low, ReadOnly, Accepted, "Length of one sample of client quotas.";
    "client.quota.callback.class": Class = Null, Any, Low, ReadOnly, Accepted, "Java class that decides client quotas; never loaded.";
    "telemetry.max.bytes": Int = Is("1048576"), AtLeast(1), Low, ReadOnly, Accepted, "Largest push of client telemetry.";
    "kafka.metrics.polling.interval.secs": Int = Is("10"), AtLeast(1), Low, ReadOnly, Accepted, "How often Kafka's metric reporters are asked.";
    "kafka.metrics.reporters": List = Is(""), Any, Low, ReadOnly, Accepted, "Java classes that report Kafka's metrics; never loaded.";
    "metric.reporters": List = Is("org.apache.kafka.common.metrics.JmxReporter"), Any, Low, ClusterWide, Accepted, "Java classes that report metrics; never loaded.";
    "metrics.num.samples": Int = Is("2"), AtLeast(1), Low, ReadOnly, Accepted, "Samples kept for a rate.";
    "metrics.recording.level": String = Is("INFO"), Any, Low, ReadOnly, Accepted, "How detailed Kafka's metrics are.";
    "metrics.sample.window.ms": Long = Is("30000"), AtLeast(1), Low, ReadOnly, Accepted, "Length of one sample of a rate.";
    "fetch.purgatory.purge.interval.requests": Int = Is("1000"), Any, Medium, ReadOnly, Accepted, "After how many requests finished waiting fetches are cleaned up.";
    "producer.purgatory.purge.interval.requests": Int = Is("1000"), Any, Medium, ReadOnly, Accepted, "After how many requests finished waiting produces are cleaned up.";
    "delete.records.purgatory.purge.interval.requests": Int = Is("1"), Any, Medium, ReadOnly, Accepted, "After how many requests finished waiting deletions are cleaned up.";
    "share.fetch.purgatory.purge.interval.requests": Int = Is("1000"), Any, Medium, ReadOnly, Accepted, "After how many requests finished waiting share fetches are cleaned up.";
}
