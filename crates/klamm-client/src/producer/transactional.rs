//! A producer whose records count together or not at all (KIP-98, KIP-447, KIP-890). Has the
//! coordinators asked; what an answer means is decided in [`super::transaction`].

use klamm_model::{Offset, ProducerEpoch, ProducerId, TopicPartition};
use klamm_protocol::ApiKey;

use super::coordinators::{Coordinators, GroupMetadata, Protocol, TransactionOptions};
use super::transaction::{Outcome, Transaction};
use super::verdict::may_be_in_transaction;
use super::{Delivery, Idempotence, Producer, ProducerOptions, ProducerRecord};
use crate::cluster::Client;
use crate::error::{ClientError, Result};

/// A producer with transactions.
///
/// Errors are told apart: [`ClientError::MustAbort`] is cured by [`TransactionalProducer::abort`],
/// [`ClientError::Fenced`] by nothing. An error of [`TransactionalProducer::commit`] that is
/// neither leaves it unknown what became of the transaction: commit again. A transaction that is
/// open when its producer is dropped is aborted by its timeout, or by the next producer of the
/// name.
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: Producer,
    coordinators: Coordinators,
    transaction: Transaction,
}

impl TransactionalProducer {
    /// Opens a producer: those that had the name before are fenced, and what they left open is
    /// aborted.
    ///
    /// # Errors
    /// The options contradict each other, or the coordinator refused.
    pub async fn open(
        client: Client,
        options: TransactionOptions,
        producer: ProducerOptions,
    ) -> Result<Self> {
        if producer.idempotence == Idempotence::Disabled {
            return Err(ClientError::Invalid("transactions need an idempotent producer".into()));
        }
        if options.transactional_id.is_empty() {
            return Err(ClientError::Invalid("a transactional id has at least one letter".into()));
        }
        let name = Some(options.transactional_id.clone());
        let producer = Producer::with_name(client.clone(), producer, name)?;
        let mut coordinators = Coordinators::new(client, options);
        let identity = coordinators.init(None).await?;
        producer.shared.start_as(identity);
        Ok(Self { producer, coordinators, transaction: Transaction::new() })
    }

    /// The producer id and epoch.
    ///
    /// # Panics
    /// Never: [`TransactionalProducer::open`] got them.
    #[must_use]
    pub fn identity(&self) -> (ProducerId, ProducerEpoch) {
        self.producer.shared.identity().expect("it was opened with one")
    }

    /// Begins a transaction. The coordinator hears of it with the first record.
    ///
    /// # Errors
    /// One is open, or the producer is over.
    pub async fn begin(&mut self) -> Result<()> {
        let protocol = self.coordinators.spoken().await?;
        self.transaction.begin()?;
        self.coordinators.protocol = protocol;
        self.producer.shared.begin(protocol.version_max(ApiKey::Produce));
        Ok(())
    }

    /// Takes a record into the transaction, as [`Producer::send`].
    ///
    /// # Errors
    /// No transaction is open, an earlier record has failed, or as [`Producer::send`].
    pub async fn send(&mut self, record: ProducerRecord) -> Result<Delivery> {
        self.transaction.check_open()?;
        if let Some(error) = self.producer.shared.failure() {
            return Err(self.transaction.on_batch_failed(error));
        }
        let index = self.producer.place(&record).await?;
        let partition = TopicPartition::new(record.topic.detached(), index);
        if !self.transaction.has(&partition) {
            let added = self.coordinators.add(self.identity(), &partition).await;
            // It may be in the transaction also without a clear answer.
            if added.as_ref().err().is_none_or(|error| !error.is_certain()) {
                self.transaction.add(partition);
            }
            added.map_err(|error| self.transaction.on_refused(error))?;
        }
        self.producer.put(record, index).await
    }

    /// Sends everything now and waits until all of it is acknowledged or has failed.
    ///
    /// # Errors
    /// The first failure: the transaction is to be aborted.
    pub async fn flush(&mut self) -> Result<()> {
        let flushed = self.producer.flush().await;
        flushed.map_err(|error| self.transaction.on_batch_failed(error))
    }

    /// Commits offsets of a group with the transaction.
    ///
    /// # Errors
    /// The group has moved on, or a coordinator refused: the transaction is to be aborted.
    pub async fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Offset)],
        group: &GroupMetadata,
    ) -> Result<()> {
        self.transaction.check_open()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let sent = self.commit_offsets(offsets, group).await;
        let may_be = |error: &ClientError| match self.coordinators.protocol {
            Protocol::V1 => !error.is_certain(),
            Protocol::V2 => may_be_in_transaction(error),
        };
        if sent.as_ref().err().is_none_or(may_be) {
            self.transaction.add_offsets();
        }
        sent.map_err(|error| self.transaction.on_refused(error))
    }

    /// Ends the transaction: its records count.
    ///
    /// # Errors
    /// A record was not written (the transaction is to be aborted), the producer was fenced, or
    /// the coordinator did not answer: then what became of it is unknown, and the same call asks
    /// again.
    pub async fn commit(&mut self) -> Result<()> {
        self.transaction.check_end(Outcome::Commit)?;
        self.flush().await?;
        self.end(Outcome::Commit).await
    }

    /// Ends the transaction: its records do not count. What was not sent yet is not sent.
    ///
    /// # Errors
    /// The producer was fenced, or the coordinator did not answer: the same call asks again.
    pub async fn abort(&mut self) -> Result<()> {
        self.transaction.check_end(Outcome::Abort)?;
        self.producer.shared.give_up().await;
        self.end(Outcome::Abort).await
    }

    async fn end(&mut self, outcome: Outcome) -> Result<()> {
        // An end that the coordinator does not expect would look like one of a fenced producer.
        let has_records = match self.coordinators.protocol {
            Protocol::V1 => self.transaction.has_partitions(),
            Protocol::V2 => self.producer.shared.has_written(),
        };
        let is_empty = !has_records && !self.transaction.has_offsets();
        self.transaction.start_end(outcome);
        let next = match is_empty {
            true => Ok(None),
            false => self.coordinators.end(self.identity(), outcome).await,
        };
        let next = match next {
            // Its sequence numbers are no longer those of the brokers (KIP-360).
            Ok(None) if self.producer.shared.is_spent() => {
                self.coordinators.init(Some(self.identity())).await.map(Some)
            }
            other => other,
        };
        let next = next.map_err(|error| self.transaction.on_end_failed(error))?;
        if let Some(identity) = next {
            self.producer.shared.start_as(identity);
        }
        self.transaction.on_ended();
        Ok(())
    }

    /// Takes offsets of a group into the transaction.
    async fn commit_offsets(
        &mut self,
        offsets: &[(TopicPartition, Offset)],
        group: &GroupMetadata,
    ) -> Result<()> {
        let identity = self.identity();
        if self.coordinators.protocol == Protocol::V1 {
            self.coordinators.add_group(identity, group).await?;
            // From here on there is something to end, whatever becomes of the offsets.
            self.transaction.add_offsets();
        }
        self.coordinators.commit_offsets(identity, offsets, group).await
    }
}
