//! `klamm storage format`: checks what is asked for as Kafka's `StorageTool` does, then formats.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use klamm_config::BrokerConfig;
use klamm_metadata::MetadataVersion;
use klamm_metadata::features::{FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION};
use klamm_raft::{Format, FormatVoters, VoterEndpoint};

use super::{directories, initial_controllers, load, scram};
use crate::commands::{Failure, Outcome};

/// What to format, and how the cluster starts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klamm storage format -t $(klamm storage random-uuid) -c server.properties --standalone\n  \
    klamm storage format -t $ID -c server.properties -r 4.2 -f group.version=0 -s\n  \
    klamm storage format -t $ID -c server.properties \\\n    \
    -I 0@a:9093:JEXY6aqzQY-32P5TStzaFg,1@b:9093:MvDxzVmcRsaTz33bUuRU6A")]
pub(super) struct Arguments {
    /// The node's server.properties.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The cluster's id, the same for all its nodes.
    #[arg(long, short = 't', value_name = "ID")]
    cluster_id: String,
    /// A SCRAM user that exists from the beginning, such as
    /// 'SCRAM-SHA-256=[name=alice,password=alice-secret]'; may be given several times.
    #[arg(long, short = 'S', value_name = "CREDENTIAL")]
    add_scram: Vec<String>,
    /// Leave directories that are formatted as they are, and format the others.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// The release whose metadata version and feature levels the cluster starts with.
    #[arg(long, short, value_name = "VERSION")]
    release_version: Option<String>,
    /// The level of one feature; may be given several times.
    #[arg(long, short, value_name = "NAME=LEVEL")]
    feature: Vec<String>,
    /// This controller is the whole quorum for now; others may join.
    #[arg(long, short, group = "quorum")]
    standalone: bool,
    /// The controllers that the quorum starts with, as id@host:port:directory-id,...
    #[arg(long, short = 'I', value_name = "VOTERS", group = "quorum")]
    initial_controllers: Option<String>,
    /// The quorum is formatted elsewhere; this node learns it when it joins.
    #[arg(long, short = 'N', group = "quorum")]
    no_initial_controllers: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = load(&arguments.config)?;
    let env = klamm_env::real::env();
    let (metadata_version, features) = levels(arguments, &config)?;
    let voters = voters(arguments, &config)?;
    check_kraft_version(&config, &features)?;
    let kind = match voters {
        FormatVoters::Standalone(_) | FormatVoters::Initial(_) => {
            "dynamic metadata voter directory"
        }
        FormatVoters::Fixed | FormatVoters::Others => "metadata directory",
    };
    let mut scram_users = Vec::new();
    for text in &arguments.add_scram {
        scram_users.push(scram::parse(text, env.random.as_ref())?);
    }
    let format = Format {
        cluster_id: arguments.cluster_id.clone(),
        node_id: config.node.node_id,
        log_dirs: config.node.log_dirs.clone(),
        metadata_log_dir: config.node.metadata_log_dir.clone(),
        metadata_version,
        features,
        voters,
        scram: scram_users,
        ignore_formatted: arguments.ignore_formatted,
    };
    // Locked, so that a node that runs here is not formatted under its feet.
    let mut locks = Vec::new();
    for path in directories(&config) {
        let lock = klamm_log::LogDir::lock(env.disk.as_ref(), &path);
        locks.push(lock.map_err(|e| e.to_string())?);
    }
    let report = klamm_raft::format(&env, &format).map_err(|e| e.to_string())?;
    let mut out = std::io::stdout().lock();
    if report.formatted.is_empty() {
        writeln!(out, "All of the log directories are already formatted.")?;
    }
    for (path, _) in &report.formatted {
        let what = match *path == config.node.metadata_log_dir {
            true => kind,
            false => "data directory",
        };
        let path = path.display();
        writeln!(out, "Formatting {what} {path} with metadata.version {metadata_version}.")?;
    }
    Ok(())
}

/// The metadata version and the levels that were asked for.
fn levels(
    arguments: &Arguments,
    config: &BrokerConfig,
) -> Result<(MetadataVersion, Vec<(String, i16)>), Failure> {
    let unstable = config.node.unstable_feature_versions;
    let mut version = None;
    if let Some(name) = &arguments.release_version {
        version = Some(named_version(name, unstable)?);
    }
    let mut features: Vec<(String, i16)> = Vec::new();
    for text in &arguments.feature {
        let (name, level) = feature(text)?;
        if features.iter().any(|(other, _)| *other == name) {
            return Err(format!("feature {name} is given twice").into());
        }
        if name == METADATA_VERSION {
            let told = MetadataVersion::from_level(level).map_err(|e| e.to_string())?;
            check_stable(told, unstable)?;
            if version.is_some_and(|version| version != told) {
                return Err("metadata.version contradicts --release-version: give one".into());
            }
            version = Some(told);
            continue;
        }
        let known = Feature::named(&name).ok_or_else(|| unknown_feature(&name))?;
        if !known.supported().contains(&level) {
            return Err(format!("No feature:{name} with feature level {level}").into());
        }
        features.push((name, level));
    }
    Ok((version.unwrap_or(MetadataVersion::LATEST_STABLE), features))
}

fn unknown_feature(name: &str) -> String {
    let known: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
    format!("Unsupported feature: {name}. Supported features are: {}", known.join(", "))
}

fn named_version(name: &str, unstable: bool) -> Result<MetadataVersion, Failure> {
    let unknown = || {
        let is_shown = |v: &MetadataVersion| unstable || *v <= MetadataVersion::LATEST_STABLE;
        let all: Vec<_> = MetadataVersion::all().filter(is_shown).map(|v| v.name()).collect();
        let text = format!(
            "Unknown metadata.version '{name}'. Supported metadata.version are: {}",
            all.join(", ")
        );
        Failure::Told(text)
    };
    let version = MetadataVersion::from_name(name).map_err(|_| unknown())?;
    check_stable(version, unstable).map_err(|_| unknown())?;
    Ok(version)
}

fn check_stable(version: MetadataVersion, unstable: bool) -> Outcome {
    if unstable || version <= MetadataVersion::LATEST_STABLE {
        return Ok(());
    }
    Err(format!(
        "metadata.version {version} is not released: unstable.feature.versions.enable=true in the configuration allows it"
    )
    .into())
}

fn feature(text: &str) -> Result<(String, i16), Failure> {
    let Some((name, level)) = text.split_once('=') else {
        return Err(
            format!("Can't parse feature=level string {text}: equals sign not found.").into()
        );
    };
    let parsed = level.trim().parse();
    let level = parsed.map_err(|_| {
        format!("Can't parse feature=level string {text}: unable to parse {level} as a short.")
    })?;
    Ok((name.trim().to_owned(), level))
}

fn voters(arguments: &Arguments, config: &BrokerConfig) -> Result<FormatVoters, Failure> {
    let is_fixed = !config.quorum.voters.is_empty();
    let is_dynamic = arguments.standalone || arguments.initial_controllers.is_some();
    if is_fixed && is_dynamic {
        return Err("controller.quorum.voters cannot be combined with --initial-controllers or --standalone: remove it and set controller.quorum.bootstrap.servers for a quorum that can change".into());
    }
    if !config.node.roles.controller && arguments.standalone {
        return Err("--standalone is for controllers: this node is only a broker".into());
    }
    if is_fixed {
        return Ok(FormatVoters::Fixed);
    }
    if arguments.standalone {
        return Ok(FormatVoters::Standalone(endpoint(config)?));
    }
    if let Some(text) = &arguments.initial_controllers {
        let listener = config.listeners.controller_names.first();
        let listener = listener.map_or("CONTROLLER", |name| name.0.as_str());
        return Ok(FormatVoters::Initial(initial_controllers::parse(text, listener)?));
    }
    if config.node.roles.controller && !arguments.no_initial_controllers {
        return Err("controller.quorum.voters is not set on this controller: give --standalone, --initial-controllers or --no-initial-controllers".into());
    }
    Ok(FormatVoters::Others)
}

/// Where this controller is reached, as it advertises itself.
fn endpoint(config: &BrokerConfig) -> Result<VoterEndpoint, Failure> {
    let listeners = &config.listeners;
    let is_ours = |name| listeners.is_controller(name);
    let advertised = listeners.advertised.iter().find(|listener| is_ours(&listener.name));
    let listener = advertised.or_else(|| listeners.controller().next());
    let listener = listener.ok_or("there is no controller listener (controller.listener.names)")?;
    let host = if listener.host.is_empty() { "localhost" } else { &listener.host };
    Ok(VoterEndpoint {
        listener: listener.name.0.clone(),
        host: host.to_owned(),
        port: listener.port,
    })
}

fn check_kraft_version(config: &BrokerConfig, features: &[(String, i16)]) -> Outcome {
    let is_fixed = !config.quorum.voters.is_empty();
    match features.iter().find(|(name, _)| name == KRAFT_VERSION) {
        Some((_, 0)) if !is_fixed => Err("Cannot set kraft.version to 0 if controller.quorum.voters is empty: remove --feature kraft.version for a quorum that can change".into()),
        Some((_, 1..)) if is_fixed => Err("Cannot set kraft.version to 1 with controller.quorum.voters: set controller.quorum.bootstrap.servers instead".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stable_version_is_taken_by_its_name_and_the_unstable_one_only_if_allowed() {
        for version in MetadataVersion::all() {
            let stable = version <= MetadataVersion::LATEST_STABLE;
            assert_eq!(named_version(version.name(), false).is_ok(), stable, "{version}");
            assert!(named_version(version.name(), true).is_ok());
        }
        assert!(named_version("9.9", true).is_err());
    }

    #[test]
    fn a_feature_is_a_name_and_a_level() {
        assert!(matches!(feature("group.version=1"), Ok((name, 1)) if name == "group.version"));
        for text in ["group.version", "group.version=", "group.version=x", "a=40000"] {
            assert!(feature(text).is_err(), "{text}");
        }
    }
}
