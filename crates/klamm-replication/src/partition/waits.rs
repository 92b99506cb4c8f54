//! Those who wait for a partition, as its owner's futures and guards. They look at what it
//! publishes and never take its log's lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use klamm_model::Offset;

use super::Partition;
use crate::waiters::WaiterKey;

/// A fetch's registration with a partition; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    pub(super) partition: Arc<Partition>,
    pub(super) key: WaiterKey,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.partition.waiters.remove(&self.key);
    }
}

/// Waits for a commit. Ready with whether it came, or false if the partition is led elsewhere or
/// offline: then the outcome is unknown.
#[derive(Debug)]
pub struct CommitWait {
    pub(super) partition: Arc<Partition>,
    pub(super) last_offset: Offset,
    pub(super) key: Option<WaiterKey>,
}

impl CommitWait {
    fn outcome(&self) -> Option<bool> {
        if self.partition.high_watermark() > self.last_offset {
            return Some(true);
        }
        let partition = &self.partition;
        let has_failed = partition.has_failed.load(Ordering::Acquire);
        let is_lost = partition.leader_epoch().is_none() || has_failed;
        is_lost.then_some(false)
    }
}

impl Future for CommitWait {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        match &self.key {
            Some(key) => self.partition.waiters.renew_commit(key, cx.waker()),
            None => {
                self.key = Some(self.partition.waiters.add_commit(self.last_offset, cx.waker()));
            }
        }
        // It may have come between the question and the registration.
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for CommitWait {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.partition.waiters.remove(key);
        }
    }
}
