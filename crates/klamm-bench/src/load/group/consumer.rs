//! A member of the consumer protocol (KIP-848): heartbeats tell what it has, and their answers what
//! it is to have. What it is to lose it gives up first, and says so at once.

use std::time::Duration;

use klamm_bench::LoadError;
use klamm_bench::wire::Connection;
use klamm_model::Uuid;
use klamm_protocol::ConsumerGroupHeartbeatRequest;
use klamm_protocol::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use klamm_stdx::Str;

use super::{Member, REBALANCE_TIMEOUT_MS};

const VERSION: i16 = 1;
/// Kafka's `ConsumerGroupHeartbeatRequest.LEAVE_GROUP_MEMBER_EPOCH`.
const LEAVE_EPOCH: i32 = -1;

/// What a member has.
#[derive(Default)]
struct Held {
    topic_id: Uuid,
    partitions: Vec<i32>,
}

/// A life in the group, from joining to leaving.
pub(super) fn live(member: &Member) -> Result<(), LoadError> {
    let mut connection = Connection::open(member.address)?;
    let member_id = Str::from(format!("member-{}", member.index).as_str());
    let mut held = Held::default();
    let mut answer = ask(&mut connection, &join(member, &member_id))?;
    loop {
        let interval =
            Duration::from_millis(answer.heartbeat_interval_ms.max(1).unsigned_abs().into());
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: member.group.clone(),
            member_id: member_id.clone(),
            member_epoch: answer.member_epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if reconcile(member, &mut connection, (&mut held, &answer))? {
            request.topic_partitions = Some(owned(&held));
        } else if !member.goes_on_after(interval) {
            member.board.give_up(member.index, &held.partitions);
            request.member_epoch = LEAVE_EPOCH;
            return ask(&mut connection, &request).map(drop);
        }
        answer = ask(&mut connection, &request)?;
    }
}

fn join(member: &Member, member_id: &Str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: member.group.clone(),
        member_id: member_id.clone(),
        member_epoch: 0,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        subscribed_topic_names: Some(vec![member.topic.clone()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn owned(held: &Held) -> Vec<TopicPartitions> {
    if held.partitions.is_empty() {
        return Vec::new();
    }
    vec![TopicPartitions { topic_id: held.topic_id, partitions: held.partitions.clone() }]
}

/// Does what the answer says; tells whether anything has changed.
fn reconcile(
    member: &Member,
    connection: &mut Connection,
    (held, answer): (&mut Held, &ConsumerGroupHeartbeatResponse),
) -> Result<bool, LoadError> {
    let Some(assignment) = &answer.assignment else { return Ok(false) };
    let mut wanted = Vec::new();
    for topic in &assignment.topic_partitions {
        held.topic_id = topic.topic_id;
        wanted.extend_from_slice(&topic.partitions);
    }
    let lost = without(&held.partitions, &wanted);
    let added = without(&wanted, &held.partitions);
    if !lost.is_empty() {
        member.board.give_up(member.index, &lost);
    }
    member.take(connection, &added)?;
    held.partitions = wanted;
    Ok(!lost.is_empty() || !added.is_empty())
}

fn without(these: &[i32], those: &[i32]) -> Vec<i32> {
    these.iter().copied().filter(|partition| !those.contains(partition)).collect()
}

fn ask(
    connection: &mut Connection,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, LoadError> {
    let answer = connection.ask(request, VERSION)?;
    match answer.error_code {
        0 => Ok(answer),
        code => Err(LoadError::Refused { what: "a member's heartbeat", code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_neither_lost_nor_added() {
        assert_eq!(without(&[1, 2, 3], &[2, 3, 4]), [1]);
        assert_eq!(without(&[2, 3, 4], &[1, 2, 3]), [4]);
    }
}
