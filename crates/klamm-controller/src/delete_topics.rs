//! Topics go. Never by a name that could by then mean another topic: records name the id.

use std::collections::BTreeSet;

use klamm_model::{ErrorCode, TopicId};
use klamm_persisted::metadata::RemoveTopicRecord;
use klamm_stdx::Str;

use crate::core::RECORDS_PER_OPERATION_MAX;
use crate::{ApiError, Context, Controller, ControllerResult, DeleteTopics};

/// A topic to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicToDelete {
    /// Whatever has this name now.
    Name(Str),
    /// Only this one.
    Id(TopicId),
}

/// What became of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name, if it is known.
    pub name: Option<Str>,
    /// Its id, if it is known.
    pub id: Option<TopicId>,
    /// Whether it is gone.
    pub result: Result<(), ApiError>,
}

impl Controller {
    /// Deletes topics; each succeeds or fails on its own. Answers are in the order of the
    /// request, one for each topic that it names.
    pub fn delete_topics(
        &self,
        context: &Context<'_>,
        topics: &[TopicToDelete],
    ) -> ControllerResult<Vec<DeletedTopic>> {
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut deleted = found(context, topic);
            if let (Ok(()), Some(id)) = (&deleted.result, deleted.id) {
                deleted.result = self.check_deletion(&mut seen, id, records.len());
                if deleted.result.is_ok() {
                    records.push(context.record(RemoveTopicRecord { topic_id: id }));
                }
            }
            results.push(deleted);
        }
        ControllerResult::new(records, results)
    }

    fn check_deletion(
        &self,
        seen: &mut BTreeSet<TopicId>,
        id: TopicId,
        record_count: usize,
    ) -> Result<(), ApiError> {
        if self.settings.delete_topics == DeleteTopics::Disabled {
            let message = "topics cannot be deleted: delete.topic.enable is false";
            return Err(ApiError::new(ErrorCode::TopicDeletionDisabled, message));
        }
        if !seen.insert(id) {
            let message = format!("the topic with id {id} is in the request more than once");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        if record_count >= RECORDS_PER_OPERATION_MAX {
            let message =
                format!("one request may delete at most {RECORDS_PER_OPERATION_MAX} topics");
            return Err(ApiError::new(ErrorCode::PolicyViolation, message));
        }
        Ok(())
    }
}

fn found(context: &Context<'_>, topic: &TopicToDelete) -> DeletedTopic {
    let topics = &context.image.topics;
    match topic {
        TopicToDelete::Name(name) => {
            let id = topics.id(name);
            let unknown = || {
                let message = format!("there is no topic '{name}'");
                ApiError::new(ErrorCode::UnknownTopicOrPartition, message)
            };
            let result = id.map(drop).ok_or_else(unknown);
            DeletedTopic { name: Some(name.clone()), id, result }
        }
        TopicToDelete::Id(id) => {
            let topic = topics.by_id(*id);
            let unknown = || {
                let message = format!("there is no topic with id {id}");
                ApiError::new(ErrorCode::UnknownTopicId, message)
            };
            let result = topic.map(drop).ok_or_else(unknown);
            DeletedTopic { name: topic.map(|topic| topic.name.clone()), id: Some(*id), result }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use klamm_model::Uuid;

    fn delete(world: &mut World, topics: &[TopicToDelete]) -> Vec<ErrorCode> {
        let results = world.run(|c, context| c.delete_topics(context, topics));
        results
            .into_iter()
            .map(|t| t.result.map_or_else(|e| e.code, |()| ErrorCode::None))
            .collect()
    }

    fn name(name: &str) -> TopicToDelete {
        TopicToDelete::Name(name.into())
    }

    #[test]
    fn a_topic_is_deleted_by_its_name_or_its_id() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        world.create("b", &[&[1]]);
        let id = TopicToDelete::Id(world.image().topics.id("b").unwrap());
        assert_eq!(delete(&mut world, &[name("a"), id]), [ErrorCode::None; 2]);
        assert!(world.image().topics.is_empty());
    }

    #[test]
    fn a_topic_that_is_not_there_is_an_error_of_its_own() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        let codes = delete(&mut world, &[name("b"), TopicToDelete::Id(Uuid(7)), name("a")]);
        let expected =
            [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId, ErrorCode::None];
        assert_eq!(codes, expected);
    }

    #[test]
    fn a_topic_named_twice_is_deleted_once() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        let id = TopicToDelete::Id(world.image().topics.id("a").unwrap());
        let codes = delete(&mut world, &[name("a"), id, name("a")]);
        let expected = [ErrorCode::None, ErrorCode::InvalidRequest, ErrorCode::InvalidRequest];
        assert_eq!(codes, expected);
        assert_eq!(world.written.len(), 1);
    }

    #[test]
    fn nothing_is_deleted_where_deletion_is_disabled() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        world.controller.settings.delete_topics = DeleteTopics::Disabled;
        assert_eq!(delete(&mut world, &[name("a")]), [ErrorCode::TopicDeletionDisabled]);
        assert_eq!(delete(&mut world, &[name("b")]), [ErrorCode::UnknownTopicOrPartition]);
        assert_eq!(world.image().topics.len(), 1);
    }
}
