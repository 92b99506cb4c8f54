//! The ends of transactions on their way into the partitions (Kafka:
//! `TransactionMarkerChannelManager`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use klamm_controller::MetadataHandle;
use klamm_coordinator::{CoordinatorHandle, TransactionEnd, TransactionalProducer, partition_for};
use klamm_env::{Clock, task};
use klamm_group_coordinator::{GroupShard, Request as GroupRequest, Response as GroupResponse};
use klamm_model::{
    ErrorCode, GROUP_OFFSETS_TOPIC, LeaderEpoch, TRANSACTION_STATE_TOPIC, TopicPartition,
};
use klamm_records::EndTxnMarker;
use klamm_replication::{CommitWait, Partitions, TransactionMarker};
use klamm_transaction_coordinator::{MarkersToWrite, Outcome, Request, TransactionShard};

use crate::errors::append_code;

/// How long a partition that cannot take its marker is left alone, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Writes markers.
#[derive(Debug)]
pub struct Markers {
    /// The partitions of this broker.
    pub partitions: Arc<Partitions>,
    /// The partitions of groups write their markers themselves.
    pub groups: CoordinatorHandle<GroupShard>,
    /// What topics there are.
    pub metadata: MetadataHandle,
    /// For the markers' timestamps.
    pub clock: Arc<dyn Clock>,
    /// Who is told when a transaction's markers are all written.
    pub transactions: OnceLock<CoordinatorHandle<TransactionShard>>,
    /// Markers that [`Markers::finish`] has still to write.
    pub pending: AtomicUsize,
}

/// Some of the markers that are still to be written; none of them when it is dropped.
struct Pending<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl<'a> Pending<'a> {
    fn new(all: &'a AtomicUsize, own: usize) -> Self {
        all.fetch_add(own, Ordering::Relaxed);
        Self { all, own }
    }

    /// So many are left.
    fn shrink_to(&mut self, rest: usize) {
        self.all.fetch_sub(self.own - rest, Ordering::Relaxed);
        self.own = rest;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// What became of a marker that was just appended.
enum Begun {
    Waits(CommitWait),
    Is(ErrorCode),
}

impl Markers {
    /// Writes an end into each partition; gives what became of each, once it is committed.
    pub async fn write(
        &self,
        end: TransactionEnd,
        partitions: &[TopicPartition],
    ) -> Vec<ErrorCode> {
        let marker = TransactionMarker {
            producer_id: end.producer.id,
            producer_epoch: end.producer.epoch,
            marker: EndTxnMarker {
                is_abort: !end.is_commit,
                coordinator_epoch: end.coordinator_epoch,
            },
            transaction_version: end.transaction_version,
        };
        // All are appended before the first is waited for: one sync serves them.
        let begun: Vec<Option<Begun>> =
            partitions.iter().map(|partition| self.begin(&marker, partition)).collect();
        let mut codes = Vec::with_capacity(partitions.len());
        for (begun, partition) in begun.into_iter().zip(partitions) {
            codes.push(match begun {
                Some(Begun::Is(code)) => code,
                Some(Begun::Waits(commit)) => match commit.await {
                    true => ErrorCode::None,
                    false => ErrorCode::NotLeaderOrFollower,
                },
                None => self.end_in_group(end, partition.partition).await,
            });
        }
        codes
    }

    /// Appends a marker; `None` where a group's shard has to.
    fn begin(&self, marker: &TransactionMarker, partition: &TopicPartition) -> Option<Begun> {
        if &*partition.topic == GROUP_OFFSETS_TOPIC {
            return None;
        }
        let Some(found) = self.partitions.by_name(&partition.topic, partition.partition) else {
            return Some(Begun::Is(ErrorCode::UnknownTopicOrPartition));
        };
        Some(match found.append_marker(marker, self.clock.wall()) {
            Ok(appended) => Begun::Waits(found.committed_past(appended.last_offset)),
            Err(error) => Begun::Is(append_code(&error)),
        })
    }

    async fn end_in_group(&self, end: TransactionEnd, partition: i32) -> ErrorCode {
        match self.groups.request(partition, GroupRequest::EndTransaction(end)).await {
            GroupResponse::EndTransaction(code) => code,
            other => crate::groups::misplaced(&other),
        }
    }

    /// Writes the markers of a transaction that has ended, as often as it takes, and tells its
    /// coordinator; gives up when that is another broker's.
    pub async fn finish(self: Arc<Self>, ended: MarkersToWrite) {
        let Some(transactions) = self.transactions.get() else { return };
        let end = TransactionEnd {
            producer: TransactionalProducer { id: ended.producer.id, epoch: ended.producer.epoch },
            is_commit: ended.outcome == Outcome::Commit,
            coordinator_epoch: ended.coordinator_epoch,
            transaction_version: ended.protocol.level(),
        };
        let mut rest = ended.partitions;
        let mut pending = Pending::new(&self.pending, rest.len());
        let mut backoff = BACKOFF.0;
        loop {
            let codes = self.write(end, &rest).await;
            let mut codes = codes.into_iter();
            rest.retain(|partition| {
                let code = codes.next().unwrap_or(ErrorCode::None);
                self.is_to_be_repeated(partition, code)
            });
            pending.shrink_to(rest.len());
            if rest.is_empty() {
                break;
            }
            tracing::warn!(transactional_id = %ended.transactional_id, ?rest, "markers of an ended transaction could not be written yet");
            task::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
            if !self.is_coordinated_here(&ended.transactional_id, end.coordinator_epoch) {
                return;
            }
        }
        let Some(partition) = self.shard_of(&ended.transactional_id) else { return };
        let transactional_id = ended.transactional_id;
        let written = Request::MarkersWritten {
            transactional_id,
            producer: ended.producer,
            coordinator_epoch: ended.coordinator_epoch,
        };
        transactions.request(partition, written).await;
    }

    fn is_to_be_repeated(&self, partition: &TopicPartition, code: ErrorCode) -> bool {
        match code {
            ErrorCode::None => false,
            ErrorCode::UnknownTopicOrPartition => {
                // A partition that is no more needs no marker.
                let image = self.metadata.image();
                image.topics.partition(&partition.topic, partition.partition).is_some()
            }
            ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => {
                tracing::error!(%partition, %code, "a marker is refused for good: the partition has heard of a newer producer or coordinator");
                false
            }
            _ => true,
        }
    }

    fn shard_of(&self, transactional_id: &str) -> Option<i32> {
        let image = self.metadata.image();
        let topic = image.topics.by_name(TRANSACTION_STATE_TOPIC)?;
        let n = i32::try_from(topic.partitions.len()).ok()?;
        Some(partition_for(transactional_id, n))
    }

    fn is_coordinated_here(&self, transactional_id: &str, epoch: i32) -> bool {
        let shard = self.shard_of(transactional_id);
        let found = shard.and_then(|p| self.partitions.by_name(TRANSACTION_STATE_TOPIC, p));
        found.and_then(|found| found.leader_epoch()) == Some(LeaderEpoch(epoch))
    }
}
