//! `klamm transaction list`, `describe` and `producers`: nothing is changed.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use klamm_client::{ActiveProducer, Client, TransactionDescription, TransactionFilter};
use klamm_model::{ProducerId, Timestamp, TopicPartition};
use klamm_stdx::Str;
use serde::Serialize;

use super::super::Outcome;
use crate::output::{Output, Printed, joined, optional, write_table};
use crate::scope::Scope;
use crate::session::Bootstrap;
use crate::when::{parse_duration, utc};

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only in this state, such as Ongoing or PrepareCommit; may be given several times.
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Only of this producer; may be given several times.
    #[arg(long = "producer-id", value_name = "N")]
    producer_ids: Vec<i64>,
    /// Only those that have been open for longer, such as 90s, 10m or PT10M.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    longer_than: Option<Duration>,
    /// Only ids that this regular expression matches as a whole.
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Describe {
    /// The transactional id.
    name: String,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Producers {
    /// Which partitions, as TOPIC or TOPIC:0,1.
    #[arg(required = true, value_name = "TOPIC[:PARTITIONS]")]
    partitions: Vec<Scope>,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Listed {
    transactional_id: String,
    producer_id: i64,
    state: String,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listing(Vec<Listed>);

impl Printed for Listing {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |t: &Listed| {
            vec![t.transactional_id.clone(), t.producer_id.to_string(), t.state.clone()]
        };
        write_table(out, &["transactional id", "producer id", "state"], self.0.iter().map(row))
    }
}

pub(super) async fn list(client: Client, arguments: List) -> Outcome {
    let filter = TransactionFilter {
        states: arguments.states.iter().map(|state| Str::from(state.as_str())).collect(),
        producer_ids: arguments.producer_ids.iter().copied().map(ProducerId).collect(),
        longer_than: arguments.longer_than,
        pattern: arguments.pattern.map(Str::from),
    };
    let listed = client.list_transactions(&filter).await?.into_iter().map(|line| Listed {
        transactional_id: line.transactional_id.to_string(),
        producer_id: line.producer_id.0,
        state: line.state.to_string(),
    });
    arguments.output.print(&Listing(listed.collect()))
}

#[derive(Debug, Serialize)]
struct Described {
    transactional_id: String,
    state: String,
    coordinator: i32,
    producer_id: i64,
    producer_epoch: i16,
    timeout_ms: i32,
    started_at: Option<String>,
    open_for_ms: Option<i64>,
    partitions: Vec<String>,
}

impl Described {
    fn of(found: &TransactionDescription, now: Timestamp) -> Self {
        let is_open = found.state == "Ongoing" || found.state.starts_with("Prepare");
        let started_at = found.started_at.filter(|_| is_open);
        Self {
            transactional_id: found.transactional_id.to_string(),
            state: found.state.to_string(),
            coordinator: found.coordinator_id,
            producer_id: found.producer_id.0,
            producer_epoch: found.producer_epoch.0,
            timeout_ms: found.timeout_ms,
            started_at: started_at.map(utc),
            open_for_ms: started_at.map(|at| now.0.saturating_sub(at.0)),
            partitions: found.partitions.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Printed for Described {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let open_for = self.open_for_ms.map(|ms| format!("{:.1} s", ms as f64 / 1000.0));
        let rows = [
            ("transactional id", self.transactional_id.clone()),
            ("state", self.state.clone()),
            ("coordinator", self.coordinator.to_string()),
            ("producer", format!("{} epoch {}", self.producer_id, self.producer_epoch)),
            ("timeout", format!("{:.1} s", f64::from(self.timeout_ms) / 1000.0)),
            ("open since", optional(self.started_at.as_ref())),
            ("open for", optional(open_for)),
            ("partitions", optional(Some(joined(&self.partitions)).filter(|all| !all.is_empty()))),
        ];
        rows.iter().try_for_each(|(name, value)| writeln!(out, "{name:<17} {value}"))
    }
}

pub(super) async fn describe(client: Client, arguments: Describe) -> Outcome {
    let found = client.describe_transaction(&Str::from(arguments.name)).await?;
    let now = client.env().clock.wall();
    arguments.output.print(&Described::of(&found, now))
}

/// A producer in a partition.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: Option<i32>,
    last_sequence: i32,
    last_record_at: String,
    transaction_start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transactional_id: Option<String>,
}

impl Line {
    pub(super) fn of(partition: &TopicPartition, producer: &ActiveProducer) -> Self {
        Self {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
            coordinator_epoch: producer.coordinator_epoch,
            last_sequence: producer.last_sequence,
            last_record_at: utc(producer.last_timestamp),
            transaction_start: producer.transaction_start.map(|offset| offset.0),
            transactional_id: None,
        }
    }

    pub(super) fn with_id(self, transactional_id: Option<&Str>) -> Self {
        Self { transactional_id: transactional_id.map(ToString::to_string), ..self }
    }
}

/// Producers in partitions.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Lines(pub(super) Vec<Line>);

impl Printed for Lines {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |line: &Line| {
            vec![
                line.topic.clone(),
                line.partition.to_string(),
                line.producer_id.to_string(),
                line.producer_epoch.to_string(),
                optional(line.transaction_start),
                line.last_record_at.clone(),
                optional(line.coordinator_epoch),
                line.last_sequence.to_string(),
                optional(line.transactional_id.as_ref()),
            ]
        };
        let headers = [
            "topic",
            "partition",
            "producer id",
            "epoch",
            "transaction start",
            "last record",
            "coordinator epoch",
            "last sequence",
            "transactional id",
        ];
        write_table(out, &headers, self.0.iter().map(row))
    }
}

pub(super) async fn producers(client: Client, arguments: Producers) -> Outcome {
    let partitions = super::partitions(&client, &arguments.partitions).await?;
    let producers = client.describe_producers(&partitions).await?;
    let lines = producers
        .iter()
        .flat_map(|(partition, producers)| producers.iter().map(|p| Line::of(partition, p)));
    arguments.output.print(&Lines(lines.collect()))
}
