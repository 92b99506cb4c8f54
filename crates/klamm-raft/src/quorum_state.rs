//! `quorum-state`: the last epoch that a node has seen, in Kafka's JSON (Kafka:
//! `FileQuorumStateStore`).
//!
//! In a quorum of one the file needs no sync: a lost epoch was used by nobody else, and the log
//! tells the last one that has records. With more voters a vote must be durable before it is sent.

use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_model::{LeaderEpoch, NodeId, Uuid};
use serde_json::{Map, Value, json};

use crate::RaftError;
use crate::files;

/// The file's name.
pub(crate) const QUORUM_STATE: &str = "quorum-state";
/// A real one has some hundred bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a node remembers of the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumState {
    /// Who leads, if that is known.
    pub leader_id: Option<NodeId>,
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
    /// For whom this node voted in the epoch.
    pub voted: Option<(NodeId, Uuid)>,
}

/// Which fields the file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateVersion<'a> {
    /// kraft.version 0: with the voters.
    V0(&'a [NodeId]),
    /// kraft.version 1: with the directory that was voted for.
    V1,
}

impl QuorumState {
    /// The state in `dir`; `None` if there is none. An empty file, or one of zeros, is what a
    /// power failure leaves of a file that was never synced, and counts as none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, RaftError> {
        let path = dir.join(QUORUM_STATE);
        let bytes = durable::read(disk, &path, FILE_BYTES_MAX).map_err(RaftError::io(&path))?;
        let Some(bytes) = bytes.filter(|bytes| bytes.iter().any(|b| *b != 0)) else {
            return Ok(None);
        };
        Self::parse(&bytes).map(Some).map_err(|what| {
            let cure = "if it is lost, remove it: a quorum of one finds its epoch in its log";
            RaftError::damaged(&path, format!("{what}; {cure}"))
        })
    }

    pub(crate) fn write(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        version: StateVersion<'_>,
    ) -> Result<(), RaftError> {
        let path = dir.join(QUORUM_STATE);
        files::replace_unsynced(disk, &path, self.to_json(version).as_bytes())
            .map_err(RaftError::io(&path))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}"))?;
        let object = value.as_object().ok_or("not a JSON object")?;
        let version = number(object, "data_version")?;
        if !(0..=1).contains(&version) {
            return Err(format!("data_version {version} is unknown"));
        }
        let leader_epoch = number(object, "leaderEpoch")?;
        if leader_epoch < 0 {
            return Err(format!("leaderEpoch {leader_epoch} is negative"));
        }
        let node = |id: i32| (id >= 0).then_some(NodeId(id));
        let directory = match object.get("votedDirectoryId").and_then(Value::as_str) {
            Some(text) => text.parse().map_err(|e| format!("votedDirectoryId: {e}"))?,
            None => Uuid::ZERO,
        };
        Ok(Self {
            leader_id: node(number(object, "leaderId")?),
            leader_epoch: LeaderEpoch(leader_epoch),
            voted: node(number(object, "votedId")?).map(|id| (id, directory)),
        })
    }

    fn to_json(self, version: StateVersion<'_>) -> String {
        let leader_id = self.leader_id.map_or(-1, |id| id.0);
        let voted_id = self.voted.map_or(-1, |(id, _)| id.0);
        let leader_epoch = self.leader_epoch.0;
        match version {
            StateVersion::V0(voters) => {
                let voters: Vec<_> = voters.iter().map(|id| json!({"voterId": id.0})).collect();
                json!({
                    "clusterId": "",
                    "leaderId": leader_id,
                    "leaderEpoch": leader_epoch,
                    "votedId": voted_id,
                    "appliedOffset": 0,
                    "currentVoters": voters,
                    "data_version": 0,
                })
            }
            StateVersion::V1 => json!({
                "leaderId": leader_id,
                "leaderEpoch": leader_epoch,
                "votedId": voted_id,
                "votedDirectoryId": self.voted.map_or(Uuid::ZERO, |(_, id)| id).to_string(),
                "data_version": 1,
            }),
        }
        .to_string()
    }
}

fn number(object: &Map<String, Value>, name: &str) -> Result<i32, String> {
    let value = object.get(name).ok_or_else(|| format!("{name} is missing"))?;
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok());
    number.ok_or_else(|| format!("{name} is no 32-bit number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LED: QuorumState =
        QuorumState { leader_id: Some(NodeId(1)), leader_epoch: LeaderEpoch(1), voted: None };

    #[test]
    fn the_text_is_the_one_that_kafka_writes() {
        let v1 = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        assert_eq!(LED.to_json(StateVersion::V1), v1);
        assert_eq!(QuorumState::parse(v1.as_bytes()), Ok(LED));
        let v0 = r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        assert_eq!(LED.to_json(StateVersion::V0(&[NodeId(1)])), v0);
        assert_eq!(QuorumState::parse(v0.as_bytes()), Ok(LED));
        let voted = QuorumState { voted: Some((NodeId(1), Uuid(77))), ..LED };
        assert_eq!(QuorumState::parse(voted.to_json(StateVersion::V1).as_bytes()), Ok(voted));
    }

    #[test]
    fn a_text_of_another_form_is_refused() {
        for text in [
            "x",
            "[]",
            "{}",
            r#"{"data_version":2,"leaderId":1,"leaderEpoch":1,"votedId":-1}"#,
            r#"{"data_version":1,"leaderId":1,"leaderEpoch":-1,"votedId":-1}"#,
            r#"{"data_version":1,"leaderId":1,"leaderEpoch":99999999999,"votedId":-1}"#,
            r#"{"data_version":1,"leaderId":"1","leaderEpoch":1,"votedId":-1}"#,
            r#"{"data_version":1,"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"x"}"#,
        ] {
            assert!(QuorumState::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
