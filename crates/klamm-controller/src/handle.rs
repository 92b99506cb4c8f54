//! How the rest of the node asks the controller. Never decides anything itself.

use klamm_metadata::{MetadataHandle, VersionedRecord};
use klamm_model::{BrokerEpoch, ErrorCode, NodeId};
use tokio::sync::{mpsc, oneshot};

use crate::job::{Job, Operation};
use crate::{
    Activation, AlterConfigs, AlteredResources, ApiError, BrokerHeartbeat, BrokerToRegister,
    Context, Controller, ControllerResult, CreatedTopics, DeletedTopic, GrownTopics,
    HeartbeatReply, Mode, MorePartitions, NewTopic, ProducerIdBlock, ReplaceConfigs, TopicToDelete,
};

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
        |c: &mut Controller, context: &Context<'_>, heartbeat| c.broker_heartbeat(context, heartbeat);
    /// Gives a broker producer ids; the inner error is the controller's refusal.
    allocate_producer_ids / allocate_producer_ids_blocking(broker: NodeId, epoch: BrokerEpoch) -> Result<ProducerIdBlock, ApiError> =
        |c: &mut Controller, context: &Context<'_>, broker, epoch| {
            c.allocate_producer_ids(context, broker, epoch)
        };
}
