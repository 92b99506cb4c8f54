//! What a shard forgets by time: offsets, and groups that have nothing left.

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::Timestamp;
use klamm_stdx::Str;

use crate::Time;
use crate::actions::Actions;
use crate::classic::{Group, State};
use crate::record::Record;
use crate::shard::GroupShard;

impl GroupShard {
    /// Offsets of groups without members are forgotten after `offsets.retention.minutes`, and
    /// groups with nothing left are deleted (KIP-211).
    pub(crate) fn expire_offsets(&mut self, time: Time, actions: &mut Actions) {
        let mut records = Vec::new();
        let retention = (time.wall, self.offset_limits.retention_ms);
        for group_id in self.offsets.group_ids() {
            if self.consumer_groups.contains_key(group_id) {
                records.extend(self.expired_of_consumers(group_id, time.wall));
                continue;
            }
            records.extend(self.expired_of_classic(group_id, retention));
        }
        actions.write_apart(records.into_iter().map(|record| vec![record]));
        let is_over = |group: &&Group| {
            group.state() == State::Empty
                && group.pending_members.is_empty()
                && !self.offsets.contains(&group.group_id)
        };
        let tombstone = |group: &Group| Record::GroupTombstone { group_id: group.group_id.clone() };
        let classic = self.groups.values().filter(is_over).map(|group| vec![tombstone(group)]);
        let consumers = self.consumer_groups.keys().filter(|id| !self.offsets.contains(id));
        let consumers = consumers.filter_map(|group_id| self.end_consumer_group(group_id));
        actions.write_apart(classic.chain(consumers));
    }

    /// What is due of a classic group: all of an empty one, of a stable one of consumers what nobody
    /// reads (Kafka: `ClassicGroup.offsetExpirationCondition`).
    fn expired_of_classic(&self, group_id: &Str, retention: (Timestamp, i64)) -> Vec<Record> {
        let Some(group) = self.groups.get(group_id) else {
            return self.offsets.expired(group_id, retention, None);
        };
        let is_used = group.protocol_type().is_some();
        match group.state() {
            State::Empty => {
                let idle_since = is_used.then(|| group.state_since());
                self.offsets.expired(group_id, retention, idle_since)
            }
            _ if is_seeded(CoordinatorBug::LiveGroupExpires) => {
                self.offsets.expired(group_id, retention, None)
            }
            State::Stable => {
                let Some(topics) = group.topics_read() else { return Vec::new() };
                let mut records = self.offsets.expired(group_id, retention, None);
                records.retain(|record| match record {
                    Record::Offset { topic, .. } => !topics.contains(topic),
                    _ => true,
                });
                records
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Dead => Vec::new(),
        }
    }
}
