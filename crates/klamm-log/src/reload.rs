//! Producers and aborted transactions as of the end of a log: from the newest usable snapshot and
//! the batches behind it. Never trusts a snapshot or index that a crash may have left behind.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_model::Offset;
use klamm_records::{BatchHeader, BatchView};

use crate::error::LogError;
use crate::log::Log;
use crate::names::LOG_SUFFIX;
use crate::producers::marker::{Marker, marker_in};
use crate::producers::snapshots::SnapshotFiles;
use crate::producers::state::ProducerState;
use crate::segment::Segment;
use crate::segment::search::HeaderScan;

impl Log {
    /// The aborted transactions in the files that ended before `checked_from`; the others are found
    /// again in the batches.
    pub(crate) fn load_aborted(&mut self, checked_from: Option<Offset>) -> Result<(), LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let is_trusted = |s: &&Arc<Segment>| checked_from.is_none_or(|from| s.base_offset < from);
        let end = checked_from.unwrap_or(self.log_end_offset());
        let offsets = self.log_start_offset()..end;
        self.aborted.load(segments.iter().filter(is_trusted), &offsets)?;
        self.aborted.publish(&self.view);
        Ok(())
    }

    /// Writes the transaction indexes of the segments from the one that holds `from` on, as a
    /// whole.
    pub(crate) fn save_aborted(&mut self, from: Offset) -> Result<(), LogError> {
        let segments = self.view.segments.load();
        self.aborted.save((&segments, from), &mut self.unsynced)
    }

    pub(crate) fn snapshot_files(&self) -> SnapshotFiles<'_> {
        SnapshotFiles { disk: self.disk.as_ref(), dir: &self.dir }
    }

    /// Removes snapshots of what is no more, and those that are neither at a segment's start nor
    /// the newest (Kafka: `ProducerStateManager.removeStraySnapshots`).
    pub(crate) fn remove_snapshots_after(&mut self, end: Offset) -> Result<(), LogError> {
        self.snapshots.newest = None;
        let segments = Arc::clone(&self.view.segments.load());
        let is_at_segment = |offset| segments.iter().any(|s| s.base_offset == offset);
        let snapshots = self.snapshot_files().list()?;
        let newest = snapshots.iter().map(|(offset, _)| *offset).filter(|o| *o <= end).max();
        for (offset, path) in snapshots {
            let is_marked = self.mark.is_some_and(|mark| mark.snapshot == Some(offset));
            if Some(offset) == newest || (offset <= end && is_at_segment(offset)) || is_marked {
                self.snapshots.newest = Some(offset);
            } else {
                self.snapshot_files().remove(&path)?;
            }
        }
        Ok(())
    }

    /// The producers: the newest usable snapshot, and every batch after it. With `checked_from`
    /// no snapshot behind it is believed, and the aborted transactions from there on are found
    /// again and written.
    pub(crate) fn reload_producers(
        &mut self,
        checked_from: Option<Offset>,
    ) -> Result<(), LogError> {
        // What lies below the log's start, in a segment that is still there, is not wasted: a
        // transaction may have begun in it.
        let first = self.view.segments.load().first().map(|segment| segment.base_offset);
        let mut from = first.unwrap_or(self.log_start_offset());
        self.producers = ProducerState::default();
        let newest_believed = checked_from.unwrap_or(self.log_end_offset());
        self.snapshots.newest = self.snapshots.newest.filter(|offset| *offset <= newest_believed);
        for (offset, path) in self.snapshot_files().list()?.into_iter().rev() {
            if offset > newest_believed {
                // Of batches that may have been lost, or of another life before them: it is written
                // anew when its time comes.
                self.snapshot_files().remove(&path)?;
                continue;
            }
            self.snapshots.newest = Some(offset);
            match self.snapshot_files().read(&path)? {
                Ok(state) => {
                    self.producers = state;
                    from = offset;
                    break;
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "producers are replayed from further back");
                    self.snapshot_files().remove(&path)?;
                    if self.snapshots.newest == Some(offset) {
                        self.snapshots.newest = None;
                    }
                }
            }
        }
        self.view.undecided.clear();
        if from < self.log_end_offset() {
            self.replay_producers(from, checked_from)?;
        }
        if let Some(base) = checked_from {
            self.save_aborted(base)?;
            self.aborted.publish(&self.view);
        }
        self.publish_first_unstable();
        Ok(())
    }

    /// Writes the snapshot at the start of a segment again if a crash took it: without it nobody
    /// would know the producers of the batches before, once those are deleted.
    pub(crate) fn missing_snapshot_at(&self, start: Offset) -> Result<Option<PathBuf>, LogError> {
        let mut producers = ProducerState::default();
        let mut from = Offset(-1);
        for (offset, path) in
            self.snapshot_files().list()?.into_iter().rev().filter(|(o, _)| *o <= start)
        {
            if let Ok(state) = self.snapshot_files().read(&path)? {
                if offset == start {
                    return Ok(None);
                }
                (producers, from) = (state, offset);
                break;
            }
        }
        for segment in self.view.segments.load().iter().filter(|s| s.base_offset < start) {
            let mut scan = HeaderScan::new(segment, 0);
            while let Some(found) = scan.next()? {
                let header = &found.header;
                if header.base_offset < from || header.producer.is_none() {
                    continue;
                }
                match read_marker(segment, found.position, header)? {
                    Some(marker) => drop(producers.on_marker(header, marker)),
                    None => producers.on_appended(header),
                }
            }
        }
        self.snapshot_files().write(start, &producers).map(Some)
    }

    fn replay_producers(
        &mut self,
        from: Offset,
        checked_from: Option<Offset>,
    ) -> Result<(), LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let first =
            segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for segment in &segments[first..] {
            let position = match segment.base_offset >= from {
                true => 0,
                false => match segment.locate(from)? {
                    Some(found) => found.position,
                    None => continue,
                },
            };
            let mut scan = HeaderScan::new(segment, position);
            while let Some(found) = scan.next()? {
                let header = &found.header;
                if header.producer.is_none() || header.last_offset() < from {
                    continue;
                }
                let marker = read_marker(segment, found.position, header)?;
                self.replay(header, marker, checked_from);
            }
        }
        Ok(())
    }

    fn replay(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
        checked_from: Option<Offset>,
    ) {
        let (Some(marker), Some(producer)) = (marker, header.producer) else {
            self.producers.on_appended(header);
            return;
        };
        if let Some(first_offset) = self.producers.open_transaction(producer.id) {
            self.view.undecided.add(first_offset, header.base_offset);
        }
        let aborted = self.producers.on_marker(header, marker);
        let is_kept = header.base_offset >= self.log_start_offset();
        if is_kept && checked_from.is_some_and(|from| header.base_offset >= from) {
            self.aborted.extend(aborted);
        }
    }
}

/// The transaction marker in a control batch.
fn read_marker(
    segment: &Segment,
    position: u64,
    header: &BatchHeader,
) -> Result<Option<Marker>, LogError> {
    if !header.attributes.is_control() {
        return Ok(None);
    }
    let path = segment.path(LOG_SUFFIX);
    // A scan has compared the size with what there is.
    let mut bytes = vec![0; header.size_in_bytes()];
    segment
        .file()
        .and_then(|file| file.read_at(&mut bytes, position))
        .map_err(LogError::io(&path))?;
    Ok(BatchView::parse(&bytes).ok().as_ref().and_then(marker_in))
}
