//! A group's offsets, changed from outside, and how far behind they are in time.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_model::{ErrorCode, IsolationLevel, Offset, TopicPartition};
use klamm_protocol::{
    OffsetDeleteRequest,
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
};
use klamm_stdx::Str;

use crate::admin::check;
use crate::admin_groups::GroupOffset;
use crate::cluster::Client;
use crate::consumer::times::time_at;
use crate::error::Result;
use crate::group::positions;
use crate::offsets::OffsetSpec;
use crate::retry::Retry;

/// Partitions whose lag in time is asked for; each costs two fetches of one batch.
const TIMED_PARTITIONS_MAX: usize = 1_000;

impl Client {
    /// Sets offsets of a group that has no members; makes the group if there is none.
    ///
    /// # Errors
    /// The coordinator refused, for example because the group has members.
    pub async fn set_group_offsets(
        &self,
        group_id: &Str,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<()> {
        let mut retry = Retry::default();
        loop {
            let connection = self.coordinator_of(group_id).await?;
            match positions::set(&connection, group_id, offsets).await {
                Err(error) if error.is_retriable() && retry.again().await => {}
                other => return other,
            }
        }
    }

    /// Makes a group forget its offsets in some partitions (KIP-496); says what became of each.
    ///
    /// # Errors
    /// The coordinator refused all of it.
    pub async fn delete_group_offsets(
        &self,
        group_id: &Str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>> {
        let mut topics: BTreeMap<Str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            let line = OffsetDeleteRequestPartition { partition_index: partition.partition };
            topics.entry(partition.topic.clone()).or_default().push(line);
        }
        let topic = |(name, partitions)| OffsetDeleteRequestTopic { name, partitions };
        let request = OffsetDeleteRequest {
            group_id: group_id.clone(),
            topics: topics.into_iter().map(topic).collect(),
        };
        let what = format!("deleting offsets of group '{group_id}'");
        let mut retry = Retry::default();
        let response = loop {
            let connection = self.coordinator_of(group_id).await?;
            let response = connection.call(&request).await?;
            match check(response.error_code, None, &what) {
                Ok(()) => break response,
                Err(error) if error.is_retriable() && retry.again().await => {}
                Err(error) => return Err(error),
            }
        };
        let mut codes = BTreeMap::new();
        for topic in response.topics {
            for line in topic.partitions {
                let key = TopicPartition::new(topic.name.detached(), line.partition_index);
                let code = ErrorCode::from_code(line.error_code);
                codes.insert(key, code.unwrap_or(ErrorCode::UnknownServerError));
            }
        }
        Ok(codes)
    }

    /// How far behind the end of each partition a group is in time: from the first record that it
    /// has not read to the last one that there is, by their timestamps. Nothing where it has read
    /// everything, or where the partition is gone. At most a thousand partitions are looked at,
    /// each with two fetches of one batch.
    ///
    /// # Errors
    /// A leader refused for too long, or records are damaged.
    pub async fn time_lags(
        &self,
        offsets: &BTreeMap<TopicPartition, GroupOffset>,
    ) -> Result<BTreeMap<TopicPartition, Duration>> {
        let behind: Vec<TopicPartition> = offsets
            .iter()
            .filter(|(_, offset)| offset.lag().is_some_and(|lag| lag > 0))
            .map(|(partition, _)| partition.clone())
            .take(TIMED_PARTITIONS_MAX)
            .collect();
        let starts = self
            .list_offsets(&behind, OffsetSpec::Earliest, IsolationLevel::ReadUncommitted)
            .await?;
        let mut lags = BTreeMap::new();
        for partition in behind {
            let GroupOffset { current, end: Some(end) } = offsets[&partition] else { continue };
            // What retention has taken cannot be asked.
            let start = starts.get(&partition).copied().flatten().unwrap_or(Offset::ZERO);
            let first = time_at(self, &partition, current.max(start)).await?;
            let last = time_at(self, &partition, end.plus(-1)).await?;
            if let (Some(first), Some(last)) = (first, last) {
                let ms = u64::try_from(last.0.saturating_sub(first.0)).unwrap_or(0);
                lags.insert(partition, Duration::from_millis(ms));
            }
        }
        Ok(lags)
    }
}
