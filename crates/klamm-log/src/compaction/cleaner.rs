//! One run over one log: learn the keys of the dirty part, then write every segment up to its end
//! again, group by group (Kafka: `Cleaner.doClean`).
//!
//! The log is asked for short moments only; between them it is appended to and read from. If it
//! was cut meanwhile the run ends and nothing of what was not swapped in remains.

use std::ops::ControlFlow;
use std::sync::Arc;

use klamm_model::{Offset, Timestamp};
use klamm_records::Scratch;

use super::extents::Extents;
use super::filter::{Filter, IfEmpty};
use super::keys::KeySecret;
use super::learned::{Dirty, Learned, Learner};
use super::plan::Assessment;
use super::rules::Rules;
use super::run::Run;
use super::source::{Source, Stretch, corrupt};
use super::state::Candidate;
use super::target::{Target, remove_cleaned};
use super::terms::{CleanError, CleanReport, CleanerOptions, LogOwner, Pace};
use crate::error::LogError;
use crate::segment::Segment;

/// Cleans logs, one after another.
#[derive(Debug)]
pub struct Cleaner {
    secret: KeySecret,
    options: CleanerOptions,
    source: Source,
    scratch: Scratch,
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
        let (first, end) = (plan.first_dirty_offset, plan.first_uncleanable_offset);
        let dirty = Dirty { segments: &segments, first, end };
        let transactions = run.transactions(first, end);
        let terms = (&self.secret, &self.options);
        let learned = Learner::new(dirty, terms, transactions, &mut self.scratch)
            .learn(&mut self.source, &mut *run.pace)?;
        let keys = &learned.keys;
        run.report.keys_utilization = keys.utilization();
        run.report.cleaned_to = keys.latest_offset().plus(1);
        let within = segments.partition_point(|s| s.base_offset < run.report.cleaned_to);
        run.make_durable(plan)?;
        self.rewrite(&mut run, &segments[..within], &learned)?;
        run.note_cleaned()?;
        Ok(run.report)
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
