//! What a shard tells without changing anything: descriptions, lists, committed offsets.

use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::classic::State;
use crate::consumer::{DescribedConsumerGroup, Refusal};
use crate::offsets::{OffsetFetch, OffsetsOfGroup};
use crate::request::{DescribedGroup, DescribedMember, GroupFilter, ListedGroup};
use crate::shard::GroupShard;

impl GroupShard {
    pub(crate) fn describe(&self, group_id: &Str) -> Option<DescribedGroup> {
        let group = self.groups.get(group_id)?;
        let is_stable = group.state() == State::Stable;
        let protocol_name = group.protocol_name().cloned().unwrap_or_default();
        let member = |m: &crate::Member| DescribedMember {
            member_id: m.member_id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            metadata: if is_stable { m.metadata(&protocol_name) } else { bytes::Bytes::new() },
            assignment: if is_stable { m.assignment.clone() } else { bytes::Bytes::new() },
        };
        Some(DescribedGroup {
            group_id: group.group_id.clone(),
            state: group.state(),
            protocol_type: group.protocol_type().cloned().unwrap_or_default(),
            members: group.members().map(member).collect(),
            protocol_name: if is_stable { protocol_name } else { Str::new() },
        })
    }

    pub(crate) fn describe_consumers(
        &self,
        group_id: &Str,
    ) -> Result<Box<DescribedConsumerGroup>, Refusal> {
        match self.consumer_groups.get(group_id) {
            Some(group) => Ok(Box::new(group.describe(&self.image, &self.consumer_limits))),
            None => {
                let is_classic = self.groups.contains_key(group_id);
                let what = if is_classic { "is not a consumer group" } else { "not found" };
                let message = format!("Group {group_id} {what}.");
                Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
            }
        }
    }

    pub(crate) fn fetch(
        &self,
        group_id: &Str,
        fetch: &OffsetFetch,
    ) -> Result<OffsetsOfGroup, ErrorCode> {
        if let Some(group) = self.consumer_groups.get(group_id)
            && let Some(member) = &fetch.member
        {
            group.check_fetch(member)?;
        }
        Ok(self.offsets.fetch(group_id, fetch.asked.as_deref(), fetch.stability))
    }

    pub(crate) fn list(&self, filter: &GroupFilter) -> Vec<ListedGroup> {
        let classic = self.groups.values().map(|group| ListedGroup {
            group_id: group.group_id.clone(),
            protocol_type: group.protocol_type().cloned().unwrap_or_default(),
            state: group.state().name(),
            group_type: "classic",
        });
        let consumers = self.consumer_groups.values().map(|group| ListedGroup {
            group_id: group.group_id.clone(),
            protocol_type: Str::from_static("consumer"),
            state: group.state().name(),
            group_type: "consumer",
        });
        classic.chain(consumers).filter(|group| filter.admits(group)).collect()
    }
}
