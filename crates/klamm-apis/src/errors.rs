//! Every domain error as Kafka's code. There is no `_ =>` here: a new error needs a decision.

use klamm_log::{AppendError, ReadError, SequenceError, TransactionError};
use klamm_model::ErrorCode;
use klamm_replication::{AppendRefused, MoveRefused, ReadRefused, SessionError};

/// Of an append.
pub(crate) fn append_code(error: &AppendRefused) -> ErrorCode {
    match error {
        AppendRefused::NotLeader => ErrorCode::NotLeaderOrFollower,
        AppendRefused::Offline | AppendRefused::NearlyFull(_) => ErrorCode::KafkaStorageError,
        AppendRefused::Log(AppendError::Sequence(SequenceError::Epoch { .. })) => {
            ErrorCode::InvalidProducerEpoch
        }
        AppendRefused::Log(AppendError::Sequence(SequenceError::Sequence { .. })) => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        AppendRefused::Log(AppendError::Transaction(error)) => transaction_code(*error),
        AppendRefused::Log(AppendError::Control(_)) => ErrorCode::InvalidRecord,
        AppendRefused::Log(AppendError::TooLarge { .. }) => ErrorCode::RecordListTooLarge,
        AppendRefused::Log(AppendError::Disk(_)) => ErrorCode::KafkaStorageError,
    }
}

fn transaction_code(error: TransactionError) -> ErrorCode {
    match error {
        TransactionError::NotInTransaction | TransactionError::OutsideOfTransaction => {
            ErrorCode::InvalidTxnState
        }
        TransactionError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}

/// Of a read.
pub(crate) fn read_code(error: &ReadRefused) -> ErrorCode {
    match error {
        ReadRefused::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReadRefused::FencedEpoch => ErrorCode::FencedLeaderEpoch,
        ReadRefused::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
        ReadRefused::Offline => ErrorCode::KafkaStorageError,
        ReadRefused::Log(ReadError::OutOfRange { .. }) => ErrorCode::OffsetOutOfRange,
        ReadRefused::Log(ReadError::Log(_)) => ErrorCode::KafkaStorageError,
    }
}

/// Of a move between log directories.
pub(crate) fn move_code(error: &MoveRefused) -> ErrorCode {
    match error {
        MoveRefused::NameTooLong => ErrorCode::InvalidTopicException,
        MoveRefused::NoSuchDirectory => ErrorCode::LogDirNotFound,
        MoveRefused::Cordoned => ErrorCode::InvalidReplicaAssignment,
        MoveRefused::Offline | MoveRefused::Log(_) => ErrorCode::KafkaStorageError,
        MoveRefused::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        MoveRefused::Busy => ErrorCode::ReplicaNotAvailable,
    }
}

/// Of a fetch session.
pub(crate) fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicNaming => ErrorCode::FetchSessionTopicIdError,
    }
}
