//! Reading what a fetch asks for, partition by partition, within its limits.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_codec::RecordsField;
use klamm_env::{FileSlice, task};
use klamm_log::{AtLeastOne, Limits, LogError, ReadError};
use klamm_model::{ErrorCode, IsolationLevel, LeaderEpoch, Offset};
use klamm_protocol::fetch_response::{AbortedTransaction, EpochEndOffset, PartitionData};
use klamm_replication::{Partition, ReadRefused, Told, Wanted, Worth};

use crate::Context;
use crate::errors::read_code;
use crate::topic_key::FetchKey;

/// One partition of a fetch, and what was found for it.
pub(crate) struct Line {
    pub(crate) key: FetchKey,
    pub(crate) wanted: Wanted,
    pub(crate) partition: Option<Arc<Partition>>,
    pub(crate) data: PartitionData,
    pub(crate) slice: Option<FileSlice>,
}

impl Line {
    pub(crate) fn new(ctx: &Context, key: FetchKey, wanted: Wanted) -> Self {
        let partition = match key.topic_id.is_zero() {
            true => ctx.partitions.by_name(&key.topic, key.partition),
            false => ctx.partitions.by_id(key.topic_id, key.partition),
        };
        Self { key, wanted, partition, data: PartitionData::default(), slice: None }
    }

    /// Bytes that were found.
    pub(crate) fn bytes(&self) -> u64 {
        self.slice.as_ref().map_or(0, |slice| u64::from(slice.len))
    }

    pub(crate) fn worth(&self) -> Worth {
        if self.data.error_code != 0 || self.data.diverging_epoch.epoch >= 0 {
            Worth::Error
        } else if self.slice.is_some() {
            Worth::Records
        } else {
            Worth::Nothing
        }
    }

    pub(crate) fn told(&self) -> Told {
        Told {
            high_watermark: Some(Offset(self.data.high_watermark)),
            log_start_offset: Some(Offset(self.data.log_start_offset)),
        }
    }

    /// Reads at most `bytes_left`; the first records of a response come whatever their size.
    pub(crate) async fn read(
        &mut self,
        ctx: &Context,
        isolation: IsolationLevel,
        bytes_left: u64,
        first: AtLeastOne,
    ) {
        self.slice = None;
        self.data = PartitionData {
            partition_index: self.key.partition,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            // Also with an error it is empty and not null: librdkafka takes null for a broken
            // answer (Kafka: `FetchResponse.partitionResponse`).
            records: RecordsField::Bytes(bytes::Bytes::new()),
            ..PartitionData::default()
        };
        let Some(partition) = self.partition.clone() else {
            self.data.error_code = self.missing(ctx).code();
            return;
        };
        let limits = Limits {
            bytes_max: u32::try_from(bytes_left).unwrap_or(u32::MAX).min(self.wanted.bytes_max),
            at_least_one: first,
            upper: partition.readable_end(isolation),
        };
        if let Err(error) = self.read_partition(&partition, isolation, limits).await {
            self.data.error_code = read_code(&error).code();
            if let ReadRefused::Log(ReadError::OutOfRange { log_start_offset, .. }) = error {
                self.data.log_start_offset = log_start_offset.0;
                self.data.high_watermark = partition.high_watermark().0;
            }
        }
    }

    fn missing(&self, ctx: &Context) -> ErrorCode {
        let image = ctx.metadata.image();
        if self.key.topic_id.is_zero() {
            return match image
                .topics
                .by_name(&self.key.topic)
                .and_then(|t| t.partition(self.key.partition))
            {
                Some(_) => ErrorCode::NotLeaderOrFollower,
                None => ErrorCode::UnknownTopicOrPartition,
            };
        }
        match image.topics.by_id(self.key.topic_id) {
            None => ErrorCode::UnknownTopicId,
            Some(topic) if topic.partition(self.key.partition).is_none() => {
                ErrorCode::UnknownTopicOrPartition
            }
            Some(_) => ErrorCode::NotLeaderOrFollower,
        }
    }

    async fn read_partition(
        &mut self,
        partition: &Arc<Partition>,
        isolation: IsolationLevel,
        limits: Limits,
    ) -> Result<(), ReadRefused> {
        partition.check_leader(self.wanted.current_leader_epoch)?;
        let high_watermark = partition.high_watermark();
        self.data.high_watermark = high_watermark.0;
        self.data.last_stable_offset = partition.last_stable_offset().0;
        self.data.log_start_offset = partition.view().log_start_offset().0;
        if let Some(diverging) = self.divergence(partition) {
            self.data.diverging_epoch = diverging;
            return Ok(());
        }
        self.slice = find(partition, self.wanted.fetch_offset, limits).await?;
        if let Some(slice) = &self.slice {
            self.data.records = RecordsField::Deferred(slice.len);
        }
        if isolation == IsolationLevel::ReadCommitted {
            let aborted =
                partition.view().aborted_transactions(self.wanted.fetch_offset, limits.upper);
            let line = |t: klamm_log::AbortedTransaction| AbortedTransaction {
                producer_id: t.producer_id.0,
                first_offset: t.first_offset.0,
            };
            self.data.aborted_transactions = Some(aborted.into_iter().map(line).collect());
        } else {
            self.data.aborted_transactions = None;
        }
        Ok(())
    }

    /// Where the client's log and ours part (KIP-595): it has records of an epoch that ended
    /// earlier here.
    fn divergence(&self, partition: &Partition) -> Option<EpochEndOffset> {
        let last_fetched = self.wanted.last_fetched_epoch?;
        let end = partition.view().end_of_epoch(last_fetched)?;
        let parts = end.leader_epoch < last_fetched || end.end_offset < self.wanted.fetch_offset;
        parts.then_some(EpochEndOffset { epoch: end.leader_epoch.0, end_offset: end.end_offset.0 })
    }
}

/// The batches from `offset` on. What is not in memory is looked for, and read, by another thread:
/// a worker never waits for a device.
async fn find(
    partition: &Arc<Partition>,
    offset: Offset,
    limits: Limits,
) -> Result<Option<FileSlice>, ReadRefused> {
    if let Some(read) = partition.read_cached(offset, limits)? {
        return Ok(read.slice);
    }
    let searched = Arc::clone(partition);
    let search = move || {
        let slice = searched.read(offset, limits)?.slice;
        slice.iter().for_each(FileSlice::warm);
        Ok(slice)
    };
    task::blocking(search).await.unwrap_or_else(|error| {
        tracing::warn!(partition = %partition.name(), %offset, %error, "the thread that reads for a fetch ended early");
        let path = PathBuf::from(partition.name().to_string());
        Err(ReadRefused::Log(ReadError::Log(LogError::Io { path, error })))
    })
}

/// The client's epoch, if it told one.
pub(crate) fn epoch(wire: i32) -> Option<LeaderEpoch> {
    (wire >= 0).then_some(LeaderEpoch(wire))
}
