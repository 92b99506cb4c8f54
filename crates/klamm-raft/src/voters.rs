//! Who votes, and how control records tell it (KIP-853).

use bytes::Bytes;
use klamm_codec::{DecodeError, EncodeError, Message};
use klamm_model::{NodeId, Uuid};
use klamm_persisted::control::VotersRecord;
use klamm_persisted::control::voters_record::{
    Endpoint, KRaftVersionFeature, Voter as VoterRecord,
};
use klamm_stdx::Str;

/// The newest kraft.version that this program can do.
const KRAFT_VERSION_MAX: i16 = 1;

/// Where a voter's controller listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub listener: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A voter of the metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// The node.
    pub node_id: NodeId,
    /// The directory of its metadata log; `None` with fixed voters (kraft.version 0).
    pub directory_id: Option<Uuid>,
    /// Where it listens.
    pub endpoints: Vec<VoterEndpoint>,
}

pub(crate) fn encode(voters: &[Voter]) -> Result<Bytes, EncodeError> {
    let endpoint = |endpoint: &VoterEndpoint| Endpoint {
        name: Str::from(endpoint.listener.as_str()),
        host: Str::from(endpoint.host.as_str()),
        port: endpoint.port,
    };
    let voter = |voter: &Voter| VoterRecord {
        voter_id: voter.node_id.0,
        voter_directory_id: voter.directory_id.unwrap_or(Uuid::ZERO),
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: 0,
            max_supported_version: KRAFT_VERSION_MAX,
        },
    };
    VotersRecord { version: 0, voters: voters.iter().map(voter).collect() }.to_bytes(0)
}

pub(crate) fn decode(value: Bytes) -> Result<Vec<Voter>, DecodeError> {
    let record = VotersRecord::decode_exact(value, 0)?;
    let endpoint = |endpoint: Endpoint| VoterEndpoint {
        listener: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    let voter = |voter: VoterRecord| Voter {
        node_id: NodeId(voter.voter_id),
        directory_id: Some(voter.voter_directory_id).filter(|id| !id.is_zero()),
        endpoints: voter.endpoints.into_iter().map(endpoint).collect(),
    };
    Ok(record.voters.into_iter().map(voter).collect())
}
