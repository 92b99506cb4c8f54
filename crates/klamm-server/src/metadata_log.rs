//! The metadata quorum as the controller's log, with its snapshots.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use klamm_controller::{MetadataHandle, MetadataLog};
use klamm_env::Clock;
use klamm_model::{ErrorCode, LeaderEpoch, Offset};
use klamm_raft::{Quorum, RaftError};

/// The quorum, shared with who closes it.
pub(crate) type SharedQuorum = Arc<Mutex<Option<Quorum>>>;

/// The controller's log.
pub(crate) struct QuorumLog {
    pub(crate) quorum: SharedQuorum,
    pub(crate) metadata: MetadataHandle,
    pub(crate) clock: Arc<dyn Clock>,
}

impl QuorumLog {
    fn with<T>(&self, closed: T, call: impl FnOnce(&mut Quorum) -> T) -> T {
        let mut quorum = self.quorum.lock().expect("no holder of this lock can panic");
        quorum.as_mut().map_or(closed, call)
    }
}

impl MetadataLog for QuorumLog {
    fn next_offset(&self) -> Offset {
        self.with(Offset::ZERO, |quorum| quorum.next_offset())
    }

    fn epoch(&self) -> LeaderEpoch {
        self.with(LeaderEpoch(0), |quorum| quorum.epoch())
    }

    fn append(&mut self, batches: &[Vec<Bytes>]) -> Result<Vec<Offset>, ErrorCode> {
        let wall = self.clock.wall();
        let image = self.metadata.image();
        self.with(Err(ErrorCode::NotController), |quorum| {
            // Due since an earlier append: the image says exactly what the log says now.
            if quorum.is_snapshot_due(wall)
                && image.provenance.next_offset == quorum.next_offset()
                && let Err(error) = quorum.write_snapshot(&image, wall)
            {
                tracing::error!(%error, "a metadata snapshot could not be written");
            }
            quorum.append(batches, wall).map_err(|error| {
                tracing::error!(%error, "the metadata log could not be written");
                match error {
                    RaftError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
                    RaftError::Closed => ErrorCode::NotController,
                    _ => ErrorCode::KafkaStorageError,
                }
            })
        })
    }
}
