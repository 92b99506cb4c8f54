//! Every API that is served, one line each in key order. ApiVersions, dispatch, metric labels and
//! the documentation's table derive from this list.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_codec::{Message, Reader};
use klamm_network::{Call, Reply};
use klamm_protocol::{ApiKey, Listener, Request, RequestHead};

use crate::Context;
use crate::api::{Api, into_frame};
use crate::caller::Caller;

/// What is served of one API.
#[derive(Debug, Clone)]
pub struct Served {
    /// Which API.
    pub key: ApiKey,
    /// Its versions.
    pub versions: RangeInclusive<i16>,
    /// Where.
    pub listeners: &'static [Listener],
}

macro_rules! registry {
    ($($module:ident::$api:ident,)*) => {
        /// The APIs that are served, in key order.
        #[must_use]
        pub fn served() -> Vec<Served> {
            vec![$(Served {
                key: <<crate::$module::$api as Api>::Request as Request>::KEY,
                versions: <crate::$module::$api as Api>::VERSIONS,
                listeners: <crate::$module::$api as Api>::LISTENERS,
            },)*]
        }

        /// Whether a second request of this kind may start before the first is answered.
        pub(crate) fn is_pipelined(key: ApiKey) -> bool {
            $(if key == <<crate::$module::$api as Api>::Request as Request>::KEY {
                return <crate::$module::$api as Api>::PIPELINED;
            })*
            false
        }

        /// Starts a request.
        pub(crate) fn dispatch(ctx: &Rc<Context>, caller: Rc<Caller>, head: RequestHead, body: Reader) -> Call {
            ctx.requests.count(head.api_key);
            match head.api_key {
                $(key if key == <<crate::$module::$api as Api>::Request as Request>::KEY => {
                    start::<crate::$module::$api>(ctx, caller, head, body)
                })*
                key => Call::Now(Reply::Close(format!("{key} is not served"))),
            }
        }
    };
}

registry! {
    produce::Produce,
    fetch::Fetch,
    list_offsets::ListOffsets,
    metadata::Metadata,
    offset_commit::OffsetCommit,
    offset_fetch::OffsetFetch,
    find_coordinator::FindCoordinator,
    join_group::JoinGroup,
    heartbeat::Heartbeat,
    leave_group::LeaveGroup,
    sync_group::SyncGroup,
    describe_groups::DescribeGroups,
    list_groups::ListGroups,
    api_versions::ApiVersions,
    create_topics::CreateTopics,
    delete_topics::DeleteTopics,
    delete_records::DeleteRecords,
    init_producer_id::InitProducerId,
    offset_for_leader_epoch::OffsetForLeaderEpoch,
    add_partitions_to_txn::AddPartitionsToTxn,
    add_offsets_to_txn::AddOffsetsToTxn,
    end_txn::EndTxn,
    write_txn_markers::WriteTxnMarkers,
    txn_offset_commit::TxnOffsetCommit,
    describe_configs::DescribeConfigs,
    alter_replica_log_dirs::AlterReplicaLogDirs,
    describe_log_dirs::DescribeLogDirs,
    create_partitions::CreatePartitions,
    delete_groups::DeleteGroups,
    incremental_alter_configs::IncrementalAlterConfigs,
    offset_delete::OffsetDelete,
    describe_cluster::DescribeCluster,
    describe_producers::DescribeProducers,
    describe_transactions::DescribeTransactions,
    list_transactions::ListTransactions,
    consumer_group_heartbeat::ConsumerGroupHeartbeat,
    consumer_group_describe::ConsumerGroupDescribe,
    describe_topic_partitions::DescribeTopicPartitions,
}

fn start<A: Api + 'static>(
    ctx: &Rc<Context>,
    caller: Rc<Caller>,
    head: RequestHead,
    mut body: Reader,
) -> Call {
    let version = head.api_version;
    if !A::LISTENERS.contains(&caller.listener) {
        let (key, name) = (head.api_key, &caller.listener_name);
        return Call::Now(Reply::Close(format!("{key} is not served at listener {name}")));
    }
    if !A::VERSIONS.contains(&version) {
        if head.api_key == ApiKey::ApiVersions {
            // The one question that has an answer in any version (KIP-511).
            return crate::api_versions::unsupported(ctx, &caller, &head);
        }
        let key = head.api_key;
        return Call::Now(Reply::Close(format!("{key} version {version} is not served")));
    }
    // Bytes after the request are left alone, as Kafka leaves them: librdkafka 2.16 sends three
    // with a Metadata request for all topics.
    let request = match A::Request::decode(&mut body, version) {
        Ok(request) => request,
        Err(error) => {
            return Call::Now(Reply::Close(format!("{} v{version}: {error}", head.api_key)));
        }
    };
    let begun = ctx.env.clock.now();
    let future = A::handle(Rc::clone(ctx), caller, request, version);
    let ctx = Rc::clone(ctx);
    Call::Later(Box::pin(async move {
        let reply = into_frame(&head, version, future.await);
        ctx.traffic.took(head.api_key, ctx.env.clock.now().since(begun));
        reply
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_key_order_and_serves_only_versions_that_kafka_has() {
        let served = served();
        assert!(served.is_sorted_by_key(|api| api.key.code()));
        for api in served {
            let kafka = api.key.stable_versions();
            assert!(
                kafka.contains(api.versions.start()) && kafka.contains(api.versions.end()),
                "{}",
                api.key
            );
            assert!(api.listeners.iter().all(|l| api.key.listeners().contains(l)), "{}", api.key);
        }
    }
}
