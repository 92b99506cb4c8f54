//! InitProducerId: a name gets its producer id, or the next epoch of it. What is open under the
//! name is aborted first.

use klamm_coordinator::{Ticket, Time};
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::actions::{Actions, Then};
use crate::producer::ProducerIdAndEpoch;
use crate::request::{Request, Response};
use crate::shard::TransactionShard;
use crate::state::State;
use crate::transaction::{Init, NotYet, Transaction};

impl TransactionShard {
    pub(crate) fn on_init(
        &mut self,
        time: Time,
        (id, init): (&Str, Init),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let refuse = |code| Response::Init(Err(code));
        if id.is_empty() {
            return actions.reply(ticket, refuse(ErrorCode::InvalidRequest));
        }
        if init.timeout_ms <= 0 || init.timeout_ms > self.limits.timeout_ms_max {
            return actions.reply(ticket, refuse(ErrorCode::InvalidTransactionTimeout));
        }
        let Some(known) = self.ids.get(id) else {
            return self.on_new_id((id, init), ticket, actions);
        };
        if init.expected.is_some_and(|expected| !known.knows(expected)) {
            return actions.read(ticket, refuse(ErrorCode::ProducerFenced));
        }
        if known.state == State::Ongoing {
            let is_known = |expected: ProducerIdAndEpoch| {
                expected == known.producer || Some(expected.epoch) == known.last_epoch
            };
            if !init.expected.is_none_or(is_known) {
                return actions.read(ticket, refuse(ErrorCode::ProducerFenced));
            }
            // Its open transaction is aborted first, and the request goes on from there.
            let fenced = known.fence(time.wall);
            let request = Request::Init {
                transactional_id: id.detached(),
                timeout_ms: init.timeout_ms,
                expected: init.expected.map(|_| fenced.producer),
                fresh: init.fresh,
            };
            actions.write(id, Some(fenced), Then::Nothing);
            return self.park(time, (&id.detached(), request, ticket), actions);
        }
        match known.init(init) {
            Ok(next) => {
                let then = Then::Reply(ticket, Response::Init(Ok(next.producer)));
                actions.write(id, Some(next), then);
            }
            Err(NotYet::NeedsProducerId) => actions.reply(ticket, Response::NeedsProducerId),
            Err(NotYet::Refused(code)) => actions.read(ticket, refuse(code)),
        }
    }

    /// A transactional id that nobody has used, or not for long: it gets a producer id.
    fn on_new_id(&mut self, (id, init): (&Str, Init), ticket: Ticket, actions: &mut Actions) {
        let Some(fresh) = init.fresh else {
            return actions.reply(ticket, Response::NeedsProducerId);
        };
        if self.ids.len() >= self.limits.ids_max {
            let Some(oldest) = self.ids.oldest_idle() else {
                let full = Response::Init(Err(ErrorCode::CoordinatorNotAvailable));
                return actions.reply(ticket, full);
            };
            actions.write(&oldest.clone(), None, Then::Nothing);
        }
        let new = Transaction::new(fresh, init.timeout_ms, init.now);
        let then = Then::Reply(ticket, Response::Init(Ok(new.producer)));
        actions.write(id, Some(new), then);
    }
}
