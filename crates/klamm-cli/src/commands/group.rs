//! `klamm group`: who reads in groups, how far they are, and where they go on.

mod describe;
mod reset;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use klamm_client::{Client, GroupFilter};
use klamm_model::TopicPartition;
use klamm_stdx::Str;
use serde::Serialize;

use super::{Failure, Outcome};
use crate::output::{Done, Output, Printed, write_table};
use crate::scope::{self, Scope};
use crate::session::Bootstrap;

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the groups with their states and types.
    #[command(after_help = "Examples:\n  klamm group list\n  klamm group list -o json\n  \
        klamm group list --state Empty --type classic")]
    List(List),
    /// Show a group's state, members, offsets and lag.
    #[command(long_about = describe::LAG_IS)]
    #[command(after_help = "Examples:\n  klamm group describe readers\n  \
        klamm group describe readers -o json")]
    Describe(describe::Describe),
    /// Show a group's members and their partitions.
    #[command(after_help = "Examples:\n  klamm group members readers")]
    Members(describe::Describe),
    /// Show a group's offsets and lag alone.
    #[command(long_about = describe::LAG_IS)]
    #[command(after_help = "Examples:\n  klamm group offsets readers -o json | \
        jq 'map(.lag) | add'")]
    Offsets(describe::Describe),
    /// Set where a group without members goes on reading; shows it unless --execute is given.
    ///
    /// Say in which partitions (--topic, --all-topics, or those of --from-file) and to where. An
    /// offset outside of a partition is moved to its start or end. A group that does not exist is
    /// made.
    #[command(
        after_help = "Examples:\n  klamm group reset readers --topic orders --to-earliest\n  \
        klamm group reset readers --topic orders:0,1 --shift-by -100 --execute\n  \
        klamm group reset readers --all-topics --by-duration 2h --execute\n  \
        klamm group reset readers --all-topics --to-datetime 2024-05-01T12:00:00 --execute\n  \
        klamm group reset readers --all-topics --to-current --export > offsets.csv\n  \
        klamm group reset readers --from-file offsets.csv --execute"
    )]
    Reset(reset::Reset),
    /// Delete groups that have no members with their offsets, or offsets of topics alone.
    #[command(after_help = "Examples:\n  klamm group delete readers writers\n  \
        klamm group delete readers --topic orders --topic users:0,1")]
    Delete(Delete),
}

#[derive(Debug, Args)]
struct List {
    /// Only in this state, such as Empty or Stable; may be given several times.
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Only of this type: classic or consumer; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
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
    /// Keep the groups, and delete their offsets in this topic, as TOPIC or TOPIC:0,1; may be
    /// given several times. No member may subscribe to the topic.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<Scope>,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::List(a) => a.bootstrap.clone().run(|client| list(client, a)),
        Command::Describe(a) => a.bootstrap.clone().run(|client| describe::all(client, a)),
        Command::Members(a) => a.bootstrap.clone().run(|client| describe::members(client, a)),
        Command::Offsets(a) => a.bootstrap.clone().run(|client| describe::offsets(client, a)),
        Command::Reset(a) => a.bootstrap.clone().run(|client| reset::reset(client, a)),
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
    let own = |names: &[String]| names.iter().map(|name| Str::from(name.as_str())).collect();
    let filter = GroupFilter { states: own(&arguments.states), types: own(&arguments.types) };
    let groups = client.list_groups_of(&filter).await?;
    let listed = groups.iter().map(|group| Listed {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        r#type: group.group_type.to_string(),
        protocol: group.protocol_type.to_string(),
    });
    arguments.output.print(&Listing(listed.collect()))
}

async fn delete(client: Client, arguments: Delete) -> Outcome {
    let names = arguments.names.join(", ");
    if arguments.topics.is_empty() {
        for name in &arguments.names {
            client.delete_group(&Str::from(name.as_str())).await?;
        }
        return arguments.output.print(&Done { done: format!("deleted {names}") });
    }
    let partitions = scope::partitions(&client, &arguments.topics).await?;
    for name in &arguments.names {
        delete_offsets(&client, name, &partitions).await?;
    }
    let partitions = crate::output::joined(&partitions);
    let done = format!("deleted the offsets of {names} in {partitions}");
    arguments.output.print(&Done { done })
}

async fn delete_offsets(
    client: &Client,
    name: &str,
    partitions: &[TopicPartition],
) -> Result<(), Failure> {
    let codes = client.delete_group_offsets(&Str::from(name), partitions).await?;
    match codes.iter().find(|(_, code)| !code.is_none()) {
        None => Ok(()),
        Some((partition, code)) => {
            let text = format!("the offset of group '{name}' in {partition} is kept ({code})");
            Err(text.into())
        }
    }
}
