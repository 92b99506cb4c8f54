//! The broker's side: shards over their logs, and requests on their way through them. What the
//! APIs do with a request (klamm-apis: produce, txn_offset_commit, end_txn) is done here the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use klamm_coordinator::{Loaded, PartitionLog, Time, TransactionalProducer};
use klamm_group_coordinator::{
    FoundOffset, GroupShard, Limits as GroupLimits, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetLimits, OffsetToCommit, Request as GroupRequest, Response as GroupResponse, Stability,
    TransactionalCommit,
};
use klamm_model::{ErrorCode, GenerationId, Offset, ProducerId, TopicPartition, Verification};
use klamm_records::Producer;
use klamm_stdx::Str;
use klamm_transaction_coordinator::{
    Limits, MarkersToWrite, ProducerIdAndEpoch, Protocol, Record, Request, Response,
    TransactionShard,
};
use tokio::sync::oneshot::{self, Receiver};

use super::client::{Answer, Call, Message};
use super::options::Options;
use crate::coordinators::coordinator::{Coordinator, no_effects};
use crate::coordinators::ensure;
use crate::coordinators::partition::SimPartition;

/// How often the coordinator looks for transactions that are open for too long.
pub(super) const ABORT_INTERVAL_MS: u64 = 100;
/// The group that all commit to.
const GROUP: &str = "g";
/// What a coordinator writes has no sequence number.
const NO_SEQUENCE: i32 = -1;
/// The group's partition, as transactions name it.
pub(super) const GROUP_TOPIC: &str = "__consumer_offsets";

/// A request that is being served.
pub(super) struct Task {
    pub(super) message: Message,
    stage: Stage,
}

enum Stage {
    /// The transaction coordinator answers, and that is the answer.
    Coordinator(Receiver<Response>),
    /// The coordinator confirms a first write.
    Admission(Receiver<Response>, Verification),
    /// Appended to this partition, to be committed.
    Appended(usize, Offset),
    /// The group coordinator answers.
    Group(Receiver<GroupResponse>),
    Done(Answer),
}

/// The shards and the partitions.
pub(super) struct Broker {
    transactions: Coordinator<TransactionShard>,
    groups: Coordinator<GroupShard>,
    pub(super) transaction_log: SimPartition,
    pub(super) group_log: SimPartition,
    pub(super) partitions: Vec<SimPartition>,
    pub(super) tasks: Vec<Task>,
    markers: ToWrite,
    last_producer_id: i64,
    timeout_ms: u64,
}

fn refuse(code: ErrorCode) -> Answer {
    Answer { code, next: None }
}

pub(super) fn transactional_id(index: usize) -> Str {
    Str::from(format!("t{index}"))
}

impl Broker {
    pub(super) fn start(time: Time, options: &Options) -> Self {
        let markers = ToWrite::default();
        let (transaction_log, group_log) = (SimPartition::default(), SimPartition::default());
        Self {
            transactions: transactions(&transaction_log, &markers, time),
            groups: groups(&group_log, time),
            transaction_log,
            group_log,
            partitions: (0..options.partitions).map(|_| SimPartition::default()).collect(),
            tasks: Vec::new(),
            markers,
            last_producer_id: 0,
            timeout_ms: options.timeout_ms,
        }
    }

    /// Another takes the transaction coordinator over; requests of the one before have no answer.
    pub(super) fn fail_over(&mut self, time: Time) {
        self.markers = Arc::default();
        self.transactions = transactions(&self.transaction_log, &self.markers, time);
    }

    /// It stops and starts, with what its logs kept.
    pub(super) fn restart(&mut self, time: Time) {
        self.tasks.clear();
        self.fail_over(time);
        self.groups = groups(&self.group_log, time);
    }

    /// Commits and timers.
    pub(super) fn turn(&mut self, time: Time) {
        self.transactions.turn(time);
        self.groups.turn(time);
    }

    pub(super) fn take_markers(&mut self) -> Vec<MarkersToWrite> {
        std::mem::take(&mut self.markers.lock().expect("one thread"))
    }

    /// Every log.
    pub(super) fn logs(&self) -> impl Iterator<Item = &SimPartition> {
        [&self.transaction_log, &self.group_log].into_iter().chain(&self.partitions)
    }

    /// What the coordinator knows of each transactional id is what its log says.
    pub(super) fn is_as_written(&self) -> Result<(), String> {
        let mut written = BTreeMap::new();
        for loaded in self.transaction_log.all() {
            if let Loaded::Record((key, value)) = loaded {
                written.insert(key, value);
            }
        }
        written.retain(|_, value| value.is_some());
        let shard = self.transactions.shard();
        let known = shard.transactions().map(|(id, known)| {
            Record::to_key_value(id, Some(known)).expect("it was written before")
        });
        let known: BTreeMap<_, _> = known.collect();
        ensure(known == written, || {
            let ids: Vec<_> = shard.transactions().collect();
            format!("the coordinator knows {ids:?}, and its log says something else")
        })
    }

    /// Whether no transaction is open or ending.
    pub(super) fn is_quiet(&self) -> Result<(), String> {
        let shard = self.transactions.shard();
        if let Some((id, known)) = shard.transactions().find(|(_, known)| !known.state.is_idle()) {
            return Err(format!("{id} hangs in {:?}", known.state));
        }
        for (index, partition) in self.partitions.iter().chain([&self.group_log]).enumerate() {
            if let Some((id, entry)) = partition.open_transaction() {
                return Err(format!("producer {id} hangs in partition {index}: {entry:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, time: Time, request: Request) -> Receiver<Response> {
        self.transactions.ask(time, request)
    }

    pub(super) fn ask_group(
        &mut self,
        time: Time,
        request: GroupRequest,
    ) -> Receiver<GroupResponse> {
        self.groups.ask(time, request)
    }

    /// Asks for the committed offset of a transactional id's partition.
    pub(super) fn fetch_offset(&mut self, time: Time, index: usize) -> Receiver<GroupResponse> {
        let asked = vec![(Str::from("in"), vec![index as i32])];
        let group = Str::from(GROUP);
        let fetch = OffsetFetch { asked: Some(asked), stability: Stability::Any, member: None };
        self.ask_group(time, GroupRequest::FetchOffsets(group, fetch))
    }

    /// A request arrives.
    pub(super) fn serve(&mut self, time: Time, message: Message) {
        let stage = self.first_stage(time, message);
        self.tasks.push(Task { message, stage });
    }

    fn first_stage(&mut self, time: Time, message: Message) -> Stage {
        let id = transactional_id(message.transactional);
        let producer = message.producer;
        match message.call {
            Call::Init(_) | Call::End(_) => {
                let request = self.whole_request(message, None);
                Stage::Coordinator(self.ask(time, request))
            }
            Call::Add(place) => {
                let request = Request::AddPartitions {
                    transactional_id: id,
                    producer: producer.expect("it was given one"),
                    partitions: vec![named(place)],
                    protocol: message.protocol,
                };
                Stage::Coordinator(self.ask(time, request))
            }
            Call::Produce { partition, sequence, .. } => {
                let writer = writer(message, sequence);
                match self.partitions[partition].begin_verification(writer, time.wall) {
                    None => self.append(time, message, None),
                    Some(proof) => self.admit(time, message, (Some(partition), proof)),
                }
            }
            Call::Commit(_) => {
                let writer = writer(message, NO_SEQUENCE);
                match self.group_log.begin_verification(writer, time.wall) {
                    None => self.commit(time, message, None),
                    Some(proof) => self.admit(time, message, (None, proof)),
                }
            }
        }
    }

    /// InitProducerId or EndTxn.
    fn whole_request(&self, message: Message, fresh: Option<ProducerId>) -> Request {
        let transactional_id = transactional_id(message.transactional);
        match message.call {
            Call::End(outcome) => Request::End {
                transactional_id,
                producer: message.producer.expect("it was given one"),
                outcome,
                protocol: message.protocol,
                fresh,
            },
            Call::Init(expected) => Request::Init {
                transactional_id,
                timeout_ms: self.timeout_ms as i32,
                expected,
                fresh,
            },
            call => unreachable!("{call:?} needs no producer id"),
        }
    }

    fn admit(
        &mut self,
        time: Time,
        message: Message,
        (place, proof): (Option<usize>, Verification),
    ) -> Stage {
        let transactional_id = transactional_id(message.transactional);
        let producer = message.producer.expect("it was given one");
        let partitions = vec![named(place)];
        let request = match message.protocol {
            Protocol::V1 => Request::Verify { transactional_id, producer, partitions },
            protocol @ Protocol::V2 => {
                Request::AddPartitions { transactional_id, producer, partitions, protocol }
            }
        };
        Stage::Admission(self.ask(time, request), proof)
    }

    fn append(&mut self, time: Time, message: Message, proof: Option<Verification>) -> Stage {
        let Call::Produce { partition, sequence, value } = message.call else {
            return Stage::Done(refuse(ErrorCode::UnknownServerError));
        };
        let record = (writer(message, sequence), value);
        match self.partitions[partition].append_value(record, proof, time.wall) {
            Ok(end) => Stage::Appended(partition, end),
            Err(code) => Stage::Done(refuse(code)),
        }
    }

    fn commit(&mut self, time: Time, message: Message, proof: Option<Verification>) -> Stage {
        let Call::Commit(n) = message.call else {
            return Stage::Done(refuse(ErrorCode::UnknownServerError));
        };
        let producer = message.producer.expect("it was given one");
        let line = OffsetToCommit {
            topic: Str::from("in"),
            topic_id: None,
            partition: message.transactional as i32,
            offset: Offset(n),
            leader_epoch: None,
            metadata: Str::new(),
        };
        let commit = TransactionalCommit {
            producer: TransactionalProducer { id: producer.id, epoch: producer.epoch },
            verification: proof,
            commit: OffsetCommit {
                member_id: Str::new(),
                instance_id: None,
                generation_id: GenerationId(-1),
                epochs: MemberEpochs::Known,
                retention_ms: None,
                offsets: vec![line],
            },
        };
        let request = GroupRequest::CommitInTransaction(Str::from(GROUP), commit);
        Stage::Group(self.ask_group(time, request))
    }

    /// Takes every request further, and gives the answers.
    pub(super) fn advance(&mut self, time: Time) -> Vec<(Message, Answer)> {
        let mut answers = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            let Task { message, mut stage } = task;
            loop {
                match self.step(time, message, stage) {
                    (next, true) => stage = next,
                    (Stage::Done(answer), false) => {
                        answers.push((message, answer));
                        break;
                    }
                    (waiting, false) => {
                        self.tasks.push(Task { message, stage: waiting });
                        break;
                    }
                }
            }
        }
        answers
    }

    /// The next stage, and whether it is another.
    fn step(&mut self, time: Time, message: Message, stage: Stage) -> (Stage, bool) {
        match stage {
            Stage::Done(answer) => (Stage::Done(answer), false),
            Stage::Appended(partition, end) => {
                let is_committed = self.partitions[partition].high_watermark() >= end;
                match is_committed {
                    true => (Stage::Done(refuse(ErrorCode::None)), false),
                    false => (Stage::Appended(partition, end), false),
                }
            }
            Stage::Coordinator(mut answer) => match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => (Stage::Coordinator(answer), false),
                Err(oneshot::error::TryRecvError::Closed) => {
                    (Stage::Done(refuse(ErrorCode::NotCoordinator)), false)
                }
                Ok(Response::NeedsProducerId) => {
                    self.last_producer_id += 1;
                    let fresh = Some(ProducerId(self.last_producer_id));
                    let request = self.whole_request(message, fresh);
                    (Stage::Coordinator(self.ask(time, request)), true)
                }
                Ok(response) => (Stage::Done(answer_of(&response)), false),
            },
            Stage::Admission(mut answer, proof) => match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {
                    (Stage::Admission(answer, proof), false)
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    (Stage::Done(refuse(ErrorCode::NotCoordinator)), false)
                }
                Ok(response) => match (answer_of(&response), message.call) {
                    (Answer { code: ErrorCode::None, .. }, Call::Commit(_)) => {
                        (self.commit(time, message, Some(proof)), true)
                    }
                    (Answer { code: ErrorCode::None, .. }, _) => {
                        (self.append(time, message, Some(proof)), true)
                    }
                    (refused, _) => (Stage::Done(refused), false),
                },
            },
            Stage::Group(mut answer) => match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => (Stage::Group(answer), false),
                Ok(GroupResponse::CommitOffsets(lines)) => {
                    let code = lines.first().map_or(ErrorCode::UnknownServerError, |l| l.error);
                    (Stage::Done(refuse(code)), false)
                }
                Ok(GroupResponse::Unavailable(code)) => (Stage::Done(refuse(code)), false),
                Ok(_) | Err(_) => (Stage::Done(refuse(ErrorCode::NotCoordinator)), false),
            },
        }
    }
}

/// The committed offset in an answer, if it says one.
pub(super) fn offset_in(response: &GroupResponse) -> Option<i64> {
    let GroupResponse::FetchOffsets(Ok(found)) = response else { return None };
    match &found.topics.first()?.1.first()?.1 {
        FoundOffset::Committed(offset) => Some(offset.offset.0),
        FoundOffset::None | FoundOffset::Unstable => None,
    }
}

type ToWrite = Arc<Mutex<Vec<MarkersToWrite>>>;

fn transactions(
    log: &SimPartition,
    markers: &ToWrite,
    time: Time,
) -> Coordinator<TransactionShard> {
    let shard = TransactionShard::new(Limits {
        timeout_ms_max: 900_000,
        expiration_ms: 604_800_000,
        abort_interval_ms: ABORT_INTERVAL_MS,
        remove_interval_ms: 3_600_000,
        wait_ms: 20,
        ids_max: 100,
    });
    let markers = Arc::clone(markers);
    let effects = Arc::new(move |marker| markers.lock().expect("one thread").push(marker));
    Coordinator::load(shard, (log, None), effects, time)
}

fn groups(log: &SimPartition, time: Time) -> Coordinator<GroupShard> {
    let shard = GroupShard::new(GroupLimits::default(), OffsetLimits::default());
    Coordinator::load(shard, (log, None), no_effects(), time)
}

fn writer(message: Message, base_sequence: i32) -> Producer {
    let ProducerIdAndEpoch { id, epoch } = message.producer.expect("it was given one");
    Producer { id, epoch, base_sequence }
}

/// A partition as the coordinator knows it.
fn named(place: Option<usize>) -> TopicPartition {
    match place {
        Some(partition) => TopicPartition::new(Str::from("out"), partition as i32),
        None => TopicPartition::new(Str::from(GROUP_TOPIC), 0),
    }
}

fn answer_of(response: &Response) -> Answer {
    match response {
        Response::Init(Ok(next)) | Response::Ended(Ok(next)) => {
            Answer { code: ErrorCode::None, next: Some(*next) }
        }
        Response::Init(Err(code))
        | Response::Ended(Err(code))
        | Response::Added(code)
        | Response::Unavailable(code) => refuse(*code),
        Response::Verified(lines) => {
            refuse(lines.first().map_or(ErrorCode::UnknownServerError, |(_, code)| *code))
        }
        _ => refuse(ErrorCode::UnknownServerError),
    }
}
