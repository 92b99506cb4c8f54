//! Requests and answers on their way between members and the coordinator.

use klamm_group_coordinator::{PartitionResult, Request, Response};
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::member::{Learned, Sent, Step};
use super::world::{ConsumerGroups, Event};
use crate::coordinators::owners::TwoOwners;

/// A request on its way.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Message {
    member: usize,
    sent: Sent,
    request: Request,
}

impl ConsumerGroups {
    /// A member sends its current request, and another if it hears nothing.
    pub(super) fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (sent, request) = (member.sends(), member.request(&self.cluster));
        let message = Message { member: index, sent, request };
        self.course.sends(|| Event::Deliver(message.clone()));
        let patience = self.course.patience();
        self.course.put(patience, Event::Impatience(index, number));
    }

    pub(super) fn retry(&mut self, index: usize, number: u64) {
        let member = &mut self.members[index];
        if member.is_alive && member.number == number {
            member.retry();
            let number = member.number;
            self.send(index, number);
        }
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let Message { member: index, sent, request } = message;
        let arrived = &mut self.arrived[index];
        if sent.number < *arrived && self.members[index].is_mistakable(&sent) {
            return;
        }
        *arrived = (sent.number + 1).max(*arrived);
        let asked = (index, sent.number);
        match self.refusal(&request) {
            Some(refusal) => self.waiting.answer(asked, refusal),
            None => {
                let answer = self.coordinator.ask(self.course.time(), request);
                self.waiting.add(asked, answer);
            }
        }
    }

    /// What klamm-apis refuses by itself: offsets of a topic that is gone.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let Request::CommitOffsets(_, commit) = request else { return None };
        let is_known = |id| self.cluster.name(id).is_some();
        if commit.offsets.iter().all(|line| line.topic_id.is_some_and(is_known)) {
            return None;
        }
        let error = ErrorCode::UnknownTopicId;
        let line = PartitionResult { topic: Str::new(), partition: 0, error };
        Some(Response::CommitOffsets(vec![line]))
    }

    pub(super) fn on_answer(
        &mut self,
        (index, number): (usize, u64),
        answer: (Response, u64),
    ) -> Result<(), String> {
        let member = &mut self.members[index];
        if !member.is_alive || member.number != number {
            return Ok(());
        }
        let learned = member.on_answer(answer, self.course.ms(), &mut self.course.random)?;
        self.owners.give_up(index, &member.has);
        match learned {
            Learned::Nothing => {}
            Learned::Has => self.take(index)?,
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
                member.take();
                self.take(index)?;
            }
            Learned::Ends => {
                member.is_alive = false;
                return Ok(());
            }
        }
        let member = &self.members[index];
        let due_ms = if member.step == Step::Beat { member.beat_at_ms } else { 0 };
        let next = Event::Send(index, member.number);
        self.course.goes_on((self.options.silence, self.options.times.session_ms), due_ms, next);
        Ok(())
    }

    /// A member may have taken what it was told to; one that is out of the group has nothing.
    fn take(&mut self, index: usize) -> Result<(), String> {
        let member = &self.members[index];
        if self.journal.life(&member.member_id) != member.life {
            self.owners.give_up(index, &member.has);
            return Ok(());
        }
        let taken = self.owners.take(index, &member.has);
        self.tally.taken += taken.map_err(|TwoOwners { partition, other }| {
            let (a, b) = (&self.members[other].member_id, &member.member_id);
            format!("{partition:?} has two owners: {a} and {b}")
        })?;
        Ok(())
    }
}
