//! A producer that numbers its records and deals them out in turn, so that each offset has exactly
//! one value that may be there: any loss, repetition or change of order shows.

use klamm_testkit::{Broker, Process, Tools, WAIT_MAX};

const LOAD: &str = include_str!("../python/load.py");
/// Partitions that the load is dealt out to.
pub(crate) const PARTITIONS: i32 = 3;

/// What the producer was told: partition, offset, value.
pub(crate) type Ack = (i32, i64, i64);

/// The producer, while it runs.
pub(crate) struct Load(Process);

impl Load {
    /// Starts it against a topic of [`PARTITIONS`].
    pub(crate) fn start(broker: &Broker, topic: &str) -> Self {
        Self(Tools::python_process(LOAD, &[&broker.bootstrap(), topic]))
    }

    /// Waits until so many more records are acknowledged.
    pub(crate) fn wait_for_more(&mut self, count: usize) {
        let count = self.0.stdout.len() + count;
        let reached = self.0.stdout.wait(WAIT_MAX, |lines| (lines.len() >= count).then_some(()));
        let last = self.0.stdout.all().last().cloned();
        assert!(reached.is_some(), "no {count} acks: {last:?} {:?}", self.0.stderr);
    }

    /// What was acknowledged so far.
    pub(crate) fn acknowledged(&self) -> Vec<Ack> {
        acknowledged(&self.0.stdout.all())
    }

    /// Ends it in order; everything that it produced was acknowledged once.
    pub(crate) fn finish(&mut self) -> Vec<Ack> {
        self.0.close_input();
        let status = self.0.wait(WAIT_MAX);
        let lines = self.0.stdout.all();
        let last = lines.last().cloned().unwrap_or_default();
        assert!(status.success() && last.ends_with("left 0"), "{last} {:?}", self.0.stderr);
        let acks = acknowledged(&lines);
        let produced: usize = last.split(' ').nth(1).expect("a count").parse().expect("a number");
        assert_eq!(acks.len(), produced, "each record is acknowledged once");
        acks
    }
}

fn acknowledged(lines: &[String]) -> Vec<Ack> {
    let parse = |line: &String| {
        let mut fields = line.split(' ');
        let partition = fields.next()?.parse().ok()?;
        Some((partition, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    lines.iter().filter_map(parse).collect()
}

/// Every acknowledged record is there, in order, once.
#[track_caller]
pub(crate) fn check_records(broker: &Broker, topic: &str, acks: &[Ack]) {
    let mut client = broker.client();
    let mut ends = Vec::new();
    for partition in 0..PARTITIONS {
        let records = client.fetch_all(topic, partition, 0);
        for (position, record) in (0_i64..).zip(&records) {
            assert_eq!(record.offset, position);
            let value = record.value.clone().expect("it has a value");
            let expected = position * i64::from(PARTITIONS) + i64::from(partition);
            assert_eq!(value, expected.to_string().as_bytes(), "at {partition}/{position}");
        }
        ends.push(i64::try_from(records.len()).expect("it fits"));
    }
    for (partition, offset, value) in acks {
        let end = ends[usize::try_from(*partition).expect("positive")];
        assert!(*offset < end, "{partition}/{offset} ({value}) was lost: {ends:?}");
        let expected = offset * i64::from(PARTITIONS) + i64::from(*partition);
        assert_eq!(*value, expected, "acknowledged at {partition}/{offset}");
    }
}
