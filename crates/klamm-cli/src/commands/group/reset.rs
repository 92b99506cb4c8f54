//! `klamm group reset`: where a group goes on reading. Where that is, `plan` decides.

mod file;
mod plan;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use klamm_client::{Client, OffsetSpec};
use klamm_model::{ErrorCode, IsolationLevel, Offset, Timestamp, TopicPartition};
use klamm_stdx::Str;
use serde::Serialize;

use super::super::{Failure, Outcome};
use crate::output::{Output, Printed, optional, write_table};
use crate::scope::{self, Scope};
use crate::session::Bootstrap;
use crate::when::{parse_datetime, parse_duration};
use plan::{Known, Target};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true)
    .args(["topics", "all_topics", "from_file"]))]
#[command(group = clap::ArgGroup::new("target").required(true)
    .args(["to_earliest", "to_latest", "to_current", "to_offset", "shift_by", "by_duration",
        "to_datetime", "from_file"]))]
pub(super) struct Reset {
    /// The group.
    name: String,
    /// In this topic, as TOPIC or TOPIC:0,1; may be given several times.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITIONS]", group = "where")]
    topics: Vec<Scope>,
    /// In every topic that the group has committed an offset of.
    #[arg(long)]
    all_topics: bool,
    /// To the first record that is kept.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To where it is, and to the end where nothing is committed.
    #[arg(long)]
    to_current: bool,
    /// To this offset.
    #[arg(long, value_name = "N")]
    to_offset: Option<i64>,
    /// So many records on, or back if it is negative.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record that is younger than this, such as 90m, 1d or PT2H.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    by_duration: Option<Duration>,
    /// To the first record since this time, such as 2024-05-01T12:30:00; UTC without a zone.
    #[arg(long, value_name = "TIME", value_parser = parse_datetime)]
    to_datetime: Option<Timestamp>,
    /// To the offsets of a file: lines of topic,partition,offset, as --export writes them.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Do it; without this it is only shown.
    #[arg(long)]
    execute: bool,
    /// Print lines for --from-file instead of a table.
    #[arg(long)]
    export: bool,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

impl Reset {
    /// Where to; `None` leaves it to the file.
    fn target(&self, now: Timestamp) -> Option<Target> {
        let by_duration = |age: Duration| {
            let ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Target::Time(Timestamp(now.0.saturating_sub(ms).max(0)))
        };
        let flags = [
            (self.to_earliest, Target::Earliest),
            (self.to_latest, Target::Latest),
            (self.to_current, Target::Current),
        ];
        let flagged = flags.into_iter().find(|(is_given, _)| *is_given).map(|(_, target)| target);
        flagged
            .or(self.to_offset.map(Target::Offset))
            .or(self.shift_by.map(Target::ShiftBy))
            .or(self.by_duration.map(by_duration))
            .or(self.to_datetime.map(Target::Time))
    }
}

#[derive(Debug, Serialize)]
struct Line {
    topic: String,
    partition: i32,
    current_offset: Option<i64>,
    new_offset: i64,
}

#[derive(Debug, Serialize)]
struct Report {
    group: String,
    executed: bool,
    partitions: Vec<Line>,
}

impl Printed for Report {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |line: &Line| {
            vec![
                line.topic.clone(),
                line.partition.to_string(),
                optional(line.current_offset),
                line.new_offset.to_string(),
            ]
        };
        let headers = ["topic", "partition", "current offset", "new offset"];
        write_table(out, &headers, self.partitions.iter().map(row))?;
        match self.executed {
            true => Ok(()),
            false => writeln!(out, "\nnothing was changed: --execute does it"),
        }
    }
}

pub(super) async fn reset(client: Client, arguments: Reset) -> Outcome {
    let group_id = Str::from(arguments.name.as_str());
    check_is_empty(&client, &group_id).await?;
    let committed: BTreeMap<TopicPartition, Offset> = client
        .group_offsets(&group_id)
        .await?
        .into_iter()
        .map(|(partition, offset)| (partition, offset.current))
        .collect();
    let targets = targets(&client, &arguments, &committed).await?;
    let plan = plan(&client, &targets, &committed).await?;
    if arguments.execute {
        client.set_group_offsets(&group_id, &plan).await?;
    }
    let line = |(partition, offset): &(TopicPartition, Offset)| Line {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        current_offset: committed.get(partition).map(|offset| offset.0),
        new_offset: offset.0,
    };
    let partitions: Vec<Line> = plan.iter().map(line).collect();
    if arguments.export {
        let mut out = io::stdout().lock();
        for line in &partitions {
            writeln!(out, "{},{},{}", line.topic, line.partition, line.new_offset)?;
        }
        return Ok(());
    }
    let report = Report { group: arguments.name, executed: arguments.execute, partitions };
    arguments.output.print(&report)
}

/// Offsets of a group with members are the members' own.
async fn check_is_empty(client: &Client, group_id: &Str) -> Result<(), Failure> {
    match client.describe_group(group_id).await {
        Ok(group) if group.state == "Empty" => Ok(()),
        Ok(group) => {
            let text = format!("group '{group_id}' is {}; stop its members first", group.state);
            Err(text.into())
        }
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is asked for in each partition.
async fn targets(
    client: &Client,
    arguments: &Reset,
    committed: &BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, Target>, Failure> {
    if let Some(path) = &arguments.from_file {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let offsets = file::parse(&text, &arguments.name).map_err(|error| told(&error))?;
        return Ok(offsets.into_iter().map(|(p, n)| (p, Target::Offset(n))).collect());
    }
    let target = arguments.target(client.env().clock.wall());
    let target = target.ok_or_else(|| Failure::from("say where to, such as --to-earliest"))?;
    let mut scopes = arguments.topics.clone();
    if arguments.all_topics {
        let mut names: Vec<Str> = committed.keys().map(|p| p.topic.clone()).collect();
        names.dedup();
        scopes = names.into_iter().map(|topic| Scope { topic, partitions: None }).collect();
    }
    if scopes.is_empty() {
        return Err("the group has committed nothing: name topics with --topic".into());
    }
    let partitions = scope::partitions(client, &scopes).await?;
    Ok(partitions.into_iter().map(|partition| (partition, target)).collect())
}

/// Where each partition goes on.
async fn plan(
    client: &Client,
    targets: &BTreeMap<TopicPartition, Target>,
    committed: &BTreeMap<TopicPartition, Offset>,
) -> Result<Vec<(TopicPartition, Offset)>, Failure> {
    let partitions: Vec<TopicPartition> = targets.keys().cloned().collect();
    let find = |spec| client.list_offsets(&partitions, spec, IsolationLevel::ReadUncommitted);
    let starts = find(OffsetSpec::Earliest).await?;
    let ends = find(OffsetSpec::Latest).await?;
    let time = targets.values().find_map(|target| match target {
        Target::Time(at) => Some(*at),
        _ => None,
    });
    let at_times = match time {
        Some(at) => find(OffsetSpec::At(at)).await?,
        None => BTreeMap::new(),
    };
    let mut plan = Vec::with_capacity(targets.len());
    for (partition, target) in targets {
        let of = |offsets: &BTreeMap<TopicPartition, Option<Offset>>| {
            offsets.get(partition).copied().flatten()
        };
        let known = Known {
            current: committed.get(partition).copied(),
            start: of(&starts).unwrap_or(Offset::ZERO),
            end: of(&ends).unwrap_or(Offset::ZERO),
            at_time: of(&at_times),
        };
        let offset = plan::new_offset(*target, known);
        plan.push((partition.clone(), offset.map_err(|why| format!("{partition}: {why}"))?));
    }
    Ok(plan)
}
