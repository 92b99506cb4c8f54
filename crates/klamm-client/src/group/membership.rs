//! One member of a classic group: joins, is assigned, beats, leaves (KIP-62, KIP-394).
//!
//! ```text
//! outside ──join──> joining ──sync──> stable ──(heartbeat: rebalance, or thrown out)──> joining
//!                      └──(id given, fenced generation, moved coordinator)──> joining
//! ```

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use klamm_env::task;
use klamm_model::{ErrorCode, NodeId, TopicPartition};
use klamm_protocol::{
    ApiKey, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, Request,
    SyncGroupRequest, join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};
use klamm_stdx::Str;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::GroupOptions;
use super::assignor::{self, Member, RANGE};
use crate::admin::check;
use crate::cluster::{AutoCreate, Client, Purpose};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// What a group of consumers is called in the protocol.
const PROTOCOL_TYPE: &str = "consumer";
/// What the coordinator may take longer than the members' own patience.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// What the heartbeats have told since the last join.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub(super) must_rejoin: Cell<bool>,
    pub(super) changed: Notify,
}

/// A member.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) client: Client,
    pub(super) options: GroupOptions,
    pub(super) topics: Vec<Str>,
    pub(super) member_id: Str,
    pub(super) generation_id: i32,
    pub(super) pulse: Rc<Pulse>,
    heartbeats: Option<JoinHandle<()>>,
}

impl Membership {
    pub(super) fn new(client: Client, options: GroupOptions, topics: Vec<Str>) -> Self {
        let pulse = Rc::new(Pulse::default());
        pulse.must_rejoin.set(true);
        Self {
            client,
            options,
            topics,
            member_id: Str::new(),
            generation_id: -1,
            pulse,
            heartbeats: None,
        }
    }

    /// The coordinator, and a connection to it.
    pub(super) async fn coordinator(&self) -> Result<Connection> {
        let id: NodeId = self.client.group_coordinator(&self.options.group_id).await?;
        self.client.broker(id, Purpose::Coordinator).await
    }

    /// Joins, and gives the partitions that are ours now.
    pub(super) async fn join(&mut self) -> Result<Vec<TopicPartition>> {
        self.stop_heartbeats();
        let mut retry = Retry::default();
        loop {
            match self.join_once().await {
                Ok(partitions) => {
                    self.pulse.must_rejoin.set(false);
                    self.start_heartbeats();
                    return Ok(partitions);
                }
                Err(error) => {
                    let is_passing = self.on_error(&error);
                    let is_asked_for = error.code() == Some(ErrorCode::MemberIdRequired);
                    if !((is_asked_for || is_passing) && retry.again().await) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Takes note of what a refusal says about us; says whether joining again may help.
    pub(super) fn on_error(&mut self, error: &ClientError) -> bool {
        match error.code() {
            Some(ErrorCode::UnknownMemberId) => {
                self.member_id = Str::new();
                self.generation_id = -1;
                self.pulse.must_rejoin.set(true);
                true
            }
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {
                self.pulse.must_rejoin.set(true);
                true
            }
            _ => error.is_retriable(),
        }
    }

    async fn join_once(&mut self) -> Result<Vec<TopicPartition>> {
        let connection = self.coordinator().await?;
        let joined = self.send_join(&connection).await?;
        self.generation_id = joined.generation_id;
        self.member_id = joined.member_id.detached();
        let assignments = match joined.leader == joined.member_id {
            true => self.assign(&joined).await?,
            false => Vec::new(),
        };
        let version = connection.version(ApiKey::SyncGroup)?;
        let request = SyncGroupRequest {
            group_id: self.options.group_id.clone(),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: self.options.instance_id.clone(),
            protocol_type: (version >= 5).then(|| Str::from_static(PROTOCOL_TYPE)),
            protocol_name: (version >= 5).then(|| Str::from_static(RANGE)),
            assignments,
        };
        let synced = self.patient(&connection, &request, version).await?;
        check(synced.error_code, None, &self.what("taking its assignment"))?;
        assignor::assigned_partitions(synced.assignment)
    }

    async fn send_join(&mut self, connection: &Connection) -> Result<JoinGroupResponse> {
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let request = JoinGroupRequest {
            group_id: self.options.group_id.clone(),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: self.options.instance_id.clone(),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: vec![JoinGroupRequestProtocol {
                name: Str::from_static(RANGE),
                metadata: assignor::subscription(&self.topics)?,
            }],
            reason: None,
        };
        let version = connection.version(ApiKey::JoinGroup)?;
        let joined = self.patient(connection, &request, version).await?;
        if joined.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = joined.member_id.detached();
        }
        check(joined.error_code, None, &self.what("joining"))?;
        Ok(joined)
    }

    /// The coordinator answers when all members have asked.
    async fn patient<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
        version: i16,
    ) -> Result<R::Response> {
        let limit = self.options.rebalance_timeout + JOIN_GRACE;
        connection.start(request, version).await?.within(limit).answer().await
    }

    /// The leader's part: partitions for everybody.
    async fn assign(&self, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>> {
        let mut members = Vec::new();
        for member in &joined.members {
            let topics = assignor::subscribed_topics(member.metadata.clone())?;
            let instance_id = member.group_instance_id.clone();
            members.push(Member::new(member.member_id.clone(), instance_id, topics));
        }
        let mut topics: Vec<Str> = members.iter().flat_map(|m| m.topics.iter().cloned()).collect();
        topics.sort_unstable();
        topics.dedup();
        let metadata = self.client.metadata(Some(&topics), AutoCreate::Never).await?;
        let mut counts = BTreeMap::new();
        for topic in metadata.topics.iter().filter(|topic| topic.error_code == 0) {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            counts.insert(topic.name.clone().unwrap_or_default(), count);
        }
        let mut assignments = Vec::new();
        for (member_id, partitions) in assignor::assign_ranges(members, &counts) {
            let assignment = assignor::assignment(&partitions)?;
            assignments.push(SyncGroupRequestAssignment { member_id, assignment });
        }
        Ok(assignments)
    }

    fn start_heartbeats(&mut self) {
        let beat = Beat {
            client: self.client.clone(),
            request: HeartbeatRequest {
                group_id: self.options.group_id.clone(),
                generation_id: self.generation_id,
                member_id: self.member_id.clone(),
                group_instance_id: self.options.instance_id.clone(),
            },
            interval: self.options.heartbeat_interval,
            pulse: Rc::clone(&self.pulse),
        };
        self.heartbeats = Some(task::spawn_local(beat.run()));
    }

    fn stop_heartbeats(&mut self) {
        if let Some(heartbeats) = self.heartbeats.take() {
            heartbeats.abort();
        }
    }

    /// Leaves, so that the others need not wait for the session to end. Static members stay.
    pub(super) async fn leave(&mut self) -> Result<()> {
        self.stop_heartbeats();
        if self.member_id.is_empty() || self.options.instance_id.is_some() {
            return Ok(());
        }
        let connection = self.coordinator().await?;
        let version = connection.version(ApiKey::LeaveGroup)?;
        let mut request =
            LeaveGroupRequest { group_id: self.options.group_id.clone(), ..Default::default() };
        match version {
            ..=2 => request.member_id = self.member_id.clone(),
            _ => {
                request.members = vec![MemberIdentity {
                    member_id: self.member_id.clone(),
                    ..MemberIdentity::default()
                }];
            }
        }
        let response = connection.call_version(&request, version).await?;
        self.member_id = Str::new();
        self.generation_id = -1;
        self.pulse.must_rejoin.set(true);
        check(response.error_code, None, &self.what("leaving"))
    }

    pub(super) fn what(&self, doing: &str) -> String {
        format!("group '{}': {doing}", self.options.group_id)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

/// The task that keeps a member alive in one generation.
struct Beat {
    client: Client,
    request: HeartbeatRequest,
    interval: Duration,
    pulse: Rc<Pulse>,
}

impl Beat {
    async fn run(self) {
        loop {
            task::sleep(self.interval).await;
            let result = self.once().await;
            let Err(error) = result else { continue };
            let is_over = matches!(
                error.code(),
                Some(
                    ErrorCode::RebalanceInProgress
                        | ErrorCode::UnknownMemberId
                        | ErrorCode::IllegalGeneration
                        | ErrorCode::FencedInstanceId
                )
            );
            tracing::debug!(%error, "a heartbeat was not taken");
            // Anything else passes, or the session ends and the next heartbeat tells so.
            if is_over {
                self.pulse.must_rejoin.set(true);
                self.pulse.changed.notify_one();
                return;
            }
        }
    }

    async fn once(&self) -> Result<()> {
        let id = self.client.group_coordinator(&self.request.group_id).await?;
        let connection = self.client.broker(id, Purpose::Coordinator).await?;
        let response = connection.call(&self.request).await?;
        check(response.error_code, None, "heartbeat")
    }
}
