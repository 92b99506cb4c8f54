//! Where a transactional producer stands. Decides only: no clock, no connection.
//!
//! ```text
//!          begin            start_end               on_ended
//! Ready ───────────▶ Open ───────────▶ Ending ───────────────▶ Ready
//!                     │ on_batch_failed,  │ on_batch_failed,
//!                     │ on_refused        │ on_refused
//!                     ▼                   ▼        start_end(Abort)
//!                    MustAbort ◀──────────┘ ──────────────────▶ Ending
//!
//! any ── on_refused, on_batch_failed: fenced, or an error without a cure ──▶ Over
//! ```
//!
//! Source of what is which: Kafka's `TransactionManager`, KIP-1050.

use std::collections::BTreeSet;

use klamm_model::{ErrorCode, TopicPartition};

use crate::error::{ClientError, Result};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Commit,
    Abort,
}

#[derive(Debug)]
enum Stage {
    /// No transaction is open.
    Ready,
    /// Records are being sent.
    Open,
    /// The coordinator was asked to end it, and the answer is not here.
    Ending(Outcome),
    /// It cannot be committed.
    MustAbort(ClientError),
    /// The producer can do nothing more.
    Over(ClientError),
}

/// A transaction as its producer sees it.
#[derive(Debug)]
pub(super) struct Transaction {
    stage: Stage,
    /// Partitions that records were taken for; with announcements, those that were announced.
    partitions: BTreeSet<TopicPartition>,
    /// Whether offsets of a group are in it.
    has_offsets: bool,
}

impl Transaction {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Ready, partitions: BTreeSet::new(), has_offsets: false }
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.check_not_over()?;
        if !matches!(self.stage, Stage::Ready) {
            return Err(ClientError::Invalid("the transaction before is still open".into()));
        }
        self.stage = Stage::Open;
        Ok(())
    }

    fn check_not_over(&self) -> Result<()> {
        match &self.stage {
            Stage::Over(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether something may be sent in it.
    pub(super) fn check_open(&self) -> Result<()> {
        match &self.stage {
            Stage::Open => Ok(()),
            Stage::Ready => Err(ClientError::Invalid("no transaction is open: begin one".into())),
            Stage::Ending(_) => Err(ClientError::Invalid("the transaction is ending".into())),
            Stage::MustAbort(error) | Stage::Over(error) => Err(error.clone()),
        }
    }

    /// Whether it may end so. One whose end was not answered may only end the same way again.
    pub(super) fn check_end(&self, outcome: Outcome) -> Result<()> {
        match &self.stage {
            Stage::Open => Ok(()),
            Stage::MustAbort(_) if outcome == Outcome::Abort => Ok(()),
            Stage::Ending(asked) if *asked == outcome => Ok(()),
            Stage::Ending(_) => Err(ClientError::Invalid(
                "the transaction is ending, and not so: ask for the same again".into(),
            )),
            Stage::Ready => Err(ClientError::Invalid("no transaction is open".into())),
            Stage::MustAbort(error) | Stage::Over(error) => Err(error.clone()),
        }
    }

    /// The coordinator is asked now.
    pub(super) fn start_end(&mut self, outcome: Outcome) {
        self.stage = Stage::Ending(outcome);
    }

    /// It has ended.
    pub(super) fn on_ended(&mut self) {
        *self = Self::new();
    }

    pub(super) fn has(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains(partition)
    }

    /// A partition is in it from now on.
    pub(super) fn add(&mut self, partition: TopicPartition) {
        self.partitions.insert(partition);
    }

    /// Offsets of a group are in it from now on.
    pub(super) fn add_offsets(&mut self) {
        self.has_offsets = true;
    }

    /// Whether records were taken into it.
    pub(super) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Whether offsets of a group may be in it.
    pub(super) fn has_offsets(&self) -> bool {
        self.has_offsets
    }

    /// A coordinator's refusal; gives what the caller is told.
    pub(super) fn on_refused(&mut self, error: ClientError) -> ClientError {
        let is_fenced = matches!(
            error.code(),
            Some(ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch)
        );
        self.fail(error, is_fenced)
    }

    /// A batch was not written. An epoch that a partition does not take any more is no proof of
    /// having been fenced: the abort that follows finds out.
    pub(super) fn on_batch_failed(&mut self, error: ClientError) -> ClientError {
        let is_fenced = error.code() == Some(ErrorCode::ProducerFenced);
        self.fail(error, is_fenced)
    }

    fn fail(&mut self, error: ClientError, is_fenced: bool) -> ClientError {
        if let Stage::Over(error) = &self.stage {
            return error.clone();
        }
        let error = match error {
            ClientError::Refused { code, message } if is_fenced => {
                ClientError::Fenced { code, message }
            }
            error if is_without_cure(&error) => error,
            error @ (ClientError::Fenced { .. } | ClientError::MustAbort(_)) => error,
            error => ClientError::MustAbort(Box::new(error)),
        };
        self.stage = match error {
            ClientError::MustAbort(_) => Stage::MustAbort(error.clone()),
            _ => Stage::Over(error.clone()),
        };
        error
    }

    /// The end was not answered, or refused. Without a clear answer it may be asked for again.
    pub(super) fn on_end_failed(&mut self, error: ClientError) -> ClientError {
        match error.is_retriable() || !error.is_certain() {
            true => error,
            false => self.on_refused(error),
        }
    }
}

fn is_without_cure(error: &ClientError) -> bool {
    matches!(error, ClientError::NotServed { .. })
        || matches!(
            error.code(),
            Some(
                ErrorCode::InvalidProducerIdMapping
                    | ErrorCode::InvalidTxnState
                    | ErrorCode::TransactionalIdAuthorizationFailed
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::UnsupportedVersion
            )
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode) -> ClientError {
        ClientError::refused(code.code(), None, "testing")
    }

    fn open() -> Transaction {
        let mut transaction = Transaction::new();
        transaction.begin().unwrap();
        transaction
    }

    #[test]
    fn only_an_open_transaction_takes_records_and_ends() {
        let mut transaction = Transaction::new();
        assert!(transaction.check_open().is_err());
        assert!(transaction.check_end(Outcome::Commit).is_err());
        transaction.begin().unwrap();
        assert!(transaction.check_open().is_ok());
        assert!(transaction.begin().is_err(), "one at a time");
        transaction.start_end(Outcome::Commit);
        assert!(transaction.check_open().is_err());
        transaction.on_ended();
        assert!(transaction.begin().is_ok());
    }

    #[test]
    fn an_end_without_an_answer_may_only_be_repeated() {
        let mut transaction = open();
        transaction.start_end(Outcome::Commit);
        let error = transaction.on_end_failed(refused(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(error.code(), Some(ErrorCode::CoordinatorNotAvailable));
        assert!(transaction.check_end(Outcome::Abort).is_err());
        assert!(transaction.check_end(Outcome::Commit).is_ok());
    }

    #[test]
    fn a_failed_record_leaves_only_the_abort_and_then_the_next_transaction() {
        for code in [
            ErrorCode::MessageTooLarge,
            ErrorCode::TransactionAbortable,
            ErrorCode::InvalidProducerEpoch,
        ] {
            let mut transaction = open();
            transaction.add(TopicPartition::new("t", 0));
            let error = transaction.on_batch_failed(refused(code));
            assert!(matches!(error, ClientError::MustAbort(_)), "{error}");
            assert_eq!(error.code(), Some(code));
            assert!(transaction.check_open().is_err());
            assert!(transaction.check_end(Outcome::Commit).is_err());
            assert!(transaction.check_end(Outcome::Abort).is_ok());
            assert!(transaction.has_partitions());
            transaction.start_end(Outcome::Abort);
            transaction.on_ended();
            assert!(!transaction.has_partitions());
            assert!(transaction.begin().is_ok());
        }
    }

    #[test]
    fn a_fenced_producer_is_over_whatever_comes_later() {
        for code in [ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch] {
            let mut transaction = open();
            let error = transaction.on_refused(refused(code));
            assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
            transaction.on_batch_failed(refused(ErrorCode::MessageTooLarge));
            let later = transaction.check_end(Outcome::Abort).unwrap_err();
            assert!(matches!(later, ClientError::Fenced { .. }));
            assert!(matches!(transaction.begin(), Err(ClientError::Fenced { .. })));
        }
    }

    #[test]
    fn an_error_without_a_cure_ends_the_producer_and_says_which_it_was() {
        for code in [ErrorCode::InvalidProducerIdMapping, ErrorCode::InvalidTxnState] {
            let mut transaction = open();
            let error = transaction.on_refused(refused(code));
            assert!(matches!(error, ClientError::Refused { .. }), "{error}");
            assert_eq!(transaction.check_open().unwrap_err().code(), Some(code));
        }
    }
}
