//! Requests and answers on their way between clients and the coordinator.

use std::collections::BTreeSet;

use klamm_group_coordinator::{Request, Response};
use klamm_stdx::Str;

use super::client::{Learned, Sent};
use super::world::{Event, Migration};
use crate::coordinators::owners::TwoOwners;

/// A request on its way.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Message {
    client: usize,
    sent: Sent,
    request: Request,
}

impl Migration {
    /// A client sends its current request, and another if it hears nothing.
    pub(super) fn send(&mut self, index: usize, number: u64) {
        let client = &self.clients[index];
        if !client.is_alive() || client.number() != number {
            return;
        }
        let (sent, request) = client.sends(&self.cluster);
        let message = Message { client: index, sent, request };
        self.course.sends(|| Event::Deliver(message.clone()));
        let mut patience = self.course.patience();
        // A join waits for the others, and Kafka's clients wait for it as long as they may take.
        if self.course.is_calm() && client.waits() {
            patience += self.options.rebalance_ms;
        }
        self.course.put(patience, Event::Impatience(index, number));
    }

    pub(super) fn retry(&mut self, index: usize, number: u64) {
        let client = &mut self.clients[index];
        if client.is_alive() && client.number() == number {
            client.retry();
            let number = client.number();
            self.send(index, number);
        }
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let Message { client: index, sent, mut request } = message;
        if self.clients[index].is_lost((&sent, &request), self.arrived[index]) {
            return;
        }
        let number = sent.number();
        self.arrived[index] = self.arrived[index].max(number + 1);
        if let Request::Join(_, join) = &mut request {
            self.member_ids += 1;
            join.new_member_id = Str::from(format!("c{index}-{}", self.member_ids));
        }
        let answer = self.coordinator.ask(self.course.time(), request);
        self.waiting.add((index, number), answer);
    }

    pub(super) fn on_answer(
        &mut self,
        (index, number): (usize, u64),
        answer: (Response, u64),
    ) -> Result<(), String> {
        let client = &mut self.clients[index];
        if !client.is_alive() || client.number() != number {
            return Ok(());
        }
        let at = (self.course.ms(), self.topic_id);
        let learned = client.on_answer(answer, at, &mut self.course.random)?;
        self.owners.give_up(index, &client.has(self.topic_id));
        match learned {
            Learned::Nothing => {}
            Learned::Has => self.take(index)?,
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
                client.take();
                self.take(index)?;
            }
            Learned::Ends => {
                client.die();
                self.owners.give_up(index, &BTreeSet::new());
                return Ok(());
            }
        }
        let client = &self.clients[index];
        let (silence, next) = (self.options.silence, Event::Send(index, client.number()));
        let session_ms = self.options.times.session_ms;
        self.course.goes_on((silence, session_ms), client.due_ms(), next);
        Ok(())
    }

    /// A client may have taken what it was told to; one that is out of the group has nothing.
    fn take(&mut self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        let has = client.has(self.topic_id);
        if !client.holds(&self.journal) {
            self.owners.give_up(index, &has);
            return Ok(());
        }
        let taken = self.owners.take(index, &has);
        self.tally.taken += taken.map_err(|TwoOwners { partition, other }| {
            let (a, b) = (self.clients[other].member_id(), client.member_id());
            format!("{partition:?} has two owners: {a} and {b}")
        })?;
        Ok(())
    }
}
