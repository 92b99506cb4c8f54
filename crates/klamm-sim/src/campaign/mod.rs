//! Campaigns: logs at work, what breaks them, and what must be true afterwards.
//!
//! A seed decides everything: what is done, what fails, when the power goes, what survives. Each
//! campaign gives the first [`Violation`], whose text replays it.

mod adopt;
mod appends;
mod check;
mod checkpoints;
mod compacted;
mod compaction;
mod corruption;
mod cuts;
mod deletion;
mod finding;
mod found;
mod history;
mod mix;
mod model;
mod place;
mod restart;
mod small;
mod steps;
mod stored;
mod tally;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use corruption::{Stop, Tally, damage, device};
pub use small::small_files;

use crate::disk::{Call, SimDisk};
use crate::random::Seeded;
use mix::Mix;
pub use tally::CompactionTally;
use world::{Ending, World};

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed that breaks it.
    pub seed: u64,
    /// Which promise, and where.
    pub what: String,
    /// What was done, step by step.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, .. } = self;
        write!(f, "seed {seed}: {what}\nreplay: cargo run -p klamm-sim -- seed {seed}")
    }
}

impl std::error::Error for Violation {}

/// Steps of one seed.
const STEPS: usize = 90;
/// Steps of a workload that is interrupted after each of its calls.
const RECORDED_STEPS: usize = 45;

/// Runs `work` on a world; a panic is a violation too.
fn run(seed: u64, mix: Mix, work: impl FnOnce(&mut World) -> Result<(), String>) -> Outcome {
    let mut story = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::start(seed, mix)?;
        let result = work(&mut world);
        story = std::mem::take(&mut world.story);
        result.map(|()| world)
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| Violation { seed, what, story })
}

type Outcome = Result<World, Violation>;

/// One seed of everything at once: work, faults, crashes, kills, orderly ends, and openings that
/// are interrupted themselves.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<CompactionTally, Violation> {
    let partitions = 1 + (seed % 3) as usize;
    run(seed, Mix::Any(partitions), |world| {
        let mut plan = world.random.fork();
        let steps = plan.below(STEPS);
        for _ in 0..steps {
            if plan.one_in(25) {
                world.disk.power_off_after(plan.below(40) as u64);
            }
            if plan.one_in(60) {
                inject(&world.disk, &mut plan);
            }
            world.step()?;
            if world.disk.is_off() || world.is_offline {
                world.end(Ending::Crash)?;
            } else if world.disk.failed() > 0 && plan.one_in(4) {
                let ending = *plan.pick(&[Ending::Crash, Ending::Kill, Ending::Clean]);
                world.end(ending)?;
            }
        }
        finish(world)
    })
    .map(|world| world.tally)
}

fn inject(disk: &SimDisk, plan: &mut Seeded) {
    let kind = std::io::ErrorKind::Other;
    let nth = 1 + plan.below(8) as u64;
    match plan.below(6) {
        0 => disk.fail(Call::Sync, nth, kind),
        1 => disk.fail(Call::SyncDir, nth, kind),
        2 => disk.fail(Call::Write, nth, kind),
        3 => disk.fail(Call::Rename, nth, kind),
        4 => disk.fill_after(plan.below(3000) as u64),
        _ => disk.fail_change(nth),
    }
}

/// A last crash, an orderly end, and the same again: a second opening reads the same.
fn finish(world: &mut World) -> Result<(), String> {
    world.open_in_peace();
    world.check_unless_failed()?;
    world.end(Ending::Crash)?;
    world.end(Ending::Clean)?;
    let before: Vec<(i64, i64)> = world.models.iter().map(|m| (m.start, m.end)).collect();
    world.end(Ending::Clean)?;
    let after: Vec<(i64, i64)> = world.models.iter().map(|m| (m.start, m.end)).collect();
    finding::ensure(before == after, || format!("{before:?} became {after:?} by opening it"))
}

/// How many changing calls a recorded workload makes.
///
/// # Errors
/// It breaks a promise even without a crash.
pub fn recorded_changes(seed: u64) -> Result<u64, Violation> {
    let world = run(seed, Mix::Any(2), |world| {
        world.open_in_peace();
        world.work(RECORDED_STEPS)
    })?;
    Ok(world.disk.changes())
}

/// The recorded workload of a seed, with the power gone after its `n`-th changing call.
///
/// # Errors
/// The promise that was broken.
pub fn crash_after(seed: u64, n: u64) -> Result<(), Violation> {
    let mut outcome = run(seed, Mix::Any(2), |world| {
        world.open_in_peace();
        let before = world.disk.changes();
        world.disk.power_off_after(n.saturating_sub(before));
        // What survives differs from point to point.
        world.work(RECORDED_STEPS)?;
        world.random = Seeded::new(seed ^ n.rotate_left(32));
        world.end(Ending::Crash)?;
        world.work_on()
    });
    if let Err(violation) = &mut outcome {
        violation.what = format!("power lost after call {n}: {}", violation.what);
    }
    outcome.map(drop)
}

/// A workload in which the `n`-th call of a kind fails.
///
/// # Errors
/// The promise that was broken.
pub fn fail_call(seed: u64, call: Call, n: u64) -> Result<bool, Violation> {
    with_failure(seed, |disk| disk.fail(call, n, std::io::ErrorKind::Other))
}

/// A workload on a disk that is full after so many bytes.
///
/// # Errors
/// The promise that was broken.
pub fn full_after(seed: u64, bytes: u64) -> Result<bool, Violation> {
    with_failure(seed, |disk| disk.fill_after(bytes))
}

/// Whether the failure came to pass.
fn with_failure(seed: u64, prepare: impl FnOnce(&SimDisk)) -> Result<bool, Violation> {
    let mut has_failed = false;
    run(seed, Mix::Any(2), |world| {
        world.open_in_peace();
        prepare(&world.disk);
        world.work(RECORDED_STEPS * 2)?;
        has_failed = world.disk.failed() > 0;
        let ending = *world.random.pick(&[Ending::Crash, Ending::Kill, Ending::Clean]);
        world.end(ending)?;
        world.work_on()
    })?;
    Ok(has_failed)
}

impl World {
    /// Works without ending a life, until the power goes; what is closed stays closed.
    fn work(&mut self, steps: usize) -> Result<(), String> {
        for _ in 0..steps {
            if self.disk.is_off() || self.is_offline {
                return Ok(());
            }
            self.step_in_one_life()?;
        }
        Ok(())
    }

    /// After an opening the log is as good as any: it takes more, and keeps it.
    fn work_on(&mut self) -> Result<(), String> {
        for i in 0..self.models.len() {
            self.sync(i)?;
        }
        self.work(4)?;
        self.check_unless_failed()?;
        self.end(Ending::Crash)
    }

    fn check_unless_failed(&mut self) -> Result<(), String> {
        let is_sound = self.disk.failed() == 0 && !self.disk.is_off();
        if is_sound { self.check() } else { Ok(()) }
    }
}
