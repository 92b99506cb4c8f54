//! Groups, asked for and deleted.

use std::collections::BTreeMap;

use klamm_model::{ErrorCode, IsolationLevel, Offset, TopicPartition};
use klamm_protocol::{
    ApiKey, ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    ListGroupsRequest, consumer_group_describe_response::Member as ConsumerMember,
    list_groups_response::ListedGroup,
};
use klamm_stdx::Str;

use crate::admin::{check, only};
use crate::cluster::{AutoCreate, Client, Purpose};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::group::{assignor, positions};
use crate::offsets::OffsetSpec;
use crate::retry::Retry;

/// Which groups are listed; the default is all.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Only in these states, in Kafka's words.
    pub states: Vec<Str>,
    /// Only of these types: `classic`, `consumer`.
    pub types: Vec<Str>,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: Str,
    /// Its state, in Kafka's words; `Dead` if there is no such group.
    pub state: Str,
    /// How the members came to their partitions, such as `range`.
    pub assignor: Str,
    /// The members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: Str,
    /// Its name that survives restarts.
    pub instance_id: Option<Str>,
    /// What its client calls itself.
    pub client_id: Str,
    /// Where it connects from.
    pub host: Str,
    /// Its partitions; empty if it is no consumer.
    pub partitions: Vec<TopicPartition>,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOffset {
    /// What it has committed.
    pub current: Offset,
    /// Where the partition ends; `None` if it is gone.
    pub end: Option<Offset>,
}

impl GroupOffset {
    /// Records that the group has not read: what `kafka-consumer-groups` calls LAG.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        self.end.map(|end| end.0 - self.current.0)
    }
}

impl Client {
    /// All groups, by id: every broker is asked for those that it coordinates.
    ///
    /// # Errors
    /// A broker refused or cannot be reached.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>> {
        self.list_groups_of(&GroupFilter::default()).await
    }

    /// The groups of some states and types, by id (KIP-518, KIP-848).
    ///
    /// # Errors
    /// A broker refused, cannot be reached, or is too old to tell them apart.
    pub async fn list_groups_of(&self, filter: &GroupFilter) -> Result<Vec<ListedGroup>> {
        let request = ListGroupsRequest {
            states_filter: filter.states.clone(),
            types_filter: filter.types.clone(),
        };
        let brokers = self.metadata(Some(&[]), AutoCreate::Never).await?.brokers;
        let mut groups = Vec::new();
        for broker in &brokers {
            let mut retry = Retry::default();
            let response = loop {
                let connection = self.broker(broker.node_id.into(), Purpose::Data).await?;
                let response = connection.call(&request).await?;
                match check(response.error_code, None, "listing groups") {
                    Ok(()) => break response,
                    Err(error) if error.is_retriable() && retry.again().await => {}
                    Err(error) => return Err(error),
                }
            };
            groups.extend(response.groups);
        }
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(groups)
    }

    pub(crate) async fn coordinator_of(&self, group_id: &Str) -> Result<Connection> {
        let id = self.group_coordinator(group_id).await?;
        self.broker(id, Purpose::Coordinator).await
    }

    /// A group of either protocol with its members.
    ///
    /// # Errors
    /// The coordinator refused; `GROUP_ID_NOT_FOUND` if there is no such group.
    pub async fn describe_group(&self, group_id: &Str) -> Result<GroupDescription> {
        match self.describe_consumer_group(group_id).await {
            // It is a classic one, or the broker has no others.
            Err(ClientError::NotServed { .. }) => {}
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {}
            other => return other,
        }
        self.describe_classic_group(group_id).await
    }

    /// A group of the consumer protocol (KIP-848).
    async fn describe_consumer_group(&self, group_id: &Str) -> Result<GroupDescription> {
        let what = format!("describing group '{group_id}'");
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group_id.clone()],
            ..ConsumerGroupDescribeRequest::default()
        };
        let mut retry = Retry::default();
        let group = loop {
            let connection = self.coordinator_of(group_id).await?;
            let group = only(connection.call(&request).await?.groups, &what)?;
            match check(group.error_code, group.error_message.as_ref(), &what) {
                Ok(()) => break group,
                Err(error) if error.is_retriable() && retry.again().await => {}
                Err(error) => return Err(error),
            }
        };
        let mut members: Vec<_> = group.members.iter().map(consumer_member).collect();
        members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        Ok(GroupDescription {
            group_id: group.group_id.detached(),
            state: group.group_state.detached(),
            assignor: group.assignor_name.detached(),
            members,
        })
    }

    async fn describe_classic_group(&self, group_id: &Str) -> Result<GroupDescription> {
        let what = format!("describing group '{group_id}'");
        let mut retry = Retry::default();
        let group = loop {
            let connection = self.coordinator_of(group_id).await?;
            let version = connection.version(ApiKey::DescribeGroups)?;
            let request =
                DescribeGroupsRequest { groups: vec![group_id.clone()], ..Default::default() };
            let response = connection.call_version(&request, version).await?;
            let group = only(response.groups, &what)?;
            match check(group.error_code, group.error_message.as_ref(), &what) {
                Ok(()) => break group,
                Err(error) if error.is_retriable() && retry.again().await => {}
                Err(error) => return Err(error),
            }
        };
        if group.group_state == "Dead" {
            check(ErrorCode::GroupIdNotFound.code(), None, &what)?;
        }
        let is_consumer = group.protocol_type == "consumer";
        let mut members = Vec::new();
        for member in group.members {
            let partitions = match is_consumer {
                true => assignor::assigned_partitions(member.member_assignment)?,
                false => Vec::new(),
            };
            members.push(GroupMember {
                member_id: member.member_id.detached(),
                instance_id: member.group_instance_id.as_ref().map(Str::detached),
                client_id: member.client_id.detached(),
                host: member.client_host.detached(),
                partitions,
            });
        }
        members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        Ok(GroupDescription {
            group_id: group.group_id.detached(),
            state: group.group_state.detached(),
            assignor: group.protocol_data.detached(),
            members,
        })
    }

    /// How far a group is in every partition that it has an offset of.
    ///
    /// # Errors
    /// The coordinator or a leader refused.
    pub async fn group_offsets(
        &self,
        group_id: &Str,
    ) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
        let mut retry = Retry::default();
        let committed = loop {
            let connection = self.coordinator_of(group_id).await?;
            match positions::ask(&connection, group_id, None).await {
                Err(error) if error.is_retriable() && retry.again().await => {}
                other => break other?,
            }
        };
        let mut names: Vec<Str> = committed.keys().map(|p| p.topic.clone()).collect();
        names.dedup();
        let mut there: Vec<TopicPartition> = Vec::new();
        for topic in self.metadata(Some(&names), AutoCreate::Never).await?.topics {
            let name = topic.name.unwrap_or_default();
            for partition in &topic.partitions {
                there.push(TopicPartition::new(name.clone(), partition.partition_index));
            }
        }
        there.retain(|partition| committed.contains_key(partition));
        let ends =
            self.list_offsets(&there, OffsetSpec::Latest, IsolationLevel::ReadUncommitted).await?;
        let offset = |(partition, current): (TopicPartition, Offset)| {
            let end = ends.get(&partition).copied().flatten();
            (partition, GroupOffset { current, end })
        };
        Ok(committed.into_iter().map(offset).collect())
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// The coordinator refused.
    pub async fn delete_group(&self, group_id: &Str) -> Result<()> {
        let what = format!("deleting group '{group_id}'");
        let connection = self.coordinator_of(group_id).await?;
        let request = DeleteGroupsRequest { groups_names: vec![group_id.clone()] };
        let response = connection.call(&request).await?;
        check(only(response.results, &what)?.error_code, None, &what)
    }
}

fn consumer_member(member: &ConsumerMember) -> GroupMember {
    let assigned = member.assignment.topic_partitions.iter().flat_map(|topic| {
        let name = topic.topic_name.detached();
        topic.partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
    });
    GroupMember {
        member_id: member.member_id.detached(),
        instance_id: member.instance_id.as_ref().map(Str::detached),
        client_id: member.client_id.detached(),
        host: member.client_host.detached(),
        partitions: assigned.collect(),
    }
}
