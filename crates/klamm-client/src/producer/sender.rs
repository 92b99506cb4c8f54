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
    transactional_id: Option<Str>,
    accumulator: RefCell<Accumulator>,
    identity: Cell<Option<Identity>>,
    /// A batch with a sequence number has failed: what follows it would be out of order.
    identity_is_spent: Cell<bool>,
    /// The transaction cannot be committed: nothing of it is sent any more.
    is_aborting: Cell<bool>,
    /// The coordinator may have heard of the transaction by a batch.
    has_written: Cell<bool>,
    /// The newest version of Produce that the transaction's protocol allows.
    produce_version_max: Cell<i16>,
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
    pub(super) fn new(
        client: Client,
        options: ProducerOptions,
        transactional_id: Option<Str>,
    ) -> Self {
        let in_flight_max = match options.idempotence {
            Idempotence::Enabled => options.in_flight_max,
            Idempotence::Disabled => 1,
        };
        let rules = Rules {
            compression: options.compression,
            batch_bytes_max: options.batch_bytes_max,
            linger: options.linger,
            is_transactional: transactional_id.is_some(),
            in_flight_max,
        };
        Self {
            client,
            options,
            transactional_id,
            accumulator: RefCell::new(Accumulator::new(rules)),
            identity: Cell::new(None),
            identity_is_spent: Cell::new(false),
            is_aborting: Cell::new(false),
            has_written: Cell::new(false),
            produce_version_max: Cell::new(i16::MAX),
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

    /// What the producer is from now on. Nothing may be on its way.
    pub(super) fn start_as(&self, identity: Identity) {
        let nothing = self.accumulator.borrow_mut().start_over();
        assert!(nothing.is_empty(), "a transaction has ended with all of its batches");
        self.identity.set(Some(identity));
        self.identity_is_spent.set(false);
    }

    /// The producer id and epoch, once there are any.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.get()
    }

    /// Whether a batch has failed since the identity was given: what follows it would be out of
    /// order.
    pub(super) fn is_spent(&self) -> bool {
        self.identity_is_spent.get()
    }

    /// A transaction begins, in which this is the newest version of Produce.
    pub(super) fn begin(&self, produce_version_max: i16) {
        self.produce_version_max.set(produce_version_max);
        self.is_aborting.set(false);
        self.has_written.set(false);
        self.failure.borrow_mut().take();
    }

    /// Whether a batch of the transaction may have brought its partition into it.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.get()
    }

    fn on_attempt(&self, result: &Result<Acknowledged>) {
        let may_be = result.as_ref().err().is_none_or(may_be_in_transaction);
        self.has_written.set(self.has_written.get() | may_be);
    }

    /// Drops what is not on its way, and waits for what is.
    pub(super) async fn give_up(&self) {
        self.is_aborting.set(true);
        // It fails because it was told to.
        drop(self.flush().await);
    }

    /// The first failure since the last flush.
    pub(super) fn failure(&self) -> Option<ClientError> {
        self.failure.borrow().clone()
    }

    fn is_transactional(&self) -> bool {
        self.transactional_id.is_some()
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wake.notify_one();
    }

    fn finish(&self, batch: &ReadyBatch, result: Result<Acknowledged>) {
        match &result {
            Ok(_) => {
                self.accumulator.borrow_mut().acknowledge(batch);
                let count = self.acknowledged_count.get() + batch.record_count as u64;
                self.acknowledged_count.set(count);
            }
            Err(error) => {
                self.accumulator.borrow_mut().finish(batch);
                self.identity_is_spent.set(self.identity_is_spent.get() | batch.producer.is_some());
                self.is_aborting.set(self.is_aborting.get() | self.is_transactional());
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
        fail_next(shared, &partition, &error);
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
        Ok(version) => version.min(shared.produce_version_max.get()),
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
        transactional_id: shared.transactional_id.clone(),
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
        let standing = Standing {
            is_next: shared.accumulator.borrow().is_next(&batch),
            is_transactional: shared.is_transactional(),
        };
        match verdict(answer, &batch, standing) {
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

/// A batch among the others.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Every batch before it is acknowledged.
    is_next: bool,
    is_transactional: bool,
}

enum Verdict {
    Done(Result<Acknowledged>),
    /// It is sent again as it is.
    Again(ClientError),
    /// The broker has forgotten the producer: it begins anew in its next epoch (KIP-360).
    Anew(ClientError),
}

fn verdict(
    answer: Option<&PartitionProduceResponse>,
    batch: &ReadyBatch,
    standing: Standing,
) -> Verdict {
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
            let is_forgotten =
                code == ErrorCode::UnknownProducerId || (overtook && standing.is_next);
            match is_forgotten {
                // A transaction does not begin anew by itself.
                true if standing.is_transactional => Verdict::Done(Err(error)),
                true => Verdict::Anew(error),
                false if code.is_retriable() || overtook => Verdict::Again(error),
                false => Verdict::Done(Err(error)),
            }
        }
    }
}

/// Whether the batch that an attempt has failed with this error for cannot be in the log. A leader
/// that was replaced while it waited for replicas may have left it there.
fn is_certainly_not_stored(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::CorruptMessage
                | ErrorCode::ConcurrentTransactions
        ),
        None => error.is_certain(),
    }
}

/// Whether a write that failed so may have brought its partition into its transaction.
pub(super) fn may_be_in_transaction(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => code != ErrorCode::ConcurrentTransactions,
        None => !error.is_certain(),
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
    let is_passing = error.is_retriable()
        || matches!(
            error.code(),
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId)
        );
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
