//! Which of a coordinator's shards have something to do: of fifty, a request concerns one.

use std::collections::{BTreeMap, BTreeSet};

use klamm_env::Moment;
use klamm_model::PartitionIndex;

use crate::shard::Shard;
use crate::state::ShardState;

/// What the shards wait for. Whoever changes a shard notes it here.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// By time.
    timeouts: BTreeSet<(Moment, PartitionIndex)>,
    /// The same, by shard.
    timeout_of: BTreeMap<PartitionIndex, Moment>,
    /// Those that wait for a commit.
    awaiting_commit: BTreeSet<PartitionIndex>,
}

impl Agenda {
    /// The shard was changed.
    pub(crate) fn note<S: Shard>(&mut self, partition: PartitionIndex, shard: &ShardState<S>) {
        self.set(partition, shard.next_timeout(), shard.awaits_commit());
    }

    /// The shard is gone, or is not yet.
    pub(crate) fn forget(&mut self, partition: PartitionIndex) {
        self.set(partition, None, false);
    }

    fn set(&mut self, partition: PartitionIndex, timeout: Option<Moment>, awaits_commit: bool) {
        let before = self.timeout_of.get(&partition).copied();
        if before != timeout {
            if let Some(before) = before {
                self.timeouts.remove(&(before, partition));
                self.timeout_of.remove(&partition);
            }
            if let Some(timeout) = timeout {
                self.timeouts.insert((timeout, partition));
                self.timeout_of.insert(partition, timeout);
            }
        }
        if awaits_commit {
            self.awaiting_commit.insert(partition);
        } else {
            self.awaiting_commit.remove(&partition);
        }
    }

    /// When a shard wants to be asked again, the first of them.
    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        self.timeouts.first().map(|(timeout, _)| *timeout)
    }

    /// The shards that have something to do now or may have, in order.
    pub(crate) fn due(&self, now: Moment) -> Vec<PartitionIndex> {
        let timed_out = self.timeouts.iter().take_while(|(timeout, _)| *timeout <= now);
        let mut due: Vec<PartitionIndex> = timed_out.map(|(_, partition)| *partition).collect();
        due.extend(&self.awaiting_commit);
        due.sort_unstable();
        due.dedup();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(0).plus_ms(ms)
    }

    #[test]
    fn a_shard_is_due_when_its_time_has_come_or_while_it_awaits_a_commit() {
        let mut agenda = Agenda::default();
        agenda.set(3, Some(at(20)), false);
        agenda.set(1, Some(at(10)), true);
        agenda.set(2, None, false);
        assert_eq!(agenda.next_timeout(), Some(at(10)));
        assert_eq!(agenda.due(at(9)), [1]);
        assert_eq!(agenda.due(at(20)), [1, 3]);
        agenda.set(1, None, false);
        assert_eq!(agenda.next_timeout(), Some(at(20)));
        assert!(agenda.due(at(19)).is_empty());
    }

    #[test]
    fn a_timeout_that_moves_counts_once() {
        let mut agenda = Agenda::default();
        for ms in [10, 30, 20] {
            agenda.set(7, Some(at(ms)), false);
        }
        assert_eq!(agenda.next_timeout(), Some(at(20)));
        assert_eq!(agenda.due(at(100)), [7]);
        agenda.forget(7);
        assert_eq!(agenda.next_timeout(), None);
        assert!(agenda.due(at(100)).is_empty());
    }
}
