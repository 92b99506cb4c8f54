//! `klamm group describe`, `members` and `offsets`: nothing is changed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use klamm_client::{Client, GroupDescription, GroupOffset};
use klamm_model::TopicPartition;
use klamm_stdx::Str;
use serde::Serialize;

use super::super::Outcome;
use crate::output::{Output, Printed, optional, write_table};
use crate::session::Bootstrap;

/// How lag is measured, for `--help`.
pub(super) const LAG_IS: &str = "Show how far a group is, and how far behind.

LAG is the number of offsets between the group's committed offset and the end of the partition. \
LAG S is the same in seconds: the timestamp of the last record of the partition less the timestamp \
of the first record that the group has not committed, both as the records say (their producers' \
time, or the brokers' with message.timestamp.type=LogAppendTime). It is 0 where nothing is behind. \
It costs two fetches of one batch for each partition that is behind, for the first thousand such \
partitions; further ones have none.";

#[derive(Debug, Args)]
pub(super) struct Describe {
    /// The group.
    name: String,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Described {
    group: String,
    state: String,
    assignor: String,
    members: Members,
    partitions: Partitions,
}

#[derive(Debug, Serialize)]
struct Member {
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    partitions: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Members(Vec<Member>);

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    current_offset: Option<i64>,
    log_end_offset: Option<i64>,
    lag: Option<i64>,
    lag_seconds: Option<f64>,
    member: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Partitions(Vec<Partition>);

impl Printed for Partitions {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |p: &Partition| {
            vec![
                p.topic.clone(),
                p.partition.to_string(),
                optional(p.current_offset),
                optional(p.log_end_offset),
                optional(p.lag),
                optional(p.lag_seconds.map(|seconds| format!("{seconds:.1}"))),
                optional(p.member.as_ref()),
            ]
        };
        let headers = ["topic", "partition", "current offset", "log end", "lag", "lag s", "member"];
        write_table(out, &headers, self.0.iter().map(row))
    }
}

impl Printed for Members {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |m: &Member| {
            let partitions = m.partitions.join(" ");
            vec![m.member.clone(), m.client.clone(), m.host.clone(), partitions]
        };
        write_table(out, &["member", "client", "host", "partitions"], self.0.iter().map(row))
    }
}

impl Printed for Described {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let assignor = if self.assignor.is_empty() { "none" } else { &self.assignor };
        writeln!(out, "group {}  state {}  assignor {assignor}", self.group, self.state)?;
        if !self.partitions.0.is_empty() {
            writeln!(out)?;
            self.partitions.table(out)?;
        }
        if !self.members.0.is_empty() {
            writeln!(out)?;
            self.members.table(out)?;
        }
        Ok(())
    }
}

/// What is known of a group.
struct Known {
    description: GroupDescription,
    offsets: BTreeMap<TopicPartition, GroupOffset>,
    lags: BTreeMap<TopicPartition, Duration>,
}

async fn look(client: &Client, name: String) -> klamm_client::Result<Known> {
    let group_id = Str::from(name);
    let description = client.describe_group(&group_id).await?;
    let offsets = client.group_offsets(&group_id).await?;
    let lags = client.time_lags(&offsets).await?;
    Ok(Known { description, offsets, lags })
}

pub(super) async fn all(client: Client, arguments: Describe) -> Outcome {
    let known = look(&client, arguments.name).await?;
    arguments.output.print(&Described {
        group: known.description.group_id.to_string(),
        state: known.description.state.to_string(),
        assignor: known.description.assignor.to_string(),
        members: members_of(&known.description),
        partitions: partitions_of(&known),
    })
}

pub(super) async fn offsets(client: Client, arguments: Describe) -> Outcome {
    let known = look(&client, arguments.name).await?;
    arguments.output.print(&partitions_of(&known))
}

pub(super) async fn members(client: Client, arguments: Describe) -> Outcome {
    let description = client.describe_group(&Str::from(arguments.name)).await?;
    arguments.output.print(&members_of(&description))
}

fn members_of(description: &GroupDescription) -> Members {
    let member = |member: &klamm_client::GroupMember| Member {
        member: member.member_id.to_string(),
        instance: member.instance_id.as_deref().map(str::to_owned),
        client: member.client_id.to_string(),
        host: member.host.to_string(),
        partitions: member.partitions.iter().map(ToString::to_string).collect(),
    };
    Members(description.members.iter().map(member).collect())
}

fn partitions_of(known: &Known) -> Partitions {
    let mut owners: BTreeMap<&TopicPartition, Option<&Str>> =
        known.offsets.keys().map(|partition| (partition, None)).collect();
    for member in &known.description.members {
        for partition in &member.partitions {
            owners.insert(partition, Some(&member.member_id));
        }
    }
    let partition = |(partition, owner): (&TopicPartition, Option<&Str>)| {
        let offset = known.offsets.get(partition);
        let lag = offset.and_then(GroupOffset::lag);
        let measured = known.lags.get(partition).map(Duration::as_secs_f64);
        Partition {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            current_offset: offset.map(|offset| offset.current.0),
            log_end_offset: offset.and_then(|offset| offset.end).map(|end| end.0),
            lag,
            lag_seconds: measured.or(lag.filter(|lag| *lag <= 0).map(|_| 0.0)),
            member: owner.map(ToString::to_string),
        }
    };
    Partitions(owners.into_iter().map(partition).collect())
}
