//! Consumers start where they are told to and see what is there.

use bytes::Bytes;
use klamm_client::{
    Client, Consumer, ConsumerOptions, OffsetReset, Producer, ProducerOptions, ProducerRecord,
    StartAt,
};
use klamm_model::{ErrorCode, Offset, Timestamp, TopicPartition};

use crate::fixture::{Cluster, PATIENCE, create, run};

async fn fill(client: &Client, topic: &str, count: i64) {
    create(client, topic, 1).await;
    let producer = Producer::new(client.clone(), ProducerOptions::default()).unwrap();
    for i in 0..count {
        let record = ProducerRecord {
            topic: topic.into(),
            timestamp: Some(Timestamp(1000 + 10 * i)),
            value: Some(Bytes::from(i.to_string())),
            ..ProducerRecord::default()
        };
        producer.send(record).await.unwrap();
    }
    producer.flush().await.unwrap();
}

async fn first_offset(client: &Client, topic: &str, at: StartAt) -> Option<i64> {
    let mut consumer = Consumer::new(client.clone(), ConsumerOptions::default());
    consumer.assign(&[(TopicPartition::new(topic, 0), at)]).await.unwrap();
    while !consumer.is_at_end() {
        if let Some(record) = consumer.poll(PATIENCE / 40).await.unwrap().first() {
            return Some(record.offset.0);
        }
    }
    None
}

#[test]
fn a_consumer_starts_at_an_offset_an_end_or_a_time() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        fill(&client, "places", 20).await;
        for (at, expected) in [
            (StartAt::Beginning, Some(0)),
            (StartAt::Offset(Offset(7)), Some(7)),
            (StartAt::BeforeEnd(3), Some(17)),
            (StartAt::BeforeEnd(99), Some(0)),
            (StartAt::Time(Timestamp(1095)), Some(10)),
            (StartAt::Time(Timestamp(1)), Some(0)),
            (StartAt::Time(Timestamp(9999)), None),
            (StartAt::End, None),
        ] {
            assert_eq!(first_offset(&client, "places", at).await, expected, "{at:?}");
        }
    });
}

#[test]
fn a_position_outside_of_the_log_is_reset_or_told() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        fill(&client, "outside", 5).await;
        let far = [(TopicPartition::new("outside", 0), StartAt::Offset(Offset(99)))];
        let options =
            ConsumerOptions { reset: OffsetReset::Earliest, ..ConsumerOptions::default() };
        let mut consumer = Consumer::new(client.clone(), options);
        consumer.assign(&far).await.unwrap();
        assert_eq!(consumer.poll(PATIENCE).await.unwrap()[0].offset, Offset(0));

        let options = ConsumerOptions { reset: OffsetReset::None, ..ConsumerOptions::default() };
        let mut consumer = Consumer::new(client, options);
        consumer.assign(&far).await.unwrap();
        let error = consumer.poll(PATIENCE).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    });
}

#[test]
fn records_come_in_pieces_of_the_size_that_was_asked_for() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        fill(&client, "pieces", 25).await;
        let options = ConsumerOptions { max_poll_records: 10, ..ConsumerOptions::default() };
        let mut consumer = Consumer::new(client, options);
        let partition = TopicPartition::new("pieces", 0);
        consumer.assign(&[(partition.clone(), StartAt::Beginning)]).await.unwrap();
        for (len, next) in [(10, 10), (10, 20), (5, 25)] {
            assert_eq!(consumer.poll(PATIENCE).await.unwrap().len(), len);
            assert_eq!(consumer.positions().next(), Some((&partition, Offset(next))));
        }
        assert!(consumer.is_at_end());
    });
}

#[test]
fn a_partition_that_does_not_exist_cannot_be_assigned() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "one", 1).await;
        let mut consumer = Consumer::new(client, ConsumerOptions::default());
        for (topic, partition) in [("one", 1), ("none", 0)] {
            let assigned = [(TopicPartition::new(topic, partition), StartAt::Beginning)];
            assert!(consumer.assign(&assigned).await.is_err(), "{topic}-{partition}");
        }
    });
}
