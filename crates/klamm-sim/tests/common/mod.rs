//! What the tests of the coordinators' simulations have in common: many seeds, crashes at every
//! batch, and bugs that are there to be found.

use std::fmt::Debug;

use klamm_coordinator::{CoordinatorBug, with_bug};
use klamm_sim::coordinators::{Counts, Plan, Simulated, Tail, Tally, Violation};

/// Tried until a bug shows.
const SEEDS_MAX: u64 = 3000;
/// Workloads that are crashed at each.
const WORKLOADS: u64 = 2;

fn kept<T>(did: Result<T, Violation>) -> T {
    did.unwrap_or_else(|violation| panic!("{violation}"))
}

/// What so many seeds did; each keeps every promise.
pub(crate) fn all_keep_their_promises<S: Simulated<Tally: Debug>>(seeds: u64) -> S::Tally {
    let mut tally = S::Tally::default();
    (0..seeds).for_each(|seed| tally.add(kept(S::run(seed, Plan::Chaos))));
    println!("{tally:?}");
    let Counts { crashes, refused, drawn, .. } = tally.counts();
    assert!(*crashes > 40 && *refused > 50, "{crashes} crashes, {refused} refused: too few");
    assert!(drawn.choices() > 40, "{} choices are too few", drawn.choices());
    assert_eq!(drawn.never(), [] as [String; 0], "never drawn: it says too little");
    tally
}

/// Workloads are crashed at each batch of the coordinator's log, or at so many; gives what they did
/// without.
pub(crate) fn may_crash_at_every_batch<S: Simulated>(most: usize) -> S::Tally {
    let mut all = S::Tally::default();
    for seed in 0..WORKLOADS {
        let mut whole = kept(S::run(seed, Plan::CrashAt(usize::MAX, Tail::Kept)));
        let batches = whole.counts().batches.min(most);
        assert!(batches > 15, "seed {seed}: {batches} batches are too few to say anything");
        for n in 1..=batches {
            for tail in Tail::ALL {
                let crashes = kept(S::run(seed, Plan::CrashAt(n, tail))).counts().crashes;
                assert_eq!(crashes, 1, "seed {seed}, batch {n}, {tail:?}");
            }
        }
        all.add(whole);
    }
    all
}

pub(crate) fn does_the_same<S: Simulated<Tally: PartialEq + Debug>>(seeds: u64) {
    for seed in 0..seeds {
        let did = || kept(S::run(seed, Plan::Chaos));
        assert_eq!(did(), did(), "seed {seed}");
    }
}

/// A bug of a coordinator is found by a violation that says `how`, and the seed is clean without it.
pub(crate) fn is_found<S: Simulated>(bug: CoordinatorBug, how: &str) {
    let run = |seed| with_bug(bug, || S::run(seed, Plan::Chaos)).err();
    let found = (0..SEEDS_MAX).filter_map(run).find(|violation| violation.what.contains(how));
    let violation = found.unwrap_or_else(|| panic!("{bug:?} is not found by {SEEDS_MAX} seeds"));
    println!("{bug:?}: {violation}");
    assert!(!violation.story.is_empty(), "nobody is told what happened");
    assert!(S::run(violation.seed, Plan::Chaos).is_ok(), "it is found without the bug too");
}
