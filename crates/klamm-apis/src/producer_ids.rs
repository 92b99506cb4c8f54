//! Ids for idempotent producers, from blocks that the controller gives away.

use std::sync::Mutex;

use klamm_controller::ProducerIdBlock;
use klamm_model::{ErrorCode, ProducerId};

use crate::Context;

/// The block in use.
#[derive(Debug, Default)]
pub struct ProducerIds(Mutex<Option<ProducerIdBlock>>);

impl ProducerIds {
    fn next(&self) -> Option<ProducerId> {
        let mut block = self.0.lock().expect("no holder of this lock can panic");
        let current = block.as_mut().filter(|block| block.len > 0)?;
        let id = current.first;
        current.first = ProducerId(id.0 + 1);
        current.len -= 1;
        Some(id)
    }

    /// A fresh id.
    ///
    /// # Errors
    /// The controller gives none.
    pub(crate) async fn allocate(&self, ctx: &Context) -> Result<ProducerId, ErrorCode> {
        loop {
            if let Some(id) = self.next() {
                return Ok(id);
            }
            let broker =
                ctx.metadata.image().cluster.broker(ctx.node_id).map(|broker| broker.epoch);
            let epoch = broker.ok_or(ErrorCode::CoordinatorLoadInProgress)?;
            let answer = ctx.controller.allocate_producer_ids(ctx.node_id, epoch).await;
            let fresh = answer.and_then(|block| block).map_err(|error| error.code)?;
            // Two workers may ask at once: the second block goes unused, which costs a thousand
            // of 2^63 ids.
            *self.0.lock().expect("no holder of this lock can panic") = Some(fresh);
        }
    }
}
