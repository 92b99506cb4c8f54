//! Transactions by other people's clients: Kafka's own, which speaks protocol v2, and librdkafka,
//! which speaks v1.

mod pipeline;
mod scripted;

use std::collections::BTreeMap;

use klamm_model::ErrorCode;
use klamm_testkit::{Broker, BrokerOptions, Tools, WAIT_MAX, wait_until};
use scripted::{Make, committed, read, visible};

const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";
/// Partitions of the topic that is written to.
const PARTITIONS: i32 = 3;

fn start(name: &str) -> Broker {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "2")
        .with("transaction.state.log.num.partitions", "2")
        .with("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let broker = Broker::start_with(name, options);
    broker.client().create_topic("out", PARTITIONS, &[]);
    broker
}

/// Waits until a consumer sees this, in any order of partitions.
#[track_caller]
fn wait_to_see(broker: &Broker, expected: &[String]) {
    let mut expected = expected.to_vec();
    expected.sort();
    let mut seen = Vec::new();
    let start = std::time::Instant::now();
    while start.elapsed() < WAIT_MAX {
        seen = visible(&broker.bootstrap(), "out");
        seen.sort();
        if seen == expected {
            return;
        }
        assert!(seen.len() <= expected.len(), "seen {seen:?} instead of {expected:?}");
    }
    panic!("seen {seen:?} instead of {expected:?}");
}

#[test]
fn a_committed_transaction_is_seen_whole_and_an_aborted_one_never() {
    for make in Make::all() {
        let broker = start(&format!("transactions-{}", make.name()));
        let mut producer = make.producer(&broker.bootstrap(), "t");
        let mut expected = Vec::new();
        for n in 0..12 {
            producer.must("begin");
            for i in 0..4 {
                producer.must(&format!("send out {} {n}-{i}", i % 2));
            }
            assert!(
                visible(&broker.bootstrap(), "out")
                    .iter()
                    .all(|line| !line.contains(&format!(" {n}-"))),
                "a part of what is open"
            );
            if n % 3 == 1 {
                producer.must("abort");
            } else {
                producer.must("commit");
                expected.extend((0..4).map(|i| format!("{} {n}-{i}", i % 2)));
            }
            // What one partition shows of a transaction it shows whole, at any moment.
            let mut parts = BTreeMap::<(String, String), usize>::new();
            for line in visible(&broker.bootstrap(), "out") {
                let (partition, value) = line.split_once(' ').expect("two words");
                let of = value.split('-').next().unwrap_or_default().to_owned();
                *parts.entry((partition.to_owned(), of)).or_default() += 1;
            }
            assert!(parts.values().all(|count| *count == 2), "{parts:?}");
        }
        wait_to_see(&broker, &expected);
        assert_eq!(
            read(&broker.bootstrap(), "out", "read_uncommitted").len(),
            48,
            "all were stored"
        );
    }
}

#[test]
fn a_second_instance_fences_the_first_and_nothing_of_the_first_is_seen() {
    for make in Make::all() {
        let broker = start(&format!("fencing-{}", make.name()));
        let mut first = make.producer(&broker.bootstrap(), "t");
        first.must("begin");
        first.must("send out 0 before");
        let mut second = make.producer(&broker.bootstrap(), "t");
        assert_fenced(&first.act("commit"));
        second.must("begin");
        second.must("send out 0 after");
        second.must("send out 1 after");
        second.must("commit");
        wait_to_see(&broker, &["0 after".into(), "1 after".into()]);
        // A zombie of which nobody knows whether it lives.
        second.must("begin");
        second.must("send out 2 lost");
        second.kill();
        let mut third = make.producer(&broker.bootstrap(), "t");
        third.must("begin");
        third.must("send out 2 last");
        third.must("commit");
        wait_to_see(&broker, &["0 after".into(), "1 after".into(), "2 last".into()]);
    }
}

/// The name that both makes give to it.
#[track_caller]
fn assert_fenced(result: &Result<(), String>) {
    let fenced =
        ["ProducerFencedException", "_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"];
    let is_fenced = result.as_ref().is_err_and(|name| fenced.contains(&name.as_str()));
    assert!(is_fenced, "{result:?}");
}

#[test]
fn a_transaction_that_is_open_for_too_long_is_aborted_and_holds_up_nobody() {
    for make in Make::all() {
        let broker = start(&format!("timeout-{}", make.name()));
        let mut slow = make.producer_with(&broker.bootstrap(), "slow", 1500);
        let mut quick = make.producer(&broker.bootstrap(), "quick");
        slow.must("begin");
        slow.must("send out 0 slow");
        quick.must("begin");
        quick.must("send out 0 quick");
        quick.must("commit");
        assert_eq!(
            visible(&broker.bootstrap(), "out"),
            [""; 0],
            "the older transaction is still open"
        );
        wait_to_see(&broker, &["0 quick".into()]);
        assert_fenced(&slow.act("commit"));
        let mut again = make.producer_with(&broker.bootstrap(), "slow", 1500);
        again.must("begin");
        again.must("send out 0 again");
        again.must("commit");
        wait_to_see(&broker, &["0 quick".into(), "0 again".into()]);
    }
}

#[test]
fn offsets_in_a_transaction_count_when_it_is_committed() {
    for make in Make::all() {
        let broker = start(&format!("offsets-{}", make.name()));
        let mut producer = make.producer(&broker.bootstrap(), "t");
        producer.must("begin");
        producer.must("send out 0 x");
        producer.must("offset readers out 0 7");
        assert_eq!(committed(&broker.bootstrap(), "readers"), Err(ErrorCode::UnstableOffsetCommit));
        producer.must("commit");
        wait_until("the offset", WAIT_MAX, || committed(&broker.bootstrap(), "readers").ok());
        assert_eq!(committed(&broker.bootstrap(), "readers"), Ok(7));
        producer.must("begin");
        producer.must("offset readers out 0 9");
        producer.must("abort");
        wait_until("the abort", WAIT_MAX, || committed(&broker.bootstrap(), "readers").ok());
        assert_eq!(committed(&broker.bootstrap(), "readers"), Ok(7), "what is aborted never was");
    }
}

#[test]
fn kafkas_tool_lists_describes_and_aborts_and_its_reader_reads_the_coordinators_log() {
    let mut broker = start("transactions-tool");
    let [java, librdkafka] = Make::all();
    let mut ended = librdkafka.producer(&broker.bootstrap(), "ended");
    ended.must("begin");
    ended.must("send out 0 a");
    ended.must("commit");
    let mut open = java.producer(&broker.bootstrap(), "open");
    open.must("begin");
    open.must("send out 1 b");
    wait_to_see(&broker, &["0 a".into()]);
    let bootstrap = broker.bootstrap();
    let tool = |args: &[&str]| {
        let args = [&["--bootstrap-server", &bootstrap], args].concat();
        Tools::kafka(TRANSACTIONS, &args, b"").ok().text()
    };
    let listed = tool(&["list"]);
    let line = |name: &str| {
        let line = listed.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in:\n{listed}")).to_owned()
    };
    assert!(line("open").contains("Ongoing"), "{listed}");
    assert!(line("ended").contains("CompleteCommit"), "{listed}");
    let described = tool(&["describe", "--transactional-id", "open"]);
    assert!(described.contains("Ongoing") && described.contains("out-1"), "{described}");
    let producers = tool(&["describe-producers", "--topic", "out", "--partition", "1"]);
    let start_offset = producers.lines().nth(1).and_then(|line| line.split_whitespace().last());
    assert_eq!(start_offset, Some("0"), "{producers}");
    let hanging = tool(&["find-hanging", "--topic", "out", "--max-transaction-timeout", "0"]);
    assert!(!hanging.contains("out"), "its coordinator knows of it:\n{hanging}");
    tool(&["forceTerminateTransaction", "--transactionalId", "open"]);
    assert_fenced(&open.act("commit"));
    assert_eq!(visible(&broker.bootstrap(), "out"), ["0 a"]);
    broker.terminate();
    let logs: Vec<String> = (0..2)
        .map(|p| broker.log_dir().join(format!("__transaction_state-{p}/00000000000000000000.log")))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    let args = ["--transaction-log-decoder", "--files", &logs.join(",")];
    let dumped = Tools::kafka(DUMP_LOG, &args, b"").ok().text();
    let statuses = |id: &str| -> Vec<i64> {
        let payload = |line: &str| {
            let (key, value) = line.split_once(" key: ")?.1.split_once(" payload: ")?;
            let (key, value) = (parse(key), parse(value));
            (key["data"]["transactionalId"] == id)
                .then(|| value["data"]["transactionStatus"].as_i64().expect("a number"))
        };
        dumped.lines().filter_map(payload).collect()
    };
    assert_eq!(statuses("ended"), [0, 1, 2, 4], "empty, ongoing, prepared, committed");
    assert_eq!(statuses("open"), [0, 1, 3, 5, 0], "aborted by the tool, which then has the id");
}

fn parse(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
