//! Members of a group share partitions, and keep their place.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use klamm_client::{
    ConsumerOptions, GroupConsumer, GroupOptions, OffsetReset, Producer, ProducerOptions,
    ProducerRecord,
};
use klamm_model::Offset;

use crate::fixture::{Cluster, create, run};

/// How long one member waits before the next has its turn.
const TURN: Duration = Duration::from_millis(50);

fn member(cluster: &Cluster, topic: &str) -> GroupConsumer {
    let group = GroupOptions {
        heartbeat_interval: Duration::from_millis(50),
        ..GroupOptions::new("readers")
    };
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..ConsumerOptions::default() };
    GroupConsumer::new(cluster.client(), vec![topic.into()], group, options)
}

/// Polls all members at once until their shares are of these sizes.
async fn settle(members: &mut [GroupConsumer], sizes: &[usize]) -> usize {
    let mut read = 0;
    loop {
        let polls: Vec<_> = members.iter_mut().map(|member| member.poll(TURN)).collect();
        for records in join_all(polls).await {
            read += records.unwrap().len();
        }
        let mut now: Vec<_> = members.iter().map(|m| m.positions().count()).collect();
        now.sort_unstable();
        if now == sizes {
            return read;
        }
    }
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        match futures.iter().all(|(_, output)| output.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

async fn fill(cluster: &Cluster, topic: &str, count: u32) {
    let producer = Producer::new(cluster.client(), ProducerOptions::default()).unwrap();
    for i in 0..count {
        let record = ProducerRecord {
            topic: topic.into(),
            partition: Some((i % 12) as i32),
            value: Some(Bytes::from(i.to_string())),
            ..ProducerRecord::default()
        };
        producer.send(record).await.unwrap();
    }
    producer.flush().await.unwrap();
}

#[test]
fn three_members_share_twelve_partitions_and_take_over_from_one_that_leaves() {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "shared", 12).await;
        fill(&cluster, "shared", 1200).await;
        let mut members: Vec<_> = (0..3).map(|_| member(&cluster, "shared")).collect();
        let mut read = settle(&mut members, &[4, 4, 4]).await;
        let owned: BTreeSet<_> =
            members.iter().flat_map(|m| m.positions().map(|(p, _)| p.partition)).collect();
        assert_eq!(owned, (0..12).collect());

        let described = client.describe_group(&"readers".into()).await.unwrap();
        assert_eq!((described.state.as_str(), described.assignor.as_str()), ("Stable", "range"));
        assert_eq!(described.members.len(), 3);
        assert!(described.members.iter().all(|member| member.partitions.len() == 4));

        members.remove(0).leave().await.unwrap();
        read += settle(&mut members, &[6, 6]).await;
        while read < 1200 {
            for member in &mut members {
                read += member.poll(TURN).await.unwrap().len();
            }
        }
        assert_eq!(read, 1200, "positions are committed before a share is given back");
        for member in members {
            member.leave().await.unwrap();
        }
        let offsets = client.group_offsets(&"readers".into()).await.unwrap();
        assert_eq!(offsets.len(), 12);
        assert!(offsets.values().all(|o| o.current == Offset(100) && o.lag() == Some(0)));
    });
}

#[test]
fn a_member_goes_on_where_the_last_one_has_committed() {
    let cluster = Cluster::start();
    run(async {
        create(&cluster.client(), "resumed", 12).await;
        fill(&cluster, "resumed", 24).await;
        let mut first = member(&cluster, "resumed");
        let mut read = 0;
        while read < 24 {
            read += first.poll(TURN).await.unwrap().len();
        }
        first.commit().await.unwrap();
        first.leave().await.unwrap();
        fill(&cluster, "resumed", 12).await;
        let mut second = member(&cluster, "resumed");
        let mut read = 0;
        while read < 12 || !second.is_at_end() {
            read += second.poll(TURN).await.unwrap().len();
        }
        assert_eq!(read, 12);
        assert!(second.positions().all(|(_, offset)| offset == Offset(3)));
    });
}
