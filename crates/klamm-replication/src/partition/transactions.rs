//! A partition's part in transactions: what a producer's first write needs, and markers.

use klamm_log::{Appended, LogError, Origin, ProducerEntry};
use klamm_model::{ProducerEpoch, ProducerId, Timestamp, Verification};
use klamm_records::{EndTxnMarker, Producer, ValidBatch};

use super::{AppendRefused, Partition};

/// The end of a transaction, for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// Its epoch; with transactions v2 the one after the transaction's own.
    pub producer_epoch: ProducerEpoch,
    /// Commit or abort, and the epoch of the coordinator that says so.
    pub marker: EndTxnMarker,
    /// The transaction protocol (feature `transaction.version`).
    pub transaction_version: i8,
}

impl Partition {
    /// Begins to ask whether a producer's transaction may begin here; `None` if it has begun.
    ///
    /// # Errors
    /// Not the leader, offline, or the disk failed.
    pub fn begin_verification(
        &self,
        producer: Producer,
        wall: Timestamp,
    ) -> Result<Option<Verification>, AppendRefused> {
        if self.is_offline() {
            return Err(AppendRefused::Offline);
        }
        let mut log = self.lock();
        self.leader_epoch().ok_or(AppendRefused::NotLeader)?;
        let begun = log.begin_verification(producer, wall);
        drop(log);
        begun.map_err(|error| self.refusal(error))
    }

    /// Ends a producer's transaction.
    ///
    /// # Errors
    /// See [`AppendRefused`]; the producer or the coordinator may be fenced.
    pub fn append_marker(
        &self,
        end: &TransactionMarker,
        wall: Timestamp,
    ) -> Result<Appended, AppendRefused> {
        let bytes = end.marker.batch(end.producer_id, end.producer_epoch, wall);
        let batch = ValidBatch::own(&bytes).expect("a batch of our own making is whole");
        self.append(batch, Origin::Marker { transaction_version: end.transaction_version }, wall)
    }

    /// Whether a transaction is open here whose producer was last heard of before `since`. Only
    /// leaders say so. A log without open transactions is not looked into.
    #[must_use]
    pub fn has_transaction_before(&self, since: Timestamp) -> bool {
        if self.is_offline() || self.view().first_unstable_offset().is_none() {
            return false;
        }
        let log = self.lock();
        self.leader_epoch().is_some() && log.producers().has_transaction_before(since)
    }

    /// The producers that it remembers, by their ids.
    ///
    /// # Errors
    /// Not the leader, offline, or the disk failed.
    pub fn producers(&self) -> Result<Vec<(ProducerId, ProducerEntry)>, AppendRefused> {
        if self.is_offline() {
            return Err(AppendRefused::Offline);
        }
        let mut log = self.lock();
        self.leader_epoch().ok_or(AppendRefused::NotLeader)?;
        let awake = log.awake_producers().map(|producers| {
            let own = |(id, entry): (ProducerId, &ProducerEntry)| (id, entry.clone());
            producers.iter().map(own).collect::<Vec<_>>()
        });
        drop(log);
        let mut producers = awake.map_err(|error| self.refusal(error))?;
        producers.sort_by_key(|(id, _)| *id);
        Ok(producers)
    }

    fn refusal(&self, error: LogError) -> AppendRefused {
        self.on_disk_failure(&error);
        AppendRefused::Log(klamm_log::AppendError::Disk(error))
    }
}
