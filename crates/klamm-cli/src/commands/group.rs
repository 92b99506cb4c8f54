//! `klamm group`: who reads in groups, and how far they are.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::{Args, Subcommand};
use klamm_client::{Client, GroupDescription, GroupOffset};
use klamm_model::TopicPartition;
use klamm_stdx::Str;
use serde::Serialize;

use super::Outcome;
use crate::output::{Done, Output, Printed, write_table};
use crate::session::Bootstrap;

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the groups.
    #[command(after_help = "Examples:\n  klamm group list\n  klamm group list -o json")]
    List(List),
    /// Show a group's state, members, offsets and lag.
    #[command(after_help = "Examples:\n  klamm group describe readers\n  \
        klamm group describe readers -o json")]
    Describe(Describe),
    /// Delete groups that have no members, with their offsets.
    #[command(after_help = "Examples:\n  klamm group delete readers")]
    Delete(Delete),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Describe {
    /// The group.
    name: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Delete {
    /// Which groups.
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::List(a) => a.bootstrap.clone().run(|client| list(client, a)),
        Command::Describe(a) => a.bootstrap.clone().run(|client| describe(client, a)),
        Command::Delete(a) => a.bootstrap.clone().run(|client| delete(client, a)),
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    group: String,
    state: String,
    r#type: String,
    protocol: String,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listing(Vec<Listed>);

impl Printed for Listing {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |g: &Listed| {
            vec![g.group.clone(), g.state.clone(), g.r#type.clone(), g.protocol.clone()]
        };
        write_table(out, &["group", "state", "type", "protocol"], self.0.iter().map(row))
    }
}

async fn list(client: Client, arguments: List) -> Outcome {
    let groups = client.list_groups().await?;
    let listed = groups.iter().map(|group| Listed {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        r#type: group.group_type.to_string(),
        protocol: group.protocol_type.to_string(),
    });
    arguments.output.print(&Listing(listed.collect()))
}

#[derive(Debug, Serialize)]
struct Described {
    group: String,
    state: String,
    assignor: String,
    members: Vec<Member>,
    partitions: Vec<Partition>,
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
struct Partition {
    topic: String,
    partition: i32,
    current_offset: Option<i64>,
    log_end_offset: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
}

impl Printed for Described {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let assignor = if self.assignor.is_empty() { "none" } else { &self.assignor };
        writeln!(out, "group {}  state {}  assignor {assignor}", self.group, self.state)?;
        let text = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let row = |p: &Partition| {
            vec![
                p.topic.clone(),
                p.partition.to_string(),
                text(p.current_offset),
                text(p.log_end_offset),
                text(p.lag),
                p.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        if !self.partitions.is_empty() {
            writeln!(out)?;
            let headers = ["topic", "partition", "current offset", "log end", "lag", "member"];
            write_table(out, &headers, self.partitions.iter().map(row))?;
        }
        if !self.members.is_empty() {
            writeln!(out)?;
            let row = |m: &Member| {
                let partitions = m.partitions.join(" ");
                vec![m.member.clone(), m.client.clone(), m.host.clone(), partitions]
            };
            let headers = ["member", "client", "host", "partitions"];
            write_table(out, &headers, self.members.iter().map(row))?;
        }
        Ok(())
    }
}

async fn describe(client: Client, arguments: Describe) -> Outcome {
    let group_id = Str::from(arguments.name);
    let description = client.describe_group(&group_id).await?;
    let offsets = client.group_offsets(&group_id).await?;
    arguments.output.print(&described(&description, &offsets))
}

fn described(
    description: &GroupDescription,
    offsets: &BTreeMap<TopicPartition, GroupOffset>,
) -> Described {
    let mut owners: BTreeMap<&TopicPartition, Option<&Str>> =
        offsets.keys().map(|partition| (partition, None)).collect();
    for member in &description.members {
        for partition in &member.partitions {
            owners.insert(partition, Some(&member.member_id));
        }
    }
    let partition = |(partition, owner): (&TopicPartition, Option<&Str>)| {
        let offset = offsets.get(partition);
        Partition {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            current_offset: offset.map(|offset| offset.current.0),
            log_end_offset: offset.and_then(|offset| offset.end).map(|end| end.0),
            lag: offset.and_then(GroupOffset::lag),
            member: owner.map(ToString::to_string),
        }
    };
    let member = |member: &klamm_client::GroupMember| Member {
        member: member.member_id.to_string(),
        instance: member.instance_id.as_deref().map(str::to_owned),
        client: member.client_id.to_string(),
        host: member.host.to_string(),
        partitions: member.partitions.iter().map(ToString::to_string).collect(),
    };
    Described {
        group: description.group_id.to_string(),
        state: description.state.to_string(),
        assignor: description.assignor.to_string(),
        members: description.members.iter().map(member).collect(),
        partitions: owners.into_iter().map(partition).collect(),
    }
}

async fn delete(client: Client, arguments: Delete) -> Outcome {
    for name in &arguments.names {
        client.delete_group(&Str::from(name.as_str())).await?;
    }
    arguments.output.print(&Done { done: format!("deleted {}", arguments.names.join(", ")) })
}
