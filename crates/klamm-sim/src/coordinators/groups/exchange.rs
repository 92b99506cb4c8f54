//! Requests and answers on their way between members and the coordinator.

use std::collections::BTreeMap;

use klamm_group_coordinator::{PartitionResult, Request, Response};
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::member::{Learned, Step};
use super::options::Patience;
use super::world::{Event, Groups, MOMENT_MS};
use crate::coordinators::ensure;

/// A request on its way.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Message {
    pub(super) member: usize,
    pub(super) number: u64,
    pub(super) generation: i32,
    request: Request,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) message: Message,
    /// When it came.
    pub(super) at_ms: u64,
    /// The offsets that were committed when it came.
    pub(super) floor: BTreeMap<u8, i64>,
}

impl Groups {
    /// A member sends its current request, and again if it hears nothing.
    pub(super) fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (generation, request) = (member.generation, member.request());
        let message = Message { member: index, number, generation, request };
        self.course.sends(|| Event::Deliver(message.clone()));
        let patience = self.patience(index);
        self.course.put(patience, Event::Send(index, number));
    }

    /// How long a member waits for an answer. A join waits for the others, and Kafka's clients wait
    /// for it as long as a rebalance may take: asking again makes another member of it.
    fn patience(&mut self, index: usize) -> u64 {
        let patience = self.course.patience();
        let is_long = self.course.is_calm() || self.options.patience == Patience::Long;
        match self.members[index].step {
            Step::Join | Step::Sync(_) if is_long => {
                patience + self.options.rebalance_ms + 2 * MOMENT_MS
            }
            _ => patience,
        }
    }

    /// Within a generation a member's requests arrive in order: see the module's doc.
    pub(super) fn deliver(&mut self, message: Message) {
        let member = &self.members[message.member];
        if member.number != message.number && member.generation == message.generation {
            return;
        }
        let mut request = message.request.clone();
        if let Request::Join(_, join) = &mut request {
            self.member_ids += 1;
            join.new_member_id = Str::from(format!("m{}-{}", message.member, self.member_ids));
        }
        let floor = match request {
            Request::FetchOffsets(..) => self.journal.floor(),
            _ => BTreeMap::new(),
        };
        let asked = Asked { message, at_ms: self.course.ms(), floor };
        match self.transact(&mut request) {
            Some(refusal) => self.waiting.answer(asked, refusal),
            None => {
                let answer = self.coordinator.ask(self.course.time(), request);
                self.waiting.add(asked, answer);
            }
        }
    }

    /// What the transaction coordinator does with a request, and says to it if it goes no further.
    fn transact(&mut self, request: &mut Request) -> Option<Response> {
        match request {
            Request::CommitInTransaction(_, commit) => {
                let (ms, time) = (self.course.ms(), self.course.time());
                match self.transactions.admit(commit.producer, ms, (&self.log, time)) {
                    Ok(proof) => {
                        commit.verification = proof;
                        None
                    }
                    Err(error) => Some(Response::CommitOffsets(vec![refused_line(error)])),
                }
            }
            Request::EndTransaction(end) => {
                Some(Response::EndTransaction(self.transactions.end(*end)))
            }
            _ => None,
        }
    }

    pub(super) fn on_answer(
        &mut self,
        (index, number): (usize, u64),
        (incarnation, response): (u32, Response),
    ) -> Result<(), String> {
        let member = &mut self.members[index];
        if !member.is_alive || member.number != number {
            return Ok(());
        }
        match member.on_answer(response, &mut self.course.random)? {
            Learned::Nothing => {}
            Learned::Owns(generation, partitions) => {
                self.tally.assignments += 1;
                for partition in partitions {
                    let owner = self.owners.entry((incarnation, generation, partition));
                    let other = member.owner();
                    let owner = owner.or_insert_with(|| other.clone());
                    ensure(*owner == other, || {
                        format!("{owner} and {other} own {partition} in generation {generation}")
                    })?;
                }
            }
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
            }
            Learned::Fenced => self.tally.fenced += 1,
        }
        let next = Event::Send(index, member.number);
        // Some think for longer than their session lasts.
        let most_ms = if self.course.is_calm() { 10 } else { 30 };
        if self.course.happens(self.options.silence) {
            self.course.put(self.options.session_ms + 250, next);
        } else {
            self.course.put_within(most_ms, next);
        }
        Ok(())
    }
}

fn refused_line(error: ErrorCode) -> PartitionResult {
    PartitionResult { topic: Str::new(), partition: 0, error }
}
