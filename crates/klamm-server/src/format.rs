//! A new directory of a single node formats itself; a cluster's is formatted by hand, because
//! only a person knows which nodes belong together.

use klamm_config::BrokerConfig;
use klamm_env::Env;
use klamm_log::{DirError, LogDir};
use klamm_metadata::MetadataVersion;
use klamm_raft::{Format, FormatVoters, VoterEndpoint};

use crate::error::StartError;

/// Formats the directories if none of them is.
pub(crate) fn format_if_new(
    env: &Env,
    config: &BrokerConfig,
    controller: VoterEndpoint,
) -> Result<(), StartError> {
    let disk = env.disk.as_ref();
    let mut paths = config.node.log_dirs.clone();
    if !paths.contains(&config.node.metadata_log_dir) {
        paths.push(config.node.metadata_log_dir.clone());
    }
    // Locked while they are looked at and formatted, so that two starts do not format at once.
    let mut locks = Vec::new();
    let mut first_error = None;
    for path in &paths {
        let found = LogDir::lock(disk, path).and_then(|lock| {
            locks.push(lock);
            LogDir::meta_properties(disk, path)
        });
        match found {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(()),
            Err(error @ DirError::InUse(_)) => return Err(error.into()),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    // A new node has all its directories; one that lost some had formatted others.
    if let Some(error) = first_error {
        return Err(error.into());
    }
    let voters = match config.quorum.voters.is_empty() {
        true => FormatVoters::Standalone(controller),
        false => FormatVoters::Fixed,
    };
    let report = klamm_raft::format(
        env,
        &Format {
            cluster_id: env.random.uuid().to_string(),
            node_id: config.node.node_id,
            log_dirs: config.node.log_dirs.clone(),
            metadata_log_dir: config.node.metadata_log_dir.clone(),
            metadata_version: MetadataVersion::LATEST_STABLE,
            features: Vec::new(),
            voters,
            scram: Vec::new(),
            ignore_formatted: false,
        },
    )?;
    tracing::info!(dirs = ?report.formatted, "new directories were formatted");
    Ok(())
}
