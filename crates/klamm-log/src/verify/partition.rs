//! One partition's directory: every batch and record, the indexes against them, and the small
//! files beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, OpenMode, durable};
use klamm_model::{LeaderEpoch, Offset};
use klamm_records::{BatchView, Scratch};

use super::aborts::{Aborts, SegmentEnd};
use super::indexes::Expected;
use super::walk::{WalkEnd, walk_batches};
use super::{
    CURE_BATCHES, CURE_CHECKPOINT, CURE_INDEX, CURE_SNAPSHOT, Extent, Finding, Findings, Progress,
    VerifyError,
};
use crate::checkpoint::parse_leader_epochs;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::names::{
    INDEX_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX, base_offset, segment_file,
};
use crate::partition_metadata::read_partition_metadata;
use crate::producers::snapshot::decode_snapshot;
use crate::producers::state::ProducerState;

/// Largest small file: an index has 2 GiB at most.
const FILE_BYTES_MAX: u64 = 1 << 31;
/// Files of half-done work.
const LEFTOVERS: [&str; 4] = [".deleted", ".cleaned", ".swap", durable::TEMPORARY_SUFFIX];
/// Segments without that much have no entry in their index.
const UNINDEXED_BYTES: u64 = 64 * 1024;

/// What was looked at and found.
#[derive(Debug, Default)]
pub struct PartitionReport {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What the segments hold; `None` if there is none.
    pub extent: Option<Extent>,
    /// Files looked at.
    pub files: u64,
    /// Batches.
    pub batches: u64,
    /// Records.
    pub records: u64,
}

/// Looks at the files of the partition in `dir`. Nothing is changed.
///
/// # Errors
/// The disk failed, or it was stopped.
pub fn verify_partition(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    progress: &mut dyn Progress,
) -> Result<PartitionReport, VerifyError> {
    let mut check = Check::new(disk, dir)?;
    check.small_files()?;
    for i in 0..check.bases.len() {
        check.segment(i, progress)?;
    }
    check.snapshots()?;
    check.gaps();
    let first = check.bases.first().copied();
    let extent = first.map(|first| Extent { first, end: check.end });
    let report = PartitionReport { findings: check.findings.found, extent, ..check.report };
    Ok(report)
}

struct Check<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    names: Vec<String>,
    bases: Vec<Offset>,
    findings: Findings,
    report: PartitionReport,
    epochs: Option<LeaderEpochs>,
    /// The offset after the last batch so far.
    end: Offset,
    producers: ProducerState,
    /// Offsets that no batch has, between batches of one segment: compaction was here.
    has_inner_gaps: bool,
    /// Gaps at the ends of segments: which file, up to where.
    outer_gaps: Vec<(PathBuf, Offset, Offset)>,
    scratch: Scratch,
}

impl<'a> Check<'a> {
    fn new(disk: &'a Arc<dyn Disk>, dir: &'a Path) -> Result<Self, VerifyError> {
        let entries = disk.list(dir).map_err(LogError::io(dir))?;
        let names: Vec<String> =
            entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect();
        let mut bases: Vec<Offset> =
            names.iter().filter_map(|name| base_offset(name, LOG_SUFFIX)).collect();
        bases.sort_unstable();
        let end = bases.first().copied().unwrap_or(Offset::ZERO);
        let report = PartitionReport { files: names.len() as u64, ..PartitionReport::default() };
        Ok(Self {
            disk,
            dir,
            names,
            bases,
            findings: Findings::default(),
            report,
            epochs: None,
            end,
            producers: ProducerState::default(),
            has_inner_gaps: false,
            outer_gaps: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    fn path(&self, base: Offset, suffix: &str) -> PathBuf {
        self.dir.join(segment_file(base, suffix))
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, VerifyError> {
        let bytes = durable::read(self.disk.as_ref(), path, FILE_BYTES_MAX);
        Ok(bytes.map_err(LogError::io(path))?)
    }

    fn small_files(&mut self) -> Result<(), VerifyError> {
        if let Err(error) = read_partition_metadata(self.disk.as_ref(), self.dir) {
            let path = self.dir.join(crate::names::PARTITION_METADATA);
            self.findings.damage(&path, None, (error.to_string(), "see there"));
        }
        let path = self.dir.join(LEADER_EPOCHS);
        // Kafka makes the file before it has anything to say.
        let bytes = self.read(&path)?.filter(|bytes| !bytes.is_empty());
        match bytes.map(|bytes| parse_leader_epochs(&bytes)) {
            None => {}
            Some(Err(error)) => {
                self.findings.damage(&path, None, (error.to_string(), CURE_CHECKPOINT));
            }
            Some(Ok(entries)) => {
                let is_rising = entries.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
                if !is_rising {
                    let what = "epochs or their offsets do not rise".to_owned();
                    self.findings.damage(&path, None, (what, CURE_CHECKPOINT));
                }
                self.epochs = Some(LeaderEpochs::new(entries));
            }
        }
        for name in self.names.clone() {
            let path = self.dir.join(&name);
            if LEFTOVERS.iter().any(|suffix| name.ends_with(suffix)) {
                self.findings.note(&path, "it is left over from work that was not finished");
            }
            let suffixes = [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX];
            let base = suffixes.iter().find_map(|suffix| base_offset(&name, suffix));
            if base.is_some_and(|base| self.bases.binary_search(&base).is_err()) {
                self.findings.note(&path, "it belongs to a segment that is gone");
            }
        }
        Ok(())
    }

    fn segment(&mut self, i: usize, progress: &mut dyn Progress) -> Result<(), VerifyError> {
        let base = self.bases[i];
        let next = self.bases.get(i + 1).copied();
        let path = self.path(base, LOG_SUFFIX);
        let (index, time_index) =
            (self.path(base, INDEX_SUFFIX), self.path(base, TIME_INDEX_SUFFIX));
        let file = self.disk.open(&path, OpenMode::Read).map_err(LogError::io(&path))?;
        let len = file.len().map_err(LogError::io(&path))?;
        let (index_bytes, time_bytes) = (self.read(&index)?, self.read(&time_index)?);
        self.find_missing((&index, index_bytes.as_deref()), len, next);
        let mut expected = Expected::new(
            base,
            (&index, index_bytes.as_deref().unwrap_or_default()),
            (&time_index, time_bytes.as_deref().unwrap_or_default()),
            &mut self.findings,
        );
        if i == 0 || self.end < base {
            self.seed_producers(base)?;
        }
        self.end = self.end.max(base);
        let mut aborted = Aborts::default();
        let ended = walk_batches((&path, file.as_ref()), len, progress, &mut |found| {
            let at = (path.as_path(), found.position);
            if let Err(error) = &found.checksum {
                let told = (error.to_string(), CURE_BATCHES);
                self.findings.damage(at.0, Some(at.1), told);
            } else {
                self.batch(at, &found.batch, &mut aborted);
            }
            self.place(at, &found.batch, next);
            expected.on_batch(found.batch.header(), found.position, &mut self.findings);
        })?;
        expected.finish(next.is_some() && ended == WalkEnd::Whole, &mut self.findings);
        if let WalkEnd::NotABatch { position, error } = ended {
            self.no_batch((&path, position), (len, next), &error);
        }
        let path_of_index = self.path(base, TRANSACTION_INDEX_SUFFIX);
        let entries = self.read(&path_of_index)?.unwrap_or_default();
        let segment_end = next.map_or(SegmentEnd::Open(self.end), |_| SegmentEnd::Sealed);
        aborted.compare((&path_of_index, &entries), segment_end, &mut self.findings);
        if let Some(next) = next.filter(|next| *next > self.end) {
            self.outer_gaps.push((path, self.end, next));
        }
        Ok(())
    }

    /// A sealed segment of some size has an index.
    fn find_missing(&mut self, index: (&Path, Option<&[u8]>), len: u64, next: Option<Offset>) {
        if next.is_some() && len > UNINDEXED_BYTES && index.1.is_none() {
            let what = "it is missing".to_owned();
            self.findings.damage(index.0, None, (what, CURE_INDEX));
        }
    }

    /// The end of the last segment may be torn; anything else is damage.
    fn no_batch(
        &mut self,
        (path, position): (&Path, u64),
        (len, next): (u64, Option<Offset>),
        error: &dyn std::fmt::Display,
    ) {
        let rest = len - position;
        if next.is_none() {
            let what = format!(
                "the last {rest} bytes, from byte {position} on, are no batch ({error}); after a \
                 crash a start cuts them, if they were not synced"
            );
            self.findings.note(path, what);
        } else {
            let what = format!("the {rest} bytes from there on are no batch: {error}");
            self.findings.damage(path, Some(position), (what, CURE_BATCHES));
        }
    }

    /// Its offsets follow those before it, and its epoch is the one that the checkpoint says.
    fn place(&mut self, at: (&Path, u64), batch: &BatchView<'_>, next: Option<Offset>) {
        let header = batch.header();
        let (base, last) = (header.base_offset, header.last_offset());
        if base < self.end || next.is_some_and(|next| last >= next) {
            let what = format!("offsets {base} to {last} do not follow {}", self.end);
            self.findings.damage(at.0, Some(at.1), (what, CURE_BATCHES));
        }
        self.has_inner_gaps |= base > self.end && at.1 > 0;
        self.end = self.end.max(header.next_offset());
        let epoch = header.partition_leader_epoch;
        let known = self.epochs.as_ref().and_then(|epochs| epochs.at(base));
        if known.is_some_and(|known| known != epoch) && epoch >= LeaderEpoch(0) {
            let path = self.dir.join(LEADER_EPOCHS);
            let what = format!("the batch at offset {base} has epoch {epoch}, not {known:?}");
            self.findings.damage(&path, None, (what, CURE_CHECKPOINT));
            // Once is enough.
            self.epochs = None;
        }
    }

    /// Every record can be read; what the batch says of its producer is remembered.
    fn batch(&mut self, at: (&Path, u64), batch: &BatchView<'_>, aborted: &mut Aborts) {
        let header = batch.header();
        self.report.batches += 1;
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut read = || -> Result<(), String> {
            let mut offset = header.base_offset.plus(-1);
            for record in batch.records(&mut scratch).map_err(|e| e.to_string())? {
                let record = record.map_err(|e| e.to_string())?;
                if record.offset <= offset || record.offset > header.last_offset() {
                    return Err(format!("record {} is out of order", record.offset));
                }
                offset = record.offset;
                self.report.records += 1;
            }
            Ok(())
        };
        if let Err(what) = read() {
            self.findings.damage(at.0, Some(at.1), (what, CURE_BATCHES));
        }
        self.scratch = scratch;
        aborted.note(batch, &mut self.producers);
    }

    /// Producers as of `base`, as far as a snapshot tells.
    fn seed_producers(&mut self, base: Offset) -> Result<(), VerifyError> {
        let bytes = self.read(&self.path(base, SNAPSHOT_SUFFIX))?;
        let state = bytes.and_then(|bytes| decode_snapshot(&bytes).ok());
        self.producers = state.unwrap_or_default();
        Ok(())
    }

    fn snapshots(&mut self) -> Result<(), VerifyError> {
        for name in self.names.clone() {
            let Some(offset) = base_offset(&name, SNAPSHOT_SUFFIX) else { continue };
            let path = self.dir.join(&name);
            let bytes = self.read(&path)?.unwrap_or_default();
            match decode_snapshot(&bytes) {
                Err(error) => {
                    self.findings.damage(&path, None, (error.to_string(), CURE_SNAPSHOT));
                }
                Ok(state) => {
                    let last = |(_, entry): (_, &crate::ProducerEntry)| {
                        entry.batches.back().map(|batch| batch.last_offset)
                    };
                    let late = state.iter().filter_map(last).find(|last| *last >= offset);
                    if let Some(late) = late {
                        let what = format!("it speaks of offset {late}, which is not before it");
                        self.findings.damage(&path, None, (what, CURE_SNAPSHOT));
                    }
                }
            }
            if offset > self.end && !self.bases.is_empty() {
                let end = self.end;
                self.findings.note(&path, format!("it is of offsets behind the end {end}"));
            }
        }
        Ok(())
    }

    /// A gap between segments is Kafka's compaction, or a loss.
    fn gaps(&mut self) {
        for (path, from, to) in std::mem::take(&mut self.outer_gaps) {
            let what = format!("offsets {from} to {} are in no segment", to.plus(-1));
            if self.has_inner_gaps {
                self.findings.note(&path, format!("{what}; compaction has left other gaps too"));
            } else {
                self.findings.damage(&path, None, (what, CURE_BATCHES));
            }
        }
    }
}
