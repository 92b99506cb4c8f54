//! Markers on their way into partitions, each when the seed says (klamm-apis: markers).

use klamm_coordinator::{PartitionLog, Time, TransactionEnd, TransactionalProducer};
use klamm_group_coordinator::{Request as GroupRequest, Response as GroupResponse};
use klamm_model::{ErrorCode, Offset, TopicPartition};
use klamm_transaction_coordinator::{MarkersToWrite, Outcome, Request};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::broker::{Broker, GROUP_TOPIC};
use crate::random::Seeded;

enum Progress {
    ToWrite,
    Appended(usize, Offset),
    Group(Receiver<GroupResponse>),
}

/// The markers of one ended transaction.
pub(super) struct Writer {
    pub(super) ended: MarkersToWrite,
    rest: Vec<(TopicPartition, Progress)>,
}

impl Writer {
    pub(super) fn new(ended: MarkersToWrite) -> Self {
        let rest = ended.partitions.iter().map(|p| (p.clone(), Progress::ToWrite)).collect();
        Self { ended, rest }
    }

    fn end(&self) -> TransactionEnd {
        let producer = self.ended.producer;
        TransactionEnd {
            producer: TransactionalProducer { id: producer.id, epoch: producer.epoch },
            is_commit: self.ended.outcome == Outcome::Commit,
            coordinator_epoch: self.ended.coordinator_epoch,
            transaction_version: self.ended.protocol.level(),
        }
    }

    /// Nobody hears what became of one of them, which is written or not: it is to be written again.
    pub(super) fn fail(&mut self, random: &mut Seeded) {
        let at = random.below(self.rest.len());
        if let Some((_, progress)) = self.rest.get_mut(at) {
            *progress = Progress::ToWrite;
        }
    }

    /// Whether another coordinator has the transaction: it is given up then.
    pub(super) fn is_fenced(&self, broker: &Broker) -> bool {
        broker.transaction_log.current_epoch() != self.ended.coordinator_epoch
    }

    /// Takes one of them further: whether the writer has nothing more to do, and what it did.
    pub(super) fn step(
        &mut self,
        time: Time,
        (broker, random): (&mut Broker, &mut Seeded),
    ) -> (bool, Option<String>) {
        let end = self.end();
        if self.rest.is_empty() {
            return (true, None);
        }
        let at = random.below(self.rest.len());
        let (partition, progress) = &mut self.rest[at];
        let is_new = matches!(progress, Progress::ToWrite);
        let note = is_new.then(|| format!("marker for {partition}: {end:?}"));
        let code = match progress {
            Progress::ToWrite if &*partition.topic == GROUP_TOPIC => {
                let answer = broker.ask_group(time, GroupRequest::EndTransaction(end));
                *progress = Progress::Group(answer);
                None
            }
            Progress::ToWrite => {
                let index = partition.partition as usize;
                match broker.partitions[index].append_end(end, time.wall) {
                    Ok(offset) => {
                        *progress = Progress::Appended(index, offset);
                        None
                    }
                    Err(code) => Some(code),
                }
            }
            Progress::Appended(index, offset) => {
                (broker.partitions[*index].high_watermark() >= *offset).then_some(ErrorCode::None)
            }
            Progress::Group(answer) => match answer.try_recv() {
                Ok(GroupResponse::EndTransaction(code) | GroupResponse::Unavailable(code)) => {
                    Some(code)
                }
                Ok(_) | Err(TryRecvError::Closed) => Some(ErrorCode::NotCoordinator),
                Err(TryRecvError::Empty) => None,
            },
        };
        match code {
            None => return (false, note),
            Some(
                ErrorCode::None
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::TransactionCoordinatorFenced,
            ) => drop(self.rest.swap_remove(at)),
            Some(_) => {
                self.rest[at].1 = Progress::ToWrite;
                return (self.is_fenced(broker), note);
            }
        }
        if !self.rest.is_empty() {
            return (false, note);
        }
        let transactional_id = self.ended.transactional_id.clone();
        let written = Request::MarkersWritten {
            transactional_id,
            producer: self.ended.producer,
            coordinator_epoch: self.ended.coordinator_epoch,
        };
        // Nobody waits for what it says.
        drop(broker.ask(time, written));
        (true, note)
    }
}
