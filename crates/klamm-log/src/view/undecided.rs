//! Transactions that have ended by a marker which may not be committed yet: until it is, nobody
//! knows whether they have (Kafka: `ProducerStateManager.unreplicatedTxns`).

use std::collections::VecDeque;
use std::sync::Mutex;

use klamm_model::Offset;

/// Transactions whose markers are not committed yet. More are in flight only where nobody asks
/// for the last stable offset; then the oldest do not matter.
const UNDECIDED_MAX: usize = 65_536;

/// Ended transactions: where they begin, and where their markers are.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    ended: Mutex<VecDeque<(Offset, Offset)>>,
}

impl Undecided {
    /// The transaction from `first_offset` ends with the marker at `marker_offset`.
    pub(crate) fn add(&self, first_offset: Offset, marker_offset: Offset) {
        let mut ended = self.ended.lock().expect("no holder of this lock can panic");
        if ended.len() == UNDECIDED_MAX {
            ended.pop_front();
        }
        ended.push_back((first_offset, marker_offset));
    }

    pub(crate) fn clear(&self) {
        self.ended.lock().expect("no holder of this lock can panic").clear();
    }

    /// Where the first begins that no marker below `high_watermark` has ended; the others are
    /// forgotten.
    pub(crate) fn first_at(&self, high_watermark: Offset) -> Option<Offset> {
        let mut ended = self.ended.lock().expect("no holder of this lock can panic");
        ended.retain(|(_, marker)| *marker >= high_watermark);
        ended.iter().map(|(first, _)| *first).min()
    }
}
