//! The producer id without which no batch has a sequence number: asked for, and renewed after a
//! batch has failed (KIP-98, KIP-360).

use klamm_model::{ProducerEpoch, ProducerId};
use klamm_protocol::InitProducerIdRequest;

use super::accumulator::Identity;
use super::shared::Shared;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// Makes sure that there is a producer id; `false` if nothing may be sent now.
pub(super) async fn identify(shared: &Shared) -> bool {
    if shared.is_transactional() {
        return shared.identity.get().is_some();
    }
    if shared.identity_is_spent.get() {
        // Batches that are on their way still count on the old sequence numbers.
        if shared.accumulator.borrow().has_in_flight() {
            return false;
        }
        let uncertain = shared.accumulator.borrow_mut().start_over();
        for batch in uncertain {
            let lost = || ClientError::Invalid("the batch before this one failed".into());
            let error = batch.last_error.clone().unwrap_or_else(lost);
            shared.finish(&batch, Err(error));
        }
        shared.identity.set(shared.identity.get().and_then(next_identity));
        shared.identity_is_spent.set(false);
    }
    if shared.identity.get().is_some() {
        return true;
    }
    let mut retry = Retry::default();
    let error = loop {
        match init_producer_id(shared).await {
            Ok(identity) => {
                shared.identity.set(Some(identity));
                return true;
            }
            Err(error) if error.is_retriable() && retry.again().await => {}
            Err(error) => break error,
        }
    };
    let waiting = shared.accumulator.borrow().sendable();
    for partition in waiting {
        shared.fail_next(&partition, &error);
    }
    shared.wake.notify_one();
    false
}

/// The same producer in its next epoch (KIP-360); `None` after the last one.
fn next_identity((id, epoch): Identity) -> Option<Identity> {
    Some((id, ProducerEpoch(epoch.0.checked_add(1)?)))
}

async fn init_producer_id(shared: &Shared) -> Result<Identity> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let response = shared.client.call(&request).await?;
    if response.error_code != 0 {
        return Err(ClientError::refused(response.error_code, None, "asking for a producer id"));
    }
    Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
}
