//! What can be asked of a shard, and its answers.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use klamm_coordinator::TransactionEnd;
use klamm_model::{ErrorCode, PartitionIndex};
use klamm_stdx::Str;

use crate::classic::{
    Heartbeat, JoinRequest, Joined, Leaver, LeftMember, State, SyncRequest, Synced,
};
use crate::consumer::{ConsumerHeartbeat, DescribedConsumerGroup, HeartbeatAnswer, Refusal};
use crate::offsets::{
    OffsetCommit, OffsetFetch, OffsetsOfGroup, PartitionResult, TransactionalCommit,
};

/// A request. All name one group, except [`Request::List`] and [`Request::EndTransaction`].
#[derive(Debug, Clone)]
pub enum Request {
    /// Join or rejoin.
    Join(Str, JoinRequest),
    /// Ask for, or bring, assignments.
    Sync(Str, SyncRequest),
    /// Say that a member is alive.
    Heartbeat(Str, Heartbeat),
    /// Say that a member of the consumer protocol is alive, what it wants and what it has.
    ConsumerHeartbeat(Str, Box<ConsumerHeartbeat>),
    /// Leave.
    Leave(Str, Vec<Leaver>),
    /// Commit offsets.
    CommitOffsets(Str, OffsetCommit),
    /// Commit offsets in a producer's transaction.
    CommitInTransaction(Str, TransactionalCommit),
    /// Read committed offsets.
    FetchOffsets(Str, OffsetFetch),
    /// Forget the offsets of partitions; those of topics that members read are refused.
    DeleteOffsets(Str, Vec<(Str, Vec<PartitionIndex>)>),
    /// Describe a classic group.
    Describe(Str),
    /// Describe a consumer group.
    DescribeConsumers(Str),
    /// List the groups of the shard.
    List(Arc<GroupFilter>),
    /// Delete an empty group.
    Delete(Str),
    /// Partitions were deleted: their offsets go too.
    TopicDeleted(Str),
    /// A producer's transaction is over; names no group.
    EndTransaction(TransactionEnd),
}

impl Request {
    /// The group that it names.
    pub(crate) fn group_id(&self) -> Option<&Str> {
        match self {
            Self::Join(group_id, _)
            | Self::Sync(group_id, _)
            | Self::Heartbeat(group_id, _)
            | Self::ConsumerHeartbeat(group_id, _)
            | Self::Leave(group_id, _)
            | Self::CommitOffsets(group_id, _)
            | Self::CommitInTransaction(group_id, _)
            | Self::FetchOffsets(group_id, _)
            | Self::DeleteOffsets(group_id, _)
            | Self::Describe(group_id)
            | Self::DescribeConsumers(group_id)
            | Self::Delete(group_id) => Some(group_id),
            Self::List(_) | Self::TopicDeleted(_) | Self::EndTransaction(_) => None,
        }
    }
}

/// Which groups to list; an empty filter lets all through.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// State names in lower case.
    states: HashSet<String>,
    /// `classic` or `consumer`.
    types: HashSet<String>,
}

impl GroupFilter {
    /// Lets through what is of one of the states and of one of the types. Both are compared without
    /// case, as Kafka does.
    pub fn new<'a>(
        states: impl IntoIterator<Item = &'a str>,
        types: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let states = states.into_iter().map(str::to_ascii_lowercase).collect();
        Self { states, types: types.into_iter().map(str::to_ascii_lowercase).collect() }
    }

    /// Whether it lets a group through.
    pub(crate) fn admits(&self, group: &ListedGroup) -> bool {
        let has = |words: &HashSet<String>, word: &str| {
            words.is_empty() || words.contains(&word.to_ascii_lowercase())
        };
        has(&self.states, group.state) && has(&self.types, group.group_type)
    }
}

/// The answer to a [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To a join.
    Join(Joined),
    /// To a sync.
    Sync(Synced),
    /// To a heartbeat.
    Heartbeat(ErrorCode),
    /// To a heartbeat of the consumer protocol.
    ConsumerHeartbeat(Result<Box<HeartbeatAnswer>, Refusal>),
    /// To a leave.
    Leave(Result<Vec<LeftMember>, ErrorCode>),
    /// To a commit: a line for each partition.
    CommitOffsets(Vec<PartitionResult>),
    /// To a fetch.
    FetchOffsets(Result<OffsetsOfGroup, ErrorCode>),
    /// To a describe; `None` if there is no such group.
    Describe(Option<Box<DescribedGroup>>),
    /// To a describe of a consumer group.
    DescribeConsumers(Result<Box<DescribedConsumerGroup>, Refusal>),
    /// To a list.
    List(Vec<ListedGroup>),
    /// To a delete.
    Delete(ErrorCode),
    /// To a deletion of offsets: a line for each partition.
    DeleteOffsets(Result<Vec<PartitionResult>, ErrorCode>),
    /// To the end of a transaction.
    EndTransaction(ErrorCode),
    /// Nothing to say.
    Done,
    /// The shard is not here, or not ready.
    Unavailable(ErrorCode),
}

/// A group as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its name.
    pub group_id: Str,
    /// Where it stands.
    pub state: State,
    /// The kind of group.
    pub protocol_type: Str,
    /// The protocol chosen, while stable.
    pub protocol_name: Str,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Chosen by the coordinator.
    pub member_id: Str,
    /// Chosen by the operator.
    pub instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// What it said for the chosen protocol, while stable.
    pub metadata: Bytes,
    /// Its part, while stable.
    pub assignment: Bytes,
}

/// A line of a list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub group_id: Str,
    /// The kind of group.
    pub protocol_type: Str,
    /// Kafka's name for where it stands.
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub group_type: &'static str,
}
