//! `kill -9` of a broker under load: what was acknowledged is there afterwards, in order, once.

mod load;

use std::time::Duration;

use klamm_model::ErrorCode;
use klamm_records::BatchOptions;
use klamm_testkit::{Broker, batch_of};
use load::{Load, PARTITIONS};

const KILLS: usize = 20;
/// A start takes a fraction of this; a machine that does other work is not a failed test.
const STARTUP_MAX: Duration = Duration::from_secs(5);

#[test]
fn every_acknowledged_record_survives_twenty_kills_in_order_and_once() {
    let mut broker = Broker::start("crashes");
    broker.client().create_topic("load", PARTITIONS, &[]);
    let mut load = Load::start(&broker, "load");
    let mut startups = Vec::new();
    for kill in 0..KILLS {
        // Not the same count each time, so that the kills fall on different moments.
        load.wait_for_more(300 + kill * 71);
        broker.kill();
        let acks = load.acknowledged();
        broker.start_again();
        startups.push(broker.startup());
        load::check_records(&broker, "load", &acks);
    }
    let acks = load.finish();
    load::check_records(&broker, "load", &acks);
    startups.sort();
    println!(
        "{KILLS} kills, {} records, start-up median {:.0?}, longest {:.0?}",
        acks.len(),
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
