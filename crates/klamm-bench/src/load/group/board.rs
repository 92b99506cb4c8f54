//! Who owns what, as the members themselves say. Two owners of a partition end the load.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klamm_bench::LoadError;

/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The partitions of the group's topic and the members that have them.
pub(super) struct Board {
    state: Mutex<State>,
}

struct State {
    /// By partition.
    owners: Vec<Option<usize>>,
    /// Partitions of each member.
    owned: Vec<usize>,
    changed: Instant,
    assignments: u64,
    failure: Option<LoadError>,
}

/// What makes a group stable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stable {
    /// Members that are to have something.
    pub(super) members: usize,
    /// Nothing changes for so long.
    pub(super) quiet: Duration,
    /// It takes no longer than this.
    pub(super) wait_max: Duration,
}

impl Board {
    pub(super) fn new(partitions: usize, members: usize) -> Self {
        let state = State {
            owners: vec![None; partitions],
            owned: vec![0; members],
            changed: Instant::now(),
            assignments: 0,
            failure: None,
        };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member has been given partitions.
    pub(super) fn take(&self, member: usize, partitions: &[i32]) -> Result<(), LoadError> {
        let mut state = self.state();
        for partition in partitions {
            let slot = usize::try_from(*partition)
                .ok()
                .and_then(|index| state.owners.get_mut(index))
                .ok_or_else(|| LoadError::unexpected(format!("partition {partition} is given")))?;
            if let Some(owner) = slot.replace(member)
                && owner != member
            {
                let both = format!("partition {partition} has two owners, {owner} and {member}");
                return Err(LoadError::unexpected(both));
            }
        }
        state.owned[member] += partitions.len();
        state.assignments += 1;
        state.changed = Instant::now();
        Ok(())
    }

    /// A member gives partitions up.
    pub(super) fn give_up(&self, member: usize, partitions: &[i32]) {
        let mut state = self.state();
        for partition in partitions {
            let owner = usize::try_from(*partition).ok().and_then(|i| state.owners.get_mut(i));
            if let Some(owner) = owner.filter(|owner| **owner == Some(member)) {
                *owner = None;
                state.owned[member] -= 1;
            }
        }
        state.changed = Instant::now();
    }

    /// A member cannot go on; the first such error is the load's.
    pub(super) fn fail(&self, error: LoadError) {
        self.state().failure.get_or_insert(error);
    }

    /// Assignments so far.
    pub(super) fn assignments(&self) -> u64 {
        self.state().assignments
    }

    /// Waits until each partition has an owner and each member its part, and both stay so; gives
    /// when the last change was.
    pub(super) fn wait(&self, stable: Stable) -> Result<Instant, LoadError> {
        let start = Instant::now();
        while start.elapsed() < stable.wait_max {
            if let Some(changed) = self.state().stable_since(stable)? {
                return Ok(changed);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(LoadError::TimedOut { what: "a stable group" })
    }
}

impl State {
    fn stable_since(&mut self, stable: Stable) -> Result<Option<Instant>, LoadError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let with = self.owned.iter().filter(|owned| **owned > 0).count();
        let is_stable = self.owners.iter().all(Option::is_some)
            && with == stable.members.min(self.owners.len())
            && self.changed.elapsed() > stable.quiet;
        Ok(is_stable.then_some(self.changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Stable =
        Stable { members: 2, quiet: Duration::ZERO, wait_max: Duration::from_secs(5) };

    #[test]
    fn a_partition_that_is_given_before_it_is_given_up_has_two_owners() {
        let board = Board::new(2, 2);
        board.take(0, &[0, 1]).unwrap();
        let error = board.take(1, &[1]).unwrap_err();
        assert_eq!(error.to_string(), "partition 1 has two owners, 0 and 1");
    }

    #[test]
    fn a_group_is_stable_when_each_member_has_its_part() {
        let board = Board::new(2, 2);
        board.take(0, &[0, 1]).unwrap();
        assert!(board.state().stable_since(AT_ONCE).unwrap().is_none());
        board.give_up(0, &[1]);
        board.take(1, &[1]).unwrap();
        board.wait(AT_ONCE).unwrap();
        assert_eq!(board.assignments(), 2);
    }

    #[test]
    fn a_member_that_fails_ends_the_wait() {
        let board = Board::new(1, 1);
        board.fail(LoadError::Refused { what: "a heartbeat", code: 25 });
        let error = board.wait(AT_ONCE).unwrap_err();
        assert_eq!(error.to_string(), "a heartbeat is refused with error code 25");
    }
}
