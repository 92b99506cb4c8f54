//! Tells the controller of log directories that fail, and where replicas are (KIP-858; Kafka:
//! `BrokerLifecycleManager`, `AssignmentsManager`). Never gives up: what could not be told is told
//! again.

use std::sync::Arc;
use std::time::Duration;

use klamm_controller::{ASSIGNMENTS_MAX, ApiError, BrokerHeartbeat, ControllerHandle};
use klamm_env::task;
use klamm_model::{BrokerEpoch, NodeId};
use klamm_replication::Partitions;

/// After the controller could not be told.
const RETRY: Duration = Duration::from_secs(1);

/// One broker's way to tell.
pub(crate) struct Reporter {
    pub(crate) id: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) controller: ControllerHandle,
}

impl Reporter {
    /// Runs until the worker ends.
    pub(crate) async fn run(self) {
        let news = Arc::clone(self.partitions.directories().news());
        let mut failed_told = 0;
        loop {
            let told = match self.tell_of_failures(&mut failed_told).await {
                Ok(()) => self.tell_of_replicas().await,
                failed => failed,
            };
            match told {
                Ok(()) => news.notified().await,
                Err(error) => {
                    tracing::warn!(%error, "the controller could not be told of log directories; it is told again");
                    task::sleep(RETRY).await;
                }
            }
        }
    }

    async fn tell_of_failures(&self, failed_told: &mut usize) -> Result<(), ApiError> {
        let offline_log_dirs = self.partitions.directories().offline_ids();
        let count = offline_log_dirs.len();
        if count == *failed_told {
            return Ok(());
        }
        let image = self.controller.metadata().image();
        let metadata_offset = image.provenance.next_offset.plus(-1);
        let heartbeat = BrokerHeartbeat::new(self.id, self.epoch, metadata_offset);
        let heartbeat = BrokerHeartbeat { offline_log_dirs, ..heartbeat };
        self.controller.broker_heartbeat(heartbeat).await??;
        *failed_told = count;
        Ok(())
    }

    async fn tell_of_replicas(&self) -> Result<(), ApiError> {
        loop {
            let replicas = self.partitions.take_assignments(ASSIGNMENTS_MAX);
            if replicas.is_empty() {
                return Ok(());
            }
            let by = (self.id, self.epoch);
            let told = self.controller.assign_replicas_to_dirs(by, replicas.clone()).await;
            match told.and_then(|told| told) {
                Ok(results) => {
                    for (replica, code) in
                        results.into_iter().filter_map(|(r, e)| Some((r, e.err()?)))
                    {
                        // Deleted meanwhile, most likely.
                        tracing::debug!(%replica, %code, "a replica's log directory is not taken");
                    }
                }
                Err(error) => {
                    self.partitions.put_back_assignments(replicas);
                    return Err(error);
                }
            }
        }
    }
}
