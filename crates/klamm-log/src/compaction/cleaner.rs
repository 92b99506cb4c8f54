//! One run over one log: learn the keys of the dirty part, then write every segment up to its end
//! again, group by group (Kafka: `Cleaner.doClean`).
//!
//! The log is asked for short moments only; between them it is appended to and read from. If it
//! was cut meanwhile the run ends and nothing of what was not swapped in remains.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use klamm_model::{Offset, Timestamp};

use super::extents::Extents;
use super::filter::{Filter, IfEmpty, Rules, Seen, control};
use super::keys::{AT_ONCE, Full, KeyOffsets, KeySecret};
use super::plan::{Assessment, Joinable, group};
use super::source::{Placed, Source, Stretch, corrupt};
use super::state::Candidate;
use super::swap::{Step, Swap};
use super::target::{Target, remove_cleaned};
use super::transactions::{Need, Transactions};
use crate::config::Durability;
use crate::error::LogError;
use crate::log::Log;
use crate::names::{INDEX_SUFFIX, TIME_INDEX_SUFFIX};
use crate::segment::Segment;
use crate::transaction_index::AbortedTransaction;
use klamm_records::{RawRecords, RecordsError, Scratch};

/// Whoever lets a cleaner at a log for a moment.
pub trait LogOwner {
    /// Asks the log; nobody else does meanwhile.
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T;
}

impl LogOwner for std::sync::Mutex<Log> {
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T {
        ask(&mut self.lock().expect("no holder of this lock can panic"))
    }
}

/// The run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Slows a cleaner down, and stops it.
pub trait Pace {
    /// So many bytes were read or written; may wait.
    ///
    /// # Errors
    /// The run is to end.
    fn spend(&mut self, bytes: u64) -> Result<(), Stopped>;
}

/// Why a run did not come to its end. What it swapped in until then is sound.
#[derive(Debug)]
pub enum CleanError {
    /// It was stopped.
    Stopped,
    /// The log was cut or closed under it.
    Disturbed,
    /// The disk failed, or a batch is damaged.
    Log(LogError),
}

impl fmt::Display for CleanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => write!(f, "cleaning was stopped"),
            Self::Disturbed => write!(f, "the log was cut or closed while it was cleaned"),
            Self::Log(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CleanError {}

impl From<LogError> for CleanError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// What a cleaner may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerOptions {
    /// For the table of keys; it is given back after each run.
    pub keys_bytes: u64,
    /// How full the table may get.
    pub load_factor: f64,
    /// For reading and writing.
    pub io_bytes: usize,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanReport {
    /// Everything below is clean now.
    pub cleaned_to: Offset,
    /// Bytes of the segments that were written again.
    pub bytes_before: u64,
    /// Bytes of what took their place.
    pub bytes_after: u64,
    /// Records in the segments.
    pub records_before: u64,
    /// Records that stayed.
    pub records_after: u64,
    /// Records that went because they had no key.
    pub without_key: u64,
    /// How full the table of keys was, of what it may be.
    pub keys_utilization: f64,
}

/// Of the bytes for the table of keys, this part at most is for extents.
const EXTENTS_SHARE: u64 = 32;
/// So many extents are as large as the buffers together: fewer bytes are not worth a read.
const EXTENTS_IN_BUFFERS: usize = 32;

/// Cleans logs, one after another.
#[derive(Debug)]
pub struct Cleaner {
    secret: KeySecret,
    options: CleanerOptions,
    source: Source,
    scratch: Scratch,
}

/// What a run knows of the dirty part.
struct Learned {
    keys: KeyOffsets,
    extents: Extents,
}

/// One run.
struct Run<'a, L> {
    owner: &'a L,
    log: &'a Candidate,
    rules: Rules,
    aborted: Arc<Vec<AbortedTransaction>>,
    pace: &'a mut dyn Pace,
    report: CleanReport,
}

impl Cleaner {
    /// A cleaner; it holds little between runs.
    #[must_use]
    pub fn new(secret: KeySecret, options: CleanerOptions) -> Self {
        // Half for reading, half for writing.
        let source = Source::new(options.io_bytes / 2);
        Self { secret, options, source, scratch: Scratch::default() }
    }

    /// Cleans a log from its first dirty offset up to its first uncleanable one, or as far as
    /// the table of keys reaches.
    ///
    /// # Errors
    /// See [`CleanError`].
    pub fn clean<L: LogOwner>(
        &mut self,
        owner: &L,
        (log, plan): (&Candidate, &Assessment),
        now: Timestamp,
        pace: &mut dyn Pace,
    ) -> Result<CleanReport, CleanError> {
        let stable = plan.last_stable_offset;
        let last_records = owner.with_log(|log| log.last_records(stable).collect());
        let delete_retention_ms = log.config.delete_retention_ms;
        let mut run = Run {
            owner,
            log,
            rules: Rules { now, delete_retention_ms, last_records },
            aborted: log.view.aborted.load_full(),
            pace,
            report: CleanReport::default(),
        };
        let segments = run.segments_below(plan.first_uncleanable_offset);
        // Readers of the old files must not look for them by name once they are replaced.
        for segment in &segments {
            segment.file().map_err(LogError::io(&log.dir))?;
        }
        let learned = self.learn(&mut run, &segments, plan)?;
        let keys = &learned.keys;
        run.report.keys_utilization = keys.utilization();
        run.report.cleaned_to = keys.latest_offset().plus(1);
        let within = segments.partition_point(|s| s.base_offset < run.report.cleaned_to);
        run.make_durable(plan)?;
        self.rewrite(&mut run, &segments[..within], &learned)?;
        run.note_cleaned()?;
        Ok(run.report)
    }

    /// The last offset of each key in the dirty part (Kafka: `Cleaner.buildOffsetMap`).
    fn learn<L: LogOwner>(
        &mut self,
        run: &mut Run<'_, L>,
        segments: &[Arc<Segment>],
        plan: &Assessment,
    ) -> Result<Learned, CleanError> {
        let (first, end) = (plan.first_dirty_offset, plan.first_uncleanable_offset);
        let bytes = self.options.keys_bytes;
        let extent_bytes = (self.options.io_bytes / EXTENTS_IN_BUFFERS) as u64;
        let mut extents = Extents::new(extent_bytes, bytes / EXTENTS_SHARE);
        let room = (bytes - extents.bytes_max(), self.options.load_factor);
        let mut keys = KeyOffsets::new(&self.secret, (first, end), room);
        let mut transactions = run.transactions(first, end);
        let dirty = segments.partition_point(|s| s.base_offset <= first).saturating_sub(1);
        for (i, segment) in segments.iter().enumerate().skip(dirty) {
            let position = match segment.base_offset >= first {
                true => 0,
                false => segment.locate(first)?.map_or(segment.size(), |found| found.position),
            };
            let scratch = &mut self.scratch;
            let end_offset = segments.get(i + 1).map_or(end, |next| next.base_offset);
            let stretch = Stretch { position, ..Stretch::whole(segment, end_offset) };
            let walked = self.source.walk(stretch, &mut *run.pace, &mut |placed| {
                if placed.batch.base_offset >= first {
                    extents.note(placed);
                }
                learn_batch((&mut keys, first), &mut transactions, scratch, placed)
                    .map_err(|e| corrupt(segment, placed.position, &e))
            })?;
            if walked.is_break() {
                if keys.latest_offset() < first {
                    return Err(no_room(&self.options, segment));
                }
                break;
            }
            // What compaction took before is no gap.
            keys.advance(end_offset.plus(-1));
        }
        Ok(Learned { keys, extents })
    }

    fn rewrite<L: LogOwner>(
        &mut self,
        run: &mut Run<'_, L>,
        segments: &[Arc<Segment>],
        learned: &Learned,
    ) -> Result<(), CleanError> {
        let Some(first) = segments.first() else { return Ok(()) };
        let transactions = run.transactions(first.base_offset, Offset(i64::MAX));
        let rules = std::mem::take(&mut run.rules);
        let mut filter = Filter::new(&rules, &learned.keys, transactions);
        let mut rest = segments;
        for n in run.groups(segments)? {
            let (group, others) = rest.split_at(n);
            rest = others;
            let written = self.write_group(run, group, (&mut filter, &learned.extents));
            let written = match written {
                Ok(Some(new)) => {
                    let aborted = filter.transactions.take_kept();
                    run.swap(group, (new, aborted), rules.now)
                }
                other => other.map(drop),
            };
            if let Err(error) = written {
                remove_cleaned(run.log.disk.as_ref(), &run.log.dir, group[0].base_offset);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes what stays of a group; `None` if that is what there is.
    fn write_group<L: LogOwner>(
        &mut self,
        run: &mut Run<'_, L>,
        group: &[Arc<Segment>],
        (filter, extents): (&mut Filter<'_>, &Extents),
    ) -> Result<Option<(Target, u64)>, CleanError> {
        let sizes = (self.options.io_bytes / 2, run.log.config.index_interval_bytes);
        let (log, base_offset) = (run.log, group[0].base_offset);
        let mut target = Target::create(&log.disk, &log.dir, base_offset, sizes)?;
        let before = filter.seen;
        let (mut bytes_before, mut bytes_after) = (0, 0);
        for (i, segment) in group.iter().enumerate() {
            let is_last_segment = i + 1 == group.len();
            let mut written = 0;
            for stretch in stretches(segment, run.end_of(group, i), (filter, extents)) {
                let walked = self.source.walk(stretch, &mut *run.pace, &mut |placed| {
                    let ends_group = is_last_segment && placed.is_last;
                    let if_empty = if ends_group { IfEmpty::Keep } else { IfEmpty::Drop };
                    written += target.append(|out| {
                        filter
                            .filter(&placed.batch, if_empty, out)
                            .map_err(|error| corrupt(segment, placed.position, &error))
                    })?;
                    Ok(ControlFlow::Continue(()))
                })?;
                debug_assert!(walked.is_continue());
            }
            run.pace.spend(written).map_err(|_| CleanError::Stopped)?;
            bytes_before += segment.size();
            bytes_after += written;
        }
        run.report.add(bytes_before, bytes_after, (&before, &filter.seen));
        let has_changed = group.len() > 1 || filter.seen.batches_changed > before.batches_changed;
        if !has_changed {
            filter.transactions.take_kept();
            remove_cleaned(log.disk.as_ref(), &log.dir, base_offset);
            return Ok(None);
        }
        Ok(Some((target, bytes_after)))
    }
}

impl CleanReport {
    fn add(&mut self, before: u64, after: u64, (seen_before, seen): (&Seen, &Seen)) {
        self.bytes_before += before;
        self.bytes_after += after;
        self.records_before += seen.records_read - seen_before.records_read;
        self.records_after += seen.records_kept - seen_before.records_kept;
        self.without_key += seen.without_key - seen_before.without_key;
    }
}

/// What of a segment is to be read again.
fn stretches<'a>(
    segment: &'a Segment,
    end_offset: Offset,
    (filter, extents): (&mut Filter<'_>, &Extents),
) -> Vec<Stretch<'a>> {
    let mut found = Vec::new();
    let mut rest = Stretch::whole(segment, end_offset);
    for extent in extents.plain_between(segment.base_offset, end_offset) {
        // A segment's last batch may have to stay, without records.
        if extent.end == segment.size() || !filter.skip(extent) {
            continue;
        }
        if rest.position < extent.position {
            found.push(Stretch { end: extent.position, ..rest });
        }
        rest = Stretch { position: extent.end, first_offset: extent.next_offset, ..rest };
    }
    found.push(rest);
    found
}

/// Puts a batch's keys into the table; breaks off when that is full.
fn learn_batch(
    (keys, first): (&mut KeyOffsets, Offset),
    transactions: &mut Transactions,
    scratch: &mut Scratch,
    placed: &Placed<'_>,
) -> Result<ControlFlow<()>, RecordsError> {
    let batch = &placed.batch;
    let need = match batch.attributes.is_control() {
        true => {
            transactions.on_control(batch, control(batch)?);
            Need::Obsolete
        }
        false => transactions.on_data(batch),
    };
    if need == Need::Needed {
        let codec = batch.attributes.codec().map_err(RecordsError::Codec)?;
        let body = scratch.decompress(codec, batch.body()).map_err(RecordsError::Decompress)?;
        let mut records = RawRecords::new(body, batch.record_count);
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
                break;
            }
        }
    }
    if batch.last_offset() >= first {
        keys.advance(batch.last_offset());
    }
    Ok(ControlFlow::Continue(()))
}

/// Gives back as much of the page cache as the next segment will take, from replaced segments, that
/// nobody begins to read any more: memory that is in use already is cheaper than new memory.
fn forget_cached(replaced: &[Arc<Segment>], mut bytes: u64) {
    for segment in replaced {
        let part = bytes.min(segment.size());
        if let Some(file) = segment.open_file().filter(|_| part > 0) {
            file.forget_cached(0, part);
        }
        bytes -= part;
    }
}

fn no_room(options: &CleanerOptions, segment: &Segment) -> CleanError {
    let what = format!(
        "the table of keys has {} bytes and no room for a single key; raise log.cleaner.dedupe.buffer.size or lower log.cleaner.threads",
        options.keys_bytes
    );
    LogError::Unreadable { path: segment.path(crate::names::LOG_SUFFIX), what }.into()
}

impl<L: LogOwner> Run<'_, L> {
    fn segments_below(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let is_below = |segment: &&Arc<Segment>| segment.base_offset < offset;
        self.log.segments.iter().take_while(is_below).cloned().collect()
    }

    fn transactions(&self, from: Offset, upper: Offset) -> Transactions {
        let is_near = |t: &&AbortedTransaction| t.last_offset >= from && t.first_offset < upper;
        Transactions::new(self.aborted.iter().filter(is_near).copied().collect())
    }

    /// A record goes because a newer one of its key is there, whose transaction is committed: the
    /// newer one must not be lost, nor the marker, which may lie in a segment that is not cleaned.
    fn make_durable(&self, plan: &Assessment) -> Result<(), CleanError> {
        let view = &self.log.view;
        let synced = view.synced_offset();
        // Where only what is synced is committed, a marker that is not has decided nothing.
        let is_in_memory = self.log.config.durability == Durability::PageCache;
        let counts = if is_in_memory { view.log_end_offset() } else { plan.last_stable_offset };
        if counts <= synced {
            return Ok(());
        }
        let segments = &self.log.segments;
        let first = plan.first_dirty_offset.min(synced);
        let first = segments.partition_point(|s| s.base_offset <= first).saturating_sub(1);
        for segment in &segments[first..] {
            let path = segment.path(crate::names::LOG_SUFFIX);
            if let Err(error) = segment.file().and_then(|file| file.sync()) {
                self.owner.with_log(Log::on_sync_failed);
                return Err(LogError::io(&path)(error).into());
            }
        }
        Ok(())
    }

    fn groups(&self, segments: &[Arc<Segment>]) -> Result<Vec<usize>, CleanError> {
        let mut joinable = Vec::with_capacity(segments.len());
        for (i, segment) in segments.iter().enumerate() {
            let len = |suffix| {
                let path = segment.path(suffix);
                let len = self.log.disk.file_len(&path).map_err(LogError::io(&path));
                len.map(Option::unwrap_or_default)
            };
            joinable.push(Joinable {
                base_offset: segment.base_offset,
                end_offset: self.end_of(segments, i),
                size: segment.size(),
                index_bytes: len(INDEX_SUFFIX)?,
                time_index_bytes: len(TIME_INDEX_SUFFIX)?,
            });
        }
        Ok(group(&joinable, &self.log.config))
    }

    /// Where the next segment begins; a sealed one always has a next.
    fn end_of(&self, segments: &[Arc<Segment>], i: usize) -> Offset {
        let all = &self.log.segments;
        let next = all.partition_point(|s| s.base_offset <= segments[i].base_offset);
        all.get(next).map_or(Offset(i64::MAX), |next| next.base_offset)
    }

    /// The new segment takes the place of the group.
    fn swap(
        &self,
        group: &[Arc<Segment>],
        ((target, bytes_after), aborted): ((Target, u64), Vec<AbortedTransaction>),
        wall: Timestamp,
    ) -> Result<(), CleanError> {
        let new = target.finish(&aborted)?;
        let end_offset = self.end_of(group, group.len() - 1);
        let cuts = self.log.cuts;
        let is_published = false;
        let swap = Swap { old: group.to_vec(), new, end_offset, aborted, cuts, is_published };
        self.made(self.owner.with_log(|log| log.begin_swap(swap)))?;
        self.sync_dir()?;
        self.made(self.owner.with_log(|log| log.publish_swap(wall)))?;
        self.sync_dir()?;
        self.owner.with_log(Log::finish_swap)?;
        forget_cached(group, bytes_after);
        Ok(())
    }

    fn made(&self, step: Result<Step, LogError>) -> Result<(), CleanError> {
        match step? {
            Step::Made => Ok(()),
            Step::Refused => Err(CleanError::Disturbed),
        }
    }

    fn sync_dir(&self) -> Result<(), CleanError> {
        let Err(error) = self.log.disk.sync_dir(&self.log.dir) else { return Ok(()) };
        // The directory of a deleted topic is gone by now.
        let is_closed = self.owner.with_log(|log| log.compaction.is_closed);
        if is_closed {
            return Err(CleanError::Disturbed);
        }
        self.owner.with_log(Log::on_sync_failed);
        Err(LogError::io(&self.log.dir)(error).into())
    }

    fn note_cleaned(&self) -> Result<(), CleanError> {
        let (cuts, cleaned_to) = (self.log.cuts, self.report.cleaned_to);
        self.owner.with_log(|log| {
            if log.view.cuts() != cuts {
                return Err(CleanError::Disturbed);
            }
            log.compaction.cleaned_to = Some(cleaned_to);
            Ok(())
        })
    }
}
