//! What is measured, how, and what the goals are.

/// The topic that consumers read.
pub(super) const KEPT_TOPIC: &str = "kept";

/// How long a server lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// For all windows, warmed before the first.
    Steady,
    /// For one window.
    Fresh,
    /// Its start is what is measured.
    Start,
    /// Its start after a kill with so many bytes of log.
    Restart(u64),
    /// Its life with many partitions, up to a restart.
    Partitions,
}

/// What Klamm is to reach.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    /// At most this.
    Value(f64),
    /// Kafka's divided by ours is at least this.
    Ratio(f64),
}

/// When a workload runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// With all others, too.
    Always,
    /// Only if it is named: it takes long, or much room.
    ByName,
}

/// One figure of a window.
pub(super) struct Metric {
    /// Its key in what the load prints.
    pub(super) key: &'static str,
    /// What it is, with its unit.
    pub(super) label: &'static str,
    /// What Klamm is to reach, where there is a goal. Less is better for all.
    pub(super) goal: Option<Goal>,
}

/// One workload.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) chosen: Chosen,
    pub(super) life: Life,
    /// What `klamm-load` does once, before the warm-up.
    pub(super) setup: &'static [&'static str],
    /// What `klamm-load` does to warm the server, where it is not the load itself.
    pub(super) warm: &'static [&'static str],
    /// Requests that a warm-up has at least: where requests are the load, a JVM still compiles
    /// after the time alone.
    pub(super) warm_requests: u64,
    /// What `klamm-load` does in each window.
    pub(super) load: &'static [&'static str],
    /// Length of a window.
    pub(super) seconds: u32,
    pub(super) metrics: &'static [Metric],
}

const fn goal(key: &'static str, label: &'static str, goal: f64) -> Metric {
    Metric { key, label, goal: Some(Goal::Value(goal)) }
}

const fn ratio(key: &'static str, label: &'static str, goal: f64) -> Metric {
    Metric { key, label, goal: Some(Goal::Ratio(goal)) }
}

const fn figure(key: &'static str, label: &'static str) -> Metric {
    Metric { key, label, goal: None }
}

const fn steady(
    name: &'static str,
    load: &'static [&'static str],
    metrics: &'static [Metric],
) -> Workload {
    Workload {
        name,
        chosen: Chosen::Always,
        life: Life::Steady,
        setup: &[],
        warm: &[],
        warm_requests: 0,
        load,
        seconds: 8,
        metrics,
    }
}

const fn fresh(
    name: &'static str,
    load: &'static [&'static str],
    metrics: &'static [Metric],
) -> Workload {
    Workload {
        name,
        chosen: Chosen::Always,
        life: Life::Fresh,
        setup: &[],
        warm: &[],
        warm_requests: 0,
        load,
        seconds: 20,
        metrics,
    }
}

/// Requests after which a JVM's figures for single requests stop falling.
const WARM_REQUESTS: u64 = 200_000;

/// What a server of single requests is warmed with: many of them.
const MANY_REQUESTS: &[&str] = &["unbatched", "--connections", "16"];

/// One record a request, one request in flight on each connection.
const fn requests(
    name: &'static str,
    load: &'static [&'static str],
    metrics: &'static [Metric],
) -> Workload {
    Workload { warm: MANY_REQUESTS, warm_requests: WARM_REQUESTS, ..steady(name, load, metrics) }
}

/// All workloads, the short ones first.
pub(super) static WORKLOADS: [Workload; 21] = [
    Workload {
        life: Life::Start,
        ..fresh(
            "start",
            &[],
            &[
                goal("start_ms", "exec to first ack, ms", 12.0),
                goal("resident_mib", "memory 3 s later, MiB", 12.0),
            ],
        )
    },
    fresh("idle", &["idle"], &[goal("cpu_percent", "CPU, %", 0.03)]),
    fresh(
        "conns",
        &["connections", "--count", "5000"],
        &[goal("kib_per_connection", "memory a connection, KiB", 6.0)],
    ),
    requests(
        "unbatched-16",
        &["unbatched", "--connections", "16"],
        &[
            goal("cpu_us_per_request", "CPU a request, us", 7.5),
            figure("p50_ms", "p50, ms"),
            figure("p99_ms", "p99, ms"),
        ],
    ),
    requests(
        "unbatched-1",
        &["unbatched", "--connections", "1"],
        &[
            figure("cpu_us_per_request", "CPU a request, us"),
            figure("p50_ms", "p50, ms"),
            figure("p99_ms", "p99, ms"),
        ],
    ),
    steady(
        "produce-1k",
        &["produce", "--value-bytes", "1024"],
        &[goal("cpu_s_per_gb", "CPU a GB, s", 0.50)],
    ),
    steady(
        "produce-100b",
        &["produce", "--value-bytes", "100"],
        &[goal("cpu_s_per_gb", "CPU a GB, s", 0.65)],
    ),
    steady(
        "produce-16k",
        &["produce", "--value-bytes", "1024", "--batch-bytes", "16384"],
        &[
            goal("cpu_s_per_gb", "CPU a GB, s", 0.9),
            figure("cpu_us_per_request", "CPU a request, us"),
        ],
    ),
    Workload {
        setup: &["produce", "--value-bytes", "1024", "--after", "keep"],
        ..steady("consume", &["consume"], &[goal("cpu_s_per_gb", "CPU a GB, s", 0.08)])
    },
    Workload {
        seconds: 20,
        ..requests(
            "latency-2500",
            &["latency", "--rate", "2500"],
            &[
                goal("p50_ms", "p50, ms", 0.07),
                goal("p99_ms", "p99, ms", 0.25),
                goal("p999_ms", "p99.9, ms", 2.0),
            ],
        )
    },
    Workload {
        warm_requests: 20_000,
        ..steady(
            "transactions-16",
            &["transactions", "--producers", "16"],
            &[
                ratio("cpu_us_per_request", "CPU a commit, us", 4.0),
                ratio("ms_per_commit", "time a commit of all, ms", 4.0),
                figure("p50_ms", "p50, ms"),
                figure("p99_ms", "p99, ms"),
            ],
        )
    },
    steady(
        "offset-commits-16",
        &["commits", "--groups", "16", "--partitions", "10"],
        &[
            ratio("cpu_us_per_request", "CPU a commit of 10 offsets, us", 4.0),
            figure("p50_ms", "p50, ms"),
            figure("p99_ms", "p99, ms"),
        ],
    ),
    group(
        "group-200-classic",
        &["group", "--members", "200", "--protocol", "classic"],
        &[
            goal("cpu_s", "CPU to form, s", 0.15),
            figure("stable_ms", "time to form, ms"),
            goal("leave_cpu_s", "CPU when one leaves, s", 0.1),
            figure("leave_stable_ms", "time when one leaves, ms"),
        ],
    ),
    group(
        "group-200-consumer",
        &["group", "--members", "200", "--protocol", "consumer"],
        &[
            goal("cpu_s", "CPU to form, s", 0.3),
            ratio("stable_ms", "time to form, ms", 2.0),
            goal("leave_cpu_s", "CPU when one leaves, s", 0.1),
            figure("leave_stable_ms", "time when one leaves, ms"),
        ],
    ),
    group(
        "group-1000-classic",
        &["group", "--members", "1000", "--protocol", "classic"],
        &LARGE_GROUP_METRICS,
    ),
    group(
        "group-1000-consumer",
        &["group", "--members", "1000", "--protocol", "consumer"],
        &LARGE_GROUP_METRICS,
    ),
    restart("restart-1gb", 1_000_000_000),
    restart("restart-10gb", 10_000_000_000),
    Workload {
        chosen: Chosen::ByName,
        life: Life::Partitions,
        ..fresh(
            "partitions-10000",
            &["partitions", "--topics", "1000", "--partitions", "10"],
            &[
                goal("create_ms", "creation, ms", 1_300.0),
                ratio("cpu_percent", "idle CPU, %", 25.0),
                ratio("resident_mib", "memory, MiB", 14.0),
                ratio("open_files", "open files", 20.0),
                figure("stop_ms", "clean stop, ms"),
                goal("restart_ms", "restart to first ack, ms", 500.0),
                figure("restart_cpu_s", "CPU of the restart, s"),
            ],
        )
    },
    Workload {
        chosen: Chosen::ByName,
        warm: &["compaction", "--bytes", "300000000"],
        ..steady(
            "compaction",
            &["compaction", "--bytes", "1000000000"],
            &[ratio("cpu_s_per_gb", "CPU a GB cleaned, s", 4.0), figure("seconds", "time, s")],
        )
    },
    Workload {
        chosen: Chosen::ByName,
        setup: &["produce", "--bytes", "2000000000", "--seconds", "60", "--after", "keep"],
        seconds: 10,
        ..requests(
            "cold-reads",
            &["cold-reads", "--cold-topic", KEPT_TOPIC],
            &[
                figure("alone_p999_ms", "p99.9 alone, ms"),
                figure("beside_p999_ms", "p99.9 beside cold reads, ms"),
                ratio("moved_ms", "moved by, ms", 3.0),
                figure("pacer_late_p999_ms", "of it the load's own lateness, ms"),
            ],
        )
    },
];

/// A group that forms, and that one of its members leaves.
const fn group(
    name: &'static str,
    load: &'static [&'static str],
    metrics: &'static [Metric],
) -> Workload {
    Workload { chosen: Chosen::ByName, ..fresh(name, load, metrics) }
}

/// The ratios are those of a group of 200.
static LARGE_GROUP_METRICS: [Metric; 4] = [
    ratio("cpu_s", "CPU to form, s", 10.0),
    figure("stable_ms", "time to form, ms"),
    ratio("leave_cpu_s", "CPU when one leaves, s", 10.0),
    figure("leave_stable_ms", "time when one leaves, ms"),
];

/// A start after a kill, to an acknowledged record in each of the log's six partitions.
const fn restart(name: &'static str, bytes: u64) -> Workload {
    Workload {
        chosen: Chosen::ByName,
        life: Life::Restart(bytes),
        ..fresh(name, &[], &RESTART_METRICS)
    }
}

static RESTART_METRICS: [Metric; 3] = [
    goal("restart_ms", "exec to acks of all partitions, ms", 200.0),
    figure("restart_cpu_s", "CPU until then, s"),
    figure("read_mb", "read until 3 s later, MB"),
];
