//! From what a member has to what it is to have, one step at a time (Kafka:
//! `CurrentAssignmentBuilder`). A partition is given only when nobody has it.
//!
//! ```text
//!                  something to give up                  it was given up
//!   Stable ───────────────────────────▶ UnrevokedPartitions ──────────────┐
//!     ▲  │                                     ▲                          │
//!     │  │ wanted, but others have it          │ something to give up     │
//!     │  └──────────────▶ UnreleasedPartitions ┘                          │
//!     │                        │       ▲                                  │
//!     │ all of the target      │       │ wanted, but others have it       │
//!     └────────────────────────┴───────┴──────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use klamm_model::{PartitionIndex, TopicId};

use super::member::{Current, MemberState};
use super::partitions::{Owned, Partitions, TopicPartitions, contains, put};

/// What a member is led to.
pub(crate) struct Target<'a> {
    /// The epoch of the target.
    pub epoch: i32,
    /// The target, as far as the member reads its topics.
    pub partitions: &'a Partitions,
    /// What the member says that it has, if it says.
    pub told: Option<&'a [TopicPartitions]>,
    /// Whether it asks for other topics than before.
    pub wish: Wish,
}

/// Whether a member asks for other topics than before: then it gives up what it does not read any
/// more at once, whatever the target says, which may be computed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It does not.
    Same,
    /// It does, or it is new.
    New,
}

/// The next step; the same if there is none to make.
pub(crate) fn next(
    current: &Current,
    target: &Target<'_>,
    is_free: impl Fn(TopicId, PartitionIndex) -> bool,
) -> Current {
    match current.state {
        MemberState::Stable if current.epoch == target.epoch && target.wish == Wish::Same => {
            current.clone()
        }
        MemberState::Stable | MemberState::UnreleasedPartitions => {
            step(current, current.epoch, target, is_free)
        }
        // What it was told to give up, it still has as far as anybody knows.
        MemberState::UnrevokedPartitions if has_any(target.told, &current.revoking) => {
            match target.wish {
                Wish::Same => current.clone(),
                Wish::New => give_up_more(current, target),
            }
        }
        // It may be in the target's epoch already, if it asked for other topics since.
        MemberState::UnrevokedPartitions => {
            let epoch = target.epoch.min(current.epoch + 1);
            step(current, epoch, target, is_free)
        }
        // Whoever gets here has said that it has nothing; see `Decision`.
        MemberState::Unknown => step(current, target.epoch, target, is_free),
    }
}

/// Whether a member may still have some of these: it does if it does not say.
fn has_any(told: Option<&[TopicPartitions]>, revoking: &Owned) -> bool {
    let Some(told) = told else { return true };
    told.iter().any(|(id, partitions)| partitions.iter().any(|p| contains(revoking, *id, *p)))
}

/// What a member keeps of what it has, and what it has to give up.
fn split(current: &Current, target: &Partitions) -> (Owned, Owned) {
    let (mut assigned, mut revoking) = (Owned::new(), Owned::new());
    for (topic_id, partitions) in &current.assigned {
        let wanted = target.get(topic_id);
        for (partition, since) in partitions {
            let stays = wanted.is_some_and(|wanted| wanted.contains(partition));
            let side = if stays { &mut assigned } else { &mut revoking };
            put(side, (*topic_id, *partition), *since);
        }
    }
    (assigned, revoking)
}

/// A member that is giving something up gives up more.
fn give_up_more(current: &Current, target: &Target<'_>) -> Current {
    let (assigned, more) = split(current, target.partitions);
    let mut revoking = current.revoking.clone();
    for (topic_id, partitions) in more {
        revoking.entry(topic_id).or_default().extend(partitions);
    }
    Current { assigned, revoking, ..current.clone() }
}

fn step(
    current: &Current,
    epoch: i32,
    target: &Target<'_>,
    is_free: impl Fn(TopicId, PartitionIndex) -> bool,
) -> Current {
    let (mut assigned, revoking) = split(current, target.partitions);
    if !revoking.is_empty() && has_any(target.told, &revoking) {
        let state = MemberState::UnrevokedPartitions;
        return Current { state, assigned, revoking, ..current.in_epoch(epoch) };
    }
    let mut state = MemberState::Stable;
    let wanted = target.partitions.iter();
    let wanted = wanted.flat_map(|(id, set): (_, &BTreeSet<_>)| set.iter().map(|p| (*id, *p)));
    for (topic_id, partition) in wanted {
        if contains(&assigned, topic_id, partition) {
            continue;
        }
        if is_free(topic_id, partition) {
            put(&mut assigned, (topic_id, partition), target.epoch);
        } else {
            state = MemberState::UnreleasedPartitions;
        }
    }
    let revoking = Owned::new();
    Current { state, assigned, revoking, ..current.in_epoch(target.epoch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::Uuid;

    const T: TopicId = Uuid(1);

    fn partitions(all: &[i32]) -> Partitions {
        Partitions::from([(T, all.iter().copied().collect())])
    }

    fn owned(all: &[i32]) -> Owned {
        Owned::from([(T, all.iter().map(|p| (*p, 1)).collect())])
    }

    fn stable(all: &[i32]) -> Current {
        Current { epoch: 1, assigned: owned(all), ..Current::default() }
    }

    fn all(owned: &Owned) -> Vec<i32> {
        super::super::partitions::each(owned).map(|(_, p)| p).collect()
    }

    fn go(
        current: &Current,
        (epoch, target): (i32, &[i32]),
        told: Option<&[i32]>,
        taken: &[i32],
    ) -> Current {
        let told = told.map(|told| vec![(T, told.to_vec())]);
        let partitions = partitions(target);
        let (told, wish) = (told.as_deref(), Wish::Same);
        let target = Target { epoch, partitions: &partitions, told, wish };
        next(current, &target, |_, p| !taken.contains(&p))
    }

    fn ask_anew(current: &Current, (epoch, target): (i32, &[i32])) -> Current {
        let partitions = partitions(target);
        let target = Target { epoch, partitions: &partitions, told: None, wish: Wish::New };
        next(current, &target, |_, _| true)
    }

    #[test]
    fn a_member_that_asks_for_other_topics_gives_the_old_up_in_its_epoch() {
        let next = ask_anew(&stable(&[0, 1]), (1, &[0]));
        assert_eq!((next.state, next.epoch), (MemberState::UnrevokedPartitions, 1));
        assert_eq!((all(&next.assigned), all(&next.revoking)), (vec![0], vec![1]));
        let more = ask_anew(&next, (1, &[]));
        assert_eq!((more.state, all(&more.assigned)), (MemberState::UnrevokedPartitions, vec![]));
        assert_eq!(all(&more.revoking), [0, 1]);
        assert_eq!(ask_anew(&stable(&[0, 1]), (1, &[0, 1])), stable(&[0, 1]));
    }

    #[test]
    fn a_member_that_gives_up_twice_in_the_targets_epoch_stays_in_it() {
        let once = ask_anew(&stable(&[0, 1]), (1, &[0]));
        let told = vec![(T, vec![0])];
        let partitions = partitions(&[]);
        let target =
            Target { epoch: 1, partitions: &partitions, told: Some(&told), wish: Wish::New };
        let twice = next(&once, &target, |_, _| true);
        assert_eq!((twice.state, twice.epoch), (MemberState::UnrevokedPartitions, 1));
        assert_eq!(go(&twice, (1, &[]), Some(&[]), &[]).epoch, 1);
    }

    #[test]
    fn a_stable_member_at_its_target_stays_as_it_is() {
        let member = stable(&[0, 1]);
        assert_eq!(go(&member, (1, &[0, 1]), None, &[]), member);
    }

    #[test]
    fn a_stable_member_with_something_to_give_up_keeps_its_epoch_until_it_has() {
        let next = go(&stable(&[0, 1]), (2, &[0]), None, &[]);
        assert_eq!((next.state, next.epoch), (MemberState::UnrevokedPartitions, 1));
        assert_eq!((all(&next.assigned), all(&next.revoking)), (vec![0], vec![1]));
        let still = go(&next, (2, &[0]), Some(&[0, 1]), &[]);
        assert_eq!(still, next);
        let silent = go(&next, (2, &[0]), None, &[]);
        assert_eq!(silent, next);
        let done = go(&next, (2, &[0]), Some(&[0]), &[]);
        assert_eq!((done.state, done.epoch, done.previous_epoch), (MemberState::Stable, 2, 1));
        assert!(done.revoking.is_empty());
    }

    #[test]
    fn a_member_that_no_longer_has_what_it_is_to_give_up_need_not_be_told() {
        let next = go(&stable(&[0, 1]), (2, &[0]), Some(&[0]), &[]);
        assert_eq!((next.state, next.epoch), (MemberState::Stable, 2));
    }

    #[test]
    fn a_stable_member_whose_partitions_others_have_waits_in_the_new_epoch() {
        let next = go(&stable(&[0]), (2, &[0, 1, 2]), None, &[1]);
        assert_eq!((next.state, next.epoch), (MemberState::UnreleasedPartitions, 2));
        assert_eq!(all(&next.assigned), [0, 2]);
    }

    #[test]
    fn a_member_that_waits_gets_what_becomes_free() {
        let waits = go(&stable(&[0]), (2, &[0, 1]), None, &[1]);
        let next = go(&waits, (2, &[0, 1]), None, &[]);
        assert_eq!((next.state, next.epoch), (MemberState::Stable, 2));
        assert_eq!(all(&next.assigned), [0, 1]);
        assert_eq!(next.assigned[&T], [(0, 1), (1, 2)].into());
    }

    #[test]
    fn a_member_that_waits_gives_up_what_a_newer_target_takes() {
        let waits = go(&stable(&[0, 2]), (2, &[0, 1, 2]), None, &[1]);
        let next = go(&waits, (3, &[2]), None, &[]);
        assert_eq!((next.state, next.epoch), (MemberState::UnrevokedPartitions, 2));
        assert_eq!(all(&next.revoking), [0]);
    }

    #[test]
    fn a_member_that_gave_up_may_have_to_wait_or_to_give_up_more() {
        let revokes = go(&stable(&[0, 1]), (2, &[0, 5]), None, &[]);
        let waits = go(&revokes, (2, &[0, 5]), Some(&[0]), &[5]);
        assert_eq!((waits.state, waits.epoch), (MemberState::UnreleasedPartitions, 2));
        let more = go(&revokes, (3, &[]), Some(&[0]), &[]);
        assert_eq!((more.state, more.epoch), (MemberState::UnrevokedPartitions, 2));
        assert_eq!(all(&more.revoking), [0]);
    }
}
