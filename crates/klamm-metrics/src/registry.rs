//! A node's metrics, and their text for Prometheus.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalogue::METRICS;
use crate::{Counter, Histogram, Kind, Metric};

/// Most series of one metric: a label has few values by design, and a mistake must not fill the
/// memory of whoever scrapes.
const SERIES_MAX: usize = 1_000;

type GaugeFunction = Box<dyn Fn() -> f64 + Send + Sync>;

enum Source {
    Counter(Arc<Counter>),
    Histogram(Arc<Histogram>),
    Gauge(GaugeFunction),
}

struct Series {
    metric: &'static Metric,
    label_value: String,
    source: Source,
}

/// The metrics of one node.
#[derive(Default)]
pub struct Registry {
    series: Mutex<Vec<Series>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// The counter of a metric without a label.
    #[must_use]
    pub fn counter(&self, metric: &'static Metric) -> Arc<Counter> {
        self.counter_of(metric, "")
    }

    /// The counter of a metric for one value of its label. Asking again gives the same one.
    #[must_use]
    pub fn counter_of(&self, metric: &'static Metric, label_value: &str) -> Arc<Counter> {
        assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
        let counter = Arc::new(Counter::default());
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for known in series.iter().filter(|s| is_same(s, metric, label_value)) {
            if let Source::Counter(known) = &known.source {
                return Arc::clone(known);
            }
        }
        push(&mut series, metric, label_value, Source::Counter(Arc::clone(&counter)));
        counter
    }

    /// The histogram of a metric for one value of its label (empty without one). Asking again
    /// gives the same one.
    #[must_use]
    pub fn histogram(&self, metric: &'static Metric, label_value: &str) -> Arc<Histogram> {
        let Kind::Histogram(bounds) = metric.kind else {
            unreachable!("{} is declared as no histogram", metric.name)
        };
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for known in series.iter().filter(|s| is_same(s, metric, label_value)) {
            if let Source::Histogram(known) = &known.source {
                return Arc::clone(known);
            }
        }
        let histogram = Arc::new(Histogram::new(bounds));
        push(&mut series, metric, label_value, Source::Histogram(Arc::clone(&histogram)));
        histogram
    }

    /// Says where the value of a gauge comes from. It is asked at every scrape, from the thread
    /// that scrapes, so it must not wait. A later function for the same series replaces it.
    pub fn gauge<F>(&self, metric: &'static Metric, label_value: &str, value: F)
    where
        F: Fn() -> f64 + Send + Sync + 'static,
    {
        assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
        self.put_function(metric, label_value, Box::new(value));
    }

    /// Says where the value of a counter comes from that somebody else counts. It must never go
    /// down; else as [`Registry::gauge`].
    pub fn counted_elsewhere<F>(&self, metric: &'static Metric, label_value: &str, value: F)
    where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
        self.put_function(metric, label_value, Box::new(move || value() as f64));
    }

    fn put_function(&self, metric: &'static Metric, label_value: &str, value: GaugeFunction) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|s| !is_same(s, metric, label_value));
        push(&mut series, metric, label_value, Source::Gauge(value));
    }

    /// Metrics that are declared and that nothing feeds; a node's test wants none.
    #[must_use]
    pub fn unfed(&self) -> Vec<&'static str> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fed = |name: &str| series.iter().any(|s| s.metric.name == name);
        METRICS.iter().map(|metric| metric.name).filter(|name| !is_fed(name)).collect()
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(series.len() * 100);
        for metric in METRICS {
            let mut own = series.iter().filter(|s| s.metric.name == metric.name).peekable();
            if own.peek().is_none() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let (name, help) = (metric.name, metric.help);
            let mut write = || -> fmt::Result {
                write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")?;
                own.try_for_each(|one| write_series(&mut text, one))
            };
            write().expect("writing to a String cannot fail");
        }
        text
    }
}

fn is_same(series: &Series, metric: &Metric, label_value: &str) -> bool {
    series.metric.name == metric.name && series.label_value == label_value
}

fn push(series: &mut Vec<Series>, metric: &'static Metric, label_value: &str, source: Source) {
    let has_label = metric.label.is_some();
    assert_eq!(has_label, !label_value.is_empty(), "{}: label and value go together", metric.name);
    let count = series.iter().filter(|s| s.metric.name == metric.name).count();
    // What is beyond the bound still counts, only nobody sees it.
    if count < SERIES_MAX {
        series.push(Series { metric, label_value: label_value.to_owned(), source });
    }
}

fn write_series(text: &mut String, series: &Series) -> fmt::Result {
    let name = series.metric.name;
    let label = series.metric.label.map(|label| {
        let value = series.label_value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{label}=\"{}\"", value.replace('\n', "\\n"))
    });
    let braced = label.as_ref().map(|label| format!("{{{label}}}")).unwrap_or_default();
    match &series.source {
        Source::Counter(counter) => writeln!(text, "{name}{braced} {}", counter.value()),
        Source::Gauge(value) => writeln!(text, "{name}{braced} {}", value()),
        Source::Histogram(histogram) => {
            let before = label.as_ref().map(|label| format!("{label},")).unwrap_or_default();
            let mut total = 0;
            for (bound, count) in histogram.cumulative() {
                let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
                writeln!(text, "{name}_bucket{{{before}le=\"{bound}\"}} {count}")?;
                total = count;
            }
            writeln!(text, "{name}_sum{braced} {}", histogram.sum())?;
            writeln!(text, "{name}_count{braced} {total}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        registry.counter(&catalogue::MESSAGES_IN).add(7);
        registry.counter_of(&catalogue::REQUESTS, "Pro\"duce").add(2);
        registry.gauge(&catalogue::PARTITION_COUNT, "", || 3.0);
        registry.histogram(&catalogue::REQUEST_SECONDS, "Fetch").record(0.002);
        let text = registry.render();
        for line in [
            "# TYPE kafka_server_brokertopicmetrics_messagesin_total counter",
            "kafka_server_brokertopicmetrics_messagesin_total 7",
            "kafka_network_requestmetrics_requests_total{request=\"Pro\\\"duce\"} 2",
            "kafka_server_replicamanager_partitioncount 3",
            "klamm_request_duration_seconds_bucket{request=\"Fetch\",le=\"0.001\"} 0",
            "klamm_request_duration_seconds_bucket{request=\"Fetch\",le=\"+Inf\"} 1",
            "klamm_request_duration_seconds_sum{request=\"Fetch\"} 0.002",
            "klamm_request_duration_seconds_count{request=\"Fetch\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_same_series_is_one_counter_and_a_new_gauge_replaces_the_old() {
        let registry = Registry::default();
        registry.counter(&catalogue::BYTES_IN).add(1);
        registry.counter(&catalogue::BYTES_IN).add(1);
        assert_eq!(registry.counter(&catalogue::BYTES_IN).value(), 2);
        registry.gauge(&catalogue::LEADER_COUNT, "", || 1.0);
        registry.gauge(&catalogue::LEADER_COUNT, "", || 2.0);
        assert!(registry.render().contains("leadercount 2\n"));
    }

    #[test]
    fn series_are_bounded() {
        let registry = Registry::default();
        for i in 0..SERIES_MAX + 5 {
            registry.counter_of(&catalogue::REQUESTS, &i.to_string()).increment();
        }
        assert_eq!(registry.render().lines().count(), SERIES_MAX + 2);
    }

    #[test]
    fn what_nothing_feeds_is_told() {
        let registry = Registry::default();
        assert_eq!(registry.unfed().len(), METRICS.len());
        registry.counter(&catalogue::BYTES_OUT).increment();
        assert_eq!(registry.unfed().len(), METRICS.len() - 1);
    }

    #[test]
    fn names_are_unique_and_legal_and_helps_are_sentences() {
        let mut seen = Vec::new();
        for metric in METRICS {
            assert!(!seen.contains(&metric.name), "{} is declared twice", metric.name);
            seen.push(metric.name);
            assert!(
                metric
                    .name
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
            );
            assert!(metric.name.starts_with("kafka_") || metric.name.starts_with("klamm_"));
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
            assert_eq!(
                metric.kind == Kind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert!(crate::render_reference().contains(metric.name));
        }
    }
}
