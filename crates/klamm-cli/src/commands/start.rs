//! `klamm start`: runs a node until it is told to end.

use std::path::PathBuf;

use clap::Args;
use klamm_config::{BrokerConfig, Properties};
use klamm_server::{Node, NodeOptions};

use super::Outcome;
use crate::logging;
use crate::signals::Watch;

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A server.properties file, as Kafka has it.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key that overrides the file's; may be given several times.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    logging::start("info");
    let properties = properties(arguments)?;
    let loaded = BrokerConfig::load(&properties).map_err(|errors| errors.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let env = klamm_env::real::env();
    let signals = Watch::start()?;
    let node = Node::start(NodeOptions { config: loaded.config, properties, env })
        .map_err(|e| e.to_string())?;
    let mut addresses: Vec<String> =
        node.addresses().iter().map(|(name, address)| format!("{name}://{address}")).collect();
    addresses.sort();
    tracing::info!(listeners = %addresses.join(","), cluster_id = node.cluster_id(), "started");
    let signal = signals.wait()?;
    tracing::info!(signal, "stopping");
    node.stop();
    Ok(())
}

/// The file with the overrides on top.
pub(crate) fn properties(arguments: &Arguments) -> Result<Properties, String> {
    let mut properties = match &arguments.config {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Properties::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?
        }
        None => Properties::default(),
    };
    for pair in &arguments.overrides {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("--override {pair}: expected KEY=VALUE"))?;
        properties.set(key.trim(), value.trim());
    }
    Ok(properties)
}
