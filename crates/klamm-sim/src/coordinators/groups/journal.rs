//! What the group's log says: generations and offsets that never go back, as it is committed; and,
//! as it is appended, what a group must be that it says is stable.

use std::collections::{BTreeMap, BTreeSet};

use klamm_coordinator::Loaded;
use klamm_group_coordinator::{Group, GroupSnapshot, Record, State};
use klamm_model::{Offset, ProducerId};

use crate::coordinators::ensure;

/// A partition, and an offset of it.
pub(super) type Committed = (u8, i64);

/// The group as its records tell.
#[derive(Debug, Default)]
pub(super) struct Journal {
    generation: i32,
    /// What counts of each partition, with its place in the log.
    current: BTreeMap<u8, (i64, Offset)>,
    open: BTreeMap<ProducerId, Vec<(Committed, Offset)>>,
    all: BTreeSet<Committed>,
    /// The last tombstone of each partition, committed or not.
    expired_at: BTreeMap<u8, Offset>,
    /// The last record of the group, committed or not.
    last_group: Option<GroupSnapshot>,
}

/// What a record that was just appended is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// The group in a new generation, or empty.
    Generation,
    /// The group in the same generation: a static member came back.
    StaticReturn,
    /// The end of the group.
    Deleted,
    /// The end of an offset.
    Expired(u8),
    Other,
}

fn record(loaded: Loaded) -> Option<(Option<ProducerId>, Record)> {
    let (producer, (key, value)) = match loaded {
        Loaded::Record(record) => (None, record),
        Loaded::Transactional(producer, record) => (Some(producer.id), record),
        Loaded::End(_) => return None,
    };
    Some((producer, Record::from_key_value(key, value).expect("our own record")))
}

fn index(partition: i32) -> u8 {
    u8::try_from(partition).expect("few partitions")
}

impl Journal {
    /// Whether an offset was ever committed, for good.
    pub(super) fn has(&self, committed: &Committed) -> bool {
        self.all.contains(committed)
    }

    /// What whoever asks from now on is told at least.
    pub(super) fn floor(&self) -> BTreeMap<u8, i64> {
        let is_there = |(partition, (_, at)): &(&u8, &(i64, Offset))| {
            self.expired_at.get(partition).is_none_or(|expired| expired < at)
        };
        let current = self.current.iter().filter(is_there);
        current.map(|(partition, (offset, _))| (*partition, *offset)).collect()
    }

    /// The generation that is committed.
    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// What stands at `at` is committed.
    pub(super) fn on_committed(&mut self, at: Offset, loaded: Loaded) -> Result<(), String> {
        if let Loaded::End(end) = &loaded {
            let lines = self.open.remove(&end.producer.id).unwrap_or_default();
            let counted = lines.into_iter().filter(|_| end.is_commit);
            return counted.into_iter().try_for_each(|(line, at)| self.count(line, at));
        }
        match record(loaded) {
            Some((producer, Record::Offset { partition, offset: Some(offset), .. })) => {
                let line = (index(partition), offset.offset.0);
                match producer {
                    None => self.count(line, at)?,
                    Some(id) => self.open.entry(id).or_default().push((line, at)),
                }
            }
            Some((_, Record::Offset { partition, offset: None, .. })) => {
                let partition = index(partition);
                self.current.remove(&partition);
                let open = self.open.values_mut();
                open.for_each(|lines| lines.retain(|((of, _), _)| *of != partition));
            }
            Some((_, Record::Group(group))) => {
                let (before, now) = (self.generation, group.generation_id.0);
                ensure(now >= before, || format!("generation {now} came after {before}"))?;
                self.generation = now;
            }
            Some((_, Record::GroupTombstone { .. })) => self.generation = 0,
            Some((_, Record::Consumer(_))) | None => {}
        }
        Ok(())
    }

    /// An offset counts, unless what is later in the log does already.
    fn count(&mut self, line: Committed, at: Offset) -> Result<(), String> {
        let (partition, offset) = line;
        self.all.insert(line);
        let before = self.current.get(&partition);
        if before.is_some_and(|(_, later)| *later > at) {
            return Ok(());
        }
        let before = before.map_or(-1, |(before, _)| *before);
        ensure(offset >= before, || {
            format!("the committed offset of {partition} went back from {before} to {offset}")
        })?;
        self.current.insert(partition, (offset, at));
        Ok(())
    }

    /// Something is appended at `at`.
    pub(super) fn on_appended(&mut self, at: Offset, loaded: Loaded) -> Appended {
        match record(loaded) {
            Some((_, Record::Group(group))) => {
                let before = self.last_group.as_ref().map(|last| last.generation_id);
                let is_same = before == Some(group.generation_id);
                self.last_group = Some(group);
                if is_same { Appended::StaticReturn } else { Appended::Generation }
            }
            Some((_, Record::GroupTombstone { .. })) => {
                self.last_group = None;
                Appended::Deleted
            }
            Some((_, Record::Offset { partition, offset: None, .. })) => {
                self.expired_at.insert(index(partition), at);
                Appended::Expired(index(partition))
            }
            Some((_, Record::Offset { .. } | Record::Consumer(_))) | None => Appended::Other,
        }
    }

    /// The log was cut off; this is what is left.
    pub(super) fn on_cut(&mut self, log: Vec<Loaded>) {
        self.expired_at.clear();
        self.last_group = None;
        for (at, loaded) in (0..).zip(log) {
            self.on_appended(Offset(at), loaded);
        }
    }

    /// A stable group is what its log says, to the last member and its part.
    pub(super) fn check_stable(&self, group: &Group) -> Result<(), String> {
        if group.state() != State::Stable {
            return Ok(());
        }
        let last = self.last_group.as_ref().ok_or("the group is stable and not in the log")?;
        let known = (group.generation_id(), group.leader_id());
        let written = (last.generation_id, last.leader_id.as_ref());
        ensure(known == written, || format!("the group is {known:?}, its log says {written:?}"))?;
        let known: Vec<_> =
            group.members().map(|m| (&m.member_id, &m.instance_id, &m.assignment)).collect();
        let written: Vec<_> =
            last.members.iter().map(|m| (&m.member_id, &m.instance_id, &m.assignment)).collect();
        ensure(known == written, || format!("members are {known:?}, the log says {written:?}"))
    }
}
