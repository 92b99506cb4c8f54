//! A member of the classic protocol: it joins, the leader divides, all hear of it by SyncGroup,
//! and a heartbeat tells when to join again. Eager: what it has it gives up before it joins again.

use bytes::Bytes;
use klamm_bench::LoadError;
use klamm_bench::wire::Connection;
use klamm_codec::{Message, Reader, Writer};
use klamm_persisted::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use klamm_protocol::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::join_group_response::JoinGroupResponse;
use klamm_protocol::leave_group_request::MemberIdentity;
use klamm_protocol::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use klamm_stdx::Str;

use super::{HEARTBEAT_INTERVAL, Member, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS};

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
/// Of subscriptions and assignments.
const CONTENT_VERSION: i16 = 3;

const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

/// A life in the group, from joining to leaving.
pub(super) fn live(member: &Member) -> Result<(), LoadError> {
    let mut connection = Connection::open(member.address)?;
    let mut member_id = Str::new();
    loop {
        let joined = join(member, &mut connection, &mut member_id)?;
        let Some(partitions) = sync(member, &mut connection, &joined)? else { continue };
        member.take(&mut connection, &partitions)?;
        let goes_on = beat(member, &mut connection, &joined)?;
        member.board.give_up(member.index, &partitions);
        if !goes_on {
            return leave(member, &mut connection, &member_id);
        }
    }
}

fn join(
    member: &Member,
    connection: &mut Connection,
    member_id: &mut Str,
) -> Result<JoinGroupResponse, LoadError> {
    let mut w = Writer::new();
    w.i16(CONTENT_VERSION);
    let subscription = ConsumerProtocolSubscription {
        topics: vec![member.topic.clone()],
        ..ConsumerProtocolSubscription::default()
    };
    subscription.encode(&mut w, CONTENT_VERSION)?;
    let mut request = JoinGroupRequest {
        group_id: member.group.clone(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        member_id: member_id.clone(),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: w.into_vec().into(),
        }],
        ..JoinGroupRequest::default()
    };
    loop {
        let answer = connection.ask(&request, JOIN_VERSION)?;
        *member_id = answer.member_id.clone();
        match answer.error_code {
            0 => return Ok(answer),
            MEMBER_ID_REQUIRED => request.member_id = member_id.clone(),
            code => return Err(LoadError::Refused { what: "a member's join", code }),
        }
    }
}

/// Hears what it is given; nothing, if another rebalance has begun.
fn sync(
    member: &Member,
    connection: &mut Connection,
    joined: &JoinGroupResponse,
) -> Result<Option<Vec<i32>>, LoadError> {
    let request = SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments: divide(member, joined)?,
        ..SyncGroupRequest::default()
    };
    let answer = connection.ask(&request, SYNC_VERSION)?;
    match answer.error_code {
        0 => assigned(answer.assignment).map(Some),
        REBALANCE_IN_PROGRESS => Ok(None),
        code => Err(LoadError::Refused { what: "a member's sync", code }),
    }
}

/// What the leader gives to whom: a run of partitions each. Only it is told the members.
fn divide(
    member: &Member,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, LoadError> {
    let count = joined.members.len();
    let begins = |index: usize| member.partitions as usize * index / count;
    let given = joined.members.iter().enumerate().map(|(index, one)| {
        let partitions = begins(index)..begins(index + 1);
        let topic = consumer_protocol_assignment::TopicPartition {
            topic: member.topic.clone(),
            partitions: partitions.filter_map(|p| i32::try_from(p).ok()).collect(),
        };
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: vec![topic], user_data: None };
        let mut w = Writer::new();
        w.i16(CONTENT_VERSION);
        assignment.encode(&mut w, CONTENT_VERSION)?;
        let assignment = w.into_vec().into();
        Ok(SyncGroupRequestAssignment { member_id: one.member_id.clone(), assignment })
    });
    given.collect()
}

fn assigned(bytes: Bytes) -> Result<Vec<i32>, LoadError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    let assignment = ConsumerProtocolAssignment::decode(&mut r, version)?;
    Ok(assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect())
}

/// Heartbeats until the group rebalances or the member is to leave; tells whether it stays.
fn beat(
    member: &Member,
    connection: &mut Connection,
    joined: &JoinGroupResponse,
) -> Result<bool, LoadError> {
    let request = HeartbeatRequest {
        group_id: member.group.clone(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    while member.goes_on_after(HEARTBEAT_INTERVAL) {
        match connection.ask(&request, HEARTBEAT_VERSION)?.error_code {
            0 => {}
            REBALANCE_IN_PROGRESS => return Ok(true),
            code => return Err(LoadError::Refused { what: "a heartbeat", code }),
        }
    }
    Ok(false)
}

fn leave(member: &Member, connection: &mut Connection, id: &Str) -> Result<(), LoadError> {
    let leaver = MemberIdentity { member_id: id.clone(), ..MemberIdentity::default() };
    let request = LeaveGroupRequest {
        group_id: member.group.clone(),
        members: vec![leaver],
        ..LeaveGroupRequest::default()
    };
    match connection.ask(&request, LEAVE_VERSION)?.error_code {
        0 => Ok(()),
        code => Err(LoadError::Refused { what: "a member's leave", code }),
    }
}
