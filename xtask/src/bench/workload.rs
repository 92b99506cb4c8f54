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
}

/// One figure of a window.
pub(super) struct Metric {
    /// Its key in what the load prints.
    pub(super) key: &'static str,
    /// What it is, with its unit.
    pub(super) label: &'static str,
    /// What Klamm is to reach, where there is a goal. Less is better for all.
    pub(super) goal: Option<f64>,
}

/// One workload.
pub(super) struct Workload {
    pub(super) name: &'static str,
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
    Metric { key, label, goal: Some(goal) }
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
pub(super) static WORKLOADS: [Workload; 10] = [
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
];
