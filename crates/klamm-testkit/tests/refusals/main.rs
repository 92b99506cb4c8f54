//! Requests about groups, transactions and offsets that are wrong in one way each. Apache Kafka
//! 4.3.1 and Klamm are both asked, and must refuse with the same code.

mod classic;
mod consumer;
mod coordinators;
mod migration;
mod offsets;
mod transactions;

use std::collections::BTreeMap;

use klamm_model::ErrorCode;
use klamm_records::BatchOptions;
use klamm_testkit::{Client, House, RawConnection, WAIT_MAX, batch_of, wait_until};

/// Topics of one partition with one record: for groups, for markers, and for writes in transactions.
const TOPICS: [&str; 3] = ["t", "m", "w"];

/// What was wrong, and with which code it was refused.
type Refusals = BTreeMap<String, ErrorCode>;

/// A broker that is asked, and what it said.
struct Probe {
    client: Client,
    said: Refusals,
}

impl Probe {
    /// Asks a new broker everything.
    fn ask_everything(house: &House) -> Refusals {
        let mut client = Client::new(RawConnection::open(house.address()).expect("it listens"));
        for topic in TOPICS {
            client.create_topic(topic, 1, &[]);
        }
        for topic in TOPICS {
            // Kafka answers before its broker has heard of it.
            wait_until("the topic", WAIT_MAX, || {
                let batch = batch_of(BatchOptions::default(), &[b"first"]);
                (client.produce_code(topic, 0, &batch) == ErrorCode::None).then_some(())
            });
        }
        coordinators::wait_for_all(&mut client);
        let mut probe = Self { client, said: Refusals::new() };
        classic::probe(&mut probe);
        consumer::probe(&mut probe);
        migration::probe(&mut probe);
        offsets::probe(&mut probe);
        transactions::probe(&mut probe);
        probe.said
    }

    #[track_caller]
    fn note(&mut self, what: &str, code: i16) {
        let code = ErrorCode::from_code(code).expect("a code of Kafka's");
        let before = self.said.insert(what.to_owned(), code);
        assert_eq!(before, None, "{what:?} is asked twice");
    }
}

#[test]
fn what_is_wrong_is_refused_with_kafkas_code() {
    let properties = "group.consumer.max.size=2\n";
    let theirs = House::new("refusals-of-kafka", properties);
    theirs.format_by_kafka();
    let mut kafka = theirs.start_kafka();
    let ours = House::new("refusals", properties);
    let mut klamm = ours.start_klamm();
    let (expected, said) = (Probe::ask_everything(&theirs), Probe::ask_everything(&ours));
    kafka.kill();
    klamm.kill();
    let differing: Vec<String> = expected
        .keys()
        .chain(said.keys())
        .filter(|what| expected.get(*what) != said.get(*what))
        .map(|what| format!("{what}: {:?}, not {:?}", expected.get(what), said.get(what)))
        .collect();
    assert!(differing.is_empty(), "Kafka says: {differing:#?}");
    let accepted = said.values().filter(|code| **code == ErrorCode::None).count();
    println!("{} requests, {accepted} of them accepted", said.len());
}
