//! Names without end: groups, producers and transactional ids, of which a broker keeps as many as
//! its configuration says, while whoever was there before goes on undisturbed.

use bytes::Bytes;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId};
use klamm_protocol::describe_producers_request::TopicRequest;
use klamm_protocol::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::{
    AddOffsetsToTxnRequest, ConsumerGroupHeartbeatRequest, DescribeProducersRequest, EndTxnRequest,
    InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest, ListTransactionsRequest,
};
use klamm_records::{BatchOptions, Producer};
use klamm_stdx::Str;
use klamm_testkit::{
    Broker, BrokerOptions, Client, WAIT_MAX, batch_of, produce_request, wait_until,
};

/// Names, unless `KLAMM_TEST_NAMES` says otherwise.
const NAMES: usize = 5_000;
/// Connections that bring them.
const CONNECTIONS: usize = 8;
/// Most memory that they may leave behind.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

fn names() -> usize {
    let names = std::env::var("KLAMM_TEST_NAMES").ok();
    names.map_or(NAMES, |text| text.parse().expect("KLAMM_TEST_NAMES is a number"))
}

/// Asks for each name, on one of many connections.
fn for_each(broker: &Broker, ask: impl Fn(&mut Client, usize) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let ask = &ask;
            scope.spawn(move || {
                let mut client = broker.client();
                for n in (first..names()).step_by(CONNECTIONS) {
                    ask(&mut client, n);
                }
            });
        }
    });
}

#[track_caller]
fn check_growth(broker: &Broker, before: u64, what: &str) {
    let (now, most) = (broker.resident_bytes(), broker.resident_bytes_max());
    let [before_kib, now_kib, most_kib] = [before, now, most].map(|bytes| bytes >> 10);
    println!("{} {what}: {before_kib} KiB before, {now_kib} after, {most_kib} at most", names());
    let growth = now.saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{what}: {growth} bytes more than before");
}

fn init(transactional_id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(Str::from(transactional_id)),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    }
}

/// A producer of a transactional id, as soon as there is a coordinator.
fn begin(client: &mut Client, transactional_id: &str) -> (i64, i16) {
    wait_until("the coordinator", WAIT_MAX, || {
        let answer = client.ask(&init(transactional_id), 5);
        (answer.error_code == 0).then_some((answer.producer_id, answer.producer_epoch))
    })
}

fn coordinators(broker: &Broker) {
    for key_type in [0, 1] {
        let request = klamm_protocol::FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec![Str::from("any")],
            ..klamm_protocol::FindCoordinatorRequest::default()
        };
        wait_until("a coordinator", WAIT_MAX, || {
            let answer = broker.client().ask(&request, 4);
            (answer.coordinators[0].error_code == 0).then_some(())
        });
    }
}

#[test]
fn transactional_ids_are_kept_up_to_a_bound_and_open_transactions_stay() {
    let options = BrokerOptions::default()
        .with("transaction.state.log.num.partitions", "1")
        .with("klamm.transactional.ids.max", "1000");
    let broker = Broker::start_with("many-transactional-ids", options);
    coordinators(&broker);
    let mut client = broker.client();
    let (producer_id, producer_epoch) = begin(&mut client, "first");
    let add = AddOffsetsToTxnRequest {
        transactional_id: Str::from("first"),
        producer_id,
        producer_epoch,
        group_id: Str::from("readers"),
    };
    assert_eq!(client.ask(&add, 3).error_code, 0);
    let before = broker.resident_bytes();
    for_each(&broker, |client, n| {
        assert_eq!(client.ask(&init(&format!("name-{n}")), 5).error_code, 0);
    });
    check_growth(&broker, before, "transactional ids");
    let known = client.ask(&ListTransactionsRequest::default(), 0).transaction_states.len();
    assert!((500..=1000).contains(&known), "{known} are known");
    let transactional_id = Str::from("first");
    let end = EndTxnRequest { transactional_id, producer_id, producer_epoch, committed: true };
    assert_eq!(client.ask(&end, 3).error_code, 0, "who has an open transaction is not forgotten");
    let again = begin(&mut client, "name-0");
    assert!(again.0 > producer_id, "whoever was forgotten is welcome");
}

#[test]
fn producers_are_forgotten_when_they_have_been_idle_for_as_long_as_configured() {
    let options = BrokerOptions::default()
        .with("producer.id.expiration.ms", "1000")
        .with("producer.id.expiration.check.interval.ms", "200");
    let broker = Broker::start_with("many-producers", options);
    broker.client().create_topic("t", 1, &[]);
    let before = broker.resident_bytes();
    let write = |n: usize| {
        let id = ProducerId(1_000_000 + i64::try_from(n).expect("it fits"));
        let producer = Producer { id, epoch: ProducerEpoch(0), base_sequence: 0 };
        let options = BatchOptions { producer: Some(producer), ..BatchOptions::default() };
        produce_request("t", 0, &batch_of(options, &[b"v"]))
    };
    for_each(&broker, |client, n| {
        let answer = client.ask(&write(n), 9);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    });
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest { name: Str::from("t"), partition_indexes: vec![0] }],
    };
    let mut client = broker.client();
    wait_until("idle producers to be forgotten", WAIT_MAX, || {
        let answer = client.ask(&request, 0);
        answer.topics[0].partitions[0].active_producers.is_empty().then_some(())
    });
    check_growth(&broker, before, "producers");
}

/// A member that does not come back with the id that it is given.
fn join(name: String) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(name),
        session_timeout_ms: 500,
        rebalance_timeout_ms: 500,
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: Bytes::from_static(&[0; 10]),
        }],
        ..JoinGroupRequest::default()
    }
}

/// A member of the consumer protocol that joins, with epoch 0, or leaves, with -1.
fn beat(name: String, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from(name),
        member_id: Str::from("QkJCQkJCQkJCQkJCQkJCQg"),
        member_epoch,
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(vec![Str::from("t")]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

#[test]
fn groups_that_nobody_stays_in_are_forgotten() {
    let options = BrokerOptions::default()
        .with("group.min.session.timeout.ms", "100")
        .with("offsets.retention.check.interval.ms", "500")
        .with("offsets.topic.num.partitions", "3");
    let broker = Broker::start_with("many-groups", options);
    coordinators(&broker);
    let mut client = broker.client();
    // What the first round took serves the second.
    let mut before = 0;
    for round in 0..2 {
        for_each(&broker, |client, n| {
            let code = client.ask(&join(format!("classic-{round}-{n}")), 9).error_code;
            assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::MemberIdRequired));
            for epoch in [0, -1] {
                let beat = beat(format!("consumer-{round}-{n}"), epoch);
                assert_eq!(client.ask(&beat, 1).error_code, 0);
            }
        });
        wait_until("the groups to be forgotten", WAIT_MAX, || {
            let groups = client.ask(&ListGroupsRequest::default(), 4).groups;
            groups.is_empty().then_some(())
        });
        if round == 0 {
            before = broker.resident_bytes();
        }
    }
    check_growth(&broker, before, "groups");
}
