//! Which batches of a producer a partition takes, by what it remembers of producers.
//!
//! [`ProducerRules`] is that memory without a log under it, for the simulation of partitions. It
//! never touches a file.

use klamm_model::{Offset, Timestamp, Verification};
use klamm_records::{BatchHeader, Producer};

use crate::appended::{AppendError, Appended, Origin, TransactionError};
use crate::producers::entry::RememberedBatch;
use crate::producers::marker::Marker;
use crate::producers::state::ProducerState;
use crate::producers::verification::Verifications;
use crate::segment::transaction_index::AbortedTransaction;

/// What is remembered: of producers, of transactions that are about to begin, and the end.
type Remembered<'a> = (&'a ProducerState, &'a Verifications, Offset);

/// What is known of a batch already, so that it need not be written; an error if it is refused.
pub(crate) fn check(
    (producers, verifications, log_end_offset): Remembered<'_>,
    header: &BatchHeader,
    marker: Option<Marker>,
    origin: Origin,
) -> Result<Option<Appended>, AppendError> {
    let duplicate = |known: RememberedBatch| Appended {
        base_offset: known.first_offset(),
        last_offset: known.last_offset,
        max_timestamp: known.timestamp,
        is_duplicate: true,
    };
    let Some(producer) = header.producer else { return Ok(None) };
    match origin {
        Origin::Broker => Ok(None),
        Origin::Client => {
            let known = producers.check(header)?.map(duplicate);
            let is_outside = !header.attributes.is_transactional();
            if known.is_none() && is_outside && producers.is_in_transaction(producer) {
                return Err(TransactionError::OutsideOfTransaction.into());
            }
            Ok(known)
        }
        Origin::Transaction(proof) => {
            if let Some(known) = producers.check(header)? {
                return Ok(Some(duplicate(known)));
            }
            if !producers.is_in_transaction(producer) {
                verifications.check(producer, proof)?;
                verifications.check_order(producer)?;
            }
            Ok(None)
        }
        Origin::Coordinator(proof) => {
            producers.check_epoch(producer)?;
            if !producers.is_in_transaction(producer) {
                verifications.check(producer, proof)?;
            }
            Ok(None)
        }
        Origin::Marker { transaction_version } => {
            let Some(marker) = marker else { return Ok(None) };
            producers.check_marker(producer, marker, transaction_version)?;
            let is_repeated = producers.is_ended(producer, transaction_version);
            Ok(is_repeated.then(|| Appended {
                base_offset: log_end_offset.plus(-1),
                last_offset: log_end_offset.plus(-1),
                max_timestamp: header.max_timestamp,
                is_duplicate: true,
            }))
        }
    }
}

/// A partition's memory of its producers, without a log.
#[derive(Debug, Default)]
pub struct ProducerRules {
    producers: ProducerState,
    verifications: Verifications,
}

impl ProducerRules {
    /// As [`crate::Log::begin_verification`].
    pub fn begin_verification(
        &mut self,
        producer: Producer,
        wall: Timestamp,
    ) -> Option<Verification> {
        if self.producers.is_in_transaction(producer) {
            return None;
        }
        Some(self.verifications.begin(producer, wall))
    }

    /// Whether a batch may follow what ends at `log_end_offset`; what is known of it if it is
    /// there already.
    ///
    /// # Errors
    /// It is refused.
    pub fn check(
        &self,
        log_end_offset: Offset,
        (header, marker): (&BatchHeader, Option<Marker>),
        origin: Origin,
    ) -> Result<Option<Appended>, AppendError> {
        check((&self.producers, &self.verifications, log_end_offset), header, marker, origin)
    }

    /// A batch was appended: what it says about transactions that are about to begin.
    pub fn on_appended(&mut self, header: &BatchHeader, origin: Origin) {
        self.verifications.on_appended(header, origin);
    }

    /// A batch stands where its header says; gives the aborted transaction if it ended one.
    pub fn on_written(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
    ) -> Option<AbortedTransaction> {
        match marker {
            Some(marker) => self.producers.on_marker(header, marker),
            None => {
                self.producers.on_appended(header);
                None
            }
        }
    }

    /// The producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }
}
