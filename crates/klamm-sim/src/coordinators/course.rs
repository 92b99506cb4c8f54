//! The course of a seed: its clock, what is going to happen, and the luck that decides what does.
//! It knows of messages only that they are on their way.

use klamm_coordinator::Time;
use klamm_env::Moment;
use klamm_model::Timestamp;

use super::luck::{Chaos, Drawn, happens};
use super::queue::Queue;
use super::refusals::Refusal;
use crate::random::Seeded;

/// What is slow takes at most so long.
pub(super) const SLOW_MS: u64 = 500;
/// And everything else.
const QUICK_MS: u64 = 8;
/// A client that hears nothing asks again after half of this to twice as much.
const PATIENCE_MS: u64 = 80;
/// A client does not go on at once.
const PAUSE_MS: usize = 10;
/// Batches are committed that often.
const SYNC_MS: usize = 5;

/// What is to go wrong in a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Everything, at random.
    Chaos,
    /// Nothing, except that the broker crashes when the coordinator's log has so many batches.
    CrashAt(usize, Tail),
}

/// What a planned crash makes of batches that are not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// They were, before anybody heard of it.
    Committed,
    /// They stay, and are committed later.
    Kept,
    /// They are torn off.
    Lost,
}

impl Tail {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Committed, Self::Kept, Self::Lost];
}

/// What happens in every simulation, and what happens only in one of them.
#[derive(Debug)]
pub(super) enum Happening<E> {
    /// Some of what is appended is committed.
    Sync,
    /// The broker crashes.
    Crash,
    /// A log refuses an append, or some.
    Refuse,
    /// From now on nothing goes wrong.
    Calm,
    End,
    Own(E),
}

/// See the module's doc.
pub(super) struct Course<E> {
    pub(super) random: Seeded,
    /// For the story of a violation.
    pub(super) notes: Vec<String>,
    pub(super) crashes: usize,
    /// What the seed is like.
    pub(super) drawn: Drawn,
    plan: Plan,
    chaos: Chaos,
    ms: u64,
    calm_ms: u64,
    settles_ms: u64,
    is_calm: bool,
    queue: Queue<Happening<E>>,
}

impl<E> Course<E> {
    pub(super) fn new(random: Seeded, plan: Plan, (chaos, drawn): (Chaos, Drawn)) -> Self {
        Self {
            random,
            notes: Vec::new(),
            crashes: 0,
            drawn,
            plan,
            chaos,
            ms: 0,
            calm_ms: 0,
            settles_ms: 0,
            is_calm: false,
            queue: Queue::default(),
        }
    }

    /// Things go wrong until `calm_ms`; whatever they were, everything settles within `settles_ms`.
    pub(super) fn begin(&mut self, calm_ms: u64, settles_ms: u64) {
        (self.calm_ms, self.settles_ms) = (calm_ms, settles_ms);
        self.queue.put(1, Happening::Sync);
        let Chaos { crashes, refusals, .. } = self.chaos;
        for n in 0..crashes + refusals {
            let ms = self.random.below(calm_ms as usize) as u64;
            self.queue.put(ms, if n < crashes { Happening::Crash } else { Happening::Refuse });
        }
        self.queue.put(calm_ms, Happening::Calm);
        self.queue.put(calm_ms + settles_ms, Happening::End);
    }

    /// It settles anew from now on.
    pub(super) fn put_off_end(&mut self) {
        self.queue.retain(|happening| !matches!(happening, Happening::End));
        self.queue.put(self.ms.max(self.calm_ms) + self.settles_ms, Happening::End);
    }

    /// What happens next; the clock goes on to it.
    pub(super) fn next(&mut self) -> Option<Happening<E>> {
        let (ms, happening) = self.queue.take()?;
        self.ms = ms;
        Some(happening)
    }

    /// Something happens so much later.
    pub(super) fn put(&mut self, after_ms: u64, event: E) {
        self.queue.put(self.ms + after_ms, Happening::Own(event));
    }

    /// It happens at any time within.
    pub(super) fn put_within(&mut self, ms: u64, event: E) {
        let after_ms = self.random.below(ms as usize) as u64;
        self.put(after_ms, event);
    }

    /// So many things happen, each at any time within.
    pub(super) fn scatter(
        &mut self,
        (n, within_ms): (usize, u64),
        event: impl Fn(&mut Seeded) -> E,
    ) {
        for _ in 0..n {
            let event = event(&mut self.random);
            self.put_within(within_ms, event);
        }
    }

    /// Some of it does not happen.
    pub(super) fn forget(&mut self, is_forgotten: impl Fn(&E) -> bool) {
        self.queue.retain(|happening| match happening {
            Happening::Own(event) => !is_forgotten(event),
            _ => true,
        });
    }

    pub(super) fn put_sync(&mut self) {
        let after_ms = 1 + self.random.below(SYNC_MS) as u64;
        self.queue.put(self.ms + after_ms, Happening::Sync);
    }

    pub(super) fn ms(&self) -> u64 {
        self.ms
    }

    pub(super) fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan
    }

    pub(super) fn is_calm(&self) -> bool {
        self.is_calm
    }

    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    /// Whether something goes wrong that does once in `n` times.
    pub(super) fn happens(&mut self, once_in: Option<usize>) -> bool {
        !self.is_calm && happens(&mut self.random, once_in)
    }

    /// How long a message is on its way.
    pub(super) fn delay(&mut self) -> u64 {
        let most = if self.happens(self.chaos.slowness) { SLOW_MS } else { QUICK_MS };
        self.random.below(most as usize + 1) as u64
    }

    /// How long a client waits for an answer.
    pub(super) fn patience(&mut self) -> u64 {
        PATIENCE_MS / 2 + self.random.below(PATIENCE_MS as usize * 3 / 2) as u64
    }

    /// A request is sent, perhaps twice, perhaps in vain.
    pub(super) fn sends(&mut self, arrival: impl Fn() -> E) {
        let is_lost = self.happens(self.chaos.loss);
        let is_doubled = self.happens(self.chaos.duplication);
        for _ in 0..usize::from(!is_lost) + usize::from(is_doubled) {
            let delay = self.delay();
            self.put(delay, arrival());
        }
    }

    /// An answer is sent, perhaps in vain.
    pub(super) fn answers(&mut self, arrival: E) {
        if !self.happens(self.chaos.loss) {
            let delay = self.delay();
            self.put(delay, arrival);
        }
    }

    /// A client goes on when it is due; some think for longer than their session, once in so many
    /// times.
    pub(super) fn goes_on(
        &mut self,
        (silence, session_ms): (Option<usize>, u64),
        due_ms: u64,
        next: E,
    ) {
        if self.happens(silence) {
            return self.put_within(2 * session_ms, next);
        }
        let pause_ms = self.random.below(PAUSE_MS) as u64;
        self.put(due_ms.saturating_sub(self.ms) + pause_ms, next);
    }

    /// What a log is to refuse from now on.
    pub(super) fn refusal(&mut self) -> Refusal {
        let now = self.time().wall;
        Refusal::random(&mut self.random, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(chaos: Chaos) -> Course<&'static str> {
        Course::new(Seeded::new(1), Plan::Chaos, (chaos, Drawn::default()))
    }

    fn arrivals(course: &mut Course<&'static str>) -> usize {
        let mut n = 0;
        while course.next().is_some() {
            n += 1;
        }
        n
    }

    #[test]
    fn a_request_is_lost_or_doubled_and_never_in_the_calm() {
        let mut lossy = course(Chaos { loss: Some(1), ..Chaos::NONE });
        let mut doubling = course(Chaos { duplication: Some(1), ..Chaos::NONE });
        for course in [&mut lossy, &mut doubling] {
            course.sends(|| "request");
        }
        assert_eq!((arrivals(&mut lossy), arrivals(&mut doubling)), (0, 2));
        for course in [&mut lossy, &mut doubling] {
            course.calm_down();
            course.sends(|| "request");
            course.answers("answer");
            assert_eq!(arrivals(course), 2);
        }
    }

    #[test]
    fn the_end_comes_when_all_that_was_planned_has_happened_and_may_be_put_off() {
        let mut course = course(Chaos { crashes: 2, refusals: 3, ..Chaos::NONE });
        course.begin(100, 50);
        course.put_off_end();
        let (mut crashes, mut refusals) = (0, 0);
        while let Some(happening) = course.next() {
            match happening {
                Happening::Crash => crashes += 1,
                Happening::Refuse => refusals += 1,
                Happening::Calm => assert_eq!(course.ms(), 100),
                Happening::End => assert_eq!(course.ms(), 150),
                Happening::Sync | Happening::Own(_) => {}
            }
        }
        assert_eq!((crashes, refusals, course.ms()), (2, 3, 150));
    }
}
