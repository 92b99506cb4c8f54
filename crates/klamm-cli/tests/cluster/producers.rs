//! What producers send is what is there.

use bytes::Bytes;
use klamm_client::{Idempotence, Producer, ProducerOptions, ProducerRecord, partition_for_key};
use klamm_model::{Acks, ErrorCode, Offset, Timestamp};
use klamm_records::{Codec, Compression};
use klamm_stdx::Str;

use crate::fixture::{Cluster, create, read_all, run};

#[test]
fn records_of_every_codec_come_back_whole() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        for codec in Codec::ALL {
            let topic = format!("codec-{codec}");
            create(&client, &topic, 1).await;
            let options =
                ProducerOptions { compression: codec.into(), ..ProducerOptions::default() };
            let producer = Producer::new(client.clone(), options).unwrap();
            let record = |i: i64| ProducerRecord {
                topic: topic.as_str().into(),
                partition: None,
                timestamp: Some(Timestamp(1_700_000_000_000 + i)),
                key: (i % 3 > 0).then(|| Bytes::from(format!("key {i}"))),
                value: (i % 5 > 0).then(|| Bytes::from(format!("value {i}").repeat(20))),
                headers: (0..i % 4)
                    .map(|n| {
                        let value = (n % 2 == 0).then(|| Bytes::from(format!("{n}")));
                        (Str::from(format!("h{n}")), value)
                    })
                    .collect(),
            };
            for i in 0..500 {
                producer.send(record(i)).await.unwrap();
            }
            producer.flush().await.unwrap();
            assert_eq!(producer.acknowledged_count(), 500);
            let read = read_all(&client, &topic, 1).await;
            assert_eq!(read.len(), 500, "{codec}");
            for (i, got) in (0..).zip(read) {
                let sent = record(i);
                assert_eq!(got.offset, Offset(i));
                assert_eq!(Some(got.timestamp), sent.timestamp);
                assert_eq!((got.key, got.value), (sent.key, sent.value));
                let headers: Vec<_> =
                    sent.headers.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
                assert_eq!(got.headers, headers);
            }
        }
    });
}

#[test]
fn a_compression_level_is_checked_and_used() {
    assert!(Compression::with_level(Codec::Gzip, 10).is_err());
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "levels", 1).await;
        let compression = Compression::with_level(Codec::Zstd, 19).unwrap();
        let options = ProducerOptions { compression, ..ProducerOptions::default() };
        let producer = Producer::new(client.clone(), options).unwrap();
        let value = Some(Bytes::from_static(b"v"));
        let record = ProducerRecord { topic: "levels".into(), value, ..Default::default() };
        let delivery = producer.send(record).await.unwrap();
        producer.flush().await.unwrap();
        assert_eq!(delivery.wait().await.unwrap().offset, Some(Offset(0)));
    });
}

#[test]
fn keys_go_where_kafkas_clients_send_them_and_deliveries_tell_offsets() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "keys", 7).await;
        let producer = Producer::new(client.clone(), ProducerOptions::default()).unwrap();
        let mut deliveries = Vec::new();
        for i in 0..200 {
            let key = Bytes::from(format!("user-{i}"));
            let record = ProducerRecord {
                topic: "keys".into(),
                key: Some(key.clone()),
                ..ProducerRecord::default()
            };
            deliveries.push((key, producer.send(record).await.unwrap()));
        }
        producer.flush().await.unwrap();
        let read = read_all(&client, "keys", 7).await;
        for (key, delivery) in deliveries {
            let told = delivery.wait().await.unwrap();
            assert_eq!(told.partition, partition_for_key(&key, 7));
            let offset = told.offset.unwrap();
            let is_it = |r: &&klamm_client::ConsumerRecord| {
                r.partition == told.partition && r.offset == offset
            };
            assert_eq!(read.iter().find(is_it).unwrap().key, Some(key));
        }
    });
}

#[test]
fn every_kind_of_acks_delivers() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "acks", 1).await;
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let idempotence = Idempotence::Disabled;
            let options = ProducerOptions { acks, idempotence, ..ProducerOptions::default() };
            let producer = Producer::new(client.clone(), options).unwrap();
            for _ in 0..10 {
                let record = ProducerRecord { topic: "acks".into(), ..ProducerRecord::default() };
                producer.send(record).await.unwrap();
            }
            producer.flush().await.unwrap();
        }
        assert_eq!(read_all(&client, "acks", 1).await.len(), 30);
    });
}

#[test]
fn many_small_batches_in_flight_stay_in_order() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "order", 2).await;
        let options = ProducerOptions { batch_bytes_max: 200, ..ProducerOptions::default() };
        let producer = Producer::new(client.clone(), options).unwrap();
        for i in 0..2000_i32 {
            let record = ProducerRecord {
                topic: "order".into(),
                partition: Some(i % 2),
                value: Some(Bytes::copy_from_slice(&i.to_be_bytes())),
                ..ProducerRecord::default()
            };
            producer.send(record).await.unwrap();
        }
        producer.flush().await.unwrap();
        let mut next = [0, 1];
        for record in read_all(&client, "order", 2).await {
            let value = i32::from_be_bytes(record.value.unwrap()[..].try_into().unwrap());
            let due = &mut next[record.partition as usize];
            assert_eq!(value, *due);
            *due += 2;
        }
        assert_eq!(next, [2000, 2001]);
    });
}

#[test]
fn a_record_that_is_refused_fails_alone_and_the_producer_goes_on() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "limits", 1).await;
        let producer = Producer::new(client.clone(), ProducerOptions::default()).unwrap();
        let record = |len| ProducerRecord {
            topic: "limits".into(),
            value: Some(Bytes::from(vec![b'x'; len])),
            ..ProducerRecord::default()
        };
        producer.send(record(10)).await.unwrap();
        producer.flush().await.unwrap();
        let refused = producer.send(record(2 * 1024 * 1024)).await.unwrap();
        let error = producer.flush().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
        assert_eq!(refused.wait().await.unwrap_err().code(), Some(ErrorCode::MessageTooLarge));
        producer.send(record(20)).await.unwrap();
        producer.flush().await.unwrap();
        assert_eq!(read_all(&client, "limits", 1).await.len(), 2);
    });
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "refused", 2).await;
        let contradiction = ProducerOptions { acks: Acks::Leader, ..ProducerOptions::default() };
        assert!(Producer::new(client.clone(), contradiction).is_err());
        let producer = Producer::new(client, ProducerOptions::default()).unwrap();
        for (topic, partition) in [("refused", 2), ("refused", -1), ("no/topic", 0)] {
            let partition = Some(partition);
            let record = ProducerRecord { topic: topic.into(), partition, ..Default::default() };
            assert!(producer.send(record).await.is_err(), "{topic}");
        }
    });
}
