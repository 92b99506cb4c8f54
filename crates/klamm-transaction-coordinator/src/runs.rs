//! The transaction shard as klamm-coordinator runs it.

use klamm_coordinator::{Batch, Loaded, Outcome, Shard, Ticket, Time};
use klamm_env::Moment;
use klamm_model::{ErrorCode, LeaderEpoch};

use crate::record::RecordError;
use crate::{Actions, MarkersToWrite, Record, Request, Response, TransactionShard, Write};

impl From<Actions> for Outcome<Response, Write, MarkersToWrite> {
    fn from(Actions { replies, reads, writes, markers }: Actions) -> Self {
        Self { replies, reads, writes, effects: markers }
    }
}

impl Shard for TransactionShard {
    type Request = Request;
    type Response = Response;
    type Write = Write;
    type Effect = MarkersToWrite;
    type News = ();
    type Actions = Actions;

    fn on_request(&mut self, time: Time, request: Request, ticket: Ticket, actions: &mut Actions) {
        self.on_request(time, request, ticket, actions);
    }

    fn on_timeout(&mut self, time: Time, actions: &mut Actions) {
        self.on_timeout(time, actions);
    }

    fn next_timeout(&self) -> Option<Moment> {
        self.next_timeout()
    }

    fn batch(write: &Write) -> Result<Batch, ErrorCode> {
        let record = |(id, next): &(_, Option<_>)| Record::to_key_value(id, next.as_ref());
        let records = write.changes.iter().map(record).collect::<Result<_, _>>();
        records.map(Batch::Records).map_err(|error| {
            tracing::error!(%error, "a transaction record could not be encoded");
            ErrorCode::UnknownServerError
        })
    }

    fn on_appended(&mut self, time: Time, write: &Write, actions: &mut Actions) {
        self.on_appended(time, write, actions);
    }

    fn on_committed(&mut self, time: Time, write: Write, actions: &mut Actions) {
        self.on_committed(time, write, actions);
    }

    fn on_failed(&mut self, time: Time, write: Write, error: ErrorCode, actions: &mut Actions) {
        self.on_failed(time, write, error, actions);
    }

    fn replay(&mut self, loaded: Loaded) {
        // Nobody writes to this topic in a transaction.
        let Loaded::Record((key, value)) = loaded else { return };
        match Record::from_key_value(key, value) {
            Ok(record) => self.replay(record),
            Err(error @ RecordError::UnknownKind(_)) => {
                tracing::warn!(%error, "a transaction record was skipped");
            }
            Err(error @ (RecordError::Broken(_) | RecordError::UnknownState(_))) => {
                tracing::error!(%error, "a transaction record cannot be understood and was skipped");
            }
        }
    }

    fn on_loaded(&mut self, time: Time, epoch: LeaderEpoch, actions: &mut Actions) {
        self.on_loaded(time, epoch.0, actions);
    }

    fn on_news(&mut self, (): &()) {}

    fn on_unload(&mut self, _: &mut Actions) {}

    fn unavailable(error: ErrorCode) -> Response {
        Response::Unavailable(error)
    }
}
