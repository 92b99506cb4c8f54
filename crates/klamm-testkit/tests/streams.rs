//! Kafka Streams 4.3.1 with `exactly_once_v2` on Klamm: two instances, one of which is killed, and
//! the output is exactly what the input says.

use std::collections::BTreeMap;
use std::time::Instant;

use klamm_testkit::{Broker, BrokerOptions, JavaProgram, Process, Tools, WAIT_MAX};

const STREAMING: &str = include_str!("java_sources/Streaming.java");
const PARTITIONS: i32 = 2;
/// Words that the lines are made of.
const WORDS: usize = 17;
/// Lines, and orders, of each part of the input.
const PART: usize = 1500;

fn start_broker() -> Broker {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "3")
        .with("transaction.state.log.num.partitions", "3")
        .with("group.min.session.timeout.ms", "500")
        .with("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let broker = Broker::start_with("streams", options);
    for topic in ["lines", "orders", "prices", "counts", "joined"] {
        broker.client().create_topic(topic, PARTITIONS, &[]);
    }
    broker
}

fn start_instance(program: &JavaProgram, broker: &Broker, n: usize) -> Process {
    let state = broker.scratch().join(format!("state-{n}")).display().to_string();
    let instance = program.process(&[&broker.bootstrap(), &state]);
    let running = instance.stdout.wait_for("state RUNNING", WAIT_MAX);
    assert!(running.is_some(), "it does not run: {:?}", instance.stderr);
    instance
}

/// Writes lines `KEY:VALUE`; Java's partitioner and ours agree on where a key belongs.
fn write(broker: &Broker, topic: &str, lines: &str) {
    let bootstrap = broker.bootstrap();
    let args = ["-b", &bootstrap, "-P", "-t", topic, "-K", ":", "-X", "enable.idempotence=true"];
    let partitioner = ["-X", "topic.partitioner=murmur2_random"];
    Tools::kcat(&[&args[..], &partitioner].concat(), lines.as_bytes()).ok();
}

/// What a consumer of committed records sees, by this format of kcat's.
fn read(broker: &Broker, topic: &str, value: &str) -> Vec<(String, String)> {
    let bootstrap = broker.bootstrap();
    let args = ["-b", &bootstrap, "-q", "-C", "-t", topic, "-o", "beginning", "-e"];
    let format = ["-X", "isolation.level=read_committed", "-s", value, "-f", "%k %s\n"];
    let text = Tools::kcat(&[&args[..], &format].concat(), b"").ok().text();
    let pair = |line: &str| line.split_once(' ').map(|(k, v)| (k.to_owned(), v.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn word(n: usize) -> String {
    format!("word{}", n * n % WORDS)
}

fn write_part(broker: &Broker, part: usize) {
    let numbers = part * PART..(part + 1) * PART;
    let lines = numbers.clone().map(|n| format!("{n}:{} {}\n", word(n), word(n + 1)));
    write(broker, "lines", &lines.collect::<String>());
    let orders = numbers.map(|n| format!("item{}:order{n}\n", n % 50));
    write(broker, "orders", &orders.collect::<String>());
}

/// The last count of each word, once it is what it has to be; each step is there once.
#[track_caller]
fn check_counts(broker: &Broker, parts: usize) {
    let mut expected = BTreeMap::<String, i64>::new();
    for n in 0..parts * PART {
        for word in [word(n), word(n + 1)] {
            *expected.entry(word).or_default() += 1;
        }
    }
    let start = Instant::now();
    loop {
        let mut counts = BTreeMap::<String, i64>::new();
        for (word, count) in read(broker, "counts", "value=q") {
            let count = count.parse().expect("a count");
            let before = counts.insert(word.clone(), count).unwrap_or_default();
            assert!(count > before, "{word} went from {before} to {count}");
            assert!(count <= expected[&word], "{word}: {count} of {}", expected[&word]);
        }
        if counts == expected {
            return;
        }
        assert!(start.elapsed() < WAIT_MAX, "{counts:?} instead of {expected:?}");
    }
}

/// Every order is joined once.
#[track_caller]
fn check_joined(broker: &Broker, parts: usize) {
    let mut expected: Vec<String> =
        (0..parts * PART).map(|n| format!("order{n}@price{}", n % 50)).collect();
    expected.sort();
    let start = Instant::now();
    loop {
        let mut joined: Vec<String> =
            read(broker, "joined", "value=s").into_iter().map(|(_, value)| value).collect();
        joined.sort();
        if joined == expected {
            return;
        }
        let all = expected.len();
        assert!(joined.len() <= all, "{} were joined, of {all}", joined.len());
        assert!(start.elapsed() < WAIT_MAX, "{} were joined, of {all}", joined.len());
    }
}

#[test]
fn words_are_counted_and_orders_joined_exactly_once_although_an_instance_is_killed() {
    let program = JavaProgram::compile("Streaming", STREAMING);
    let broker = start_broker();
    let prices: String = (0..50).map(|n| format!("item{n}:price{n}\n")).collect();
    write(&broker, "prices", &prices);
    let mut first = start_instance(&program, &broker, 1);
    let second = start_instance(&program, &broker, 2);
    write_part(&broker, 0);
    let start = Instant::now();
    while read(&broker, "joined", "value=s").is_empty() {
        assert!(start.elapsed() < WAIT_MAX, "nothing comes out: {:?}", first.stderr);
    }
    write_part(&broker, 1);
    first.kill();
    write_part(&broker, 2);
    check_joined(&broker, 3);
    check_counts(&broker, 3);
    let said: Vec<String> = second.stderr.all();
    println!("the other said {} lines", said.len());
}
