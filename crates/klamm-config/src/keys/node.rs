//! Broker keys: the node, its listeners, its quorum and its metadata log.

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static NODE;
    "node.id": Int = Is("1"), AtLeast(0), High, ReadOnly, Acted, "Number of this node, unique in the cluster."; was Required => "a single node starts without any configuration";
    "broker.id": Int = Is("-1"), Any, High, ReadOnly, Acted, "Old name of node.id; if both are set they must agree.";
    "process.roles": List = Is("broker,controller"), ListOf(&["broker", "controller"]), High, ReadOnly, Acted, "What this process is: broker, controller or both."; was Required => "a single node starts without any configuration";
    "broker.rack": String = Null, Any, Medium, ReadOnly, Acted, "Rack of this node; replicas of a partition are spread over racks.";
    "listeners": List = Is("PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"), Any, High, PerBroker, Acted, "Addresses to listen on, as NAME://host:port; an empty host means every address."; was Is("PLAINTEXT://:9092") => "a node without configuration is reached from its own machine only";
    "advertised.listeners": List = Null, Any, High, ReadOnly, Acted, "Addresses that clients are told to connect to; unset means those of listeners.";
    "listener.security.protocol.map": String = Is("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low, PerBroker, Acted, "The security protocol of each listener name.";
    "inter.broker.listener.name": String = Null, Any, Medium, ReadOnly, Acted, "Listener over which brokers talk to each other.";
    "security.inter.broker.protocol": String = Is("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, Acted, "Protocol between brokers, when no listener is named for it.";
    "controller.listener.names": List = Is("CONTROLLER"), Any, High, ReadOnly, Acted, "Listeners that belong to the controller; the first one is used to reach it."; was Required => "a single node starts without any configuration";
    "early.start.listeners": List = Null, Any, High, ReadOnly, Accepted, "Listeners that open before the authorizer is ready.";
    "controller.quorum.voters": List = Is(""), NonEmptyList, High, ReadOnly, Acted, "The fixed voters of the metadata quorum, as id@host:port.";
    "controller.quorum.bootstrap.servers": List = Is(""), NonEmptyList, High, ReadOnly, Acted, "Where to look for the metadata quorum, as host:port.";
    "controller.quorum.auto.join.enable": Boolean = Is("false"), Any, Low, ReadOnly, Accepted, "Whether a new controller adds itself to the voters.";
    "controller.quorum.append.linger.ms": Int = Is("25"), AtLeast(0), Medium, ReadOnly, Accepted, "How long the quorum's leader gathers records before it writes them.";
    "controller.quorum.election.backoff.max.ms": Int = Is("1000"), AtLeast(0), High, ReadOnly, Accepted, "Longest wait after an election that nobody won.";
    "controller.quorum.election.timeout.ms": Int = Is("1000"), AtLeast(0), High, ReadOnly, Accepted, "How long to wait for a leader before standing for election.";
    "controller.quorum.fetch.max.bytes": Int = Is("1048576"), AtLeast(1), Low, ReadOnly, Accepted, "Most metadata bytes that one fetch brings.";
    "controller.quorum.fetch.snapshot.max.bytes": Int = Is("1048576"), AtLeast(1), Low, ReadOnly, Accepted, "Most snapshot bytes that one fetch brings.";
    "controller.quorum.fetch.timeout.ms": Int = Is("2000"), AtLeast(0), High, ReadOnly, Accepted, "How long a follower of the quorum goes without news before it becomes a candidate.";
    "controller.quorum.request.timeout.ms": Int = Is("2000"), AtLeast(0), Medium, ReadOnly, Accepted, "How long a request between voters may take.";
    "controller.quorum.retry.backoff.ms": Int = Is("20"), AtLeast(0), Low, ReadOnly, Accepted, "Wait before a request between voters is sent again.";
    "controller.performance.always.log.threshold.ms": Long = Is("2000"), AtLeast(0), Medium, ReadOnly, Accepted, "Controller operations slower than this are logged one by one.";
    "controller.performance.sample.period.ms": Long = Is("60000"), AtLeast(100), Medium, ReadOnly, Accepted, "How often the controller logs a summary of its slowest operations.";
    "controller.quota.window.num": Int = Is("11"), AtLeast(1), Low, ReadOnly, Accepted, "Samples kept for the quota on topic changes.";
    "controller.quota.window.size.seconds": Int = Is("1"), AtLeast(1), Low, ReadOnly, Accepted, "Length of one sample of the quota on topic changes.";
    "controller.socket.timeout.ms": Int = Is("30000"), Any, Medium, ReadOnly, Accepted, "How long a request to the controller may take.";
    "initial.broker.registration.timeout.ms": Int = Is("60000"), Any, Medium, ReadOnly, Acted, "How long a starting broker tries to register before it gives up.";
    "broker.heartbeat.interval.ms": Int = Is("2000"), Any, Medium, ReadOnly, Acted, "How often a broker tells the controller that it is alive.";
    "broker.session.timeout.ms": Int = Is("9000"), Any, Medium, ReadOnly, Acted, "After this long without a heartbeat a broker is fenced.";
    "controlled.shutdown.enable": Boolean = Is("true"), Any, Medium, ReadOnly, Accepted, "Whether a stopping broker first hands over its partitions.";
    "server.max.startup.time.ms": Long = Is("9223372036854775807"), AtLeast(0), Medium, ReadOnly, Accepted, "How long a start may take before it is given up.";
    "metadata.log.dir": String = Null, Any, High, ReadOnly, Acted, "Directory of the metadata log; unset means the first of log.dirs.";
    "metadata.log.max.record.bytes.between.snapshots": Long = Is("20971520"), AtLeast(1), High, ReadOnly, Acted, "A snapshot of the metadata is written after this many bytes of records.";
    "metadata.log.max.snapshot.interval.ms": Long = Is("3600000"), AtLeast(0), High, ReadOnly, Acted, "A snapshot of the metadata is written at the latest after this time, if there is anything new.";
    "metadata.log.segment.bytes": Int = Is("1073741824"), AtLeast(8388608), High, ReadOnly, Acted, "Size at which the metadata log starts a new file.";
    "metadata.log.segment.ms": Long = Is("604800000"), Any, High, ReadOnly, Acted, "Age at which the metadata log starts a new file.";
    "metadata.max.idle.interval.ms": Int = Is("500"), AtLeast(0), Low, ReadOnly, Accepted, "How often an idle controller writes a record that says nothing; a quorum of one needs none.";
    "metadata.max.retention.bytes": Long = Is("104857600"), Any, High, ReadOnly, Acted, "Most bytes of metadata log and snapshots that are kept.";
    "metadata.max.retention.ms": Long = Is("604800000"), Any, High, ReadOnly, Acted, "How long metadata log and snapshots are kept.";
    "internal.metadata.delete.delay.millis": Long = Is("60000"), Any, Low, ReadOnly, Accepted, "Wait before a removed file of the metadata log is deleted.";
    "internal.metadata.log.segment.bytes": Int = Null, Any, Low, ReadOnly, Accepted, "Size at which the metadata log starts a new file, below the public minimum; for tests.";
    "internal.metadata.max.batch.size.in.bytes": Int = Is("8388608"), Any, Low, ReadOnly, Accepted, "Largest batch of the metadata log; for tests.";
    "unstable.api.versions.enable": Boolean = Is("false"), Any, High, ReadOnly, Accepted, "Whether API versions that are still in development are served.";
    "unstable.feature.versions.enable": Boolean = Is("false"), Any, High, ReadOnly, Acted, "Whether feature levels that are still in development may be chosen.";
    "background.threads": Int = Is("10"), AtLeast(1), High, ClusterWide, Accepted, "Threads for background work.";
    "config.providers": List = Is(""), Any, Low, ClusterWide, Acted, "Names of sources that values like ${name:path:key} are read from.";
}
