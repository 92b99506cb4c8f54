//! The aborted transactions of a segment, as its batches tell, against its transaction index.

use std::collections::HashSet;
use std::path::Path;

use klamm_model::{Offset, ProducerId};
use klamm_records::BatchView;

use super::{CURE_INDEX, Findings};
use crate::producers::marker::marker_in;
use crate::producers::state::ProducerState;
use crate::segment::transaction_index::{AbortedTransaction, ENTRY_BYTES};

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentEnd {
    /// The next segment begins behind it.
    Sealed,
    /// It is the last; nothing is known from this offset on.
    Open(Offset),
}

/// The aborted transactions of a segment.
#[derive(Debug, Default)]
pub(super) struct Aborts {
    /// Those whose records are there.
    pub(super) transactions: Vec<AbortedTransaction>,
    /// Producer and offset of each marker, also of those whose records compaction has taken.
    pub(super) markers: HashSet<(ProducerId, Offset)>,
}

impl Aborts {
    /// What a batch says of its producer is remembered.
    pub(super) fn note(&mut self, batch: &BatchView<'_>, producers: &mut ProducerState) {
        let header = batch.header();
        let Some(producer) = header.producer else { return };
        match marker_in(batch) {
            Some(marker) => {
                if !marker.is_commit {
                    self.markers.insert((producer.id, header.base_offset));
                }
                self.transactions.extend(producers.on_marker(header, marker));
            }
            None => producers.on_appended(header),
        }
    }

    /// Each entry of the file has its marker; each aborted transaction of a sealed segment has its
    /// entry.
    pub(super) fn compare(
        &self,
        (path, bytes): (&Path, &[u8]),
        segment_end: SegmentEnd,
        findings: &mut Findings,
    ) {
        let entries = AbortedTransaction::decode(bytes);
        let used = entries.len() * ENTRY_BYTES;
        if used < bytes.len() {
            let what = "what is there is no entry".to_owned();
            findings.damage(path, Some(used as u64), (what, CURE_INDEX));
        }
        let marks = |t: &AbortedTransaction| (t.producer_id, t.last_offset);
        let is_at_end = |t: &AbortedTransaction| matches!(segment_end, SegmentEnd::Open(end) if t.last_offset >= end);
        for (n, entry) in entries.iter().enumerate() {
            // Compaction takes the records first, and the marker with its entry later.
            if !self.markers.contains(&marks(entry)) || is_at_end(entry) {
                let what = format!("no transaction was aborted at offset {}", entry.last_offset);
                let place = (n * ENTRY_BYTES) as u64;
                findings.damage(path, Some(place), (what, CURE_INDEX));
            }
        }
        let told: HashSet<(ProducerId, Offset)> = entries.iter().map(marks).collect();
        let is_missing = |t: &&AbortedTransaction| !told.contains(&marks(t));
        if let Some(missing) =
            self.transactions.iter().find(is_missing).filter(|_| segment_end == SegmentEnd::Sealed)
        {
            let what = format!(
                "the transaction of producer {} that was aborted at offset {} is not in it",
                missing.producer_id, missing.last_offset
            );
            findings.damage(path, None, (what, CURE_INDEX));
        }
    }
}
