//! Requests on their way through the broker. What the APIs do with one (klamm-apis: produce,
//! txn_offset_commit, end_txn) is done here the same.

use klamm_coordinator::{PartitionLog, Time, TransactionalProducer};
use klamm_group_coordinator::{
    MemberEpochs, OffsetCommit, OffsetToCommit, Request as GroupRequest, Response as GroupResponse,
    TransactionalCommit,
};
use klamm_model::{ErrorCode, GenerationId, Offset, ProducerId, TopicPartition, Verification};
use klamm_records::Producer;
use klamm_stdx::Str;
use klamm_transaction_coordinator::{ProducerIdAndEpoch, Protocol, Request, Response};
use tokio::sync::oneshot::{self, Receiver};

use super::broker::{Broker, GROUP, GROUP_TOPIC, transactional_id};
use super::client::{Answer, Call, Message};

/// What a coordinator writes has no sequence number.
const NO_SEQUENCE: i32 = -1;

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

fn refuse(code: ErrorCode) -> Answer {
    Answer { code, next: None }
}

impl Broker {
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
