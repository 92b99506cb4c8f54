//! What is declared about a metric, and the reference of all.

use std::fmt::Write;

use crate::catalogue::METRICS;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often values fell below each of these bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name: Kafka's MBean as the JMX exporter writes it, or one that starts with `klamm_`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts.
    pub unit: &'static str,
    /// The label that splits it, if one does.
    pub label: Option<&'static str>,
    /// One line that says what it means.
    pub help: &'static str,
}

macro_rules! declare_metrics {
    ($($constant:ident: $kind:expr, $name:literal, $unit:literal $(by $label:literal)?, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: $crate::Metric = $crate::Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                label: declare_metrics!(@label $($label)?),
                help: $help,
            };
        )*

        /// Every metric.
        pub static METRICS: &[&$crate::Metric] = &[$(&$constant),*];
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
}
pub(crate) use declare_metrics;

/// The reference of all metrics as Markdown.
#[must_use]
pub fn render_reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed as Prometheus text at `GET /metrics`.\n\n\
         | Name | Kind | Unit | Label | Meaning |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let label = metric.label.unwrap_or_default();
        writeln!(
            page,
            "| {} | {kind} | {} | {label} | {} |",
            metric.name, metric.unit, metric.help
        )
        .expect("writing to a String cannot fail");
    }
    page
}
