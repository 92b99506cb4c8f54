//! Record batches of the metadata log: control records of the quorum, and frames of metadata
//! records.

use bytes::Bytes;
use klamm_codec::{EncodeError, Message};
use klamm_model::{LeaderEpoch, NodeId, Offset, Timestamp};
use klamm_persisted::control::leader_change_message::Voter as LeaderChangeVoter;
use klamm_persisted::control::{KRaftVersionRecord, LeaderChangeMessage};
use klamm_records::{BatchBuilder, BatchOptions, ControlRecordType, RecordToAppend};

use crate::{Voter, voters};

/// Most bytes of metadata records in a batch: Kafka's limit
/// (`internal.metadata.max.batch.size.in.bytes`), which is also the smallest segment, less room
/// for the batch's header.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024 - 1024;
/// More than a record's own header takes in a batch, so that sums stay on the safe side.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 32;

/// Where a batch is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) base_offset: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) timestamp: Timestamp,
}

impl Place {
    fn builder(self) -> BatchBuilder {
        BatchBuilder::new(BatchOptions {
            base_offset: self.base_offset,
            partition_leader_epoch: Some(self.epoch),
            ..BatchOptions::default()
        })
    }
}

/// A batch of control records.
pub(crate) fn control(place: Place, records: &[(ControlRecordType, Bytes)]) -> Vec<u8> {
    let mut builder = place.builder();
    for (kind, value) in records {
        builder.push_control(*kind, place.timestamp, value);
    }
    builder.build().expect("nothing is compressed here")
}

/// A batch of framed metadata records.
pub(crate) fn data<'a>(place: Place, frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut builder = place.builder();
    for frame in frames {
        let timestamp = place.timestamp;
        builder.push(RecordToAppend { timestamp, value: Some(frame), ..Default::default() });
    }
    builder.build().expect("nothing is compressed here")
}

/// The value of the record that begins an epoch.
pub(crate) fn leader_change(leader: NodeId, voters: &[Voter]) -> Result<Bytes, EncodeError> {
    let voters = || {
        let voter = |voter: &Voter| LeaderChangeVoter {
            voter_id: voter.node_id.0,
            ..LeaderChangeVoter::default()
        };
        voters.iter().map(voter).collect()
    };
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: leader.0,
        voters: voters(),
        granting_voters: voters(),
    };
    message.to_bytes(0)
}

/// The records that say how the quorum knows its voters.
pub(crate) fn voter_set(voters: &[Voter]) -> Result<[(ControlRecordType, Bytes); 2], EncodeError> {
    let version = KRaftVersionRecord { version: 0, kraft_version: 1 }.to_bytes(0)?;
    Ok([
        (ControlRecordType::KRaftVersion, version),
        (ControlRecordType::KRaftVoters, voters::encode(voters)?),
    ])
}
