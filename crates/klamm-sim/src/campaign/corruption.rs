//! Damaged files: a log is written, stopped, damaged and opened again. Whatever it serves then
//! with a right checksum is what was appended there; what was durable is never cut in silence; an
//! error names file and cure; nothing panics.

use std::path::PathBuf;

use klamm_log::{AtLeastOne, Limits, LogView};
use klamm_model::{Offset, Timestamp};
use klamm_records::{batches, layout};

use super::check;
use super::finding::{Finding, ensure};
use super::mix::Mix;
use super::model::Model;
use super::place::partition_path;
use super::world::{Ending, World};
use super::{Violation, run};
use crate::damage::Damage;
use crate::disk::{DeviceFault, SimDisk};
use crate::random::Seeded;

/// Steps before the damage.
const STEPS: usize = 60;
/// Damages of each kind of file of each log.
const DAMAGES: usize = 4;
/// The files of a log that are damaged, by the end of their names.
const FILES: [&str; 6] =
    [".log", ".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint"];

/// How the log was stopped before the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// In order.
    Clean,
    /// By a kill, with all of it synced and the checkpoints written: all is below the recovery
    /// point.
    Synced,
    /// By a kill, with nothing in the checkpoints: all is above it.
    Unsynced,
}

/// How many damages came out in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All that was there is served.
    pub healed: usize,
    /// The log was opened, and refuses or lacks what was damaged.
    pub opened: usize,
    /// The log was not opened, and says where the damage is and what helps.
    pub refused: usize,
    /// Only base offset, length or leader epoch of batches changed, which no checksum covers.
    pub outside_checksum: usize,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.healed + self.opened + self.refused + self.outside_checksum
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.healed += other.healed;
        self.opened += other.opened;
        self.refused += other.refused;
        self.outside_checksum += other.outside_checksum;
    }
}

/// A damaged file.
struct Case {
    stop: Stop,
    path: PathBuf,
    damage: Damage,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Case {
    fn is_log(&self) -> bool {
        self.path.extension().is_some_and(|suffix| suffix == "log")
    }
}

/// Damages every kind of file of one log, each in several ways, and opens it each time.
///
/// # Errors
/// The promise that was broken.
pub fn damage(seed: u64, stop: Stop) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    run(seed, Mix::Plain(1), |world| {
        world.open_in_peace();
        work(world, stop)?;
        let whole = world.disk.clone();
        world.is_damaged = true;
        let mut random = Seeded::new(seed ^ 0x00da_3a6e);
        for name in FILES {
            for _ in 0..DAMAGES {
                let Some(case) = pick(&whole, name, stop, &mut random) else { continue };
                world.disk = whole.kill();
                world.disk.put(&case.path, &case.after).map_err(|e| e.to_string())?;
                let outcome = judge(world, &case).map_err(|what| {
                    format!("{:?} in {} after {stop:?}: {what}", case.damage, case.path.display())
                })?;
                tally.add(outcome);
            }
        }
        Ok(())
    })?;
    Ok(tally)
}

/// The `nth` page that a log has written to the device goes wrong there; then the power goes.
///
/// # Errors
/// The promise that was broken.
pub fn device(seed: u64, nth: u64, fault: DeviceFault) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    run(seed, Mix::Plain(1), |world| {
        world.open_in_peace();
        world.disk.fail_page_write(nth, fault);
        for _ in 0..STEPS {
            world.step_in_one_life()?;
        }
        world.tickets.clear();
        world.sync(0)?;
        world.write_checkpoints()?;
        // Everything is synced, so what differs after a crash is the device's doing.
        let before = world.disk.clone();
        world.is_damaged = true;
        world.disk = world.disk.crash_with(crate::Fate::Nothing, seed);
        world.node = None;
        let is_log = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "log");
        for path in before.paths().into_iter().filter(is_log) {
            let case = Case {
                stop: Stop::Synced,
                before: before.bytes(&path).unwrap_or_default(),
                after: world.disk.bytes(&path).unwrap_or_default(),
                damage: Damage::Flip { bit: 0 },
                path,
            };
            if is_outside_checksums(&case) {
                tally.outside_checksum += 1;
                return Ok(());
            }
        }
        match world.try_open() {
            Err(what) => {
                let says = what.contains("restore") || what.contains("klamm storage format");
                ensure(says, || format!("the error names no cure: {what}"))?;
                tally.refused += 1;
            }
            Ok(node) => {
                let is_whole = serve(node.logs[0].view(), &world.models[0])?;
                tally.healed += usize::from(is_whole);
                tally.opened += usize::from(!is_whole);
            }
        }
        Ok(())
    })?;
    Ok(tally)
}

fn work(world: &mut World, stop: Stop) -> Finding {
    for _ in 0..STEPS {
        world.step_in_one_life()?;
    }
    match stop {
        Stop::Clean => return world.stop(Ending::Clean),
        Stop::Synced => {
            world.tickets.clear();
            world.sync(0)?;
            world.write_checkpoints()?;
        }
        Stop::Unsynced => {}
    }
    world.stop(Ending::Kill)?;
    if stop == Stop::Unsynced {
        let points = super::place::root().join("recovery-point-offset-checkpoint");
        let marks = super::place::root().join("klamm-recovery-checkpoint");
        for path in [points, marks] {
            // There is none if nothing was written yet.
            let _removed = world.disk.remove(&path);
        }
    }
    Ok(())
}

fn pick(disk: &SimDisk, name: &str, stop: Stop, random: &mut Seeded) -> Option<Case> {
    let dir = partition_path(0);
    let is_wanted =
        |path: &PathBuf| path.starts_with(&dir) && path.to_string_lossy().ends_with(name);
    let files: Vec<PathBuf> = disk.paths().into_iter().filter(is_wanted).collect();
    if files.is_empty() {
        return None;
    }
    let path = random.pick(&files).clone();
    let before = disk.bytes(&path)?;
    let damage = Damage::within(0, before.len(), random);
    let mut after = before.clone();
    damage.apply(&mut after);
    (after != before).then_some(Case { stop, path, damage, before, after })
}

fn judge(world: &mut World, case: &Case) -> Result<Tally, String> {
    let opened = world.try_open();
    let model = &world.models[0];
    if case.is_log() && is_outside_checksums(case) {
        // Nobody can tell, but nothing panics.
        if let Ok(node) = &opened {
            let _answer = serve(node.logs[0].view(), model);
        }
        return Ok(Tally { outside_checksum: 1, ..Tally::default() });
    }
    let node = match opened {
        Ok(node) => node,
        Err(what) => {
            ensure(what.contains("/data/t-0/"), || format!("the error names no file: {what}"))?;
            ensure(what.contains("restore"), || format!("the error names no cure: {what}"))?;
            ensure(case.is_log(), || format!("it is not opened for a small file: {what}"))?;
            ensure(case.stop != Stop::Unsynced, || format!("it is not recovered: {what}"))?;
            return Ok(Tally { refused: 1, ..Tally::default() });
        }
    };
    let log = &node.logs[0];
    let view = log.view();
    let (end, is_shorter) = (view.log_end_offset().0, case.after.len() < case.before.len());
    let may_be_cut = case.is_log() && (case.stop == Stop::Unsynced || is_shorter);
    ensure(end == model.end || (may_be_cut && end < model.end), || {
        format!("it ends at {end} instead of {}", model.end)
    })?;
    if case.is_log() {
        let is_whole = serve(view, model)? && end == model.end;
        return Ok(Tally {
            healed: usize::from(is_whole),
            opened: usize::from(!is_whole),
            ..Tally::default()
        });
    }
    check::contents(view, model, &mut Seeded::new(1))?;
    check::places(view, model, &mut Seeded::new(2))?;
    late_enough(view, model)?;
    Ok(Tally { healed: 1, ..Tally::default() })
}

/// Whether some batch changed only where its checksum does not look.
fn is_outside_checksums(case: &Case) -> bool {
    let changed =
        |from: usize, to: usize| (from..to).any(|at| case.before.get(at) != case.after.get(at));
    let mut position = 0;
    for batch in batches(&case.before).map_while(Result::ok) {
        let next = position + batch.bytes().len();
        if changed(position, position + layout::MAGIC) && !changed(position + layout::MAGIC, next) {
            return true;
        }
        position = next;
    }
    false
}

/// Reads at each offset. What passes its checksum is what was appended, and where it was asked
/// for; an error is an answer too. Whether all of it is served.
pub(crate) fn serve(view: &LogView, model: &Model) -> Result<bool, String> {
    let mut is_whole = true;
    let upper = view.log_end_offset();
    for offset in view.log_start_offset().0..upper.0.min(model.end) {
        let limits = Limits { bytes_max: 2000, at_least_one: AtLeastOne::Batch, upper };
        let read = view.read(Offset(offset), limits).ok().and_then(|read| read.slice);
        let Some(Ok(bytes)) = read.map(|slice| slice.read()) else {
            is_whole = false;
            continue;
        };
        let mut next = offset;
        for (i, batch) in batches(&bytes).map_while(Result::ok).enumerate() {
            if batch.check_crc().is_err() {
                // The client finds it, and says so.
                is_whole = false;
                break;
            }
            let stored = model.batches.iter().find(|b| b.draft.bytes == batch.bytes());
            let Some(stored) = stored else {
                return Err(format!("at {offset}: {:?} was never appended", batch.header()));
            };
            let is_next = if i == 0 { stored.next() > next } else { stored.base == next };
            ensure(is_next && stored.base <= next, || {
                format!("whoever asks for {next} is given {}..{}", stored.base, stored.next())
            })?;
            next = stored.next();
        }
    }
    Ok(is_whole)
}

/// A search by time gives a record that is late enough, or none.
fn late_enough(view: &LogView, model: &Model) -> Finding {
    for batch in model.batches.iter().step_by(5) {
        let wanted = batch.draft.timestamps[0];
        let found = view
            .offset_for_timestamp(Timestamp(wanted), Offset(model.end))
            .map_err(|e| e.to_string())?;
        ensure(found.is_none_or(|found| found.timestamp.0 >= wanted), || {
            format!("{found:?} for {wanted}")
        })?;
    }
    Ok(())
}
