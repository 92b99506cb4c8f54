//! Pipelines that read, process and write in transactions, while the broker and the pipelines
//! themselves are killed: what comes out is what went in, once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use klamm_testkit::{Broker, BrokerOptions, JavaProgram, Process, Tools, WAIT_MAX};

use crate::scripted::{read, visible};

const JAVA: &str = include_str!("../java_sources/Pipeline.java");
const PYTHON: &str = include_str!("../python/pipeline.py");
/// Rounds of killing, unless `KLAMM_TEST_PIPELINE_ROUNDS` says otherwise.
const ROUNDS: usize = 4;
/// Records that come in each round.
const RECORDS: usize = 1200;
const PARTITIONS: i32 = 3;
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// Members of the group that share the work.
const MEMBERS: usize = 2;

/// Pause between two looks at what a pipeline has done.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

type Start<'a> = &'a dyn Fn(&[&str]) -> Process;

/// The members of a group, each with its transactional id.
struct Pipeline<'a> {
    broker: Broker,
    start: Start<'a>,
    members: Vec<Process>,
}

impl<'a> Pipeline<'a> {
    fn new(name: &str, start: Start<'a>) -> Self {
        let options = BrokerOptions::default()
            .with("offsets.topic.num.partitions", "3")
            .with("transaction.state.log.num.partitions", "3")
            .with("group.min.session.timeout.ms", "500")
            .with("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
        let broker = Broker::start_with(name, options);
        broker.client().create_topic("in", PARTITIONS, &[]);
        broker.client().create_topic("out", PARTITIONS, &[]);
        let mut this = Self { broker, start, members: Vec::new() };
        this.members = (0..MEMBERS).map(|member| this.member(member)).collect();
        this
    }

    fn member(&self, member: usize) -> Process {
        (self.start)(&[&self.broker.bootstrap(), &format!("copier-{member}"), "copiers"])
    }

    fn feed(&self, round: usize) {
        let values: String = (0..RECORDS).map(|n| format!("{}\n", round * RECORDS + n)).collect();
        let bootstrap = self.broker.bootstrap();
        let args = ["-b", &bootstrap, "-P", "-t", "in", "-X", "enable.idempotence=true"];
        let spread = ["-X", "topic.partitioner=random", "-X", "sticky.partitioning.linger.ms=0"];
        Tools::kcat(&[&args[..], &spread].concat(), values.as_bytes()).ok();
    }

    /// Waits until so many more transactions are committed.
    fn wait_for_more(&self, count: usize) {
        let committed = || self.members.iter().map(|member| member.stdout.len()).sum::<usize>();
        let target = committed() + count;
        let start = Instant::now();
        while committed() < target {
            let said = || self.said();
            assert!(start.elapsed() < WAIT_MAX, "no {count} transactions more: {:#?}", said());
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// `kill -9` at a moment that differs from round to round.
    fn round(&mut self, round: usize) {
        self.feed(round);
        self.wait_for_more(3 + round * 7 % 23);
        let kills_broker = round.is_multiple_of(2);
        if kills_broker {
            self.broker.kill();
        }
        if !round.is_multiple_of(4) {
            let member = round / 2 % MEMBERS;
            self.members[member].kill();
            self.members[member] = self.member(member);
        }
        if kills_broker {
            self.broker.start_again();
        }
    }

    fn said(&self) -> Vec<String> {
        self.members.iter().flat_map(|member| member.stderr.all()).collect()
    }

    /// What is in the way of readers, for whoever has to find out.
    fn state(&self) -> String {
        let bootstrap = self.broker.bootstrap();
        let ask = |class: &str, args: &[&str]| {
            let args = [&["--bootstrap-server", &bootstrap], args].concat();
            Tools::kafka(class, &args, b"").all()
        };
        let stored = read(&self.broker.bootstrap(), "out", "read_uncommitted").len();
        let listed = ask(TRANSACTIONS, &["list"]);
        let group = ask(GROUPS, &["--describe", "--group", "copiers"]);
        let producers = (0..PARTITIONS).map(|p| {
            let partition = p.to_string();
            let args = ["describe-producers", "--topic", "out", "--partition", &partition];
            ask(TRANSACTIONS, &args)
        });
        format!("{stored} stored\n{listed}\n{group}\n{}", producers.collect::<String>())
    }

    /// What came out is what went in, once.
    fn check(&self, rounds: usize) {
        let total = rounds * RECORDS;
        let mut seen = Vec::new();
        // As long as more comes out it is waited for: the rounds leave much undone.
        let mut moved_at = Instant::now();
        while seen.len() < total && moved_at.elapsed() < WAIT_MAX {
            let before = seen.len();
            seen = visible(&self.broker.bootstrap(), "out");
            if seen.len() > before {
                moved_at = Instant::now();
            }
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for line in &seen {
            *counts.entry(line.split_once(' ').expect("two words").1).or_default() += 1;
        }
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{} came out more than once: {twice:?}", twice.len());
        let lost: Vec<usize> =
            (0..total).filter(|n| !counts.contains_key(n.to_string().as_str())).collect();
        if !lost.is_empty() {
            panic!("{} were lost: {lost:?}\n{:#?}\n{}", lost.len(), self.said(), self.state());
        }
        assert_eq!(seen.len(), total, "something came out that never went in");
    }
}

fn rounds() -> usize {
    let rounds = std::env::var("KLAMM_TEST_PIPELINE_ROUNDS").ok();
    rounds.map_or(ROUNDS, |text| text.parse().expect("KLAMM_TEST_PIPELINE_ROUNDS is a number"))
}

fn survive(name: &str, start: Start<'_>) {
    let mut pipeline = Pipeline::new(name, start);
    let rounds = rounds();
    for round in 0..rounds {
        pipeline.round(round);
    }
    pipeline.check(rounds);
    println!("{name}: {rounds} rounds, {} records, once each", rounds * RECORDS);
}

#[test]
fn what_went_in_comes_out_once_through_kafkas_client_whoever_is_killed() {
    let program = JavaProgram::compile("Pipeline", JAVA);
    survive("pipeline-java", &|args| program.process(args));
}

#[test]
fn what_went_in_comes_out_once_through_librdkafka_whoever_is_killed() {
    survive("pipeline-librdkafka", &|args| Tools::python_process(PYTHON, args));
}
