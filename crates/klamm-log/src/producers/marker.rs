//! The batch by which a transaction ends in a partition (KIP-98).

use klamm_records::{BatchView, EndTxnMarker, Scratch, ValidBatch};

use crate::appended::AppendError;

/// A batch that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whether the transaction is committed.
    pub is_commit: bool,
    /// The epoch of the coordinator that says so.
    pub coordinator_epoch: i32,
}

impl From<EndTxnMarker> for Marker {
    fn from(marker: EndTxnMarker) -> Self {
        Self { is_commit: !marker.is_abort, coordinator_epoch: marker.coordinator_epoch }
    }
}

/// The transaction marker in a control batch; `None` for other batches.
pub(crate) fn marker_of(batch: &ValidBatch<'_>) -> Result<Option<Marker>, AppendError> {
    let Some(mut records) = batch.control_records() else { return Ok(None) };
    let Some(Ok(record)) = records.next() else { return Ok(None) };
    EndTxnMarker::parse(&record)
        .map(|marker| marker.map(Marker::from))
        .map_err(AppendError::Control)
}

/// [`marker_of`] for a batch that is in some log already, and is not refused for what it holds.
pub(crate) fn marker_in(batch: &BatchView<'_>) -> Option<Marker> {
    if !batch.header().attributes.is_control() {
        return None;
    }
    let mut scratch = Scratch::default();
    let record = batch.records(&mut scratch).ok()?.next()?.ok()?;
    EndTxnMarker::parse(&record).ok().flatten().map(Marker::from)
}
