//! `klamm config`: what topics, brokers and groups are configured to, and changing that.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use klamm_client::{Client, ConfigEntry, ConfigOrigin, ConfigResource};
use klamm_stdx::Str;
use serde::Serialize;

use super::{Failure, Outcome};
use crate::output::{Done, Output, Printed, write_table};
use crate::pairs::{changes, pair};
use crate::session::Bootstrap;

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the configs that somebody has set, or all.
    #[command(after_help = "Examples:\n  klamm config describe --topic orders\n  \
        klamm config describe --broker 0 --all")]
    Describe(Describe),
    /// Change configs while the cluster runs.
    #[command(after_help = "Examples:\n  \
        klamm config alter --topic orders --set retention.ms=3600000\n  \
        klamm config alter --broker default --set log.retention.ms=3600000\n  \
        klamm config alter --group readers --unset consumer.session.timeout.ms")]
    Alter(Alter),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Resource {
    /// A topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// A broker's id, or 'default' for all brokers.
    #[arg(long, value_name = "ID")]
    broker: Option<String>,
    /// A group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

#[derive(Debug, Args)]
struct Describe {
    #[command(flatten)]
    resource: Resource,
    /// Defaults too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Alter {
    #[command(flatten)]
    resource: Resource,
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

impl Resource {
    fn resource(self) -> Result<ConfigResource, Failure> {
        match (self.topic, self.broker, self.group) {
            (Some(name), ..) => Ok(ConfigResource::Topic(name.into())),
            (_, Some(id), _) if id == "default" => Ok(ConfigResource::Broker(Str::new())),
            (_, Some(id), _) if id.parse::<i32>().is_ok_and(|id| id >= 0) => {
                Ok(ConfigResource::Broker(id.into()))
            }
            (_, Some(id), _) => {
                Err(format!("'{id}' is no broker id: give a number, or 'default'").into())
            }
            (.., Some(name)) => Ok(ConfigResource::Group(name.into())),
            _ => Err("give --topic, --broker or --group".into()),
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Describe(a) => a.bootstrap.clone().run(|client| describe(client, a)),
        Command::Alter(a) => a.bootstrap.clone().run(|client| alter(client, a)),
    }
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Description(Vec<Described>);

impl Printed for Description {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |config: &Described| {
            let hidden = if config.sensitive { "(hidden)" } else { "" };
            let value = config.value.clone().unwrap_or_else(|| hidden.to_owned());
            vec![config.name.clone(), value, config.source.to_owned()]
        };
        write_table(out, &["config", "value", "source"], self.0.iter().map(row))
    }
}

async fn describe(client: Client, arguments: Describe) -> Outcome {
    let resource = arguments.resource.resource()?;
    let entries = client.describe_configs(&resource).await?;
    let is_shown = |entry: &ConfigEntry| arguments.all || entry.source != ConfigOrigin::Default;
    let described = |entry: ConfigEntry| Described {
        name: entry.name.to_string(),
        value: entry.value.as_deref().map(str::to_owned),
        source: entry.source.name(),
        read_only: entry.is_read_only,
        sensitive: entry.is_sensitive,
    };
    let shown = entries.into_iter().filter(is_shown).map(described).collect();
    arguments.output.print(&Description(shown))
}

async fn alter(client: Client, arguments: Alter) -> Outcome {
    let resource = arguments.resource.resource()?;
    let changes = changes(&arguments.set, &arguments.unset);
    if changes.is_empty() {
        return Err("nothing to change: give --set or --unset".into());
    }
    client.alter_configs(&resource, &changes).await?;
    arguments.output.print(&Done { done: format!("altered {resource}") })
}
