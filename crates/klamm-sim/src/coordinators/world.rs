//! What every simulated world has in common: the loop of a seed, syncs, crashes, refusals and the
//! calm at the end; and the seed itself, told once more if it breaks a promise.

use std::fmt::Debug;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Violation;
use super::course::{Course, Happening, Plan, Tail};
use super::luck::{Counts, Tally};
use super::partition::SimPartition;
use super::trace::Trace;

/// How batches are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commits {
    /// The world settles after each.
    OneByOne,
    /// Now and then several at once.
    Together,
}

/// What everybody may do with a simulation.
pub trait Simulated: Sized {
    /// What a seed did.
    type Tally: Tally;

    /// One seed.
    ///
    /// # Errors
    /// The promise that was broken.
    fn run(seed: u64, plan: Plan) -> Result<Self::Tally, Violation>;
}

/// A coordinator, its clients, and what they promise.
pub(super) trait World: Simulated {
    /// What the command line calls it.
    const NAME: &'static str;
    const COMMITS: Commits;
    /// What happens in it besides crashes and the like.
    type Event: Debug;

    fn new(seed: u64, plan: Plan) -> Self;
    fn course(&mut self) -> &mut Course<Self::Event>;
    /// Every log; that of the coordinator itself is the first.
    fn logs(&self) -> Vec<SimPartition>;
    fn on_event(&mut self, event: Self::Event) -> Result<(), String>;
    /// The broker stopped and is back, with what its logs kept.
    fn restart(&mut self);
    /// From now on nothing goes wrong.
    fn calm_down(&mut self);
    /// Everything that follows from an event without another, and what must hold after each.
    fn settle(&mut self) -> Result<(), String>;
    /// What must hold in the end; gives what was done, without what every simulation counts.
    fn finish(self) -> Result<Self::Tally, String>;

    /// Whether the story is better for an event.
    fn is_told(_: &Self::Event) -> bool {
        true
    }
}

/// The tally of a world: numbers that add up.
macro_rules! tally {
    ($(#[$doc:meta])* $name:ident of $world:ident { $($(#[$told:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$told])* pub $field: usize,)*
            /// What every simulation counts.
            pub counts: super::Counts,
        }

        impl super::Tally for $name {
            fn add(&mut self, other: Self) {
                $(self.$field += other.$field;)*
                self.counts.add(other.counts);
            }

            fn counts(&mut self) -> &mut super::Counts {
                &mut self.counts
            }
        }

        impl super::Simulated for $world {
            type Tally = $name;

            fn run(seed: u64, plan: super::Plan) -> Result<$name, super::Violation> {
                super::world::run::<Self>(seed, plan)
            }
        }
    };
}
pub(super) use tally;

/// One seed, once more with every line if it breaks a promise.
pub(super) fn run<W: World>(seed: u64, plan: Plan) -> Result<W::Tally, Violation> {
    go::<W>(seed, plan, &mut Trace::silent()).map_err(|_| {
        let mut trace = Trace::told();
        let mut what = match go::<W>(seed, plan, &mut trace) {
            Err(what) => what,
            Ok(_) => "it breaks a promise at random: what it does is not its seed's".to_owned(),
        };
        if let Plan::CrashAt(n, tail) = plan {
            what = format!("crashed at batch {n}, {tail:?}: {what}");
        }
        Violation { name: W::NAME, seed, what, story: trace.into_story() }
    })
}

/// The hash of everything that happens in a seed.
pub(super) fn trace_hash<W: World>(seed: u64) -> Result<u64, Violation> {
    let mut trace = Trace::hashed();
    let told = |what| Violation { name: W::NAME, seed, what, story: Vec::new() };
    go::<W>(seed, Plan::Chaos, &mut trace).map_err(told)?;
    Ok(trace.hash())
}

/// A panic of a shard is a violation too.
fn go<W: World>(seed: u64, plan: Plan, trace: &mut Trace) -> Result<W::Tally, String> {
    let result = catch_unwind(AssertUnwindSafe(|| live(W::new(seed, plan), trace)));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn live<W: World>(mut world: W, trace: &mut Trace) -> Result<W::Tally, String> {
    while let Some(happening) = world.course().next() {
        let ms = world.course().ms();
        match &happening {
            Happening::Sync => {}
            Happening::Own(event) if !W::is_told(event) => {}
            Happening::Own(event) => trace.note(format_args!("{ms} {event:?}")),
            other => trace.note(format_args!("{ms} {other:?}")),
        }
        if matches!(happening, Happening::End) {
            return finish(world);
        }
        let happened = happen(&mut world, happening).and_then(|()| world.settle());
        world.course().notes.drain(..).for_each(|note| trace.note(format_args!("{ms} {note}")));
        happened?;
        if let Plan::CrashAt(n, tail) = world.course().plan()
            && world.course().crashes == 0
            && world.logs()[0].len() >= n
        {
            trace.note(format_args!("{ms} crash"));
            crash_at(&mut world, n, tail);
            world.settle()?;
        }
    }
    Err("the queue is empty before the end".to_owned())
}

fn finish<W: World>(mut world: W) -> Result<W::Tally, String> {
    let logs = world.logs();
    let course = world.course();
    let counts = Counts {
        crashes: course.crashes,
        refused: logs.iter().map(SimPartition::refused).sum(),
        batches: logs[0].len(),
        drawn: take(&mut course.drawn),
    };
    let mut tally = world.finish()?;
    *tally.counts() = counts;
    Ok(tally)
}

fn happen<W: World>(world: &mut W, happening: Happening<W::Event>) -> Result<(), String> {
    match happening {
        Happening::Sync => return sync(world),
        Happening::Own(event) => return world.on_event(event),
        Happening::Crash => crash(world),
        Happening::Refuse => {
            let logs = world.logs();
            let refusal = world.course().refusal();
            world.course().random.pick(&logs).refuse(Some(refusal));
        }
        Happening::Calm => {
            world.course().calm_down();
            world.logs().iter().for_each(|log| log.refuse(None));
            world.calm_down();
        }
        Happening::End => {}
    }
    Ok(())
}

fn sync<W: World>(world: &mut W) -> Result<(), String> {
    for log in world.logs() {
        let course = world.course();
        let n = match course.random.below(3) {
            0 => log.uncommitted(),
            1 => log.uncommitted().min(1),
            _ if course.is_calm() => log.uncommitted(),
            _ => 0,
        };
        for _ in 0..n {
            log.commit_one();
            if W::COMMITS == Commits::OneByOne {
                world.settle()?;
            }
        }
    }
    world.course().put_sync();
    Ok(())
}

/// The broker stops; what is not committed may be lost, but for a part at the front.
fn crash<W: World>(world: &mut W) {
    for log in world.logs() {
        log.crash(world.course().random.below(log.uncommitted() + 1));
    }
    world.course().crashes += 1;
    world.restart();
}

/// It stops when its own log has the `n`-th batch and no more.
fn crash_at<W: World>(world: &mut W, n: usize, tail: Tail) {
    let logs = world.logs();
    logs[0].crash(n.saturating_sub(logs[0].len() - logs[0].uncommitted()));
    for log in logs {
        match tail {
            Tail::Committed => log.commit(),
            Tail::Kept => {}
            Tail::Lost => log.crash(0),
        }
    }
    world.course().crashes += 1;
    world.course().put_off_end();
    world.restart();
}
