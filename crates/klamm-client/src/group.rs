//! A consumer in a classic group: its partitions are given to it, and its positions are kept by
//! the group's coordinator.
//!
//! Eager: at every rebalance all partitions are given back first. Positions are committed before
//! that, and every [`GroupOptions::auto_commit`]; what was not committed is read again by whoever
//! gets the partition.

pub(crate) mod assignor;
mod membership;
pub(crate) mod positions;

use std::rc::Rc;
use std::time::Duration;

use klamm_env::Moment;
use klamm_model::{Offset, TopicPartition};
use klamm_stdx::Str;

use crate::cluster::Client;
use crate::consumer::{Consumer, ConsumerOptions, ConsumerRecord, OffsetReset, StartAt};
use crate::error::{ClientError, Result};
use crate::producer::GroupMetadata;

use membership::Membership;

/// How a consumer takes part in its group. The defaults are those of Kafka's Java consumer.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group.
    pub group_id: Str,
    /// A name that survives restarts, if the member has one (KIP-345).
    pub instance_id: Option<Str>,
    /// After how long without a heartbeat the member is thrown out.
    pub session_timeout: Duration,
    /// How long a member may take to join again.
    pub rebalance_timeout: Duration,
    /// How often the member says that it is alive.
    pub heartbeat_interval: Duration,
    /// How often positions are committed; `None` leaves that to the caller.
    pub auto_commit: Option<Duration>,
}

impl GroupOptions {
    /// The defaults for a group.
    #[must_use]
    pub fn new(group_id: impl Into<Str>) -> Self {
        Self {
            group_id: group_id.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: Some(Duration::from_secs(5)),
        }
    }
}

/// A consumer in a group.
#[derive(Debug)]
pub struct GroupConsumer {
    consumer: Consumer,
    membership: Membership,
    reset: OffsetReset,
    last_commit: Moment,
}

impl GroupConsumer {
    /// A consumer that joins with its first [`GroupConsumer::poll`]. Members of one group need a
    /// [`Client`] each: a request that waits holds up those behind it.
    #[must_use]
    pub fn new(
        client: Client,
        topics: Vec<Str>,
        group: GroupOptions,
        options: ConsumerOptions,
    ) -> Self {
        let reset = options.reset;
        let last_commit = client.env().clock.now();
        let consumer = Consumer::new(client.clone(), options);
        Self { consumer, membership: Membership::new(client, group, topics), reset, last_commit }
    }

    /// The next records; none if none came within `wait`, or if the group has just changed.
    /// Joining may take longer than `wait`. May be dropped while it waits.
    ///
    /// # Errors
    /// The group or a partition refused for good.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>> {
        if self.membership.pulse.must_rejoin.get() {
            self.rejoin().await?;
        }
        self.commit_if_due().await?;
        let pulse = Rc::clone(&self.membership.pulse);
        tokio::select! {
            biased;
            () = pulse.changed.notified() => Ok(Vec::new()),
            records = self.consumer.poll(wait) => records,
        }
    }

    /// The partitions that are ours, with the offset that comes next in each.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.consumer.positions()
    }

    /// Whether everything has been given that was there at the last fetch. Not so without a
    /// membership.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        !self.membership.pulse.must_rejoin.get() && self.consumer.is_at_end()
    }

    /// Our id in the group; empty before the first join.
    #[must_use]
    pub fn member_id(&self) -> &Str {
        &self.membership.member_id
    }

    /// Who we are in the group, for [`TransactionalProducer::send_offsets`](crate::TransactionalProducer::send_offsets)
    /// (KIP-447).
    #[must_use]
    pub fn metadata(&self) -> GroupMetadata {
        GroupMetadata {
            group_id: self.membership.options.group_id.clone(),
            member_id: self.membership.member_id.clone(),
            instance_id: self.membership.options.instance_id.clone(),
            generation_id: self.membership.generation_id,
        }
    }

    /// The group's generation; -1 before the first join.
    #[must_use]
    pub fn generation_id(&self) -> i32 {
        self.membership.generation_id
    }

    async fn rejoin(&mut self) -> Result<()> {
        if self.membership.options.auto_commit.is_some() {
            self.try_commit().await?;
        }
        self.consumer.clear();
        let partitions = self.membership.join().await?;
        let committed = positions::fetch(&self.membership, &partitions).await?;
        let start = |partition: TopicPartition| {
            let at = match (committed.get(&partition), self.reset) {
                (Some(offset), _) => StartAt::Offset(*offset),
                (None, OffsetReset::Earliest) => StartAt::Beginning,
                (None, OffsetReset::Latest) => StartAt::End,
                (None, OffsetReset::None) => {
                    let text = format!("{partition} has no committed offset");
                    return Err(ClientError::Invalid(text));
                }
            };
            Ok((partition, at))
        };
        let assigned: Result<Vec<_>> = partitions.into_iter().map(start).collect();
        self.consumer.assign(&assigned?).await?;
        self.last_commit = self.membership.client.env().clock.now();
        Ok(())
    }

    async fn commit_if_due(&mut self) -> Result<()> {
        let Some(interval) = self.membership.options.auto_commit else { return Ok(()) };
        if self.membership.client.env().clock.now().since(self.last_commit) < interval {
            return Ok(());
        }
        self.try_commit().await
    }

    /// Commits; a group that has moved on is no error, because whoever has the partitions now
    /// reads the records again.
    async fn try_commit(&mut self) -> Result<()> {
        match self.commit().await {
            Err(error) if self.membership.on_error(&error) => Ok(()),
            other => other,
        }
    }

    /// Commits the positions: everything that [`GroupConsumer::poll`] gave counts as done.
    ///
    /// # Errors
    /// The coordinator refused, for example because the group has moved on.
    pub async fn commit(&mut self) -> Result<()> {
        self.last_commit = self.membership.client.env().clock.now();
        let offsets: Vec<_> = self.consumer.positions().map(|(p, o)| (p.clone(), o)).collect();
        if offsets.is_empty() || self.membership.member_id.is_empty() {
            return Ok(());
        }
        positions::commit(&self.membership, &offsets).await
    }

    /// Commits (if that is automatic) and leaves.
    ///
    /// # Errors
    /// The coordinator refused.
    pub async fn leave(mut self) -> Result<()> {
        let committed = match self.membership.options.auto_commit {
            Some(_) => self.try_commit().await,
            None => Ok(()),
        };
        self.membership.leave().await.and(committed)
    }
}
