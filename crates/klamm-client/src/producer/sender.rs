//! The producer's task: sends what may leave, and deals with the answers. Decides nothing that
//! the accumulator can decide.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use klamm_env::task;
use klamm_model::{Acks, NodeId, TopicId, TopicPartition};
use klamm_protocol::{ApiKey, ProduceResponse};

use super::Idempotence;
use super::batch::{Acknowledged, ReadyBatch};
use super::identify::identify;
use super::request::{PRODUCE_TIMEOUT_MS, answer_to, request};
use super::shared::Shared;
use super::verdict::{Standing, Verdict, is_certainly_not_stored, is_passing, verdict};
use crate::cluster::{AutoCreate, Purpose};
use crate::error::{ClientError, Result};

/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of batches in one request; a batch that is larger goes alone.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Sends until the producer is dropped.
pub(super) async fn run(shared: Rc<Shared>) {
    while !shared.is_closed.get() {
        let lingered = shared.accumulator.borrow_mut().close_lingered(shared.now());
        let next = lingered.unwrap_or_else(|error| {
            tracing::error!(%error, "a batch could not be built and is lost");
            None
        });
        send_all(&shared).await;
        match next {
            Some(due) => {
                let limit = due.since(shared.now());
                task::timeout(limit, shared.wake.notified()).await;
            }
            None => shared.wake.notified().await,
        }
    }
}

async fn send_all(shared: &Rc<Shared>) {
    if shared.is_aborting.get() {
        discard(shared);
    }
    if shared.accumulator.borrow().sendable().is_empty() {
        return;
    }
    if shared.options.idempotence == Idempotence::Enabled && !identify(shared).await {
        return;
    }
    loop {
        let sendable = shared.accumulator.borrow().sendable();
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, TopicId)>> = BTreeMap::new();
        for partition in sendable {
            match leader(shared, &partition).await {
                Ok((leader, topic_id)) if !shared.is_busy(leader) => {
                    by_leader.entry(leader).or_default().push((partition, topic_id));
                }
                Ok(_) => {}
                Err(error) => shared.fail_next(&partition, &error),
            }
        }
        if by_leader.is_empty() {
            return;
        }
        for (leader, partitions) in by_leader {
            let batches = take(shared, &partitions);
            send(shared, leader, batches, partitions).await;
        }
    }
}

async fn leader(shared: &Shared, partition: &TopicPartition) -> Result<(NodeId, TopicId)> {
    let topic = shared.client.topic(&partition.topic, AutoCreate::Never).await?;
    let leader = topic.leaders.get(&partition.partition).copied().flatten();
    let leader = leader.ok_or_else(|| {
        let (topic, partition) = (&partition.topic, partition.partition);
        ClientError::Invalid(format!("topic '{topic}' has no partition {partition}"))
    })?;
    Ok((leader, topic.topic_id))
}

/// One batch of each partition, as far as they fit into one request.
fn take(shared: &Shared, partitions: &[(TopicPartition, TopicId)]) -> Vec<ReadyBatch> {
    let mut batches: Vec<ReadyBatch> = Vec::new();
    let mut bytes = 0;
    for (partition, _) in partitions {
        if bytes >= REQUEST_BYTES_MAX {
            break;
        }
        let batch = shared.accumulator.borrow_mut().take(partition, shared.identity.get());
        if let Some(batch) = batch {
            bytes += batch.bytes.len();
            batches.push(batch);
        }
    }
    batches
}

async fn send(
    shared: &Rc<Shared>,
    leader: NodeId,
    batches: Vec<ReadyBatch>,
    ids: Vec<(TopicPartition, TopicId)>,
) {
    if batches.is_empty() {
        return;
    }
    let connection = match shared.client.broker(leader, Purpose::Data).await {
        Ok(connection) => connection,
        Err(error) => return start_again(shared, batches, error),
    };
    let version = match connection.version(ApiKey::Produce) {
        Ok(version) => version.min(shared.produce_version_max()),
        Err(error) => return finish_all(shared, &batches, &Err(error)),
    };
    let request = request(shared, &batches, &ids, version);
    if shared.options.acks == Acks::None {
        let sent = connection.send_only(&request, version).await;
        let result = sent.map(|()| Acknowledged { base_offset: None });
        return finish_all(shared, &batches, &result);
    }
    let pending = match connection.start(&request, version).await {
        Ok(pending) => pending,
        Err(error) => return start_again(shared, batches, error),
    };
    shared.on_sent(leader);
    let shared = Rc::clone(shared);
    task::spawn_local(async move {
        let limit = Duration::from_millis(PRODUCE_TIMEOUT_MS.unsigned_abs().into());
        let result = pending.within(limit * 2).answer().await;
        shared.on_answered(leader);
        match result {
            Ok(response) => on_answer(&shared, batches, &ids, &response).await,
            Err(error) => back(&shared, batches, error).await,
        }
        shared.wake.notify_one();
    });
}

fn start_again(shared: &Rc<Shared>, batches: Vec<ReadyBatch>, error: ClientError) {
    let shared = Rc::clone(shared);
    task::spawn_local(async move {
        back(&shared, batches, error).await;
        shared.wake.notify_one();
    });
}

fn finish_all(shared: &Shared, batches: &[ReadyBatch], result: &Result<Acknowledged>) {
    for batch in batches {
        shared.finish(batch, result.clone());
    }
}

async fn on_answer(
    shared: &Shared,
    batches: Vec<ReadyBatch>,
    ids: &[(TopicPartition, TopicId)],
    response: &ProduceResponse,
) {
    for batch in batches {
        let standing = Standing {
            is_next: shared.accumulator.borrow().is_next(&batch),
            is_transactional: shared.is_transactional(),
        };
        match verdict(answer_to(response, &batch, ids), &batch, standing) {
            Verdict::Done(result) => {
                shared.on_attempt(&result);
                shared.finish(&batch, result);
            }
            Verdict::Anew(error) => {
                shared.identity_is_spent.set(true);
                back(shared, vec![batch], error).await;
            }
            Verdict::Again(error) => back(shared, vec![batch], error).await,
        }
    }
}

/// Fails what is not on its way: its transaction cannot be committed.
fn discard(shared: &Shared) {
    let discarded = shared.accumulator.borrow_mut().discard();
    let discarded = discarded.unwrap_or_else(|error| {
        tracing::error!(%error, "a batch could not be built and is lost");
        Vec::new()
    });
    for batch in discarded {
        let aborted = || ClientError::Invalid("its transaction is aborted".into());
        let error = shared.failure().unwrap_or_else(aborted);
        shared.finish(&batch, Err(error));
    }
}

/// Sends batches again after a pause, unless that cannot help or it is too late.
async fn back(shared: &Shared, batches: Vec<ReadyBatch>, error: ClientError) {
    shared.on_attempt(&Err(error.clone()));
    let is_passing = is_passing(&error);
    if is_passing {
        tracing::debug!(%error, n_batches = batches.len(), "batches are sent again");
        task::sleep(RETRY_PAUSE).await;
    }
    for mut batch in batches {
        let is_late = shared.now().since(batch.created) >= shared.options.delivery_timeout;
        let is_over = shared.is_closed.get() || shared.is_aborting.get();
        if !is_passing || is_late || is_over {
            shared.finish(&batch, Err(error.clone()));
            continue;
        }
        shared.client.forget_topic(&batch.partition.topic);
        batch.may_be_stored |= !is_certainly_not_stored(&error);
        batch.last_error = Some(error.clone());
        shared.accumulator.borrow_mut().come_back(batch);
    }
}
