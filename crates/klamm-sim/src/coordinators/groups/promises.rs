//! What must hold of a group whenever something happened.

use std::collections::BTreeMap;
use std::mem::replace;

use klamm_coordinator::PartitionLog;
use klamm_group_coordinator::{FoundOffset, Group, OffsetsOfGroup, Response, State};
use klamm_model::Offset;

use super::exchange::Asked;
use super::journal::Appended;
use super::member::GROUP;
use super::world::Groups;
use crate::coordinators::ensure;

impl Groups {
    /// Offsets expire only while nobody is in the group.
    pub(super) fn look_at_appended(&mut self) -> Result<(), String> {
        let new = self.log.read(self.appended_to).map_err(|e| e.to_string())?;
        let from = replace(&mut self.appended_to, new.next_offset);
        for (at, loaded) in (from.0..).zip(new.entries) {
            match self.journal.on_appended(Offset(at), loaded) {
                Appended::Expired(partition) => {
                    self.tally.expired += 1;
                    let state = self.coordinator.shard().group(GROUP).map(Group::state);
                    ensure(matches!(state, None | Some(State::Empty)), || {
                        format!("the offset of {partition} expired while the group was {state:?}")
                    })?;
                }
                // A group of its name begins again, with new members.
                Appended::Deleted => {
                    self.tally.deleted += 1;
                    self.incarnation += 1;
                }
                Appended::StaticReturn => self.tally.static_returns += 1,
                Appended::Generation | Appended::Other => {}
            }
        }
        Ok(())
    }

    pub(super) fn look_at_committed(&mut self) -> Result<(), String> {
        let new = self.log.committed_from(self.committed_to);
        let from = replace(&mut self.committed_to, new.next_offset);
        let mut entries = (from.0..).zip(new.entries);
        entries.try_for_each(|(at, loaded)| self.journal.on_committed(Offset(at), loaded))
    }

    /// What is told is committed, and no less than what was when it was asked.
    pub(super) fn check_answer(&self, asked: &Asked, response: &Response) -> Result<(), String> {
        match response {
            Response::Sync(synced) if synced.error.is_none() => {
                let (told, known) = (asked.message.generation, self.journal.generation());
                ensure(told <= known, || {
                    format!("parts of generation {told} are told, and {known} is committed")
                })
            }
            Response::FetchOffsets(Ok(found)) => self.check_found(&asked.floor, found),
            _ => Ok(()),
        }
    }

    fn check_found(&self, floor: &BTreeMap<u8, i64>, found: &OffsetsOfGroup) -> Result<(), String> {
        for (partition, line) in found.topics.iter().flat_map(|(_, lines)| lines) {
            let partition = u8::try_from(*partition).map_err(|error| error.to_string())?;
            let told = match line {
                FoundOffset::Committed(offset) => Some(offset.offset.0),
                FoundOffset::None => None,
                FoundOffset::Unstable => continue,
            };
            let least = floor.get(&partition).copied();
            ensure(told >= least, || format!("{partition} is told as {told:?} after {least:?}"))?;
            ensure(told.is_none_or(|offset| self.journal.has(&(partition, offset))), || {
                format!("{partition} is told as {told:?}, which is not committed")
            })?;
        }
        Ok(())
    }
}
