//! DeleteTopics (key 20): deletes topics by name or id. Served: v1-v6.
//!
//! v4 flexible · v5 messages (KIP-599) · v6 topics by id (KIP-516).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_controller::{ApiError, DeletedTopic, TopicToDelete};
use klamm_protocol::delete_topics_response::DeletableTopicResult;
use klamm_protocol::{DeleteTopicsRequest, DeleteTopicsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

/// From here on topics may be named by id.
const IDS_FROM: i16 = 6;

pub(crate) struct DeleteTopics;

impl Api for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=6;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DeleteTopicsRequest,
        version: i16,
    ) -> Reply<DeleteTopicsResponse> {
        let topics: Vec<TopicToDelete> = if version >= IDS_FROM {
            let named =
                |topic: klamm_protocol::delete_topics_request::DeleteTopicState| match topic.name {
                    Some(name) => TopicToDelete::Name(name.detached()),
                    None => TopicToDelete::Id(topic.topic_id),
                };
            request.topics.into_iter().map(named).collect()
        } else {
            request.topic_names.iter().map(|name| TopicToDelete::Name(name.detached())).collect()
        };
        let responses = match ctx.controller.delete_topics(topics.clone()).await {
            Ok(deleted) => deleted.into_iter().map(line).collect(),
            Err(error) => topics.into_iter().map(|topic| line(refused(topic, &error))).collect(),
        };
        DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }.into()
    }
}

fn refused(topic: TopicToDelete, error: &ApiError) -> DeletedTopic {
    let (name, id) = match topic {
        TopicToDelete::Name(name) => (Some(name), None),
        TopicToDelete::Id(id) => (None, Some(id)),
    };
    DeletedTopic { name, id, result: Err(error.clone()) }
}

fn line(deleted: DeletedTopic) -> DeletableTopicResult {
    let error = deleted.result.err();
    DeletableTopicResult {
        name: deleted.name,
        topic_id: deleted.id.unwrap_or_default(),
        error_code: error.as_ref().map_or(0, |error| error.code.code()),
        error_message: error
            .map(|e| Str::from(e.message.unwrap_or_else(|| e.code.name().to_owned()))),
    }
}
