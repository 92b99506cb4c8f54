//! The group shard as klamm-coordinator runs it.

use std::convert::Infallible;
use std::sync::Arc;

use klamm_coordinator::{Batch, Loaded, Outcome, Shard, Ticket, Time};
use klamm_env::Moment;
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, LeaderEpoch};

use crate::record::RecordError;
use crate::{Actions, Author, GroupShard, Record, Request, Response, Write};

impl From<Actions> for Outcome<Response, Write, Infallible> {
    fn from(actions: Actions) -> Self {
        for (group_id, member_id) in &actions.failed_members {
            tracing::info!(%group_id, %member_id, "member removed: it was silent for its session");
        }
        Self {
            replies: actions.replies,
            reads: actions.reads,
            writes: actions.writes,
            effects: Vec::new(),
        }
    }
}

impl Shard for GroupShard {
    type Request = Request;
    type Response = Response;
    type Write = Write;
    type Effect = Infallible;
    type News = Arc<MetadataImage>;
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
        let records = write.records.iter().map(Record::to_key_value).collect::<Result<_, _>>();
        let records = records.map_err(|error| {
            tracing::error!(%error, "a group record could not be encoded");
            ErrorCode::UnknownServerError
        })?;
        Ok(match write.author {
            Author::Group => Batch::Records(records),
            Author::Producer(producer, verification) => {
                Batch::Transactional { producer, verification, records }
            }
            Author::Coordinator(end) => Batch::End(end),
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
        let (producer, (key, value)) = match loaded {
            Loaded::End(end) => return self.replay_end(end),
            Loaded::Record(record) => (None, record),
            Loaded::Transactional(producer, record) => (Some(producer), record),
        };
        match Record::from_key_value(key, value) {
            Ok(record) => match producer {
                Some(producer) => self.replay_open(producer.id, &record),
                None => self.replay(record),
            },
            Err(error @ (RecordError::UnknownKind(_) | RecordError::NotServed(_))) => {
                tracing::warn!(%error, "a group record was skipped");
            }
            Err(error @ RecordError::Broken(_)) => {
                tracing::error!(%error, "a group record is broken and was skipped");
            }
        }
    }

    fn on_loaded(&mut self, time: Time, _: LeaderEpoch, _: &mut Actions) {
        self.on_loaded(time);
    }

    fn on_news(&mut self, news: &Arc<MetadataImage>) {
        self.on_metadata(news);
    }

    fn on_unload(&mut self, actions: &mut Actions) {
        self.on_unload(actions);
    }

    fn unavailable(error: ErrorCode) -> Response {
        Response::Unavailable(error)
    }
}
