//! What a broker's answer means for a batch. Decides only.

use klamm_model::ErrorCode;
use klamm_protocol::produce_response::PartitionProduceResponse;

use super::batch::{Acknowledged, ReadyBatch};
use crate::error::{ClientError, Result};

/// A batch among the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Every batch before it is acknowledged.
    pub(super) is_next: bool,
    pub(super) is_transactional: bool,
}

pub(super) enum Verdict {
    Done(Result<Acknowledged>),
    /// It is sent again as it is.
    Again(ClientError),
    /// The broker has forgotten the producer: it begins anew in its next epoch (KIP-360).
    Anew(ClientError),
}

pub(super) fn verdict(
    answer: Option<&PartitionProduceResponse>,
    batch: &ReadyBatch,
    standing: Standing,
) -> Verdict {
    let Some(answer) = answer else {
        let text = format!("the broker's answer leaves {} out", batch.partition);
        return Verdict::Done(Err(ClientError::Invalid(text)));
    };
    let code = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
    let base_offset = (answer.base_offset >= 0).then_some(answer.base_offset);
    match code {
        ErrorCode::None => Verdict::Done(Ok(Acknowledged { base_offset })),
        // It is there already, from an attempt whose answer was lost.
        ErrorCode::DuplicateSequenceNumber => Verdict::Done(Ok(Acknowledged { base_offset })),
        _ => {
            let what = format!("producing to {}", batch.partition);
            let error =
                ClientError::refused(answer.error_code, answer.error_message.as_deref(), &what);
            // The batch before it was refused for a passing reason and will be sent first.
            let overtook = code == ErrorCode::OutOfOrderSequenceNumber && batch.producer.is_some();
            let is_forgotten =
                code == ErrorCode::UnknownProducerId || (overtook && standing.is_next);
            match is_forgotten {
                // A transaction does not begin anew by itself.
                true if standing.is_transactional => Verdict::Done(Err(error)),
                true => Verdict::Anew(error),
                false if code.is_retriable() || overtook => Verdict::Again(error),
                false => Verdict::Done(Err(error)),
            }
        }
    }
}

/// Whether the batch that an attempt has failed with this error for cannot be in the log. A leader
/// that was replaced while it waited for replicas may have left it there.
pub(super) fn is_certainly_not_stored(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::CorruptMessage
                | ErrorCode::ConcurrentTransactions
        ),
        None => error.is_certain(),
    }
}

/// Whether a write that failed so may have brought its partition into its transaction.
pub(super) fn may_be_in_transaction(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => code != ErrorCode::ConcurrentTransactions,
        None => !error.is_certain(),
    }
}

/// Whether an attempt that has failed with this error is worth another.
pub(super) fn is_passing(error: &ClientError) -> bool {
    error.is_retriable()
        || matches!(
            error.code(),
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId)
        )
}
