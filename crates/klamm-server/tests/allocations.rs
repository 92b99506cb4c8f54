//! A ratchet: allocations per request, in the whole process, over a real connection. The client
//! in this test allocates nothing in its loop, so what is counted is the broker's.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use bytes::Bytes;
use klamm_codec::{RecordsField, Writer};
use klamm_config::{BrokerConfig, Properties};
use klamm_model::Timestamp;
use klamm_protocol::create_topics_request::CreatableTopic;
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::{CreateTopicsRequest, FetchRequest, ProduceRequest, Request, RequestHead};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend};
use klamm_server::{Node, NodeOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before and while counting.
const WARM_UP: usize = 300;
const COUNTED: usize = 1_000;

/// These only go down.
const PRODUCE_ALLOCATIONS_MAX: usize = 11;
const FETCH_ALLOCATIONS_MAX: usize = 23;

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn start(directory: &Directory) -> Node {
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
    properties.set("log.dirs", directory.0.display().to_string());
    properties.set("num.network.threads", "1");
    properties.set("klamm.log.durability", "page-cache");
    properties.set("klamm.metrics.listeners", "");
    let config = BrokerConfig::load(&properties).expect("the configuration is sound").config;
    let env = klamm_env::real::env();
    Node::start(NodeOptions { config, properties, env }).expect("the node starts")
}

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let head = RequestHead {
        api_key: R::KEY,
        api_version: version,
        correlation_id: 7,
        client_id: Some("t".into()),
    };
    let mut w = Writer::new();
    w.i32(0);
    head.encode(&mut w).expect("the header is short");
    request.encode(&mut w, version).expect("the version can tell it");
    let len = i32::try_from(w.len() - 4).expect("it is small");
    w.set_i32(0, len);
    w.into_vec()
}

/// Sends a frame and reads its answer into `answer`; gives the answer's length.
fn exchange(stream: &mut TcpStream, frame: &[u8], answer: &mut [u8]) -> usize {
    stream.write_all(frame).expect("the broker reads");
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).expect("the broker answers");
    let len = i32::from_be_bytes(prefix) as usize;
    stream.read_exact(&mut answer[..len]).expect("the answer is whole");
    len
}

fn produce_frame() -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let wall = klamm_env::real::env().clock.wall();
    batch.push(RecordToAppend {
        timestamp: Timestamp(wall.0),
        value: Some(&[b'x'; 100]),
        ..RecordToAppend::default()
    });
    let records = RecordsField::Bytes(Bytes::from(batch.build().expect("nothing is compressed")));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic =
        TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() };
    frame(
        &ProduceRequest {
            acks: 1,
            timeout_ms: 1_000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        },
        9,
    )
}

fn fetch_frame() -> Vec<u8> {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: 0,
        partition_max_bytes: 500,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..FetchTopic::default()
    }];
    let fetch = FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1_000,
        topics,
        ..FetchRequest::default()
    };
    frame(&fetch, 12)
}

fn allocations_per_request(stream: &mut TcpStream, frame: &[u8]) -> usize {
    let mut answer = vec![0; 64 * 1024];
    for _ in 0..WARM_UP {
        exchange(stream, frame, &mut answer);
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        exchange(stream, frame, &mut answer);
    }
    region.change().allocations.div_ceil(COUNTED)
}

#[test]
fn a_request_takes_no_more_allocations_than_it_did() {
    let directory =
        Directory(std::env::temp_dir().join(format!("klamm-allocations-{}", std::process::id())));
    let node = start(&directory);
    let address = node.address("PLAINTEXT").expect("the listener is there");
    let mut stream = TcpStream::connect(address).expect("the broker accepts");
    stream.set_nodelay(true).expect("the socket takes options");
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let create = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 1_000,
        ..CreateTopicsRequest::default()
    };
    exchange(&mut stream, &frame(&create, 7), &mut vec![0; 64 * 1024]);

    let produce = allocations_per_request(&mut stream, &produce_frame());
    let fetch = allocations_per_request(&mut stream, &fetch_frame());
    println!("allocations per request: produce {produce}, fetch {fetch}");
    assert!(produce <= PRODUCE_ALLOCATIONS_MAX, "produce: {produce} allocations");
    assert!(fetch <= FETCH_ALLOCATIONS_MAX, "fetch: {fetch} allocations");
    node.stop();
}
