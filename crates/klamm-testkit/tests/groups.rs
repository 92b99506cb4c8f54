//! Consumer groups of mixed clients: members die and join, every record is read, and what was
//! committed holds across a restart of the broker.

use std::collections::BTreeSet;

use klamm_testkit::{Broker, BrokerOptions, Process, Tools, WAIT_MAX, wait_until};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// The shortest that the broker allows: a member that was killed is missed after this long.
const SESSION_MS: &str = "6000";

fn write(broker: &Broker, values: std::ops::Range<usize>) {
    let bootstrap = broker.bootstrap();
    // The number is the key as well, so that all partitions get some.
    let text: String = values.map(|n| format!("{n}:{n}\n")).collect();
    let produce = ["-b", &bootstrap, "-P", "-t", "shared", "-K", ":", "-X", "acks=all"];
    Tools::kcat(&produce, text.as_bytes()).ok();
}

/// A member of the group that prints what it reads.
fn kcat_member(broker: &Broker) -> Process {
    let session = format!("session.timeout.ms={SESSION_MS}");
    let bootstrap = broker.bootstrap();
    Tools::kcat_process(&[
        "-b",
        &bootstrap,
        "-u",
        "-G",
        "sharers",
        "-X",
        "auto.offset.reset=earliest",
        "-X",
        &session,
        "-X",
        "heartbeat.interval.ms=500",
        "-X",
        "auto.commit.interval.ms=200",
        "-f",
        "%s\n",
        "shared",
    ])
}

fn java_member(broker: &Broker) -> Process {
    let session = format!("session.timeout.ms={SESSION_MS}");
    let bootstrap = broker.bootstrap();
    Tools::kafka_process(
        CONSUMER,
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            "shared",
            "--group",
            "sharers",
            "--from-beginning",
            "--command-property",
            &session,
            "--command-property",
            "heartbeat.interval.ms=500",
            "--command-property",
            "auto.commit.interval.ms=200",
            // librdkafka and Java must agree on one way to share out.
            "--command-property",
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor",
        ],
    )
}

fn wait_for_values(members: &[&Process], values: std::ops::Range<usize>) {
    let expected: BTreeSet<usize> = values.collect();
    let what = format!("{} values read by the group", expected.len());
    wait_until(&what, WAIT_MAX, || {
        let lines = members.iter().flat_map(|member| member.stdout.all());
        let found: BTreeSet<usize> = lines.filter_map(|line| line.parse().ok()).collect();
        expected.is_subset(&found).then_some(())
    });
}

/// Partition, committed offset, end and lag, as Kafka's tool tells them.
fn described(broker: &Broker) -> Vec<[i64; 4]> {
    let bootstrap = broker.bootstrap();
    let args = ["--bootstrap-server", &bootstrap, "--describe", "--group", "sharers"];
    let text = Tools::kafka(GROUPS, &args, b"").ok().text();
    let lines = text.lines().filter(|line| line.starts_with("sharers"));
    let mut rows: Vec<[i64; 4]> = lines
        .filter_map(|line| {
            let fields: Vec<i64> =
                line.split_whitespace().skip(2).take(4).map_while(|f| f.parse().ok()).collect();
            fields.try_into().ok()
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn a_group_of_mixed_clients_reads_all_though_one_is_killed_and_one_joins() {
    let options = BrokerOptions::default().with("offsets.topic.num.partitions", "3");
    let mut broker = Broker::start_with("groups", options);
    broker.client().create_topic("shared", 12, &[]);
    write(&broker, 0..1_000);
    let mut first = kcat_member(&broker);
    let second = kcat_member(&broker);
    let java = java_member(&broker);
    wait_for_values(&[&first, &second, &java], 0..1_000);
    write(&broker, 1_000..2_000);
    wait_for_values(&[&first, &second, &java], 0..2_000);

    first.kill();
    let third = kcat_member(&broker);
    write(&broker, 2_000..3_000);
    wait_for_values(&[&first, &second, &java, &third], 0..3_000);

    // All is committed once the lag is gone, and the commits outlive the broker.
    let committed = wait_until("no lag", WAIT_MAX, || {
        let rows = described(&broker);
        let done = rows.len() == 12 && rows.iter().all(|[_, _, _, lag]| *lag == 0);
        done.then_some(rows)
    });
    assert_eq!(committed.iter().map(|[_, offset, _, _]| offset).sum::<i64>(), 3_000);
    drop((first, second, third, java));
    broker.kill();
    broker.start_again();
    assert_eq!(described(&broker), committed);

    // And whoever comes next reads only what is new.
    write(&broker, 3_000..3_100);
    let lag: i64 = described(&broker).iter().map(|[_, _, _, lag]| lag).sum();
    assert_eq!(lag, 100);
    let next = kcat_member(&broker);
    wait_for_values(&[&next], 3_000..3_100);
    let old = next.stdout.all().iter().filter_map(|line| line.parse::<usize>().ok()).min();
    assert_eq!(old, Some(3_000));
}
