//! What becomes of a shard's writes: in the log, committed, or refused.

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::Time;
use crate::actions::{Actions, Author, Then, Write};
use crate::classic::{Group, Joined, State};
use crate::consumer::{Change, Refusal};
use crate::record::Record;
use crate::request::Response;
use crate::shard::GroupShard;

impl GroupShard {
    /// A write is in the log: later requests see it.
    pub fn on_appended(&mut self, time: Time, write: &Write, actions: &mut Actions) {
        match write.author {
            Author::Group => {}
            Author::Producer(producer, _) => {
                let records = write.records.iter();
                return records.for_each(|record| self.offsets.apply_open(producer.id, record));
            }
            Author::Coordinator(end) => return self.offsets.end(end.producer.id, end.is_commit),
        }
        for record in &write.records {
            match record {
                Record::Offset { .. } => self.offsets.apply(record),
                Record::GroupTombstone { group_id } => {
                    if let Some(mut group) = self.groups.remove(group_id) {
                        group.forget(time, actions);
                    }
                }
                Record::Consumer(record) => {
                    self.apply_consumer(record);
                    self.start_consumer_timers(time, record);
                }
                // The group is as the record says already.
                Record::Group(_) => {}
            }
        }
        if let Some(downgrade) = &write.becomes {
            let group = downgrade.begin(time, actions);
            self.groups.insert(group.group_id.clone(), group);
        }
        self.enroll_all(&write.records);
    }

    /// The groups of some records may have changed.
    fn enroll_all(&mut self, records: &[Record]) {
        let mut last: Option<&Str> = None;
        for group_id in records.iter().filter_map(Record::changed_group) {
            if last != Some(group_id) {
                self.enroll(group_id);
                last = Some(group_id);
            }
        }
    }

    /// A write is committed: who waits for it is answered.
    pub fn on_committed(&mut self, time: Time, mut write: Write, actions: &mut Actions) {
        let records = std::mem::take(&mut write.records);
        self.follow(time, write, actions);
        self.enroll_all(&records);
    }

    fn follow(&mut self, time: Time, write: Write, actions: &mut Actions) {
        match write.then {
            Then::Nothing | Then::Part { .. } => {}
            Then::Reply { ticket, committed, .. } => actions.reply(ticket, *committed),
            Then::Joined { ticket, group_id, joined } => {
                self.on_classic_joined(time, &group_id, &joined.member_id);
                actions.reply(ticket, Response::Join(*joined));
            }
            Then::Returned { ticket, joined, .. } => actions.reply(ticket, Response::Join(*joined)),
            Then::Offsets { ticket, results } => {
                actions.reply(ticket, Response::CommitOffsets(results));
            }
            Then::Assignment { group_id, generation_id, assignments } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.on_assignment_committed(time, generation_id, &assignments, actions);
                }
            }
        }
    }

    /// A write could not be made: nothing of it happened.
    pub fn on_failed(&mut self, time: Time, write: Write, error: ErrorCode, actions: &mut Actions) {
        let code = write.error_for_clients(error);
        if let Some(mut never) = write.becomes {
            never.group.refuse_waiting(code, actions);
        }
        for record in &write.records {
            if is_seeded(CoordinatorBug::RefusedOffsetsCount) {
                self.offsets.apply(record);
            }
            match record {
                Record::Consumer(record) if record.change == Change::Group(None) => {
                    self.never_began(&record.group_id, code, actions);
                }
                Record::Consumer(record) => self.look_again(record),
                Record::Offset { group_id, .. } => self.forget_unused(group_id),
                Record::Group(_) | Record::GroupTombstone { .. } => {}
            }
        }
        match write.then {
            Then::Nothing => {}
            Then::Reply { ticket, failed, .. } | Then::Part { ticket, failed } => {
                let failed = match *failed {
                    Response::EndTransaction(_) => Response::EndTransaction(error),
                    Response::ConsumerHeartbeat(_) => {
                        Response::ConsumerHeartbeat(Err(Refusal::new(code, code.name())))
                    }
                    failed => failed,
                };
                actions.reply(ticket, failed);
            }
            Then::Joined { ticket, joined, .. } => {
                actions.reply(ticket, Response::Join(Joined::refused(code, joined.member_id)));
            }
            Then::Returned { ticket, group_id, joined, before } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.undo_return(&joined.member_id, *before);
                }
                self.enroll(&group_id);
                actions.reply(ticket, Response::Join(Joined::refused(code, joined.member_id)));
            }
            Then::Offsets { ticket, mut results } => {
                results.iter_mut().filter(|r| r.error.is_none()).for_each(|r| r.error = code);
                actions.reply(ticket, Response::CommitOffsets(results));
            }
            Then::Assignment { group_id, generation_id, .. } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.on_assignment_failed(time, generation_id, code, actions);
                }
                self.enroll(&group_id);
            }
        }
    }

    /// A consumer group goes on, since its end could not be written: the classic one that was begun
    /// in its place never was.
    fn never_began(&mut self, group_id: &Str, code: ErrorCode, actions: &mut Actions) {
        if self.consumer_groups.contains_key(group_id)
            && let Some(mut never) = self.groups.remove(group_id)
        {
            never.refuse_waiting(code, actions);
            self.enroll(group_id);
        }
    }

    /// A group that was begun for offsets which could not be written never was.
    fn forget_unused(&mut self, group_id: &Str) {
        let is_unused = |group: &Group| {
            group.state() == State::Empty
                && group.protocol_type().is_none()
                && group.pending_members.is_empty()
        };
        if self.groups.get(group_id).is_some_and(is_unused) && !self.offsets.contains(group_id) {
            self.groups.remove(group_id);
            self.enroll(group_id);
        }
    }
}
