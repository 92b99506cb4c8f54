//! What can be asked of a shard, and its answers.

use std::collections::HashSet;
use std::sync::Arc;

use klamm_model::{ErrorCode, ProducerId, Timestamp, TopicPartition};
use klamm_stdx::Str;

use crate::producer::{Outcome, ProducerIdAndEpoch, Protocol};
use crate::state::State;

/// A question about the transactional id that comes first.
#[derive(Debug, Clone)]
pub enum Request {
    /// InitProducerId.
    Init {
        /// Which.
        transactional_id: Str,
        /// How long its transactions may stay open, in milliseconds.
        timeout_ms: i32,
        /// What the producer believes to be; `None` for a new instance.
        expected: Option<ProducerIdAndEpoch>,
        /// A producer id that nobody has, after [`Response::NeedsProducerId`].
        fresh: Option<ProducerId>,
    },
    /// AddPartitionsToTxn and AddOffsetsToTxn, or a first write by v2.
    AddPartitions {
        /// Which.
        transactional_id: Str,
        /// Who asks.
        producer: ProducerIdAndEpoch,
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// The client's protocol.
        protocol: Protocol,
    },
    /// A partition's leader asks whether a producer's transaction holds the partition.
    Verify {
        /// Which.
        transactional_id: Str,
        /// Who writes.
        producer: ProducerIdAndEpoch,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// EndTxn.
    End {
        /// Which.
        transactional_id: Str,
        /// Who asks.
        producer: ProducerIdAndEpoch,
        /// How.
        outcome: Outcome,
        /// The client's protocol.
        protocol: Protocol,
        /// A producer id that nobody has, after [`Response::NeedsProducerId`].
        fresh: Option<ProducerId>,
    },
    /// Every partition has its marker of this producer.
    MarkersWritten {
        /// Which.
        transactional_id: Str,
        /// The markers' producer.
        producer: ProducerIdAndEpoch,
        /// The epoch of the coordinator that had them written. Another's markers say nothing: our
        /// own are still under way, and may arrive when the next transaction is open.
        coordinator_epoch: i32,
    },
    /// DescribeTransactions.
    Describe(Str),
    /// ListTransactions.
    List(Arc<TransactionFilter>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Init`].
    Init(Result<ProducerIdAndEpoch, ErrorCode>),
    /// To [`Request::AddPartitions`].
    Added(ErrorCode),
    /// To [`Request::Verify`], for each partition.
    Verified(Vec<(TopicPartition, ErrorCode)>),
    /// To [`Request::End`]: what the producer uses from now on.
    Ended(Result<ProducerIdAndEpoch, ErrorCode>),
    /// The same request is to come again with a producer id that nobody has.
    NeedsProducerId,
    /// To [`Request::MarkersWritten`].
    Done,
    /// To [`Request::Describe`]; `None` if there is no such transactional id.
    Described(Option<Box<DescribedTransaction>>),
    /// To [`Request::List`].
    Listed(Vec<ListedTransaction>),
    /// The shard is not here, or not ready.
    Unavailable(ErrorCode),
}

/// A transaction as DescribeTransactions tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTransaction {
    /// Where it stands.
    pub state: State,
    /// In milliseconds.
    pub timeout_ms: i32,
    /// When its first partition came.
    pub started_at: Option<Timestamp>,
    /// Whose it is.
    pub producer: ProducerIdAndEpoch,
    /// The partitions in it.
    pub partitions: Vec<TopicPartition>,
}

/// Which transactions ListTransactions wants.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Of these states; of all if there is none.
    pub states: HashSet<State>,
    /// Of these producers; of all if there is none.
    pub producer_ids: HashSet<ProducerId>,
    /// Open for longer, in milliseconds.
    pub longer_than_ms: Option<i64>,
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The transactional id.
    pub transactional_id: Str,
    /// Whose it is.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub state: State,
}

impl Response {
    /// This answer, if what it tells could not be done.
    #[must_use]
    pub(crate) fn refused(self, code: ErrorCode) -> Self {
        match self {
            Self::Init(_) => Self::Init(Err(code)),
            Self::Added(_) => Self::Added(code),
            Self::Ended(_) => Self::Ended(Err(code)),
            other => other,
        }
    }
}
