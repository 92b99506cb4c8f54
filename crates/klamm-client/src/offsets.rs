//! Where partitions start and end, and which offset a time has (ListOffsets).

use std::collections::BTreeMap;

use klamm_model::{IsolationLevel, NodeId, Offset, Timestamp, TopicPartition};
use klamm_protocol::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use klamm_stdx::Str;

use crate::cluster::{AutoCreate, Client, Purpose};
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// Which offset is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that is kept.
    Earliest,
    /// The one that the next record will have.
    Latest,
    /// The first record that is not older than this.
    At(Timestamp),
}

impl OffsetSpec {
    fn to_wire(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::At(timestamp) => timestamp.0,
        }
    }
}

impl Client {
    /// The offsets of some partitions; `None` where no record is as young as asked for. Asks
    /// again where a leader has moved.
    ///
    /// # Errors
    /// A topic does not exist, or a broker refused for too long.
    pub async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: IsolationLevel,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>> {
        let mut found = BTreeMap::new();
        let mut retry = Retry::default();
        loop {
            let missing: Vec<_> =
                partitions.iter().filter(|partition| !found.contains_key(*partition)).collect();
            if missing.is_empty() {
                return Ok(found);
            }
            let mut last = None;
            for (leader, of_leader) in self.by_leader(&missing).await? {
                let request = request(&of_leader, spec, isolation);
                if let Err(error) = self.ask(leader, &request, &mut found).await {
                    last = Some(error);
                }
            }
            // A broker that answers and leaves partitions out would be asked for ever.
            let left_out = || ClientError::Invalid("the broker leaves partitions out".into());
            let error = match last {
                None if found.len() == partitions.len() => continue,
                None => left_out(),
                Some(error) => error,
            };
            for partition in &missing {
                self.forget_topic(&partition.topic);
            }
            if !(error.is_retriable() && retry.again().await) {
                return Err(error);
            }
        }
    }

    /// Partitions by their leader.
    pub(crate) async fn by_leader(
        &self,
        partitions: &[&TopicPartition],
    ) -> Result<BTreeMap<NodeId, Vec<TopicPartition>>> {
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let topic = self.topic(&partition.topic, AutoCreate::Never).await?;
            let leader = topic.leaders.get(&partition.partition).copied().flatten();
            let Some(leader) = leader else {
                return Err(ClientError::Invalid(format!(
                    "topic '{}' has no partition {}",
                    partition.topic, partition.partition
                )));
            };
            by_leader.entry(leader).or_default().push((*partition).clone());
        }
        Ok(by_leader)
    }

    async fn ask(
        &self,
        leader: NodeId,
        request: &ListOffsetsRequest,
        found: &mut BTreeMap<TopicPartition, Option<Offset>>,
    ) -> Result<()> {
        let connection = self.broker(leader, Purpose::Data).await?;
        let response = connection.call(request).await?;
        let mut refused = Ok(());
        for topic in &response.topics {
            for partition in &topic.partitions {
                let key = TopicPartition::new(topic.name.detached(), partition.partition_index);
                if partition.error_code == 0 {
                    let offset = (partition.offset >= 0).then_some(Offset(partition.offset));
                    found.insert(key, offset);
                } else {
                    let what = format!("finding an offset of {key}");
                    refused = Err(ClientError::refused(partition.error_code, None, &what));
                }
            }
        }
        refused
    }
}

fn request(
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(ListOffsetsPartition {
            partition_index: partition.partition,
            timestamp: spec.to_wire(),
            ..ListOffsetsPartition::default()
        });
    }
    let topic = |(name, partitions)| ListOffsetsTopic { name, partitions };
    ListOffsetsRequest {
        isolation_level: isolation_to_wire(isolation),
        topics: topics.into_iter().map(topic).collect(),
        ..ListOffsetsRequest::default()
    }
}

/// As in ListOffsets and Fetch.
pub(crate) fn isolation_to_wire(isolation: IsolationLevel) -> i8 {
    match isolation {
        IsolationLevel::ReadUncommitted => 0,
        IsolationLevel::ReadCommitted => 1,
    }
}
