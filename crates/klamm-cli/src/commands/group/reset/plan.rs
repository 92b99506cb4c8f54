//! Where a reset goes, partition by partition. Decides only: asks nobody.

use std::fmt;

use klamm_model::{Offset, Timestamp};

/// Where to (Kafka: `ConsumerGroupCommand`, KIP-122).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To the start.
    Earliest,
    /// To the end.
    Latest,
    /// To the committed offset, or the end where there is none.
    Current,
    /// To this offset.
    Offset(i64),
    /// So many offsets on, or back if it is negative.
    ShiftBy(i64),
    /// To the first record that is not older, or the end.
    Time(Timestamp),
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// What the group has committed.
    pub(super) current: Option<Offset>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    /// The first record that is not older than what was asked for.
    pub(super) at_time: Option<Offset>,
}

/// There is no offset to shift.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NothingCommitted;

impl fmt::Display for NothingCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the group has committed nothing that could be shifted; use --to-offset")
    }
}

/// Where a partition goes on.
pub(super) fn new_offset(target: Target, known: Known) -> Result<Offset, NothingCommitted> {
    let within = |offset: i64| Offset(offset.clamp(known.start.0, known.end.0));
    Ok(match target {
        Target::Earliest => known.start,
        Target::Latest => known.end,
        Target::Current => known.current.unwrap_or(known.end),
        Target::Offset(offset) => within(offset),
        Target::ShiftBy(by) => within(known.current.ok_or(NothingCommitted)?.0.saturating_add(by)),
        Target::Time(_) => known.at_time.unwrap_or(known.end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            current: Some(Offset(15)),
            start: Offset(10),
            end: Offset(20),
            at_time: Some(Offset(17)),
        }
    }

    #[test]
    fn each_target_has_its_place() {
        for (target, expected) in [
            (Target::Earliest, 10),
            (Target::Latest, 20),
            (Target::Current, 15),
            (Target::Offset(12), 12),
            (Target::ShiftBy(3), 18),
            (Target::ShiftBy(-3), 12),
            (Target::Time(Timestamp(0)), 17),
        ] {
            assert_eq!(new_offset(target, known()), Ok(Offset(expected)), "{target:?}");
        }
    }

    #[test]
    fn an_offset_outside_of_the_partition_is_moved_to_its_start_or_end() {
        for (target, expected) in [
            (Target::Offset(3), 10),
            (Target::Offset(-1), 10),
            (Target::Offset(21), 20),
            (Target::ShiftBy(100), 20),
            (Target::ShiftBy(i64::MAX), 20),
            (Target::ShiftBy(i64::MIN), 10),
        ] {
            assert_eq!(new_offset(target, known()), Ok(Offset(expected)), "{target:?}");
        }
    }

    #[test]
    fn without_a_committed_offset_or_a_young_record_the_end_is_taken_and_a_shift_is_refused() {
        let known = Known { current: None, at_time: None, ..known() };
        assert_eq!(new_offset(Target::Current, known), Ok(Offset(20)));
        assert_eq!(new_offset(Target::Time(Timestamp(0)), known), Ok(Offset(20)));
        assert_eq!(new_offset(Target::ShiftBy(1), known), Err(NothingCommitted));
    }
}
