//! WriteTxnMarkers (key 27): a coordinator ends transactions in partitions here. Served: v1-v2.
//!
//! v1 flexible · v2 the transaction protocol, by which late markers are told.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_coordinator::{TransactionEnd, TransactionalProducer};
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId};
use klamm_protocol::write_txn_markers_request::WritableTxnMarker;
use klamm_protocol::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use klamm_protocol::{Listener, WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::each;

pub(crate) struct WriteTxnMarkers;

impl Api for WriteTxnMarkers {
    type Request = WriteTxnMarkersRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: WriteTxnMarkersRequest,
        _: i16,
    ) -> Reply<WriteTxnMarkersResponse> {
        let mut markers = Vec::with_capacity(request.markers.len());
        for marker in request.markers {
            markers.push(write(&ctx, marker).await);
        }
        WriteTxnMarkersResponse { markers }.into()
    }
}

async fn write(ctx: &Context, marker: WritableTxnMarker) -> WritableTxnMarkerResult {
    let partitions = each(marker.topics.iter().map(|t| (&t.name, &t.partition_indexes[..])));
    let end = TransactionEnd {
        producer: TransactionalProducer {
            id: ProducerId(marker.producer_id),
            epoch: ProducerEpoch(marker.producer_epoch),
        },
        is_commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: marker.transaction_version,
    };
    // Kafka fails to build such a marker; nobody has these (`MemoryRecordsBuilder`).
    let is_of_nobody = marker.producer_id < 0 || marker.producer_epoch < 0;
    let mut codes = match is_of_nobody {
        true => vec![ErrorCode::UnknownServerError; partitions.len()],
        false => ctx.markers.write(end, &partitions).await,
    }
    .into_iter();
    let mut line = |index: &i32| WritableTxnMarkerPartitionResult {
        partition_index: *index,
        error_code: codes.next().unwrap_or(ErrorCode::UnknownServerError).code(),
    };
    let mut topics = Vec::with_capacity(marker.topics.len());
    for topic in marker.topics {
        let partitions = topic.partition_indexes.iter().map(&mut line).collect();
        topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
    }
    WritableTxnMarkerResult { producer_id: marker.producer_id, topics }
}
