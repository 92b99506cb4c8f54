//! A member of a classic group: what it asks next, and what an answer means to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_group_coordinator::{
    FoundOffset, Heartbeat, JoinRequest, Joined, Leaver, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetToCommit, Protocol, Request, Response, Stability, SyncRequest,
};
use klamm_model::{ErrorCode, GenerationId, Offset};
use klamm_stdx::Str;

use crate::random::Seeded;

/// Partitions that the members divide among themselves.
pub(super) const PARTITIONS: u8 = 4;
pub(super) const GROUP: &str = "g";
pub(super) const TOPIC: &str = "in";
/// How long a member may be silent.
pub(super) const SESSION_MS: u64 = 150;

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
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) index: usize,
    pub(super) member_id: Str,
    pub(super) generation: i32,
    pub(super) is_alive: bool,
    pub(super) number: u64,
    pub(super) step: Step,
    positions: BTreeMap<u8, i64>,
    committing: Vec<(u8, i64)>,
}

impl Member {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            member_id: Str::new(),
            generation: -1,
            is_alive: true,
            number: 0,
            step: Step::Join,
            positions: BTreeMap::new(),
            committing: Vec::new(),
        }
    }

    /// The request of its step.
    pub(super) fn request(&self) -> Request {
        let group = Str::from(GROUP);
        let (member_id, generation_id) = (self.member_id.clone(), GenerationId(self.generation));
        match &self.step {
            Step::Join => Request::Join(group, self.join_request()),
            Step::Sync(assignments) => Request::Sync(
                group,
                SyncRequest {
                    member_id,
                    instance_id: None,
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
                Request::Heartbeat(group, Heartbeat { member_id, instance_id: None, generation_id })
            }
            Step::Commit => Request::CommitOffsets(group, self.commit_request()),
            Step::Leave => Request::Leave(group, vec![Leaver { member_id, instance_id: None }]),
        }
    }

    fn join_request(&self) -> JoinRequest {
        JoinRequest {
            member_id: self.member_id.clone(),
            instance_id: None,
            client_id: Str::from("sim"),
            client_host: Str::from("/sim"),
            session_timeout_ms: SESSION_MS as i32,
            rebalance_timeout_ms: 2 * SESSION_MS as i32,
            protocol_type: Str::from("consumer"),
            protocols: vec![Protocol { name: Str::from("range"), metadata: Bytes::new() }],
            requires_known_member_id: self.index.is_multiple_of(2),
            supports_skipping_assignment: false,
            new_member_id: Str::from(format!("m{}-{}", self.index, self.number)),
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
            instance_id: None,
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

    fn rejoin(&mut self, error: ErrorCode) {
        if matches!(error, ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) {
            self.member_id = Str::new();
        }
        self.positions.clear();
        self.go_on(Step::Join);
    }

    /// What a member in its generation does next.
    fn work(&mut self, random: &mut Seeded) {
        if self.positions.is_empty() || random.one_in(3) {
            let leaves = random.one_in(12);
            return self.go_on(if leaves { Step::Leave } else { Step::Heartbeat });
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
            Response::Sync(synced) => self.rejoin(synced.error),
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
            Response::Heartbeat(error) => self.rejoin(error),
            Response::CommitOffsets(lines) => {
                let error = lines.first().map_or(ErrorCode::UnknownServerError, |l| l.error);
                if !error.is_none() {
                    self.rejoin(error);
                    return Ok(Learned::Nothing);
                }
                self.positions.extend(self.committing.iter().copied());
                let committed = std::mem::take(&mut self.committing);
                self.work(random);
                return Ok(Learned::Committed(committed));
            }
            Response::Leave(_) => self.rejoin(ErrorCode::UnknownMemberId),
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
            error => {
                self.rejoin(error);
                return Ok(Learned::Nothing);
            }
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
