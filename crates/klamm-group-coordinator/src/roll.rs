//! What a shard keeps of each group beside the group: when it is due, and how many members it has.
//! Never looks into a group by itself; whoever changes one says so.

use std::collections::{BTreeSet, HashMap};

use klamm_env::Moment;
use klamm_stdx::Str;

/// What is kept of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Not later than something is due.
    pub due: Option<Moment>,
    /// Members, and ids that were given out.
    pub members: usize,
}

/// All groups that have members or a clock.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    entries: HashMap<Str, Entry>,
    by_time: BTreeSet<(Moment, Str)>,
    members: usize,
}

impl Roll {
    /// A group may have changed.
    pub(crate) fn set(&mut self, group_id: &Str, entry: Entry) {
        let old = self.entries.get(group_id).copied().unwrap_or_default();
        if old == entry {
            return;
        }
        self.members = self.members - old.members + entry.members;
        if old.due != entry.due {
            if let Some(at) = old.due {
                self.by_time.remove(&(at, group_id.clone()));
            }
            if let Some(at) = entry.due {
                self.by_time.insert((at, group_id.detached()));
            }
        }
        if entry == Entry::default() {
            self.entries.remove(group_id);
        } else if let Some(kept) = self.entries.get_mut(group_id) {
            *kept = entry;
        } else {
            self.entries.insert(group_id.detached(), entry);
        }
    }

    /// When the first group is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The groups that are due, which are to be set again.
    pub(crate) fn due(&self, now: Moment) -> Vec<Str> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }

    /// Members of all groups.
    pub(crate) fn members(&self) -> usize {
        self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(due: u64, members: usize) -> Entry {
        Entry { due: Some(Moment(due)), members }
    }

    #[test]
    fn the_group_that_is_due_first_is_first_whatever_changes() {
        let mut roll = Roll::default();
        roll.set(&"a".into(), at(5, 1));
        roll.set(&"b".into(), at(3, 2));
        assert_eq!((roll.next(), roll.members()), (Some(Moment(3)), 3));
        assert_eq!(roll.due(Moment(4)), ["b"]);
        roll.set(&"b".into(), at(9, 1));
        assert_eq!((roll.next(), roll.members()), (Some(Moment(5)), 2));
        assert_eq!(roll.due(Moment(9)), ["a", "b"]);
    }

    #[test]
    fn a_group_without_members_and_clock_is_forgotten() {
        let mut roll = Roll::default();
        roll.set(&"a".into(), at(5, 1));
        roll.set(&"a".into(), Entry::default());
        assert_eq!((roll.next(), roll.members(), roll.entries.len()), (None, 0, 0));
        assert!(roll.by_time.is_empty());
    }
}
