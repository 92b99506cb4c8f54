//! A member of a classic group: what it asks next, and what an answer means to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_group_coordinator::{
    FoundOffset, Heartbeat, JoinRequest, Joined, Leaver, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetToCommit, Protocol, Request, Response, Stability, SyncRequest,
};
use klamm_model::{ErrorCode, GenerationId, Offset};
use klamm_stdx::Str;

use super::options::Options;
use crate::coordinators::luck::happens;
use crate::random::Seeded;

/// Partitions that the members divide among themselves.
pub(super) const PARTITIONS: u8 = 4;
pub(super) const GROUP: &str = "g";
pub(super) const TOPIC: &str = "in";

/// What a member is about to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Join,
    Sync(Vec<(Str, Bytes)>),
    Fetch,
    Heartbeat,
    Commit,
    Leave,
}

/// What a member learned that the world checks.
#[derive(Debug)]
pub(super) enum Learned {
    Nothing,
    /// It owns these partitions in this generation.
    Owns(i32, Vec<u8>),
    /// These offsets are committed.
    Committed(Vec<(u8, i64)>),
    /// Another has its name.
    Fenced,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) index: usize,
    /// Of a static member.
    pub(super) instance_id: Option<Str>,
    /// Another has been started in its stead.
    pub(super) is_replaced: bool,
    pub(super) member_id: Str,
    pub(super) generation: i32,
    pub(super) is_alive: bool,
    pub(super) number: u64,
    pub(super) step: Step,
    positions: BTreeMap<u8, i64>,
    committing: Vec<(u8, i64)>,
    options: Options,
}

impl Member {
    pub(super) fn new(index: usize, instance_id: Option<Str>, options: Options) -> Self {
        Self {
            index,
            instance_id,
            is_replaced: false,
            member_id: Str::new(),
            generation: -1,
            is_alive: true,
            number: 0,
            step: Step::Join,
            positions: BTreeMap::new(),
            committing: Vec::new(),
            options,
        }
    }

    /// The request of its step.
    pub(super) fn request(&self) -> Request {
        let group = Str::from(GROUP);
        let (member_id, generation_id) = (self.member_id.clone(), GenerationId(self.generation));
        let instance_id = self.instance_id.clone();
        match &self.step {
            Step::Join => Request::Join(group, self.join_request()),
            Step::Sync(assignments) => Request::Sync(
                group,
                SyncRequest {
                    member_id,
                    instance_id,
                    generation_id,
                    protocol_type: None,
                    protocol_name: None,
                    assignments: assignments.clone(),
                },
            ),
            Step::Fetch => {
                let partitions = self.positions.keys().map(|p| i32::from(*p)).collect();
                let asked = vec![(Str::from(TOPIC), partitions)];
                let (asked, stability) = (Some(asked), Stability::Required);
                Request::FetchOffsets(group, OffsetFetch { asked, stability, member: None })
            }
            Step::Heartbeat => {
                Request::Heartbeat(group, Heartbeat { member_id, instance_id, generation_id })
            }
            Step::Commit => Request::CommitOffsets(group, self.commit_request()),
            Step::Leave => Request::Leave(group, vec![Leaver { member_id, instance_id }]),
        }
    }

    fn join_request(&self) -> JoinRequest {
        JoinRequest {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: Str::from("sim"),
            client_host: Str::from("/sim"),
            session_timeout_ms: self.options.session_ms as i32,
            rebalance_timeout_ms: self.options.rebalance_ms as i32,
            protocol_type: Str::from("consumer"),
            protocols: vec![Protocol { name: Str::from("range"), metadata: Bytes::new() }],
            requires_known_member_id: self.index.is_multiple_of(2),
            supports_skipping_assignment: self.index % 4 < 2,
            // The broker makes one up when the request arrives.
            new_member_id: Str::new(),
        }
    }

    fn commit_request(&self) -> OffsetCommit {
        let line = |(partition, offset): &(u8, i64)| OffsetToCommit {
            topic: Str::from(TOPIC),
            topic_id: None,
            partition: i32::from(*partition),
            offset: Offset(*offset),
            leader_epoch: None,
            metadata: Str::new(),
        };
        OffsetCommit {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation_id: GenerationId(self.generation),
            epochs: MemberEpochs::Known,
            retention_ms: None,
            offsets: self.committing.iter().map(line).collect(),
        }
    }

    fn go_on(&mut self, step: Step) {
        self.number += 1;
        self.step = step;
    }

    /// Whoever owns what this member owns: of a static member that comes back it is the same one.
    pub(super) fn owner(&self) -> Str {
        self.instance_id.as_ref().unwrap_or(&self.member_id).clone()
    }

    fn rejoin(&mut self, error: ErrorCode) -> Learned {
        if matches!(error, ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) {
            self.member_id = Str::new();
        }
        self.positions.clear();
        self.go_on(Step::Join);
        match error {
            ErrorCode::FencedInstanceId => {
                self.is_alive = !self.is_replaced;
                Learned::Fenced
            }
            _ => Learned::Nothing,
        }
    }

    /// What a member in its generation does next.
    fn work(&mut self, random: &mut Seeded) {
        if happens(random, self.options.leaves) {
            return self.go_on(Step::Leave);
        }
        if self.positions.is_empty() || !happens(random, self.options.commits) {
            return self.go_on(Step::Heartbeat);
        }
        self.committing = self.positions.iter().map(|(p, at)| (*p, at + 1)).collect();
        self.go_on(Step::Commit);
    }

    /// The answer to its current request. It asks the same again if that says nothing.
    pub(super) fn on_answer(
        &mut self,
        response: Response,
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        match response {
            Response::Join(joined) => return self.on_joined(joined, random),
            Response::Sync(synced) if synced.error.is_none() => {
                let owned: Vec<u8> = synced.assignment.to_vec();
                self.positions = owned.iter().map(|partition| (*partition, 0)).collect();
                self.go_on(if owned.is_empty() { Step::Heartbeat } else { Step::Fetch });
                return Ok(Learned::Owns(self.generation, owned));
            }
            Response::Sync(synced) => return Ok(self.rejoin(synced.error)),
            Response::FetchOffsets(found) => {
                let found = found.map_err(|error| format!("offsets are refused: {error}"))?;
                let Some((_, lines)) = found.topics.first() else { return Ok(Learned::Nothing) };
                for (partition, offset) in lines {
                    let partition = u8::try_from(*partition).map_err(|e| e.to_string())?;
                    let at = match offset {
                        FoundOffset::Committed(offset) => offset.offset.0,
                        FoundOffset::None | FoundOffset::Unstable => 0,
                    };
                    self.positions.insert(partition, at);
                }
                self.work(random);
            }
            Response::Heartbeat(ErrorCode::None) => self.work(random),
            Response::Heartbeat(error) => return Ok(self.rejoin(error)),
            Response::CommitOffsets(lines) => {
                let error = lines.first().map_or(ErrorCode::UnknownServerError, |l| l.error);
                if !error.is_none() {
                    return Ok(self.rejoin(error));
                }
                self.positions.extend(self.committing.iter().copied());
                let committed = std::mem::take(&mut self.committing);
                self.work(random);
                return Ok(Learned::Committed(committed));
            }
            Response::Leave(_) => return Ok(self.rejoin(ErrorCode::UnknownMemberId)),
            Response::Unavailable(_) => {}
            other => return Err(format!("{other:?} is no answer to {:?}", self.step)),
        }
        Ok(Learned::Nothing)
    }

    fn on_joined(&mut self, joined: Joined, random: &mut Seeded) -> Result<Learned, String> {
        match joined.error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id = joined.member_id;
                self.go_on(Step::Join);
                return Ok(Learned::Nothing);
            }
            error => return Ok(self.rejoin(error)),
        }
        self.generation = joined.generation_id.0;
        self.member_id = joined.member_id;
        let mut parts: Vec<(Str, Vec<u8>)> =
            joined.members.into_iter().map(|m| (m.member_id, Vec::new())).collect();
        if !parts.is_empty() {
            let (first, n) = (random.below(parts.len()), parts.len());
            for partition in 0..PARTITIONS {
                parts[(first + usize::from(partition)) % n].1.push(partition);
            }
        }
        let assignments = parts.into_iter().map(|(id, part)| (id, Bytes::from(part))).collect();
        self.go_on(Step::Sync(assignments));
        Ok(Learned::Nothing)
    }
}
