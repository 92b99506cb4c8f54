//! What a seed is like: drawn from a few choices each, and counted, so that a test can say that
//! every choice has had its seeds; and what seeds did, counted too.

use std::collections::BTreeMap;
use std::fmt;

use crate::random::Seeded;

/// Of bad luck a seed has none, a little, some or much: once in so many times.
pub(super) const LUCK: [Option<usize>; 4] = [None, Some(100), Some(20), Some(5)];

/// How often each choice was drawn, those never drawn among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn(BTreeMap<(&'static str, String), usize>);

impl Drawn {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        for (choice, times) in other.0 {
            *self.0.entry(choice).or_default() += times;
        }
    }

    /// How many choices there are.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.0.len()
    }

    /// The choices that no seed had.
    #[must_use]
    pub fn never(&self) -> Vec<String> {
        let never = self.0.iter().filter(|(_, times)| **times == 0);
        never.map(|((what, choice), _)| format!("{what}: {choice}")).collect()
    }
}

/// What every simulation counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Crashes of the broker.
    pub crashes: usize,
    /// Appends that a log refused.
    pub refused: usize,
    /// Batches in the coordinator's log.
    pub batches: usize,
    /// What its seeds were like.
    pub drawn: Drawn,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.refused += other.refused;
        self.batches += other.batches;
        self.drawn.add(other.drawn);
    }
}

/// What seeds did.
pub trait Tally: Default {
    /// Both together.
    fn add(&mut self, other: Self);
    /// What every simulation counts.
    fn counts(&mut self) -> &mut Counts;
}

/// What goes wrong whatever is simulated. What happens once in `n` times never does when `n` is
/// `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chaos {
    pub(super) crashes: usize,
    /// A log refuses an append, or all for a while.
    pub(super) refusals: usize,
    /// A message is lost.
    pub(super) loss: Option<usize>,
    /// A message takes long.
    pub(super) slowness: Option<usize>,
    /// A request arrives twice.
    pub(super) duplication: Option<usize>,
}

impl Chaos {
    /// Nothing goes wrong.
    pub(super) const NONE: Self =
        Self { crashes: 0, refusals: 0, loss: None, slowness: None, duplication: None };

    pub(super) fn draw(draws: &mut Draws) -> Self {
        Self {
            crashes: draws.pick("crashes", &[0, 1, 3, 8]),
            refusals: draws.pick("refusals", &[0, 1, 4, 12]),
            loss: draws.pick("loss", &LUCK),
            slowness: draws.pick("slowness", &LUCK),
            duplication: draws.pick("duplication", &[None, Some(50), Some(6), Some(2)]),
        }
    }
}

/// What draws the options of a seed, and remembers what it drew.
pub(super) struct Draws<'a> {
    random: &'a mut Seeded,
    pub(super) drawn: Drawn,
}

impl<'a> Draws<'a> {
    pub(super) fn new(random: &'a mut Seeded) -> Self {
        Self { random, drawn: Drawn::default() }
    }

    /// One of `choices`, which differ from each other.
    pub(super) fn pick<T: Copy + fmt::Debug>(&mut self, what: &'static str, choices: &[T]) -> T {
        let chosen = self.random.below(choices.len());
        for (index, choice) in choices.iter().enumerate() {
            let times = self.drawn.0.entry((what, format!("{choice:?}"))).or_default();
            *times += usize::from(index == chosen);
        }
        choices[chosen]
    }
}

/// Whether something that happens once in `n` times happens now; without `n` it never does.
pub(super) fn happens(random: &mut Seeded, once_in: Option<usize>) -> bool {
    once_in.is_some_and(|n| random.one_in(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_no_seed_had_is_told() {
        let mut random = Seeded::new(1);
        let mut one = Draws::new(&mut random);
        let first = one.pick("number", &[1, 2]);
        let mut drawn = one.drawn;
        assert_eq!(drawn.never(), [format!("number: {}", 3 - first)]);
        for seed in 0..20 {
            let mut random = Seeded::new(seed);
            let mut draws = Draws::new(&mut random);
            draws.pick("number", &[1, 2]);
            drawn.add(draws.drawn);
        }
        assert_eq!((drawn.never(), drawn.choices()), (Vec::new(), 2));
    }
}
