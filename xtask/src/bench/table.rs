//! Windows as rows of a Markdown table: median and range of each side, and of the ratio pair by
//! pair.

use std::fmt;

use serde_json::Value;

use super::workload::{Goal, Metric, Workload};

/// The head of the table.
pub(super) fn head() -> &'static str {
    "| workload | figure | Klamm | Kafka | Kafka / Klamm | goal |\n\
     | --- | --- | ---: | ---: | ---: | ---: |\n"
}

/// One row.
pub(super) struct Row {
    name: &'static str,
    label: &'static str,
    klamm: Option<Range>,
    kafka: Option<Range>,
    ratio: Option<Range>,
    goal: Option<Goal>,
}

/// Median, smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    median: f64,
    min: f64,
    max: f64,
}

impl Range {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[half],
            _ => f64::midpoint(values[half - 1], values[half]),
        };
        Some(Self { median, min, max })
    }
}

/// The rows of a workload. The n-th windows of both sides are a pair.
pub(super) fn rows(workload: &Workload, klamm: &[Value], kafka: &[Value]) -> Vec<Row> {
    let row = |metric: &Metric| {
        let values = |windows: &[Value]| -> Vec<f64> {
            windows.iter().map(|w| w[metric.key].as_f64().unwrap_or(f64::NAN)).collect()
        };
        let (ours, theirs) = (values(klamm), values(kafka));
        let ratio = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
        Row {
            name: workload.name,
            label: metric.label,
            klamm: Range::of(ours),
            kafka: Range::of(theirs),
            ratio: Range::of(ratio),
            goal: metric.goal,
        }
    };
    workload.metrics.iter().map(row).collect()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |range: Option<Range>| match range {
            None => "-".to_owned(),
            Some(r) if r.min == r.max => number(r.median),
            Some(r) => format!("{} ({} - {})", number(r.median), number(r.min), number(r.max)),
        };
        let goal = match (self.goal, self.klamm, self.ratio) {
            (None, ..) => String::new(),
            (Some(Goal::Value(goal)), Some(klamm), _) if klamm.median <= goal => {
                format!("{} reached", number(goal))
            }
            (Some(Goal::Value(goal)), ..) => number(goal),
            (Some(Goal::Ratio(goal)), _, Some(ratio)) if ratio.median >= goal => {
                format!("{} times reached", number(goal))
            }
            (Some(Goal::Ratio(goal)), ..) => format!("{} times", number(goal)),
        };
        let (klamm, kafka, ratio) = (cell(self.klamm), cell(self.kafka), cell(self.ratio));
        write!(f, "| {} | {} | {klamm} | {kafka} | {ratio} | {goal} |", self.name, self.label)
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        n if n >= 100.0 => format!("{value:.0}"),
        n if n >= 10.0 => format!("{value:.1}"),
        n if n >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::WORKLOADS;
    use serde_json::json;

    #[test]
    fn the_ratio_is_that_of_each_pair() {
        let windows = |values: [f64; 3]| values.map(|v| json!({"cpu_percent": v}));
        let idle = WORKLOADS.iter().find(|w| w.name == "idle").unwrap();
        let rows = rows(idle, &windows([0.02, 0.01, 0.04]), &windows([2.0, 2.0, 2.0]));
        assert_eq!(
            rows[0].to_string(),
            "| idle | CPU, % | 0.020 (0.010 - 0.040) | 2.00 | 100 (50.0 - 200) | 0.030 reached |"
        );
    }

    #[test]
    fn a_side_that_did_not_run_has_no_figures() {
        let idle = WORKLOADS.iter().find(|w| w.name == "idle").unwrap();
        let rows = rows(idle, &[json!({"cpu_percent": 1.0})], &[]);
        assert_eq!(rows[0].to_string(), "| idle | CPU, % | 1.00 | - | - | 0.030 |");
    }

    #[test]
    fn a_goal_may_be_a_ratio() {
        let many = WORKLOADS.iter().find(|w| w.name == "partitions-10000").unwrap();
        let window = |mib: f64| [json!({"resident_mib": mib})];
        let of = |theirs: f64| rows(many, &window(60.0), &window(theirs))[2].to_string();
        let row = "| partitions-10000 | memory, MiB | 60.0 |";
        assert_eq!(of(900.0), format!("{row} 900 | 15.0 | 14.0 times reached |"));
        assert_eq!(of(600.0), format!("{row} 600 | 10.0 | 14.0 times |"));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(
            Range::of(vec![4.0, 1.0, 2.0, 3.0]),
            Some(Range { median: 2.5, min: 1.0, max: 4.0 })
        );
        assert_eq!(Range::of(vec![f64::NAN]), None);
    }
}
