//! What members, producers and administrators ask about offsets.

use std::collections::HashSet;

use klamm_coordinator::{Ticket, Time};
use klamm_model::{ErrorCode, PartitionIndex, Timestamp};
use klamm_stdx::Str;

use super::{
    CommittedOffset, MemberEpochs, OffsetCommit, OffsetToCommit, PartitionResult,
    TransactionalCommit,
};
use crate::actions::{Actions, Author, Then, Write};
use crate::classic::{Group, Membership, State};
use crate::consumer::ConsumerGroup;
use crate::record::Record;
use crate::request::Response;
use crate::shard::GroupShard;

impl GroupShard {
    pub(crate) fn on_commit(
        &mut self,
        time: Time,
        group_id: &Str,
        commit: OffsetCommit,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        if let Err(code) = self.check_commit(time, (group_id, &commit), Membership::Needed, actions)
        {
            let results = refused(&commit.offsets, code);
            return actions.reply(ticket, Response::CommitOffsets(results));
        }
        if let Some(group) = self.groups.get_mut(group_id)
            && group.state() != State::PreparingRebalance
        {
            group.keep_alive(&commit.member_id, time.now);
        }
        let (records, results) = self.records_of(time.wall, group_id, commit, actions);
        if records.is_empty() {
            return actions.reply(ticket, Response::CommitOffsets(results));
        }
        actions.write(records, Then::Offsets { ticket, results });
    }

    pub(crate) fn on_transactional_commit(
        &mut self,
        time: Time,
        group_id: &Str,
        asked: TransactionalCommit,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let TransactionalCommit { producer, verification, commit } = asked;
        if let Err(code) = self.check_commit(time, (group_id, &commit), Membership::IfTold, actions)
        {
            let results = refused(&commit.offsets, code);
            return actions.reply(ticket, Response::CommitOffsets(results));
        }
        let (records, results) = self.records_of(time.wall, group_id, commit, actions);
        if records.is_empty() {
            return actions.reply(ticket, Response::CommitOffsets(results));
        }
        let author = Author::Producer(producer, verification);
        let then = Then::Offsets { ticket, results };
        actions.writes.push(Write { records, author, then, becomes: None });
    }

    /// The records of a commit, and what becomes of each line.
    fn records_of(
        &self,
        wall: Timestamp,
        group_id: &Str,
        commit: OffsetCommit,
        actions: &mut Actions,
    ) -> (Vec<Record>, Vec<PartitionResult>) {
        let group_id = group_id.detached();
        let mut records = Vec::with_capacity(commit.offsets.len());
        let mut results = Vec::with_capacity(commit.offsets.len());
        let is_new = |line: &OffsetToCommit| {
            !self.offsets.contains_line(&group_id, &line.topic, line.partition)
        };
        let new: Vec<bool> = commit.offsets.iter().map(is_new).collect();
        let wanted = new.iter().filter(|is_new| **is_new).count();
        let mut room = self.room_for_offsets(&group_id, wanted, actions);
        let mut own_topic = Str::new();
        for (line, is_new) in commit.offsets.into_iter().zip(new) {
            let error = if line.metadata.len() > self.offset_limits.metadata_bytes_max {
                ErrorCode::OffsetMetadataTooLarge
            } else if is_new && room == 0 {
                ErrorCode::InvalidCommitOffsetSize
            } else {
                ErrorCode::None
            };
            let (topic, partition) = (line.topic.clone(), line.partition);
            results.push(PartitionResult { topic, partition, error });
            if !error.is_none() {
                continue;
            }
            room = room.saturating_sub(usize::from(is_new));
            if own_topic != line.topic {
                own_topic = line.topic.detached();
            }
            let committed = CommittedOffset {
                offset: line.offset,
                leader_epoch: line.leader_epoch,
                metadata: line.metadata.detached(),
                committed_at: wall,
                topic_id: line.topic_id,
                expires_at: commit.retention_ms.map(|ms| Timestamp(wall.0.saturating_add(ms))),
            };
            records.push(Record::Offset {
                group_id: group_id.clone(),
                topic: own_topic.clone(),
                partition,
                offset: Some(committed),
            });
        }
        (records, results)
    }

    fn check_commit(
        &mut self,
        time: Time,
        (group_id, commit): (&Str, &OffsetCommit),
        membership: Membership,
        actions: &mut Actions,
    ) -> Result<(), ErrorCode> {
        if let Some(group) = self.consumer_groups.get(group_id) {
            return group.check_commit(commit, membership, &self.image);
        }
        if let Some(group) = self.groups.get(group_id) {
            let member = (&*commit.member_id, commit.instance_id.as_ref());
            return group.check_offset_commit(member, commit.generation_id, membership);
        }
        if commit.generation_id.0 >= 0 {
            let knows_epochs = commit.epochs == MemberEpochs::Known;
            return Err(match membership {
                Membership::Needed if knows_epochs => ErrorCode::GroupIdNotFound,
                Membership::Needed | Membership::IfTold => ErrorCode::IllegalGeneration,
            });
        }
        // A group that only stores offsets.
        self.make_room_for(group_id, actions)?;
        let own = group_id.detached();
        self.groups.insert(own.clone(), Group::new(own, self.limits, time.wall));
        Ok(())
    }

    pub(crate) fn on_delete_offsets(
        &mut self,
        group_id: &Str,
        asked: &[(Str, Vec<PartitionIndex>)],
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let consumers = self.consumer_groups.get(group_id);
        let classic = match self.groups.get(group_id) {
            None if consumers.is_some() => Ok(None),
            None => Err(ErrorCode::GroupIdNotFound),
            Some(group) => group.check_offset_delete().map(|()| Some(group)),
        };
        let classic = match classic {
            Ok(classic) => classic,
            Err(code) => return actions.reply(ticket, Response::DeleteOffsets(Err(code))),
        };
        let read_by_consumers = consumers.map(ConsumerGroup::topics_subscribed).unwrap_or_default();
        let read = classic.map_or(Some(HashSet::new()), Group::topics_subscribed);
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut deleted = HashSet::new();
        for (topic, partitions) in asked {
            let is_read = read_by_consumers.contains(topic)
                || read.as_ref().is_none_or(|topics| topics.contains(topic));
            for partition in partitions {
                let error =
                    if is_read { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                results.push(PartitionResult {
                    topic: topic.clone(),
                    partition: *partition,
                    error,
                });
                if !is_read && deleted.insert((topic, *partition)) {
                    records.extend(self.offsets.tombstone_of(group_id, topic, *partition));
                }
            }
        }
        let committed = Response::DeleteOffsets(Ok(results));
        if records.is_empty() {
            return actions.read(ticket, committed);
        }
        let failed = Response::DeleteOffsets(Err(ErrorCode::CoordinatorNotAvailable));
        actions.write_tombstones((records, Vec::new()), ticket, (committed, failed));
    }
}

fn refused(offsets: &[OffsetToCommit], error: ErrorCode) -> Vec<PartitionResult> {
    let line = |line: &OffsetToCommit| PartitionResult {
        topic: line.topic.clone(),
        partition: line.partition,
        error,
    };
    offsets.iter().map(line).collect()
}
