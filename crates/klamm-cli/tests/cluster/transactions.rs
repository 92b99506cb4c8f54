//! Transactions of the native client: what is committed counts, and nothing else.

use bytes::Bytes;
use klamm_client::{
    Client, ClientError, GroupMetadata, Producer, ProducerOptions, ProducerRecord,
    TransactionOptions, TransactionalProducer,
};
use klamm_model::{ErrorCode, Offset, ProducerEpoch, TopicPartition};

use crate::fixture::{Cluster, create, read_all, read_committed, run};

pub(crate) async fn open(client: &Client, name: &str) -> TransactionalProducer {
    let options = TransactionOptions::new(name);
    TransactionalProducer::open(client.clone(), options, ProducerOptions::default()).await.unwrap()
}

pub(crate) fn record(topic: &str, partition: i32, value: &str) -> ProducerRecord {
    ProducerRecord {
        topic: topic.into(),
        partition: Some(partition),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..ProducerRecord::default()
    }
}

async fn send(producer: &mut TransactionalProducer, topic: &str, values: &[&str]) {
    for (value, partition) in values.iter().zip([0, 1].into_iter().cycle()) {
        producer.send(record(topic, partition, value)).await.unwrap();
    }
}

fn what_is_committed_is_read_and_what_is_aborted_is_not(cluster: &Cluster) {
    run(async {
        let client = cluster.client();
        create(&client, "t", 2).await;
        let mut producer = open(&client, "writer").await;
        for (values, commits) in
            [(["a", "b"], true), (["c", "d"], false), (["e", "f"], true), (["g", "h"], true)]
        {
            producer.begin().await.unwrap();
            send(&mut producer, "t", &values).await;
            match commits {
                true => producer.commit().await.unwrap(),
                false => producer.abort().await.unwrap(),
            }
        }
        producer.begin().await.unwrap();
        send(&mut producer, "t", &["i", "j"]).await;
        producer.flush().await.unwrap();
        let mut seen = read_committed(&client, ("t", 2), 6).await;
        seen.sort_unstable();
        assert_eq!(seen, ["a", "b", "e", "f", "g", "h"], "the last one is still open");
        producer.commit().await.unwrap();
        assert_eq!(read_committed(&client, ("t", 2), 8).await.len(), 8);
        assert!(read_all(&client, "t", 2).await.len() >= 8);
    });
}

#[test]
fn what_is_committed_is_read_and_what_is_aborted_is_not_with_an_epoch_for_each_transaction() {
    let cluster = Cluster::start();
    what_is_committed_is_read_and_what_is_aborted_is_not(&cluster);
    run(async {
        let client = cluster.client();
        let mut producer = open(&client, "epochs").await;
        let (id, first) = producer.identity();
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "x")).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(producer.identity(), (id, first.next()));
    });
}

#[test]
fn what_is_committed_is_read_and_what_is_aborted_is_not_with_partitions_that_are_announced() {
    let cluster = Cluster::start_with_transactions_v1();
    what_is_committed_is_read_and_what_is_aborted_is_not(&cluster);
    run(async {
        let client = cluster.client();
        let mut producer = open(&client, "epochs").await;
        let before = producer.identity();
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "x")).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(producer.identity(), before);
    });
}

#[test]
fn a_transaction_without_records_ends_and_leaves_nothing() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let mut producer = open(&client, "idle").await;
        producer.begin().await.unwrap();
        producer.commit().await.unwrap();
        producer.begin().await.unwrap();
        producer.abort().await.unwrap();
        assert!(producer.commit().await.is_err(), "none is open");
        assert!(producer.send(record("t", 0, "x")).await.is_err());
        assert_eq!(read_all(&client, "t", 1).await.len(), 0);
    });
}

#[test]
fn a_producer_whose_name_was_taken_over_is_fenced_and_its_transaction_is_aborted() {
    for cluster in [Cluster::start(), Cluster::start_with_transactions_v1()] {
        run(async {
            let client = cluster.client();
            create(&client, "t", 1).await;
            let mut first = open(&client, "name").await;
            first.begin().await.unwrap();
            first.send(record("t", 0, "old")).await.unwrap();
            first.flush().await.unwrap();
            let mut second = open(&client, "name").await;
            let error = first.commit().await.unwrap_err();
            assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
            let error = first.begin().await.unwrap_err();
            assert!(matches!(error, ClientError::Fenced { .. }), "for good: {error}");
            second.begin().await.unwrap();
            second.send(record("t", 0, "new")).await.unwrap();
            second.commit().await.unwrap();
            assert_eq!(read_committed(&client, ("t", 1), 1).await, ["new"]);
        });
    }
}

#[test]
fn after_a_record_that_is_refused_the_transaction_is_aborted_and_the_next_one_works() {
    for cluster in [Cluster::start(), Cluster::start_with_transactions_v1()] {
        run(async {
            let client = cluster.client();
            create(&client, "t", 1).await;
            let mut producer = open(&client, "limits").await;
            let large = "x".repeat(2 * 1024 * 1024);
            producer.begin().await.unwrap();
            producer.send(record("t", 0, "with the large one")).await.unwrap();
            producer.flush().await.unwrap();
            producer.send(record("t", 0, &large)).await.unwrap();
            let error = producer.commit().await.unwrap_err();
            assert!(matches!(error, ClientError::MustAbort(_)), "{error}");
            assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
            let error = producer.send(record("t", 0, "y")).await.unwrap_err();
            assert!(matches!(error, ClientError::MustAbort(_)), "{error}");
            producer.abort().await.unwrap();
            producer.begin().await.unwrap();
            producer.send(record("t", 0, "after")).await.unwrap();
            producer.commit().await.unwrap();
            assert_eq!(read_committed(&client, ("t", 1), 1).await, ["after"]);
        });
    }
}

#[test]
fn what_waits_when_a_transaction_is_aborted_is_never_sent() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let options =
            ProducerOptions { linger: crate::fixture::PATIENCE, ..ProducerOptions::default() };
        let transaction = TransactionOptions::new("waits");
        let mut producer =
            TransactionalProducer::open(client.clone(), transaction, options).await.unwrap();
        // Right after a commit, whose markers may still be on their way.
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "first")).await.unwrap();
        producer.commit().await.unwrap();
        producer.begin().await.unwrap();
        let delivery = producer.send(record("t", 0, "x")).await.unwrap();
        producer.abort().await.unwrap();
        assert!(delivery.wait().await.is_err());
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "y")).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(read_committed(&client, ("t", 1), 2).await, ["first", "y"]);
        let values = read_all(&client, "t", 1).await.into_iter().map(|record| record.value);
        assert_eq!(values.collect::<Vec<_>>(), [Some("first".into()), Some("y".into())]);
    });
}

#[test]
fn offsets_count_with_their_transaction() {
    for cluster in [Cluster::start(), Cluster::start_with_transactions_v1()] {
        run(async {
            let client = cluster.client();
            create(&client, "t", 1).await;
            let mut producer = open(&client, "pipe").await;
            let group = GroupMetadata::without_member("readers");
            let partition = TopicPartition::new("t", 0);
            for (offset, commits) in [(1, true), (2, false), (3, true)] {
                producer.begin().await.unwrap();
                producer.send(record("t", 0, "x")).await.unwrap();
                let offsets = [(partition.clone(), Offset(offset))];
                producer.send_offsets(&offsets, &group).await.unwrap();
                match commits {
                    true => producer.commit().await.unwrap(),
                    false => producer.abort().await.unwrap(),
                }
                let kept = client.group_offsets(&"readers".into()).await.unwrap();
                let expected = if commits { offset } else { offset - 1 };
                assert_eq!(kept[&partition].current, Offset(expected));
            }
        });
    }
}

#[test]
fn offsets_of_a_member_that_its_group_does_not_know_must_be_aborted() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let mut producer = open(&client, "pipe").await;
        producer.begin().await.unwrap();
        producer.send(record("t", 0, "x")).await.unwrap();
        let group = GroupMetadata {
            group_id: "readers".into(),
            member_id: "nobody".into(),
            generation_id: 7,
            instance_id: None,
        };
        let offsets = [(TopicPartition::new("t", 0), Offset(1))];
        let error = producer.send_offsets(&offsets, &group).await.unwrap_err();
        assert!(matches!(error, ClientError::MustAbort(_)), "{error}");
        producer.abort().await.unwrap();
        assert_eq!(read_committed(&client, ("t", 1), 0).await.len(), 0);
        // Also without a record the group's partition is in the transaction, and has to leave it.
        producer.begin().await.unwrap();
        producer.send_offsets(&offsets, &group).await.unwrap_err();
        producer.abort().await.unwrap();
        let listed = client.describe_transaction(&"pipe".into()).await.unwrap();
        assert_ne!(listed.state, "Ongoing");
    });
}

#[test]
fn options_that_cannot_be_are_refused() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        let opened = |name: &str, options| {
            TransactionalProducer::open(client.clone(), TransactionOptions::new(name), options)
        };
        assert!(opened("", ProducerOptions::default()).await.is_err());
        let idempotence = klamm_client::Idempotence::Disabled;
        let without = ProducerOptions { idempotence, ..ProducerOptions::default() };
        assert!(opened("x", without).await.is_err());
        let long = TransactionOptions {
            timeout: std::time::Duration::from_secs(16 * 60),
            ..TransactionOptions::new("x")
        };
        let refused =
            TransactionalProducer::open(client.clone(), long, ProducerOptions::default()).await;
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::InvalidTransactionTimeout));
    });
}

#[test]
fn an_idempotent_producer_goes_on_in_its_next_epoch_after_a_record_that_failed() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "t", 1).await;
        let producer = Producer::new(client.clone(), ProducerOptions::default()).unwrap();
        producer.send(record("t", 0, "a")).await.unwrap();
        producer.flush().await.unwrap();
        producer.send(record("t", 0, &"x".repeat(2 * 1024 * 1024))).await.unwrap();
        producer.flush().await.unwrap_err();
        producer.send(record("t", 0, "b")).await.unwrap();
        producer.flush().await.unwrap();
        let partition = TopicPartition::new("t", 0);
        let producers = client.describe_producers(std::slice::from_ref(&partition)).await.unwrap();
        let [known] = &producers[&partition][..] else { panic!("{producers:?}") };
        assert_eq!((known.epoch, known.last_sequence), (ProducerEpoch(1), 0));
        assert_eq!(read_all(&client, "t", 1).await.len(), 2);
    });
}
