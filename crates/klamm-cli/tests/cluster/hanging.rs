//! A transaction that nobody will end is found and ended.

use klamm_client::{Client, Purpose, TransactionFilter};
use klamm_codec::RecordsField;
use klamm_model::{ErrorCode, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_protocol::ProduceRequest;
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_records::{BatchBuilder, BatchOptions, Producer, RecordToAppend};
use serde_json::Value;

use crate::fixture::{Cluster, create, read_all, read_committed, run};
use crate::transactions::{open, record};

/// A producer that no coordinator knows.
const UNKNOWN: i64 = 4711;
/// The last version of Produce that does not bring its partition into the transaction.
const BEFORE_V2: i16 = 11;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A partition takes the first write of a transaction without asking, as brokers before KIP-890.
fn without_verification() -> Cluster {
    Cluster::start_with(&[
        ("transaction.partition.verification.enable", "false"),
        ("klamm.metrics.listeners", "http://127.0.0.1:0"),
    ])
}

/// Writes a record of a transaction that no coordinator hears of.
async fn write_behind_the_coordinator(client: &Client, topic: &str, id: i64, at: Timestamp) {
    let producer = Some(Producer { id: ProducerId(id), epoch: ProducerEpoch(3), base_sequence: 0 });
    let options = BatchOptions { producer, is_transactional: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    let value = Some(&b"lost"[..]);
    builder.push(RecordToAppend { timestamp: at, value, ..RecordToAppend::default() });
    let request = ProduceRequest {
        transactional_id: Some("ghost".into()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: RecordsField::Bytes(builder.build().unwrap().into()),
            }],
            ..TopicProduceData::default()
        }],
    };
    client.topic(&topic.into(), klamm_client::AutoCreate::Never).await.unwrap();
    let connection = client.broker(NodeId(1), Purpose::Data).await.unwrap();
    let response = connection.call_version(&request, BEFORE_V2).await.unwrap();
    let line = &response.responses[0].partition_responses[0];
    assert_eq!(line.error_code, 0, "{:?}", line.error_message);
}

fn long_ago(client: &Client) -> Timestamp {
    Timestamp(client.env().clock.wall().0 - 3_600_000)
}

#[test]
fn a_transaction_that_nobody_will_end_is_found_and_aborted() {
    let cluster = without_verification();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        write_behind_the_coordinator(&client, "t", UNKNOWN, long_ago(&client)).await;
        let mut producer = open(&client, "honest").await;
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "behind it")).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(read_all(&client, "t", 1).await.len(), 2);
        assert_eq!(
            read_committed(&client, ("t", 1), 0).await.len(),
            0,
            "nothing behind it is stable"
        );
    });
    let late = "kafka_server_replicamanager_partitionswithlatetransactionscount";
    assert_eq!(cluster.metric(late), 1.0);
    let find = ["transaction", "find-hanging", "-o", "json"];
    let found = json(&cluster.klamm(&find));
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&found[0]["topic"], &found[0]["partition"]), (&"t".into(), &0.into()));
    assert_eq!(found[0]["producer_id"], UNKNOWN);
    assert_eq!(
        (&found[0]["producer_epoch"], &found[0]["transaction_start"]),
        (&3.into(), &0.into())
    );
    let younger = ["transaction", "find-hanging", "t:0", "--max-transaction-timeout", "2h"];
    assert_eq!(cluster.klamm(&younger).lines().count(), 1, "only the headers");

    let abort = ["transaction", "abort", "t", "0", "--start-offset"];
    let error = cluster.klamm_fails(&[&abort[..], &["7"]].concat());
    assert!(error.contains("producer 4711 at offset 0"), "{error}");
    let done = cluster.klamm(&[&abort[..], &["0"]].concat());
    assert_eq!(done, "aborted the transaction of producer 4711 epoch 3 in t-0\n");
    assert_eq!(json(&cluster.klamm(&find)), serde_json::json!([]));
    assert_eq!(cluster.metric(late), 0.0);
    run(async {
        let client = cluster.client();
        assert_eq!(read_committed(&client, ("t", 1), 1).await, ["behind it"]);
    });
}

#[test]
fn a_hanging_transaction_is_aborted_by_its_producer_id() {
    let cluster = without_verification();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        write_behind_the_coordinator(&client, "t", UNKNOWN, long_ago(&client)).await;
    });
    cluster.klamm_fails(&["transaction", "abort", "t", "0", "--producer-id", "5"]);
    cluster.klamm(&["transaction", "abort", "t", "0", "--producer-id", "4711"]);
    cluster.klamm_fails(&["transaction", "abort", "t", "0", "--producer-id", "4711"]);
    cluster.klamm_fails(&["transaction", "abort", "t", "1", "--producer-id", "4711"]);
    cluster.klamm_fails(&["transaction", "abort", "none", "0", "--producer-id", "4711"]);
}

#[test]
fn a_transaction_that_its_coordinator_has_is_not_aborted_behind_its_back() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let mut producer = open(&client, "alive").await;
        producer.begin().await.unwrap();
        let mut old = record("t", 0, "x");
        old.timestamp = Some(long_ago(&client));
        producer.send(old).await.unwrap();
        producer.flush().await.unwrap();
        let found = cluster.klamm(&["transaction", "find-hanging", "-o", "json"]);
        assert_eq!(json(&found), serde_json::json!([]));
        let error = cluster.klamm_fails(&["transaction", "abort", "t", "0", "--start-offset", "0"]);
        assert!(error.contains("a coordinator has this transaction"), "{error}");
        producer.commit().await.unwrap();
        assert_eq!(read_committed(&client, ("t", 1), 1).await, ["x"]);
    });
}

#[test]
fn transactions_are_listed_and_described() {
    let cluster = Cluster::start_with(&[("klamm.metrics.listeners", "http://127.0.0.1:0")]);
    run(async {
        let client = cluster.client();
        create(&client, "t", 2).await;
        let mut first = open(&client, "first").await;
        let mut second = open(&client, "second").await;
        first.begin().await.unwrap();
        first.send(record("t", 1, "x")).await.unwrap();
        first.flush().await.unwrap();
        second.begin().await.unwrap();
        second.send(record("t", 0, "y")).await.unwrap();
        second.commit().await.unwrap();

        assert_eq!(cluster.metric("klamm_transactions{state=\"Ongoing\"}"), 1.0);
        assert_eq!(cluster.metric("klamm_transactions{state=\"Empty\"}"), 0.0);
        let list = |more: &[&str]| {
            let listed =
                json(&cluster.klamm(&[&["transaction", "list", "-o", "json"], more].concat()));
            let names = listed.as_array().unwrap().iter();
            names
                .map(|line| line["transactional_id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&[]), ["first", "second"]);
        assert_eq!(list(&["--state", "Ongoing"]), ["first"]);
        assert_eq!(list(&["--pattern", "sec.*"]), ["second"]);
        let (id, epoch) = first.identity();
        assert_eq!(list(&["--producer-id", &id.to_string()]), ["first"]);
        assert_eq!(list(&["--longer-than", "1h", "--state", "Ongoing"]), [""; 0]);
        assert!(cluster.klamm_fails(&["transaction", "list", "--state", "Open"]).contains("Open"));

        let describe = ["transaction", "describe", "first", "-o", "json"];
        let described = json(&cluster.klamm(&describe));
        assert_eq!(described["state"], "Ongoing");
        assert_eq!(described["partitions"], serde_json::json!(["t-1"]));
        assert_eq!(described["producer_epoch"], epoch.0);
        assert!(described["open_for_ms"].as_i64().unwrap() >= 0);
        assert!(cluster.klamm(&describe[..3]).contains("t-1"));
        let error = cluster.klamm_fails(&["transaction", "describe", "third"]);
        assert!(error.contains("klamm transaction list"), "{error}");

        let producers = ["transaction", "producers", "t:1", "-o", "json"];
        let known = json(&cluster.klamm(&producers));
        assert_eq!(known[0]["producer_id"], id.0);
        assert_eq!(known[0]["transaction_start"], 0);
        cluster.klamm_fails(&["transaction", "producers", "t:2"]);
        first.commit().await.unwrap();
    });
}

#[test]
fn what_the_native_client_is_refused_it_tells() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let unknown = client.describe_transaction(&"nobody".into()).await.unwrap_err();
        assert_eq!(unknown.code(), Some(ErrorCode::TransactionalIdNotFound));
        let pattern = Some("(".into());
        let filter = TransactionFilter { pattern, ..TransactionFilter::default() };
        let refused = client.list_transactions(&filter).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::InvalidRegularExpression));
        let nowhere = klamm_model::TopicPartition::new("t", 9);
        assert!(client.describe_producers(&[nowhere]).await.is_err());
        assert_eq!(read_all(&client, "t", 1).await.first().map(|r| r.offset), None::<Offset>);
    });
}
