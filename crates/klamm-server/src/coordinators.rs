//! The coordinators of groups and of transactions, and what goes between them.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use klamm_apis::Markers;
use klamm_config::BrokerConfig;
use klamm_controller::MetadataHandle;
use klamm_coordinator::Coordinator;
use klamm_env::{Env, task};
use klamm_group_coordinator::GroupShard;
use klamm_model::{GROUP_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC};
use klamm_replication::Partitions;
use klamm_transaction_coordinator::{Figures, TransactionShard};

use crate::boot;
use crate::error::StartError;
use crate::metrics::TransactionSources;

/// A topic that a coordinator keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coordinated {
    Groups,
    Transactions,
}

impl Coordinated {
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Groups => GROUP_OFFSETS_TOPIC,
            Self::Transactions => TRANSACTION_STATE_TOPIC,
        }
    }

    pub(crate) fn of(topic: &str) -> Option<Self> {
        [Self::Groups, Self::Transactions].into_iter().find(|kind| kind.topic() == topic)
    }
}

/// The coordinators of a node, each with its thread.
pub(crate) struct Coordinators {
    pub(crate) groups: Coordinator<GroupShard>,
    pub(crate) transactions: Coordinator<TransactionShard>,
    /// Writes the ends of transactions into their partitions.
    pub(crate) markers: Arc<Markers>,
    /// How many transactions are in each state.
    pub(crate) figures: Arc<Figures>,
}

impl Coordinators {
    /// Starts them, without shards.
    pub(crate) fn start(
        env: &Env,
        config: &Arc<BrokerConfig>,
        partitions: &Arc<Partitions>,
        metadata: &MetadataHandle,
    ) -> Result<Self, StartError> {
        let for_shards = Arc::clone(config);
        let groups = Coordinator::start(
            "groups",
            Arc::clone(&env.clock),
            Box::new(move |_| boot::group_shard(&for_shards)),
            Arc::new(|nothing| match nothing {}),
        )?;
        let markers = Arc::new(Markers {
            partitions: Arc::clone(partitions),
            groups: groups.handle(),
            metadata: metadata.clone(),
            clock: Arc::clone(&env.clock),
            transactions: OnceLock::new(),
            pending: AtomicUsize::new(0),
        });
        let limits = boot::transaction_limits(config);
        let figures = Arc::new(Figures::default());
        let counted = Arc::clone(&figures);
        let writer = Arc::clone(&markers);
        let transactions = Coordinator::start(
            "transactions",
            Arc::clone(&env.clock),
            Box::new(move |_| TransactionShard::new(limits).counted_in(Arc::clone(&counted))),
            Arc::new(move |ended| {
                task::spawn_local(Arc::clone(&writer).finish(ended));
            }),
        )?;
        // It is empty: nobody else has it.
        drop(markers.transactions.set(transactions.handle()));
        Ok(Self { groups, transactions, markers, figures })
    }

    /// What the metrics of transactions are read from.
    pub(crate) fn sources(&self, env: &Env, config: &BrokerConfig) -> TransactionSources {
        TransactionSources {
            clock: Arc::clone(&env.clock),
            timeout_ms_max: config.transactions.max_timeout_ms,
            figures: Arc::clone(&self.figures),
            markers: Arc::downgrade(&self.markers),
        }
    }

    /// Ends their threads; whoever waits is told to look elsewhere.
    pub(crate) fn stop(self) {
        self.transactions.stop();
        self.groups.stop();
    }
}
