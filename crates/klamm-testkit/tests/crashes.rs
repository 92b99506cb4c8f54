//! `kill -9` of a broker under load: what was acknowledged is there afterwards, in order, once.

use std::time::Duration;

use klamm_model::ErrorCode;
use klamm_records::BatchOptions;
use klamm_testkit::{Broker, Process, Tools, WAIT_MAX, batch_of};

const LOAD: &str = include_str!("python/load.py");
const KILLS: usize = 20;
const PARTITIONS: usize = 3;
/// A start takes a fraction of this; a machine that does other work is not a failed test.
const STARTUP_MAX: Duration = Duration::from_secs(5);

/// What the producer was told: partition, offset, value.
fn acknowledged(lines: &[String]) -> Vec<(usize, i64, usize)> {
    lines
        .iter()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let partition = fields.next()?.parse().ok()?;
            Some((partition, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

fn wait_for_acks(producer: &mut Process, count: usize) {
    let reached = producer.stdout.wait(WAIT_MAX, |lines| (lines.len() >= count).then_some(()));
    let last = producer.stdout.all().last().cloned();
    assert!(reached.is_some(), "no {count} acks: {last:?} {:?}", producer.stderr);
}

/// The producer numbers its records and deals them out in turn, so that each offset has exactly
/// one value that may be there: any loss, repetition or change of order shows.
#[track_caller]
fn check_records(broker: &Broker, acks: &[(usize, i64, usize)]) -> usize {
    let mut client = broker.client();
    let mut ends = [0; PARTITIONS];
    for (partition, end) in ends.iter_mut().enumerate() {
        let index = i32::try_from(partition).expect("three fit");
        for (position, record) in client.fetch_all("load", index, 0).into_iter().enumerate() {
            assert_eq!(record.offset, i64::try_from(position).expect("it fits"));
            let value = String::from_utf8(record.value.expect("it has a value")).expect("digits");
            let expected = position * PARTITIONS + partition;
            assert_eq!(value, expected.to_string(), "at {partition}/{position}");
            *end = record.offset + 1;
        }
    }
    for (partition, offset, value) in acks {
        assert!(*offset < ends[*partition], "{partition}/{offset} ({value}) was lost: {ends:?}");
        let expected = usize::try_from(*offset).expect("positive") * PARTITIONS + partition;
        assert_eq!(*value, expected, "acknowledged at {partition}/{offset}");
    }
    acks.len()
}

#[test]
fn every_acknowledged_record_survives_twenty_kills_in_order_and_once() {
    let mut broker = Broker::start("crashes");
    broker.client().create_topic("load", i32::try_from(PARTITIONS).expect("three fit"), &[]);
    let mut producer = Tools::python_process(LOAD, &[&broker.bootstrap(), "load"]);
    let mut startups = Vec::new();
    for kill in 0..KILLS {
        // Not the same count each time, so that the kills fall on different moments.
        let count = producer.stdout.len() + 300 + kill * 71;
        wait_for_acks(&mut producer, count);
        broker.kill();
        let acks = acknowledged(&producer.stdout.all());
        broker.start_again();
        startups.push(broker.startup());
        check_records(&broker, &acks);
    }
    producer.close_input();
    let status = producer.wait(WAIT_MAX);
    let lines = producer.stdout.all();
    let last = lines.last().cloned().unwrap_or_default();
    assert!(status.success() && last.ends_with("left 0"), "{last} {:?}", producer.stderr);
    let acks = acknowledged(&lines);
    let produced: usize = last.split(' ').nth(1).expect("a count").parse().expect("a number");
    assert_eq!(acks.len(), produced, "each record is acknowledged once");
    check_records(&broker, &acks);
    startups.sort();
    println!(
        "{KILLS} kills, {produced} records, start-up median {:.0?}, longest {:.0?}",
        startups[KILLS / 2],
        startups[KILLS - 1]
    );
    assert!(startups[KILLS - 1] < STARTUP_MAX, "{startups:?}");
}

#[test]
fn what_the_controller_confirmed_survives_a_kill_right_after() {
    let mut broker = Broker::start("crashes-metadata");
    for round in 0..5 {
        let name = format!("topic-{round}");
        broker.client().create_topic(&name, 2, &[("retention.ms", "86400000")]);
        broker.kill();
        broker.start_again();
        let mut client = broker.client();
        for before in 0..=round {
            let name = format!("topic-{before}");
            let again = client.try_create_topic(&name, 2, &[]);
            assert_eq!(again, ErrorCode::TopicAlreadyExists, "{name}");
            let batch = batch_of(BatchOptions::default(), &[b"x"]);
            assert_eq!(client.produce_code(&name, 1, &batch), ErrorCode::None);
            assert_eq!(client.end_offset(&name, 1), i64::from(round - before) + 1);
        }
    }
}

#[test]
fn an_orderly_end_and_start_keeps_everything_too() {
    let mut broker = Broker::start("crashes-not");
    broker.client().create_topic("kept", 1, &[]);
    for round in 0..5 {
        let batch = batch_of(BatchOptions::default(), &[b"one", b"two"]);
        assert_eq!(broker.client().produce("kept", 0, &batch).base_offset, round * 2);
        broker.terminate();
        broker.start_again();
        let count = broker.client().fetch_all("kept", 0, 0).len();
        assert_eq!(i64::try_from(count).expect("it fits"), (round + 1) * 2);
    }
}
