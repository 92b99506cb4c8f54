//! The thread that owns the controller, and how the rest of the node asks it. Never decides
//! anything itself.
//!
//! ```text
//!   queue -> decide, replay into the working image (each sees the one before)
//!         -> one append of all records -> publish the image -> answer all
//! ```

use std::future::pending;
use std::io;
use std::thread::JoinHandle;

use klamm_env::{Moment, task};
use klamm_metadata::{MetadataHandle, VersionedRecord};
use klamm_model::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, TopicIdPartition};
use tokio::sync::{mpsc, oneshot};

use crate::job::{Job, Operation};
use crate::turn::State;
use crate::{
    Activation, AlterConfigs, AlterPartition, AlteredPartitions, AlteredResources, ApiError,
    AssignedReplicas, BrokerHeartbeat, BrokerToRegister, Context, Controller, ControllerParts,
    ControllerResult, CreatedTopics, DeletedTopic, GrownTopics, HeartbeatReply, Mode,
    MorePartitions, NewTopic, ProducerIdBlock, ReplaceConfigs, TopicToDelete,
};

/// Requests that wait at most; whoever asks more waits until there is room.
pub const QUEUE_LEN: usize = 1_024;
/// Requests that are committed together at most: a bound for the wait of the first.
const JOBS_PER_TURN: usize = 256;

/// Starts the controller's thread; it ends when the last handle is gone.
///
/// # Errors
/// The kernel refused a thread.
pub fn start(parts: ControllerParts) -> io::Result<(ControllerHandle, JoinHandle<()>)> {
    let (sender, queue) = mpsc::channel(QUEUE_LEN);
    let handle = ControllerHandle::new(sender, parts.metadata.clone());
    let thread = task::spawn_thread("klamm-controller", move || {
        if let Err(error) = task::run_worker(run(State::new(parts), queue)) {
            tracing::error!(%error, "the controller has no event queue: it does not run");
        }
    })?;
    Ok((handle, thread))
}

async fn run(mut state: State, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut jobs: Vec<Box<dyn Job>> = Vec::with_capacity(JOBS_PER_TURN);
    loop {
        let timer = sleep_until(state.now(), state.next_timeout());
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, JOBS_PER_TURN) => if taken == 0 { return },
            () = timer => {}
        }
        let mut waiting = std::mem::take(&mut jobs).into_iter();
        loop {
            state.turn(&mut waiting);
            if waiting.len() == 0 {
                break;
            }
        }
    }
}

async fn sleep_until(now: Moment, at: Option<Moment>) {
    match at {
        Some(at) => task::sleep(at.since(now)).await,
        None => pending().await,
    }
}

/// The way to the controller; a clone leads to the same one.
///
/// Every method answers when the decision is committed and published. The outer error is the
/// controller's: it has stopped, or the log did not commit.
#[derive(Clone)]
pub struct ControllerHandle {
    queue: mpsc::Sender<Box<dyn Job>>,
    metadata: MetadataHandle,
}

fn gone() -> ApiError {
    ApiError::new(ErrorCode::NotController, "the controller does not run")
}

impl ControllerHandle {
    pub(crate) fn new(queue: mpsc::Sender<Box<dyn Job>>, metadata: MetadataHandle) -> Self {
        Self { queue, metadata }
    }

    /// Requests that wait and are not taken yet.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        QUEUE_LEN - self.queue.capacity()
    }

    /// Where the images are that the controller publishes.
    #[must_use]
    pub fn metadata(&self) -> &MetadataHandle {
        &self.metadata
    }

    /// Has the controller decide and waits for the commit.
    ///
    /// # Errors
    /// The controller does not run any more, or the log did not commit.
    pub async fn run<F, T>(&self, decide: F) -> Result<T, ApiError>
    where
        F: FnOnce(&mut Controller, &Context<'_>) -> ControllerResult<T> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation::new(decide, reply));
        self.queue.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// [`ControllerHandle::run`] for a thread that is no worker: at start-up, in tests.
    ///
    /// # Errors
    /// As [`ControllerHandle::run`].
    pub fn run_blocking<F, T>(&self, decide: F) -> Result<T, ApiError>
    where
        F: FnOnce(&mut Controller, &Context<'_>) -> ControllerResult<T> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation::new(decide, reply));
        self.queue.blocking_send(job).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }
}

/// Declares a method of the handle, and its blocking twin, for each operation of the controller.
macro_rules! operations {
    ($(
        $(#[$doc:meta])*
        $name:ident / $blocking:ident ($($argument:ident: $of:ty),*) -> $response:ty = $call:expr;
    )*) => {
        impl ControllerHandle {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// The controller does not run any more, or the log did not commit.
            pub async fn $name(&self $(, $argument: $of)*) -> Result<$response, ApiError> {
                let call = $call;
                self.run(move |controller, context| call(controller, context $(, $argument)*)).await
            }

            /// The same from a thread that is no worker.
            ///
            /// # Errors
            /// The controller does not run any more, or the log did not commit.
            pub fn $blocking(&self $(, $argument: $of)*) -> Result<$response, ApiError> {
                let call = $call;
                self.run_blocking(move |controller, context| call(controller, context $(, $argument)*))
            }
        )*}
    };
}

operations! {
    /// Writes the first records of a new cluster.
    activate / activate_blocking(bootstrap: Vec<VersionedRecord>) -> Activation =
        |c: &mut Controller, context: &Context<'_>, bootstrap: Vec<VersionedRecord>| {
            c.activate(context, &bootstrap)
        };
    /// Creates topics.
    create_topics / create_topics_blocking(topics: Vec<NewTopic>, mode: Mode) -> CreatedTopics =
        |c: &mut Controller, context: &Context<'_>, topics: Vec<NewTopic>, mode| {
            c.create_topics(context, &topics, mode)
        };
    /// Deletes topics.
    delete_topics / delete_topics_blocking(topics: Vec<TopicToDelete>) -> Vec<DeletedTopic> =
        |c: &mut Controller, context: &Context<'_>, topics: Vec<TopicToDelete>| {
            c.delete_topics(context, &topics)
        };
    /// Adds partitions to topics.
    create_partitions / create_partitions_blocking(topics: Vec<MorePartitions>, mode: Mode) -> GrownTopics =
        |c: &mut Controller, context: &Context<'_>, topics: Vec<MorePartitions>, mode| {
            c.create_partitions(context, &topics, mode)
        };
    /// Changes configs one by one.
    alter_configs / alter_configs_blocking(resources: Vec<AlterConfigs>, mode: Mode) -> AlteredResources =
        |c: &mut Controller, context: &Context<'_>, resources: Vec<AlterConfigs>, mode| {
            c.alter_configs(context, &resources, mode)
        };
    /// Replaces all configs of resources.
    replace_configs / replace_configs_blocking(resources: Vec<ReplaceConfigs>, mode: Mode) -> AlteredResources =
        |c: &mut Controller, context: &Context<'_>, resources: Vec<ReplaceConfigs>, mode| {
            c.replace_configs(context, &resources, mode)
        };
    /// Registers a broker; the inner error is the controller's refusal.
    register_broker / register_broker_blocking(broker: BrokerToRegister) -> Result<BrokerEpoch, ApiError> =
        |c: &mut Controller, context: &Context<'_>, broker: BrokerToRegister| {
            c.register_broker(context, &broker)
        };
    /// Forgets a broker; the inner error is the controller's refusal.
    unregister_broker / unregister_broker_blocking(id: NodeId) -> Result<(), ApiError> =
        |c: &mut Controller, context: &Context<'_>, id| c.unregister_broker(context, id);
    /// Says that a broker is alive; the inner error is the controller's refusal.
    broker_heartbeat / broker_heartbeat_blocking(heartbeat: BrokerHeartbeat) -> Result<HeartbeatReply, ApiError> =
        |c: &mut Controller, context: &Context<'_>, heartbeat: BrokerHeartbeat| {
            c.broker_heartbeat(context, &heartbeat)
        };
    /// Gives a broker producer ids; the inner error is the controller's refusal.
    allocate_producer_ids / allocate_producer_ids_blocking(broker: NodeId, epoch: BrokerEpoch) -> Result<ProducerIdBlock, ApiError> =
        |c: &mut Controller, context: &Context<'_>, broker, epoch| {
            c.allocate_producer_ids(context, broker, epoch)
        };
    /// Changes ISRs as their leader says; the inner error is the controller's refusal.
    alter_partitions / alter_partitions_blocking(leader: (NodeId, BrokerEpoch), claims: Vec<AlterPartition>) -> Result<AlteredPartitions, ApiError> =
        |c: &mut Controller, context: &Context<'_>, leader, claims: Vec<AlterPartition>| {
            c.alter_partitions(context, leader, &claims)
        };
    /// Says in which log directories a broker's replicas are; the inner error is the controller's
    /// refusal.
    assign_replicas_to_dirs / assign_replicas_to_dirs_blocking(broker: (NodeId, BrokerEpoch), replicas: Vec<(TopicIdPartition, DirectoryId)>) -> Result<AssignedReplicas, ApiError> =
        |c: &mut Controller, context: &Context<'_>, broker, replicas: Vec<(TopicIdPartition, DirectoryId)>| {
            c.assign_replicas_to_dirs(context, broker, &replicas)
        };
}
