//! The producer's task: sends what may leave, and deals with the answers. Decides nothing that
//! the accumulator can decide.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use klamm_codec::RecordsField;
use klamm_env::{Moment, task};
use klamm_model::{Acks, ErrorCode, NodeId, PartitionIndex, ProducerEpoch, ProducerId};
use klamm_model::{TopicId, TopicPartition};
use klamm_protocol::{
    ApiKey, InitProducerIdRequest, ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use klamm_stdx::Str;
use tokio::sync::Notify;

use super::accumulator::{Accumulator, Identity, Rules};
use super::batch::{Acknowledged, Delivery, ReadyBatch, RecordParts};
use super::{Idempotence, ProducerOptions};
use crate::cluster::{AutoCreate, Client, Purpose};
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// How long the broker may wait for the other replicas.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;
/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of batches in one request; a batch that is larger goes alone.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// The first version of Produce that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// What the producer and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    client: Client,
    options: ProducerOptions,
    accumulator: RefCell<Accumulator>,
    identity: Cell<Option<Identity>>,
    /// A batch with a sequence number has failed: what follows it would be out of order.
    identity_is_spent: Cell<bool>,
    /// Requests on their way, by broker.
    in_flight: RefCell<HashMap<NodeId, usize>>,
    /// For the task: there is something to do.
    wake: Notify,
    /// For those who wait: batches have left.
    progress: Notify,
    is_closed: Cell<bool>,
    failure: RefCell<Option<ClientError>>,
    acknowledged_count: Cell<u64>,
}

impl Shared {
    pub(super) fn new(client: Client, options: ProducerOptions) -> Self {
        let in_flight_max = match options.idempotence {
            Idempotence::Enabled => options.in_flight_max,
            Idempotence::Disabled => 1,
        };
        let rules = Rules {
            compression: options.compression,
            batch_bytes_max: options.batch_bytes_max,
            linger: options.linger,
            in_flight_max,
        };
        Self {
            client,
            options,
            accumulator: RefCell::new(Accumulator::new(rules)),
            identity: Cell::new(None),
            identity_is_spent: Cell::new(false),
            in_flight: RefCell::default(),
            wake: Notify::new(),
            progress: Notify::new(),
            is_closed: Cell::new(false),
            failure: RefCell::default(),
            acknowledged_count: Cell::new(0),
        }
    }

    fn now(&self) -> Moment {
        self.client.env().clock.now()
    }

    /// How many partitions a topic has.
    pub(super) async fn partition_count(&self, topic: &Str) -> Result<usize> {
        Ok(self.client.topic(topic, self.options.create).await?.leaders.len())
    }

    /// Waits until so many bytes more are below the bound. A record that is larger than the bound
    /// goes alone.
    pub(super) async fn room_for(&self, bytes: usize) {
        loop {
            let progress = self.progress.notified();
            let buffered = self.accumulator.borrow().buffered_bytes;
            if buffered == 0 || buffered + bytes <= self.options.buffer_bytes_max {
                return;
            }
            self.wake.notify_one();
            progress.await;
        }
    }

    pub(super) fn append(
        &self,
        topic: &Str,
        partition: PartitionIndex,
        record: &RecordParts<'_>,
    ) -> Result<(Delivery, bool)> {
        let appended = self.accumulator.borrow_mut().append(self.now(), topic, partition, record);
        let (delivery, is_full) =
            appended.map_err(|error| ClientError::Invalid(error.to_string()))?;
        // A new batch needs its timer, a full one may leave.
        if is_full || delivery.index == 0 {
            self.wake.notify_one();
        }
        Ok((delivery, is_full))
    }

    pub(super) async fn flush(&self) -> Result<()> {
        loop {
            let progress = self.progress.notified();
            self.accumulator.borrow_mut().start_flush();
            if self.accumulator.borrow().batch_count == 0 {
                return self.failure.borrow_mut().take().map_or(Ok(()), Err);
            }
            self.wake.notify_one();
            progress.await;
        }
    }

    pub(super) fn acknowledged_count(&self) -> u64 {
        self.acknowledged_count.get()
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wake.notify_one();
    }

    fn finish(&self, batch: &ReadyBatch, result: Result<Acknowledged>) {
        self.accumulator.borrow_mut().finish(batch);
        match &result {
            Ok(_) => {
                let count = self.acknowledged_count.get() + batch.record_count as u64;
                self.acknowledged_count.set(count);
            }
            Err(error) => {
                self.identity_is_spent.set(self.identity_is_spent.get() | batch.producer.is_some());
                self.failure.borrow_mut().get_or_insert_with(|| error.clone());
            }
        }
        batch.fate.tell(result);
        self.progress.notify_waiters();
    }
}

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
                Ok((leader, topic_id)) if !is_busy(shared, leader) => {
                    by_leader.entry(leader).or_default().push((partition, topic_id));
                }
                Ok(_) => {}
                Err(error) => fail_next(shared, &partition, &error),
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

fn is_busy(shared: &Shared, leader: NodeId) -> bool {
    shared.in_flight.borrow().get(&leader).is_some_and(|n| *n >= shared.options.in_flight_max)
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

fn fail_next(shared: &Shared, partition: &TopicPartition, error: &ClientError) {
    let batch = shared.accumulator.borrow_mut().take(partition, None);
    if let Some(batch) = batch {
        shared.finish(&batch, Err(error.clone()));
    }
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

/// Makes sure that there is a producer id; `false` if nothing may be sent now.
async fn identify(shared: &Shared) -> bool {
    if shared.identity_is_spent.get() {
        // Batches that are on their way still count on the old sequence numbers.
        if shared.accumulator.borrow().has_in_flight() {
            return false;
        }
        let tried = shared.accumulator.borrow_mut().start_over();
        for batch in tried {
            let lost = || ClientError::Invalid("the batch before this one failed".into());
            let error = batch.last_error.clone().unwrap_or_else(lost);
            shared.finish(&batch, Err(error));
        }
        shared.identity.set(None);
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
        fail_next(shared, &partition, &error);
    }
    shared.wake.notify_one();
    false
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
        Ok(version) => version,
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
    *shared.in_flight.borrow_mut().entry(leader).or_default() += 1;
    let shared = Rc::clone(shared);
    task::spawn_local(async move {
        let limit = Duration::from_millis(PRODUCE_TIMEOUT_MS.unsigned_abs().into());
        let result = pending.within(limit * 2).answer().await;
        if let Some(n) = shared.in_flight.borrow_mut().get_mut(&leader) {
            *n -= 1;
        }
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

/// The request that carries the batches; their bytes are not copied until they are written.
fn request(
    shared: &Shared,
    batches: &[ReadyBatch],
    ids: &[(TopicPartition, TopicId)],
    version: i16,
) -> ProduceRequest {
    let mut topics: BTreeMap<Str, Vec<PartitionProduceData>> = BTreeMap::new();
    for batch in batches {
        topics.entry(batch.partition.topic.clone()).or_default().push(PartitionProduceData {
            index: batch.partition.partition,
            records: RecordsField::Bytes(batch.bytes.clone()),
        });
    }
    let topic = |(name, partition_data): (Str, _)| match version {
        TOPIC_IDS_FROM.. => TopicProduceData {
            topic_id: topic_id(ids, &name),
            partition_data,
            ..TopicProduceData::default()
        },
        _ => TopicProduceData { name, partition_data, ..TopicProduceData::default() },
    };
    ProduceRequest {
        transactional_id: None,
        acks: match shared.options.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        },
        timeout_ms: PRODUCE_TIMEOUT_MS,
        topic_data: topics.into_iter().map(topic).collect(),
    }
}

fn topic_id(ids: &[(TopicPartition, TopicId)], name: &Str) -> TopicId {
    let found = ids.iter().find(|(partition, _)| partition.topic == *name);
    found.map(|(_, id)| *id).unwrap_or_default()
}

async fn on_answer(
    shared: &Shared,
    batches: Vec<ReadyBatch>,
    ids: &[(TopicPartition, TopicId)],
    response: &ProduceResponse,
) {
    for batch in batches {
        let id = topic_id(ids, &batch.partition.topic);
        let answer = response
            .responses
            .iter()
            .filter(|topic| topic.name == batch.partition.topic || topic.topic_id == id)
            .flat_map(|topic| &topic.partition_responses)
            .find(|partition| partition.index == batch.partition.partition);
        match verdict(answer, &batch) {
            Verdict::Done(result) => shared.finish(&batch, result),
            Verdict::Again(error) => back(shared, vec![batch], error).await,
        }
    }
}

enum Verdict {
    Done(Result<Acknowledged>),
    Again(ClientError),
}

fn verdict(answer: Option<&PartitionProduceResponse>, batch: &ReadyBatch) -> Verdict {
    let Some(answer) = answer else {
        let text = format!("the broker's answer leaves {} out", batch.partition);
        return Verdict::Done(Err(ClientError::Invalid(text)));
    };
    let code = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
    let base_offset = (answer.base_offset >= 0).then_some(answer.base_offset);
    match code {
        ErrorCode::None => Verdict::Done(Ok(Acknowledged { base_offset })),
        // It is there already, from an attempt whose answer was lost.
        ErrorCode::DuplicateSequenceNumber => Verdict::Done(Ok(Acknowledged { base_offset })),
        _ => {
            let what = format!("producing to {}", batch.partition);
            let error =
                ClientError::refused(answer.error_code, answer.error_message.as_deref(), &what);
            // The batch before it was refused for a passing reason and will be sent first.
            let overtook = code == ErrorCode::OutOfOrderSequenceNumber && batch.producer.is_some();
            if code.is_retriable() || overtook {
                Verdict::Again(error)
            } else {
                Verdict::Done(Err(error))
            }
        }
    }
}

/// Sends batches again after a pause, unless that cannot help or it is too late.
async fn back(shared: &Shared, batches: Vec<ReadyBatch>, error: ClientError) {
    let is_passing =
        error.is_retriable() || error.code() == Some(ErrorCode::OutOfOrderSequenceNumber);
    if is_passing {
        tracing::debug!(%error, n_batches = batches.len(), "batches are sent again");
        task::sleep(RETRY_PAUSE).await;
    }
    for mut batch in batches {
        let is_late = shared.now().since(batch.created) >= shared.options.delivery_timeout;
        if !is_passing || is_late || shared.is_closed.get() {
            shared.finish(&batch, Err(error.clone()));
            continue;
        }
        shared.client.forget_topic(&batch.partition.topic);
        batch.last_error = Some(error.clone());
        shared.accumulator.borrow_mut().come_back(batch);
    }
}
