//! Client metrics keys: what one subscription asks clients for (KIP-714).

use crate::key::declare_configs;

declare_configs! {
    pub(crate) static CLIENT_METRICS;
    "interval.ms": Int = Is("300000"), Between(100, 3600000), Medium, ClusterWide, Accepted, "How often clients push their metrics.";
    "match": List = Is(""), Any, Medium, ClusterWide, Accepted, "Which clients are asked, as name=pattern pairs.";
    "metrics": List = Is(""), Any, Medium, ClusterWide, Accepted, "Prefixes of the metrics that clients push.";
}
