//! Who has which partition of a consumer group, as its members themselves see it.

use std::collections::{BTreeMap, BTreeSet};

use super::consumers::cluster::Partition;

/// Members, by their partitions: each took it and did not give it up.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<Partition, usize>);

/// Two members have the same partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwoOwners {
    pub(super) partition: Partition,
    pub(super) other: usize,
}

impl Owners {
    /// A member gives up what is not among these.
    pub(super) fn give_up(&mut self, member: usize, keeps: &BTreeSet<Partition>) {
        self.0.retain(|partition, owner| *owner != member || keeps.contains(partition));
    }

    /// A member has these: gives how many of them nobody had.
    pub(super) fn take(
        &mut self,
        member: usize,
        has: &BTreeSet<Partition>,
    ) -> Result<usize, TwoOwners> {
        self.give_up(member, has);
        let mut taken = 0;
        for partition in has {
            match self.0.insert(*partition, member) {
                None => taken += 1,
                Some(other) if other == member => {}
                Some(other) => return Err(TwoOwners { partition: *partition, other }),
            }
        }
        Ok(taken)
    }

    /// Who does not hold anything by the group's log has nothing.
    pub(super) fn retain(&mut self, holds: impl Fn(usize) -> bool) {
        self.0.retain(|_, owner| holds(*owner));
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use super::*;

    #[test]
    fn a_partition_that_was_not_given_up_has_two_owners() {
        let (a, b) = ((Uuid(1), 0), (Uuid(1), 1));
        let mut owners = Owners::default();
        assert_eq!(owners.take(0, &[a, b].into()), Ok(2));
        assert_eq!(owners.take(0, &[b].into()), Ok(0));
        assert_eq!(owners.take(1, &[a].into()), Ok(1));
        assert_eq!(owners.take(1, &[a, b].into()), Err(TwoOwners { partition: b, other: 0 }));
        owners.retain(|member| member != 1);
        assert_eq!(owners.take(0, &[a].into()), Ok(1));
    }
}
