//! Blocks of producer ids for brokers. Never gives an id twice: the block is committed before
//! the broker hears of it.

use klamm_model::{BrokerEpoch, ErrorCode, NodeId, ProducerId};
use klamm_persisted::metadata::ProducerIdsRecord;

use crate::{ApiError, Context, Controller, ControllerResult};

/// Ids in a block (Kafka: `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK_LEN: i64 = 1_000;

/// Producer ids for one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub len: i64,
}

impl Controller {
    /// Gives a broker a block of producer ids.
    pub fn allocate_producer_ids(
        &self,
        context: &Context<'_>,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> ControllerResult<Result<ProducerIdBlock, ApiError>> {
        if let Err(error) = check_broker_epoch(context, broker, epoch) {
            return ControllerResult::unchanged(Err(error));
        }
        let first = context.image.next_producer_id.unwrap_or(ProducerId(0));
        let Some(next) = first.0.checked_add(PRODUCER_ID_BLOCK_LEN) else {
            let message = format!("producer ids are used up at {first}");
            return ControllerResult::unchanged(Err(ApiError::new(
                ErrorCode::UnknownServerError,
                message,
            )));
        };
        let record = context.record(ProducerIdsRecord {
            broker_id: broker.0,
            broker_epoch: epoch.0,
            next_producer_id: next,
        });
        let block = ProducerIdBlock { first, len: PRODUCER_ID_BLOCK_LEN };
        ControllerResult::new(vec![record], Ok(block))
    }
}

/// Checks that a request comes from the life of the broker that is registered.
///
/// # Errors
/// The broker is unknown or in another life.
pub(crate) fn check_broker_epoch(
    context: &Context<'_>,
    id: NodeId,
    epoch: BrokerEpoch,
) -> Result<(), ApiError> {
    let Some(broker) = context.image.cluster.broker(id) else {
        let message = format!("broker {id} is not registered");
        return Err(ApiError::new(ErrorCode::StaleBrokerEpoch, message));
    };
    if broker.epoch != epoch {
        let message =
            format!("broker {id} is registered with epoch {}, not with {epoch}", broker.epoch);
        return Err(ApiError::new(ErrorCode::StaleBrokerEpoch, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use klamm_metadata::MetadataImage;

    #[test]
    fn blocks_follow_one_another() {
        let mut world = World::with_brokers(1);
        for first in [0, 1000, 2000] {
            let (id, epoch) = world.broker(1);
            let block = world.run(|c, context| c.allocate_producer_ids(context, id, epoch));
            assert_eq!(block, Ok(ProducerIdBlock { first: ProducerId(first), len: 1000 }));
        }
        assert_eq!(world.image().next_producer_id, Some(ProducerId(3000)));
    }

    #[test]
    fn a_broker_that_is_unknown_or_in_another_life_gets_none() {
        let mut world = World::with_brokers(1);
        let (id, epoch) = world.broker(1);
        for (id, epoch) in [(NodeId(2), epoch), (id, BrokerEpoch(epoch.0 + 1))] {
            let block = world.run(|c, context| c.allocate_producer_ids(context, id, epoch));
            assert_eq!(block.unwrap_err().code, ErrorCode::StaleBrokerEpoch);
        }
    }

    #[test]
    fn the_last_block_is_never_exceeded() {
        let mut world = World::with_brokers(1);
        let (id, epoch) = world.broker(1);
        let image = MetadataImage {
            next_producer_id: Some(ProducerId(i64::MAX - 999)),
            ..world.image().clone()
        };
        world.replace(&image);
        let block = world.run(|c, context| c.allocate_producer_ids(context, id, epoch));
        assert_eq!(block.unwrap_err().code, ErrorCode::UnknownServerError);
    }
}
