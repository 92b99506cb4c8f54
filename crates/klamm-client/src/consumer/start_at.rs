//! Where a consumer starts, and which offsets that is.

use std::collections::BTreeMap;

use klamm_model::{IsolationLevel, Offset, Timestamp, TopicPartition};

use crate::cluster::Client;
use crate::error::Result;
use crate::offsets::OffsetSpec;

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At an offset.
    Offset(Offset),
    /// At the start.
    Beginning,
    /// At the end.
    End,
    /// So many records before the end, or at the start if there are fewer.
    BeforeEnd(i64),
    /// At the first record that is not older, or at the end.
    Time(Timestamp),
}

/// Offsets for places.
pub(crate) async fn resolve(
    client: &Client,
    partitions: &[(TopicPartition, StartAt)],
    isolation: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let of = |wanted: fn(&StartAt) -> bool| -> Vec<TopicPartition> {
        partitions.iter().filter(|(_, at)| wanted(at)).map(|(p, _)| p.clone()).collect()
    };
    let needs_start = of(|at| matches!(at, StartAt::Beginning | StartAt::BeforeEnd(_)));
    let needs_end = of(|at| matches!(at, StartAt::End | StartAt::BeforeEnd(_) | StartAt::Time(_)));
    let starts = client.list_offsets(&needs_start, OffsetSpec::Earliest, isolation).await?;
    let ends = client.list_offsets(&needs_end, OffsetSpec::Latest, isolation).await?;
    let offset_in = |offsets: &BTreeMap<TopicPartition, Option<Offset>>, p: &TopicPartition| {
        offsets.get(p).copied().flatten().unwrap_or(Offset::ZERO)
    };
    let mut found = BTreeMap::new();
    for (partition, at) in partitions {
        let offset = match at {
            StartAt::Offset(offset) => *offset,
            StartAt::Beginning => offset_in(&starts, partition),
            StartAt::End => offset_in(&ends, partition),
            StartAt::BeforeEnd(count) => {
                offset_in(&ends, partition).plus(-count).max(offset_in(&starts, partition))
            }
            StartAt::Time(timestamp) => {
                let one = [partition.clone()];
                let at = client.list_offsets(&one, OffsetSpec::At(*timestamp), isolation).await?;
                let young = at.get(partition).copied().flatten();
                young.unwrap_or_else(|| offset_in(&ends, partition))
            }
        };
        found.insert(partition.clone(), offset);
    }
    Ok(found)
}
