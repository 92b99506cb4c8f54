//! `klamm topic`: create, list, describe, alter and delete topics.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use klamm_client::{AutoCreate, Client, ConfigOrigin, ConfigResource, NewTopic};
use klamm_model::ErrorCode;
use klamm_protocol::metadata_response::MetadataResponseTopic;
use klamm_stdx::Str;
use serde::Serialize;

use super::Outcome;
use crate::output::{Done, Output, Printed, joined, write_table};
use crate::pairs::{changes, pair};
use crate::session::Bootstrap;

/// Which command, and of which cluster.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a topic.
    #[command(after_help = "Examples:\n  klamm topic create orders -p 12\n  \
        klamm topic create users -p 3 -c cleanup.policy=compact --if-not-exists")]
    Create(Create),
    /// List the topics.
    #[command(after_help = "Examples:\n  klamm topic list\n  klamm topic list --internal -o json")]
    List(List),
    /// Show partitions, leaders, replicas and the topic's own configs.
    #[command(
        after_help = "Examples:\n  klamm topic describe orders\n  klamm topic describe -o json"
    )]
    Describe(Describe),
    /// Add partitions, or change configs.
    #[command(after_help = "Examples:\n  klamm topic alter orders --partitions 24\n  \
        klamm topic alter orders --set retention.ms=3600000 --unset segment.bytes")]
    Alter(Alter),
    /// Delete topics with everything in them.
    #[command(after_help = "Examples:\n  klamm topic delete orders users")]
    Delete(Delete),
}

#[derive(Debug, Args)]
struct Create {
    /// The topic's name: letters, digits, '.', '_' and '-'.
    name: String,
    /// How many partitions; the broker's num.partitions if left out.
    #[arg(long, short)]
    partitions: Option<i32>,
    /// How many replicas of each; the broker's default.replication.factor if left out.
    #[arg(long, short)]
    replication_factor: Option<i16>,
    /// A config of the topic's own; may be given several times.
    #[arg(long = "config", short = 'c', value_name = "NAME=VALUE", value_parser = pair)]
    configs: Vec<(String, String)>,
    /// A topic that is there already is no error.
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct List {
    /// Internal topics too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Describe {
    /// Which topics; all that are not internal if left out.
    names: Vec<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Alter {
    /// The topic.
    name: String,
    /// How many partitions it is to have; more than now.
    #[arg(long, short)]
    partitions: Option<i32>,
    /// Give a config this value; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Give a config its default back; may be given several times.
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Delete {
    /// Which topics.
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Create(a) => a.bootstrap.clone().run(|client| create(client, a)),
        Command::List(a) => a.bootstrap.clone().run(|client| list(client, a)),
        Command::Describe(a) => a.bootstrap.clone().run(|client| describe(client, a)),
        Command::Alter(a) => a.bootstrap.clone().run(|client| alter(client, a)),
        Command::Delete(a) => a.bootstrap.clone().run(|client| delete(client, a)),
    }
}

async fn create(client: Client, arguments: Create) -> Outcome {
    let name = Str::from(arguments.name);
    let topic = NewTopic {
        name: name.clone(),
        partition_count: arguments.partitions,
        replication_factor: arguments.replication_factor,
        configs: arguments.configs.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
    };
    let done = match client.create_topic(&topic).await {
        Ok(created) => format!(
            "created topic {name} with {} partitions and {} replicas",
            created.partition_count, created.replication_factor
        ),
        Err(error)
            if arguments.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) =>
        {
            format!("topic {name} is there already")
        }
        Err(error) => return Err(error.into()),
    };
    arguments.output.print(&Done { done })
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listing(Vec<Listed>);

impl Printed for Listing {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |topic: &Listed| {
            vec![topic.name.clone(), topic.partitions.to_string(), topic.replicas.to_string()]
        };
        write_table(out, &["topic", "partitions", "replicas"], self.0.iter().map(row))
    }
}

async fn list(client: Client, arguments: List) -> Outcome {
    let topics = client.metadata(None, AutoCreate::Never).await?.topics;
    let listed = |topic: &MetadataResponseTopic| Listed {
        name: topic.name.as_deref().unwrap_or_default().to_owned(),
        partitions: topic.partitions.len(),
        replicas: topic.partitions.first().map_or(0, |p| p.replica_nodes.len()),
        internal: topic.is_internal,
    };
    let mut listing: Vec<_> = topics.iter().map(listed).collect();
    listing.retain(|topic| arguments.internal || !topic.internal);
    listing.sort_by(|a, b| a.name.cmp(&b.name));
    arguments.output.print(&Listing(listing))
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    id: String,
    internal: bool,
    partitions: Vec<Partition>,
    configs: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Description(Vec<Described>);

impl Printed for Description {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for (i, topic) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            writeln!(out, "topic {}  id {}", topic.name, topic.id)?;
            for (name, value) in &topic.configs {
                writeln!(out, "  {name}={}", value.as_str().unwrap_or_default())?;
            }
            let row = |p: &Partition| {
                vec![
                    p.partition.to_string(),
                    p.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
                    p.leader_epoch.to_string(),
                    joined(&p.replicas),
                    joined(&p.isr),
                    joined(&p.offline),
                ]
            };
            let headers = ["partition", "leader", "epoch", "replicas", "isr", "offline"];
            write_table(out, &headers, topic.partitions.iter().map(row))?;
        }
        Ok(())
    }
}

async fn describe(client: Client, arguments: Describe) -> Outcome {
    let names: Vec<Str> = arguments.names.iter().map(|name| Str::from(name.as_str())).collect();
    let asked = (!names.is_empty()).then_some(&names[..]);
    let mut description = Vec::new();
    for topic in client.describe_topics(asked).await? {
        if asked.is_none() && topic.is_internal {
            continue;
        }
        let name = topic.name.clone().unwrap_or_default();
        let configs = client.describe_configs(&ConfigResource::Topic(name.clone())).await?;
        let own = configs.into_iter().filter(|config| config.source == ConfigOrigin::Topic);
        let partition =
            |p: &klamm_protocol::metadata_response::MetadataResponsePartition| Partition {
                partition: p.partition_index,
                leader: (p.leader_id >= 0).then_some(p.leader_id),
                leader_epoch: p.leader_epoch,
                replicas: p.replica_nodes.clone(),
                isr: p.isr_nodes.clone(),
                offline: p.offline_replicas.clone(),
            };
        description.push(Described {
            name: name.to_string(),
            id: topic.topic_id.to_string(),
            internal: topic.is_internal,
            partitions: topic.partitions.iter().map(partition).collect(),
            configs: own
                .map(|config| {
                    let value = config.value.as_deref().map(str::to_owned);
                    (config.name.to_string(), value.into())
                })
                .collect(),
        });
    }
    arguments.output.print(&Description(description))
}

async fn alter(client: Client, arguments: Alter) -> Outcome {
    let name = Str::from(arguments.name);
    let changes = changes(&arguments.set, &arguments.unset);
    if arguments.partitions.is_none() && changes.is_empty() {
        return Err("nothing to change: give --partitions, --set or --unset".into());
    }
    if !changes.is_empty() {
        client.alter_configs(&ConfigResource::Topic(name.clone()), &changes).await?;
    }
    if let Some(count) = arguments.partitions {
        client.create_partitions(&name, count).await?;
    }
    arguments.output.print(&Done { done: format!("altered topic {name}") })
}

async fn delete(client: Client, arguments: Delete) -> Outcome {
    for name in &arguments.names {
        client.delete_topic(&Str::from(name.as_str())).await?;
    }
    let done = format!("deleted {}", arguments.names.join(", "));
    arguments.output.print(&Done { done })
}
