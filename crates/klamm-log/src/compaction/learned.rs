//! What a run learns of the dirty part of a log before it writes anything: the last offset of each
//! key, and where the batches lie (Kafka: `Cleaner.buildOffsetMap`).

use std::ops::ControlFlow;
use std::sync::Arc;

use klamm_model::Offset;
use klamm_records::{BatchView, RawRecords, RecordsError, Scratch};

use super::extents::Extents;
use super::filter::control;
use super::keys::{AT_ONCE, Full, KeyOffsets, KeySecret};
use super::source::{Placed, Source, Stretch, corrupt};
use super::terms::{CleanError, CleanerOptions, Pace};
use super::transactions::{Need, Transactions};
use crate::error::LogError;
use crate::names::LOG_SUFFIX;
use crate::segment::Segment;

/// Of the bytes for the table of keys, this part at most is for extents.
const EXTENTS_SHARE: u64 = 32;
/// So many extents are as large as the buffers together: fewer bytes are not worth a read.
const EXTENTS_IN_BUFFERS: usize = 32;

/// The dirty part of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirty<'a> {
    /// The segments up to its end; it may begin in the midst of one.
    pub(super) segments: &'a [Arc<Segment>],
    pub(super) first: Offset,
    pub(super) end: Offset,
}

/// What is known of the dirty part.
pub(super) struct Learned {
    pub(super) keys: KeyOffsets,
    pub(super) extents: Extents,
}

/// Reads the dirty part, batch after batch.
pub(super) struct Learner<'a> {
    dirty: Dirty<'a>,
    keys: KeyOffsets,
    extents: Extents,
    /// Those that were aborted in the dirty part.
    transactions: Transactions,
    scratch: &'a mut Scratch,
    /// The bytes that there are for keys and extents.
    keys_bytes: u64,
}

impl<'a> Learner<'a> {
    pub(super) fn new(
        dirty: Dirty<'a>,
        (secret, options): (&KeySecret, &CleanerOptions),
        transactions: Transactions,
        scratch: &'a mut Scratch,
    ) -> Self {
        let bytes = options.keys_bytes;
        let extent_bytes = (options.io_bytes / EXTENTS_IN_BUFFERS) as u64;
        let extents = Extents::new(extent_bytes, bytes / EXTENTS_SHARE);
        let room = (bytes - extents.bytes_max(), options.load_factor);
        let keys = KeyOffsets::new(secret, (dirty.first, dirty.end), room);
        Self { dirty, keys, extents, transactions, scratch, keys_bytes: bytes }
    }

    /// Learns all of it, or as much as there is room for the keys of. Fails if that is nothing.
    pub(super) fn learn(
        mut self,
        source: &mut Source,
        pace: &mut dyn Pace,
    ) -> Result<Learned, CleanError> {
        let Dirty { segments, first, end } = self.dirty;
        let from = segments.partition_point(|s| s.base_offset <= first).saturating_sub(1);
        for (i, segment) in segments.iter().enumerate().skip(from) {
            let position = match segment.base_offset >= first {
                true => 0,
                false => segment.locate(first)?.map_or(segment.size(), |found| found.position),
            };
            let end_offset = segments.get(i + 1).map_or(end, |next| next.base_offset);
            let stretch = Stretch { position, ..Stretch::whole(segment, end_offset) };
            let walked = source.walk(stretch, pace, &mut |placed| {
                if placed.batch.base_offset >= first {
                    self.extents.note(placed);
                }
                self.note_keys(placed).map_err(|e| corrupt(segment, placed.position, &e))
            })?;
            if walked.is_break() {
                if self.keys.latest_offset() < first {
                    return Err(no_room(self.keys_bytes, segment));
                }
                break;
            }
            // What compaction took before is no gap.
            self.keys.advance(end_offset.plus(-1));
        }
        Ok(Learned { keys: self.keys, extents: self.extents })
    }

    /// Puts a batch's keys into the table; breaks off when that is full.
    fn note_keys(&mut self, placed: &Placed<'_>) -> Result<ControlFlow<()>, RecordsError> {
        let (batch, first) = (&placed.batch, self.dirty.first);
        let need = match batch.attributes.is_control() {
            true => {
                self.transactions.on_control(batch, control(batch)?);
                Need::Obsolete
            }
            false => self.transactions.on_data(batch),
        };
        if need == Need::Needed && self.note_records(batch)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if batch.last_offset() >= first {
            self.keys.advance(batch.last_offset());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn note_records(&mut self, batch: &BatchView<'_>) -> Result<ControlFlow<()>, RecordsError> {
        let codec = batch.attributes.codec().map_err(RecordsError::Codec)?;
        let body =
            self.scratch.decompress(codec, batch.body()).map_err(RecordsError::Decompress)?;
        let mut records = RawRecords::new(body, batch.record_count);
        let (keys, first) = (&mut self.keys, self.dirty.first);
        let mut some = [(0, Offset(0)); AT_ONCE];
        loop {
            let mut n = 0;
            for record in records.by_ref() {
                let record = record?;
                let offset = batch.base_offset.plus(i64::from(record.offset_delta));
                let Some(key) = record.key.filter(|_| offset >= first) else { continue };
                some[n] = (keys.hash(key), offset);
                n += 1;
                if n == AT_ONCE {
                    break;
                }
            }
            keys.touch(some[..n].iter().map(|(hash, _)| *hash));
            if some[..n].iter().any(|(hash, offset)| keys.put(*hash, *offset) == Err(Full)) {
                return Ok(ControlFlow::Break(()));
            }
            if n < AT_ONCE {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }
}

fn no_room(keys_bytes: u64, segment: &Segment) -> CleanError {
    let what = format!(
        "the table of keys has {keys_bytes} bytes and no room for a single key; raise log.cleaner.dedupe.buffer.size or lower log.cleaner.threads"
    );
    LogError::Unreadable { path: segment.path(LOG_SUFFIX), what }.into()
}
