//! More partitions for a topic. Never fewer: records would be lost.

use std::collections::BTreeMap;

use klamm_metadata::{TopicImage, VersionedRecord};
use klamm_model::{ErrorCode, NodeId, PartitionIndex};
use klamm_stdx::Str;

use crate::create_topics::PARTITIONS_PER_REQUEST_MAX;
use crate::layout::check_assignment;
use crate::new_partition::new_partition;
use crate::placement::Placement;
use crate::{ApiError, Context, Controller, ControllerResult, Mode};

/// More partitions for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic.
    pub topic: Str,
    /// How many partitions it shall have in all.
    pub partition_count: i32,
    /// The replicas of each new partition; `None` leaves them to the controller.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// What became of each topic, in the order of the request.
pub type GrownTopics = Vec<(Str, Result<(), ApiError>)>;

impl Controller {
    /// Adds partitions to topics; each topic succeeds or fails on its own.
    pub fn create_partitions(
        &self,
        context: &Context<'_>,
        requests: &[MorePartitions],
        mode: Mode,
    ) -> ControllerResult<GrownTopics> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for request in requests {
            *names.entry(request.topic.as_str()).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut results = GrownTopics::with_capacity(names.len());
        for request in requests {
            let result = match names.get_mut(request.topic.as_str()) {
                // Answered already.
                Some(0) => continue,
                Some(1) => grow(context, request, records.len()),
                count => {
                    count.into_iter().for_each(|count| *count = 0);
                    let message =
                        format!("topic '{}' is in the request more than once", request.topic);
                    Err(ApiError::new(ErrorCode::InvalidRequest, message))
                }
            };
            let result = result.map(|mut partitions| records.append(&mut partitions));
            results.push((request.topic.clone(), result));
        }
        mode.result(records, results)
    }
}

fn grow(
    context: &Context<'_>,
    request: &MorePartitions,
    record_count: usize,
) -> Result<Vec<VersionedRecord>, ApiError> {
    let name = &request.topic;
    let Some(topic) = context.image.topics.by_name(name) else {
        let message = format!("there is no topic '{name}'");
        return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message));
    };
    let additional = additional_partitions(topic, request.partition_count)?;
    if record_count + additional > PARTITIONS_PER_REQUEST_MAX {
        let message =
            format!("one request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    let replicas = replicas_of_new(context, topic, request, additional)?;
    let first = topic.partitions.len() as PartitionIndex;
    let indexes = first..;
    indexes
        .zip(&replicas)
        .map(|(index, replicas)| new_partition(context, topic.id, index, replicas))
        .collect()
}

fn additional_partitions(topic: &TopicImage, wanted: i32) -> Result<usize, ApiError> {
    let has = topic.partitions.len();
    match usize::try_from(wanted).ok().and_then(|wanted| wanted.checked_sub(has)) {
        Some(additional) if additional > 0 => Ok(additional),
        Some(_) => Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            format!("topic '{}' has {has} partition(s) already", topic.name),
        )),
        None => Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            format!("topic '{}' has {has} partition(s): {wanted} would not be more", topic.name),
        )),
    }
}

fn replicas_of_new(
    context: &Context<'_>,
    topic: &TopicImage,
    request: &MorePartitions,
    additional: usize,
) -> Result<Vec<Vec<NodeId>>, ApiError> {
    let factor = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
    let Some(assignments) = &request.assignments else {
        let mut placement = Placement::new(&context.image.cluster, context.random.bits());
        return (0..additional).map(|_| placement.place(factor)).collect();
    };
    if assignments.len() != additional {
        let message = format!(
            "{additional} partition(s) are to be added, but {} are assigned",
            assignments.len()
        );
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    for replicas in assignments {
        check_assignment(context, replicas, factor)?;
    }
    Ok(assignments.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn more(topic: &str, partition_count: i32) -> MorePartitions {
        MorePartitions { topic: topic.into(), partition_count, assignments: None }
    }

    fn assigned(topic: &str, partition_count: i32, replicas: &[&[i32]]) -> MorePartitions {
        let nodes = |ids: &&[i32]| ids.iter().copied().map(NodeId).collect();
        let assignments = Some(replicas.iter().map(nodes).collect());
        MorePartitions { topic: topic.into(), partition_count, assignments }
    }

    fn grow_as(world: &mut World, requests: &[MorePartitions], mode: Mode) -> Vec<ErrorCode> {
        let results = world.run(|c, context| c.create_partitions(context, requests, mode));
        let code =
            |result: Result<(), ApiError>| result.map_or_else(|e| e.code, |()| ErrorCode::None);
        results.into_iter().map(|(_, result)| code(result)).collect()
    }

    fn world() -> World {
        let mut world = World::with_brokers(3);
        world.create("a", &[&[1, 2]]);
        world
    }

    #[test]
    fn new_partitions_have_as_many_replicas_as_the_first() {
        let mut world = world();
        assert_eq!(grow_as(&mut world, &[more("a", 4)], Mode::Apply), [ErrorCode::None]);
        let topic = world.image().topics.by_name("a").unwrap();
        assert_eq!(topic.partitions.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(topic.partitions.values().all(|p| p.replicas.len() == 2 && p.leader.is_some()));
    }

    #[test]
    fn new_partitions_go_where_they_are_assigned() {
        let mut world = world();
        let request = assigned("a", 3, &[&[3, 1], &[2, 3]]);
        assert_eq!(grow_as(&mut world, &[request], Mode::Apply), [ErrorCode::None]);
        let partition = world.image().topics.partition("a", 2).unwrap();
        assert_eq!(partition.replicas, [NodeId(2), NodeId(3)]);
    }

    #[test]
    fn a_count_that_is_not_larger_is_refused() {
        let mut world = world();
        for count in [1, 0, -1, i32::MIN] {
            let codes = grow_as(&mut world, &[more("a", count)], Mode::Apply);
            assert_eq!(codes, [ErrorCode::InvalidPartitions], "{count}");
        }
    }

    #[test]
    fn unknown_topics_wrong_assignments_and_repeated_names_are_refused() {
        let mut world = world();
        let cases = [
            (vec![more("b", 3)], ErrorCode::UnknownTopicOrPartition),
            (vec![assigned("a", 3, &[&[1, 2]])], ErrorCode::InvalidReplicaAssignment),
            (vec![assigned("a", 2, &[&[1]])], ErrorCode::InvalidReplicaAssignment),
            (vec![assigned("a", 2, &[&[1, 1]])], ErrorCode::InvalidReplicaAssignment),
            (vec![assigned("a", 2, &[&[1, 9]])], ErrorCode::InvalidReplicaAssignment),
            (vec![assigned("a", 2, &[&[]])], ErrorCode::InvalidReplicaAssignment),
            (vec![more("a", 2), more("a", 3)], ErrorCode::InvalidRequest),
            (vec![more("a", i32::MAX)], ErrorCode::PolicyViolation),
        ];
        for (requests, code) in cases {
            assert_eq!(grow_as(&mut world, &requests, Mode::Apply), [code], "{requests:?}");
        }
        assert_eq!(world.image().topics.by_name("a").unwrap().partitions.len(), 1);
    }

    #[test]
    fn a_request_that_is_only_tried_changes_nothing() {
        let mut world = world();
        assert_eq!(grow_as(&mut world, &[more("a", 2)], Mode::ValidateOnly), [ErrorCode::None]);
        assert_eq!(world.image().topics.by_name("a").unwrap().partitions.len(), 1);
    }
}
