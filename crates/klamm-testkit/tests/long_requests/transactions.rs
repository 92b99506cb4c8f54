//! Requests about transactions.

use klamm_protocol::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use klamm_protocol::describe_producers_request::TopicRequest;
use klamm_protocol::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use klamm_protocol::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    InitProducerIdRequest, ListTransactionsRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use klamm_stdx::Str;

use super::{KNOWN, NAMES, names, start, timed, unknown_then_known};

const ID: Str = Str::from_static("transactional-id");

#[test]
fn of_a_producer() {
    let broker = start("long-producer");
    let mut client = broker.client();
    let init = InitProducerIdRequest {
        transactional_id: Some(ID),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let answer = client.ask(&init, 5);
    assert_eq!(answer.error_code, 0);
    let (producer_id, producer_epoch) = (answer.producer_id, answer.producer_epoch);
    for names in [unknown_then_known().collect::<Vec<Str>>(), vec![Str::from(KNOWN); NAMES]] {
        let topic = |name| AddPartitionsToTxnTopic { name, partitions: vec![0] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID,
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: names.into_iter().map(topic).collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        timed(&mut client, &request, 3);
    }
    let partitions = vec![TxnOffsetCommitRequestPartition::default()];
    let topic = |name| TxnOffsetCommitRequestTopic { name, partitions: partitions.clone() };
    let request = TxnOffsetCommitRequest {
        transactional_id: ID,
        group_id: Str::from("group"),
        producer_id,
        producer_epoch,
        generation_id: -1,
        topics: unknown_then_known().map(topic).collect(),
        ..TxnOffsetCommitRequest::default()
    };
    timed(&mut client, &request, 3);
}

#[test]
fn of_an_operator() {
    let broker = start("long-operator");
    let mut client = broker.client();
    let topic = |name| TopicRequest { name, partition_indexes: vec![0] };
    let topics = unknown_then_known().map(topic).collect();
    timed(&mut client, &DescribeProducersRequest { topics }, 0);
    let transactional_ids = names().collect();
    timed(&mut client, &DescribeTransactionsRequest { transactional_ids }, 0);
    let request = ListTransactionsRequest {
        state_filters: names().collect(),
        producer_id_filters: (0..NAMES as i64).collect(),
        ..ListTransactionsRequest::default()
    };
    timed(&mut client, &request, 0);
    let topic = |name| WritableTxnMarkerTopic { name, partition_indexes: vec![0] };
    let marker = |topics| WritableTxnMarker { topics, ..WritableTxnMarker::default() };
    let mut markers: Vec<WritableTxnMarker> =
        names().map(|name| marker(vec![topic(name)])).collect();
    markers.push(marker(unknown_then_known().map(topic).collect()));
    timed(&mut client, &WriteTxnMarkersRequest { markers }, 1);
}
