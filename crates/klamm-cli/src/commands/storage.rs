//! `klamm storage`: formats log directories and shows what they are. The same options and the
//! same files as Kafka's `kafka-storage`.

mod format;
mod initial_controllers;
mod scram;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use klamm_config::{BrokerConfig, Properties};
use klamm_log::LogDir;
use serde::Serialize;

use super::{Failure, Outcome};
use crate::output::{Output, Printed};

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Format the log directories of a node that belongs to a cluster.
    Format(format::Arguments),
    /// Show what the log directories of a node say.
    #[command(after_help = "Examples:\n  klamm storage info -c server.properties")]
    Info(Info),
    /// Print a new id for a cluster or a directory.
    #[command(after_help = "Examples:\n  \
        klamm storage format -t $(klamm storage random-uuid) -c server.properties --standalone")]
    RandomUuid,
}

#[derive(Debug, Args)]
struct Info {
    /// The node's server.properties.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Format(arguments) => format::run(&arguments),
        Command::Info(arguments) => info(&arguments),
        Command::RandomUuid => {
            writeln!(io::stdout().lock(), "{}", klamm_env::real::env().random.uuid())?;
            Ok(())
        }
    }
}

/// A node's configuration from its file.
fn load(path: &Path) -> Result<BrokerConfig, Failure> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let properties = Properties::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let loaded = BrokerConfig::load(&properties).map_err(|errors| errors.to_string())?;
    Ok(loaded.config)
}

/// Every directory of a node, the metadata log's included.
fn directories(config: &BrokerConfig) -> Vec<PathBuf> {
    let mut paths = config.node.log_dirs.clone();
    if !paths.contains(&config.node.metadata_log_dir) {
        paths.push(config.node.metadata_log_dir.clone());
    }
    paths
}

#[derive(Debug, Serialize)]
struct Directory {
    directory: String,
    formatted: bool,
    cluster_id: Option<String>,
    node_id: Option<i32>,
    directory_id: Option<String>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Directories(Vec<Directory>);

impl Printed for Directories {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for directory in &self.0 {
            writeln!(out, "{}", directory.directory)?;
            if let Some(problem) = &directory.problem {
                writeln!(out, "  problem: {problem}")?;
            } else if !directory.formatted {
                writeln!(out, "  not formatted")?;
            }
            let line = |out: &mut dyn Write, name: &str, value: Option<String>| match value {
                Some(value) => writeln!(out, "  {name}={value}"),
                None => Ok(()),
            };
            line(out, "cluster.id", directory.cluster_id.clone())?;
            line(out, "node.id", directory.node_id.map(|id| id.to_string()))?;
            line(out, "directory.id", directory.directory_id.clone())?;
        }
        Ok(())
    }
}

fn info(arguments: &Info) -> Outcome {
    let config = load(&arguments.config)?;
    let disk = klamm_env::real::env().disk;
    let mut found = Vec::new();
    for path in directories(&config) {
        let mut directory = Directory {
            directory: path.display().to_string(),
            formatted: false,
            cluster_id: None,
            node_id: None,
            directory_id: None,
            problem: None,
        };
        match LogDir::meta_properties(disk.as_ref(), &path) {
            Ok(Some(meta)) => {
                directory.formatted = true;
                directory.cluster_id = Some(meta.cluster_id);
                directory.node_id = Some(meta.node_id.0);
                directory.directory_id = meta.directory_id.map(|id| id.to_string());
                if meta.node_id != config.node.node_id {
                    let configured = config.node.node_id;
                    directory.problem = Some(format!("node.id is configured to be {configured}"));
                }
            }
            Ok(None) => {}
            Err(error) => directory.problem = Some(error.to_string()),
        }
        found.push(directory);
    }
    arguments.output.print(&Directories(found))
}
