//! The aborted transactions of a log: all of them in memory, and each in the transaction index of
//! the segment that holds its marker.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use klamm_env::OpenMode;
use klamm_model::Offset;

use crate::error::LogError;
use crate::names::TRANSACTION_INDEX_SUFFIX;
use crate::segment::Segment;
use crate::segment::transaction_index::AbortedTransaction;
use crate::sync::Unsynced;
use crate::view::LogView;

/// In the order of their markers.
#[derive(Debug, Default)]
pub(crate) struct AbortedTransactions {
    all: Vec<AbortedTransaction>,
    /// The active segment's file lacks entries: there was no room.
    is_file_behind: bool,
}

impl AbortedTransactions {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether entries for which there was no room wait to be written.
    pub(crate) fn is_file_behind(&self) -> bool {
        self.is_file_behind
    }

    /// Readers see them.
    pub(crate) fn publish(&self, view: &LogView) {
        view.aborted.store(Arc::new(self.all.clone()));
    }

    /// Whether one has its marker at `offset` or later.
    pub(crate) fn reaches(&self, offset: Offset) -> bool {
        self.all.iter().any(|t| t.last_offset >= offset)
    }

    /// One that was found again in the batches; nothing is written.
    pub(crate) fn extend(&mut self, found: Option<AbortedTransaction>) {
        self.all.extend(found);
    }

    /// Nothing is left of the log.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    /// The log starts at `start` now.
    pub(crate) fn truncate_from_start(&mut self, start: Offset) {
        self.all.retain(|t| t.last_offset >= start);
    }

    /// The log ends at `end` now.
    pub(crate) fn truncate_from_end(&mut self, end: Offset) {
        self.all.retain(|t| t.last_offset < end);
    }

    /// What had its marker in `offsets` is `new`.
    pub(crate) fn replace(&mut self, offsets: &Range<Offset>, new: &[AbortedTransaction]) {
        self.all.retain(|t| !offsets.contains(&t.last_offset));
        self.all.extend(new);
        self.all.sort_by_key(|t| t.last_offset);
    }

    /// Adds one whose marker is in the active segment already. If there is no room for it in its
    /// file, it is written later: a crash finds it in the batches.
    pub(crate) fn add(
        &mut self,
        aborted: AbortedTransaction,
        active: &Segment,
    ) -> Result<(), LogError> {
        self.all.push(aborted);
        if self.is_file_behind {
            return Ok(());
        }
        let path = active.path(TRANSACTION_INDEX_SUFFIX);
        let write = || {
            let file = active.disk().open(&path, OpenMode::Create)?;
            let len = file.len()?;
            file.write_all_at(&[IoSlice::new(&aborted.to_bytes())], len)
        };
        match write().map_err(LogError::growth(&path)) {
            Err(LogError::Full { .. }) => self.is_file_behind = true,
            written => written?,
        }
        Ok(())
    }

    /// Those in the files of `segments` that have their marker in `offsets`, and no others.
    pub(crate) fn load<'a>(
        &mut self,
        segments: impl Iterator<Item = &'a Arc<Segment>>,
        offsets: &Range<Offset>,
    ) -> Result<(), LogError> {
        self.all.clear();
        for segment in segments {
            let bytes = segment.read_whole(TRANSACTION_INDEX_SUFFIX)?;
            self.all.extend(AbortedTransaction::decode(&bytes));
        }
        self.all.retain(|t| offsets.contains(&t.last_offset));
        Ok(())
    }

    /// Writes the transaction indexes of the segments from the one that holds `from` on, as a
    /// whole. They are to be synced.
    pub(crate) fn save(
        &self,
        (segments, from): (&[Arc<Segment>], Offset),
        unsynced: &mut Unsynced,
    ) -> Result<(), LogError> {
        let first =
            segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for (i, segment) in segments.iter().enumerate().skip(first) {
            let next = segments.get(i + 1).map_or(Offset(i64::MAX), |next| next.base_offset);
            let is_here =
                |t: &&AbortedTransaction| (segment.base_offset..next).contains(&t.last_offset);
            let bytes: Vec<u8> =
                self.all.iter().filter(is_here).flat_map(|t| t.to_bytes()).collect();
            let path = segment.path(TRANSACTION_INDEX_SUFFIX);
            let is_there = segment.disk().file_len(&path).map_err(LogError::io(&path))?.is_some();
            if bytes.is_empty() && !is_there {
                continue;
            }
            let write = || {
                let file = segment.disk().open(&path, OpenMode::Create)?;
                // Never shorter than it was vouched to be: what is on the disk of it is the
                // same before and after.
                file.write_all_at(&[IoSlice::new(&bytes)], 0)?;
                file.set_len(bytes.len() as u64)
            };
            write().map_err(LogError::growth(&path))?;
            unsynced.path(path, Some(segment.base_offset));
        }
        Ok(())
    }

    /// Entries that found no room in the file of the last of `segments` are written now.
    pub(crate) fn complete(
        &mut self,
        segments: &[Arc<Segment>],
        unsynced: &mut Unsynced,
    ) -> Result<(), LogError> {
        if self.is_file_behind {
            self.save((segments, Offset(i64::MAX)), unsynced)?;
            self.is_file_behind = false;
        }
        Ok(())
    }
}
