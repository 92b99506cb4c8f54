//! From batches back to an image: what the log or a snapshot says, batch by batch.

use bytes::Bytes;
use klamm_codec::Message;
use klamm_metadata::{Loader, MetadataImage, Provenance};
use klamm_model::Offset;
use klamm_persisted::control::KRaftVersionRecord;
use klamm_persisted::metadata::MetadataRecord;
use klamm_records::{BatchView, ControlRecordType, DECOMPRESSED_BYTES_MAX, Scratch};

use crate::{RaftError, Voter, voters};

/// Reads batches into an image and keeps what the quorum says of itself.
pub(crate) struct Replay {
    pub(crate) loader: Loader,
    /// The voters, once a control record has told them.
    pub(crate) voters: Option<Vec<Voter>>,
    pub(crate) kraft_version: i16,
    /// Whether any metadata record was there.
    pub(crate) has_records: bool,
    scratch: Scratch,
}

/// What a control record of a snapshot or of the log was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) header: bool,
    pub(crate) footer: bool,
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self {
            loader: Loader::new(&MetadataImage::default()),
            voters: None,
            kraft_version: 0,
            has_records: false,
            scratch: Scratch::with_bytes_max(DECOMPRESSED_BYTES_MAX),
        }
    }

    /// Replays one batch whose checksum was compared.
    pub(crate) fn batch(&mut self, batch: &BatchView<'_>) -> Result<Seen, RaftError> {
        let refuse = |offset, what: String| RaftError::Record { offset, what };
        let is_control = batch.header().attributes.is_control();
        let records = batch
            .records(&mut self.scratch)
            .map_err(|e| refuse(batch.header().base_offset, e.to_string()))?;
        let mut seen = Seen::default();
        for record in records {
            let record = record.map_err(|e| refuse(batch.header().base_offset, e.to_string()))?;
            let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
            if is_control {
                let kind = ControlRecordType::of(&record)
                    .map_err(|e| refuse(record.offset, e.to_string()))?;
                match kind {
                    Some(ControlRecordType::SnapshotHeader) => seen.header = true,
                    Some(ControlRecordType::SnapshotFooter) => seen.footer = true,
                    Some(ControlRecordType::KRaftVersion) => {
                        self.kraft_version = KRaftVersionRecord::decode_exact(value, 0)
                            .map_err(|e| refuse(record.offset, e.to_string()))?
                            .kraft_version;
                    }
                    Some(ControlRecordType::KRaftVoters) => {
                        let decoded = voters::decode(value);
                        self.voters =
                            Some(decoded.map_err(|e| refuse(record.offset, e.to_string()))?);
                    }
                    // An epoch begins, or a kind from a newer Kafka that says nothing to us.
                    _ => {}
                }
                continue;
            }
            let (metadata, _) = MetadataRecord::from_frame(value)
                .map_err(|e| refuse(record.offset, e.to_string()))?;
            let replayed = self.loader.replay(&metadata);
            replayed.map_err(|e| refuse(record.offset, format!("{}: {e}", metadata.name())))?;
            self.has_records = true;
        }
        Ok(seen)
    }

    /// Says up to where the log has been replayed.
    pub(crate) fn reached(&mut self, batch: &BatchView<'_>) {
        self.loader.read_to(Provenance {
            next_offset: batch.header().next_offset(),
            epoch: batch.header().partition_leader_epoch,
            append_time: batch.header().max_timestamp,
        });
    }

    /// Where the next batch of the log is to be.
    pub(crate) fn next_offset(&self) -> Offset {
        self.loader.image().provenance.next_offset
    }
}
