//! Transactions that never were, producers that are fenced, and markers from a client.

use klamm_model::{ProducerEpoch, ProducerId};
use klamm_protocol::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use klamm_protocol::describe_producers_request::TopicRequest;
use klamm_protocol::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use klamm_protocol::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use klamm_protocol::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};
use klamm_records::BatchOptions;
use klamm_stdx::Str;
use klamm_testkit::{WAIT_MAX, batch_of, produce_request, wait_until};

use super::Probe;

/// A transactional producer.
#[derive(Clone, Copy)]
struct Producer {
    id: i64,
    epoch: i16,
}

/// Nobody has this one.
const UNKNOWN: Producer = Producer { id: 900_000, epoch: 0 };

fn init(transactional_id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(Str::from(transactional_id)),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    }
}

/// A producer that has just begun, in the next epoch of its id.
fn begin(probe: &mut Probe, transactional_id: &str) -> Producer {
    wait_until("the transaction coordinator", WAIT_MAX, || {
        let answer = probe.client.ask(&init(transactional_id), 5);
        let is_there = answer.error_code == 0;
        is_there.then_some(Producer { id: answer.producer_id, epoch: answer.producer_epoch })
    })
}

pub(crate) fn probe(probe: &mut Probe) {
    let producer = begin(probe, "x");
    beginnings(probe, producer);
    let producer = begin(probe, "x");
    ends(probe, producer);
    let producer = begin(probe, "x");
    additions(probe, producer);
    offsets(probe, producer);
    markers(probe);
    writes(probe, producer);
    descriptions(probe);
}

fn beginnings(probe: &mut Probe, producer: Producer) {
    let wrong = |change: &dyn Fn(&mut InitProducerIdRequest)| {
        let mut request = init("x");
        change(&mut request);
        request
    };
    let requests = [
        ("init: empty id", wrong(&|r| r.transactional_id = Some(Str::new()))),
        ("init: no timeout", wrong(&|r| r.transaction_timeout_ms = 0)),
        ("init: negative timeout", wrong(&|r| r.transaction_timeout_ms = -1)),
        ("init: timeout too long", wrong(&|r| r.transaction_timeout_ms = i32::MAX)),
        ("init: producer without epoch", wrong(&|r| r.producer_id = producer.id)),
        ("init: epoch without producer", wrong(&|r| r.producer_epoch = 3)),
        (
            "init: another producer",
            wrong(&|r| (r.producer_id, r.producer_epoch) = (UNKNOWN.id, UNKNOWN.epoch)),
        ),
        (
            "init: later epoch",
            wrong(&|r| (r.producer_id, r.producer_epoch) = (producer.id, producer.epoch + 5)),
        ),
        (
            "init: unknown id with a producer",
            wrong(&|r| {
                r.transactional_id = Some(Str::from("init-new"));
                (r.producer_id, r.producer_epoch) = (UNKNOWN.id, UNKNOWN.epoch);
            }),
        ),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 5).error_code;
        probe.note(what, code);
    }
}

fn ends(probe: &mut Probe, producer: Producer) {
    let end = |id: &str, by: Producer, committed| EndTxnRequest {
        transactional_id: Str::from(id),
        producer_id: by.id,
        producer_epoch: by.epoch,
        committed,
    };
    let older = Producer { epoch: producer.epoch - 1, ..producer };
    let later = Producer { epoch: producer.epoch + 1, ..producer };
    for version in [1, 2, 4, 5] {
        let cases = [
            ("unknown id", end("never", producer, true)),
            ("empty id", end("", producer, true)),
            ("unknown producer", end("x", UNKNOWN, true)),
            ("older epoch", end("x", older, true)),
            ("later epoch", end("x", later, true)),
            ("commit of what never began", end("x", producer, true)),
        ];
        for (what, request) in cases {
            let code = probe.client.ask(&request, version).error_code;
            probe.note(&format!("end v{version}: {what}"), code);
        }
    }
    let code = probe.client.ask(&end("x", producer, false), 4).error_code;
    probe.note("end v4: abort of what never began", code);
    let code = probe.client.ask(&end("x", producer, false), 5).error_code;
    probe.note("end v5: abort of what never began", code);
}

fn additions(probe: &mut Probe, producer: Producer) {
    let older = Producer { epoch: producer.epoch - 1, ..producer };
    let topic = |name: &str, partition| AddPartitionsToTxnTopic {
        name: Str::from(name),
        partitions: vec![partition],
    };
    let cases = [
        ("unknown id", "never", producer, vec![topic("t", 0)]),
        ("empty id", "", producer, vec![topic("t", 0)]),
        ("unknown producer", "x", UNKNOWN, vec![topic("t", 0)]),
        ("older epoch", "x", older, vec![topic("t", 0)]),
        ("unknown topic", "x", producer, vec![topic("unknown", 0)]),
        ("unknown partition", "x", producer, vec![topic("t", 9)]),
        ("one of two unknown", "x", producer, vec![topic("t", 0), topic("unknown", 0)]),
    ];
    for (what, id, by, topics) in cases {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: Str::from(id),
            v3_and_below_producer_id: by.id,
            v3_and_below_producer_epoch: by.epoch,
            v3_and_below_topics: topics.clone(),
            ..AddPartitionsToTxnRequest::default()
        };
        let mut answer = probe.client.ask(&request, 3).results_by_topic_v3_and_below;
        answer.sort_by(|a, b| b.name.cmp(&a.name));
        for topic in answer {
            let code = topic.results_by_partition[0].partition_error_code;
            probe.note(&format!("add v3: {what}, {}", topic.name), code);
        }
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: Str::from(id),
            producer_id: by.id,
            producer_epoch: by.epoch,
            verify_only: true,
            topics,
        };
        let transactions = vec![transaction];
        let request =
            AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() };
        let answer = probe.client.ask(&request, 5);
        probe.note(&format!("verify v5: {what}"), answer.error_code);
        let mut topics: Vec<_> =
            answer.results_by_transaction.into_iter().flat_map(|of| of.topic_results).collect();
        topics.sort_by(|a, b| b.name.cmp(&a.name));
        for topic in topics {
            let code = topic.results_by_partition[0].partition_error_code;
            probe.note(&format!("verify v5: {what}, {}", topic.name), code);
        }
    }
    for (what, id, by, group) in [
        ("unknown id", "never", producer, "g"),
        ("empty id", "", producer, "g"),
        ("unknown producer", "x", UNKNOWN, "g"),
        ("older epoch", "x", older, "g"),
        ("no group", "x", producer, ""),
    ] {
        let request = AddOffsetsToTxnRequest {
            transactional_id: Str::from(id),
            producer_id: by.id,
            producer_epoch: by.epoch,
            group_id: Str::from(group),
        };
        for version in [1, 4] {
            let code = probe.client.ask(&request, version).error_code;
            probe.note(&format!("add offsets v{version}: {what}"), code);
        }
    }
}

fn offset_in(producer: Producer) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: Str::from("x"),
        group_id: Str::from("ct"),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: Str::from("t"),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 0,
                committed_leader_epoch: -1,
                committed_metadata: None,
            }],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

fn offsets(probe: &mut Probe, producer: Producer) {
    let wrong = |change: &dyn Fn(&mut TxnOffsetCommitRequest)| {
        let mut request = offset_in(producer);
        change(&mut request);
        request
    };
    let long = Some(Str::from("m".repeat(4097).as_str()));
    let cases = [
        ("unknown id", wrong(&|r| r.transactional_id = Str::from("never"))),
        ("empty id", wrong(&|r| r.transactional_id = Str::new())),
        ("unknown producer", wrong(&|r| r.producer_id = UNKNOWN.id)),
        ("older epoch", wrong(&|r| r.producer_epoch -= 1)),
        ("no group", wrong(&|r| r.group_id = Str::new())),
        ("unknown topic", wrong(&|r| r.topics[0].name = Str::from("unknown"))),
        ("unknown partition", wrong(&|r| r.topics[0].partitions[0].partition_index = 9)),
        (
            "metadata too long",
            wrong(&|r| r.topics[0].partitions[0].committed_metadata = long.clone()),
        ),
        ("unknown member", wrong(&|r| r.member_id = Str::from("nobody"))),
        (
            "generation in an unknown group",
            wrong(&|r| {
                r.member_id = Str::from("nobody");
                r.generation_id = 3;
            }),
        ),
        (
            "wrong generation",
            wrong(&|r| {
                r.group_id = Str::from("g");
                r.member_id = Str::from("nobody");
                r.generation_id = 3;
            }),
        ),
        (
            "fenced instance",
            wrong(&|r| {
                r.group_id = Str::from("s");
                r.member_id = Str::from("nobody");
                r.group_instance_id = Some(Str::from("i"));
                r.generation_id = 1;
            }),
        ),
        (
            "member of a consumer group",
            wrong(&|r| {
                r.group_id = Str::from("c");
                r.member_id = Str::from("nobody");
                r.generation_id = 3;
            }),
        ),
    ];
    for (what, request) in cases {
        for version in [3, 4, 5] {
            let code = probe.client.ask(&request, version).topics[0].partitions[0].error_code;
            probe.note(&format!("offset in a transaction v{version}: {what}"), code);
        }
    }
}

/// Without an authorizer anyone may write markers, in Kafka too.
fn markers(probe: &mut Probe) {
    let cases = [
        ("unknown topic", UNKNOWN, 0, "unknown", 0),
        ("unknown partition", UNKNOWN, 0, "m", 9),
        ("unknown producer", UNKNOWN, 7, "m", 0),
        ("older coordinator", UNKNOWN, 6, "m", 0),
        ("later coordinator", UNKNOWN, 8, "m", 0),
        ("later epoch", Producer { epoch: 5, ..UNKNOWN }, 8, "m", 0),
        ("older epoch", Producer { epoch: 4, ..UNKNOWN }, 8, "m", 0),
        ("no producer", Producer { id: -1, epoch: 0 }, 8, "m", 0),
        ("no epoch", Producer { id: UNKNOWN.id + 1, epoch: -1 }, 8, "m", 0),
        ("negative coordinator", Producer { id: UNKNOWN.id + 2, epoch: 0 }, -1, "m", 0),
        ("compacted topic", UNKNOWN, 8, "__transaction_state", 0),
    ];
    for (what, producer, coordinator_epoch, topic, partition) in cases {
        for version in [1, 2] {
            let marker = WritableTxnMarker {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: Str::from(topic),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch,
                ..WritableTxnMarker::default()
            };
            let request = WriteTxnMarkersRequest { markers: vec![marker] };
            let answer = probe.client.ask(&request, version);
            let code = answer.markers[0].topics[0].partitions[0].error_code;
            probe.note(&format!("marker v{version}: {what}"), code);
        }
    }
}

fn writes(probe: &mut Probe, producer: Producer) {
    let older = Producer { epoch: producer.epoch - 1, ..producer };
    let cases = [
        ("not begun", Some("x"), producer, 0),
        ("older epoch", Some("x"), older, 0),
        ("unknown producer", Some("x"), UNKNOWN, 0),
        ("unknown id", Some("never"), UNKNOWN, 0),
        ("no id", None, producer, 0),
        ("begins in the middle", None, Producer { id: UNKNOWN.id + 3, epoch: 0 }, 5),
    ];
    for (what, id, by, sequence) in cases {
        for version in [9, 11] {
            let is_transactional = what != "begins in the middle";
            let (id_of, epoch) = (ProducerId(by.id), ProducerEpoch(by.epoch));
            let stamp = klamm_records::Producer { id: id_of, epoch, base_sequence: sequence };
            let options =
                BatchOptions { producer: Some(stamp), is_transactional, ..BatchOptions::default() };
            let mut request = produce_request("w", 0, &batch_of(options, &[b"v"]));
            request.transactional_id = id.map(Str::from);
            let answer = probe.client.ask(&request, version);
            let code = answer.responses[0].partition_responses[0].error_code;
            probe.note(&format!("write v{version}: {what}"), code);
        }
    }
}

fn descriptions(probe: &mut Probe) {
    for id in ["x", "never", ""] {
        let request = DescribeTransactionsRequest { transactional_ids: vec![Str::from(id)] };
        let code = probe.client.ask(&request, 0).transaction_states[0].error_code;
        probe.note(&format!("describe transaction {id:?}"), code);
    }
    for (topic, partition) in [("t", 0), ("t", 9), ("unknown", 0), ("", 0), ("a b", 0)] {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: Str::from(topic),
                partition_indexes: vec![partition],
            }],
        };
        let code = probe.client.ask(&request, 0).topics[0].partitions[0].error_code;
        probe.note(&format!("describe producers of {topic:?}-{partition}"), code);
    }
}
