//! Groups of the consumer protocol (KIP-848) with Kafka's own client and librdkafka: they form,
//! members die, leave and come back, topics come, and the broker restarts.

use std::collections::{BTreeMap, BTreeSet};

use klamm_testkit::{
    Broker, BrokerOptions, Client, House, Process, RawConnection, Tools, WAIT_MAX, stop, wait_until,
};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";
const MEMBER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/java/ConsumerMember.java");
const PYTHON_MEMBER: &str = include_str!("python/member.py");
const PYTHON_OWNER: &str = include_str!("python/owner.py");

fn start(name: &str) -> Broker {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "2")
        .with("group.consumer.min.session.timeout.ms", "6000")
        .with("group.consumer.session.timeout.ms", "6000")
        .with("group.consumer.min.heartbeat.interval.ms", "500")
        .with("group.consumer.heartbeat.interval.ms", "500");
    Broker::start_with(name, options)
}

fn write(broker: &Broker, topic: &str, values: std::ops::Range<usize>) {
    write_to(&broker.bootstrap(), topic, values);
}

fn write_to(bootstrap: &str, topic: &str, values: std::ops::Range<usize>) {
    // The number is the key as well, so that all partitions get some.
    let text: String = values.map(|n| format!("{n}:{n}\n")).collect();
    let produce = ["-b", bootstrap, "-P", "-t", topic, "-K", ":", "-X", "acks=all"];
    Tools::kcat(&produce, text.as_bytes()).ok();
}

fn member(broker: &Broker, what: &[&str]) -> Process {
    let bootstrap = broker.bootstrap();
    Tools::kafka_process(MEMBER, &[&[&bootstrap, "members"], what].concat())
}

fn groups(broker: &Broker, args: &[&str]) -> String {
    let bootstrap = broker.bootstrap();
    let args = [&["--bootstrap-server", &bootstrap], args].concat();
    Tools::kafka(GROUPS, &args, b"").ok().text()
}

/// What a member said last that it has.
fn has(member: &Process) -> BTreeSet<String> {
    let lines = member.stdout.all();
    let last = lines.iter().rev().find_map(|line| line.strip_prefix("has"));
    last.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Waits until members have so many partitions in all, each its share and none that another has.
#[track_caller]
fn wait_for_shares(members: &[&Process], partitions: usize) {
    let what = format!("{} members to share {partitions} partitions", members.len());
    wait_until(&what, WAIT_MAX, || {
        let shares: Vec<BTreeSet<String>> = members.iter().map(|member| has(member)).collect();
        let all: BTreeSet<&String> = shares.iter().flatten().collect();
        let is_fair = shares.iter().all(|share| share.len() == partitions / members.len());
        (is_fair && all.len() == partitions).then_some(())
    });
}

#[track_caller]
fn wait_for_values(members: &[&Process], values: std::ops::Range<usize>) {
    let expected: BTreeSet<usize> = values.collect();
    let what = format!("{} values read by the group", expected.len());
    wait_until(&what, WAIT_MAX, || {
        let lines = members.iter().flat_map(|member| member.stdout.all());
        let found: BTreeSet<usize> = lines.filter_map(|line| line.parse().ok()).collect();
        expected.is_subset(&found).then_some(())
    });
}

#[test]
fn three_members_share_a_topic_though_one_is_killed_and_the_broker_restarts() {
    let mut broker = start("consumer-protocol");
    broker.client().create_topic("shared", 6, &[]);
    write(&broker, "shared", 0..600);
    let named = ["name", "shared"];
    let (a, b) = (member(&broker, &named), member(&broker, &named));
    let mut c = member(&broker, &named);
    wait_for_shares(&[&a, &b, &c], 6);
    wait_for_values(&[&a, &b, &c], 0..600);

    let state = groups(&broker, &["--describe", "--group", "members", "--state"]);
    assert!(state.contains("uniform") && state.contains("Stable"), "{state}");
    let members = groups(&broker, &["--describe", "--group", "members", "--members", "--verbose"]);
    assert_eq!(members.matches("/127.0.0.1").count(), 3, "{members}");
    assert!(members.contains("CURRENT-EPOCH") && members.contains("shared:"), "{members}");
    let listed = groups(&broker, &["--list", "--type", "consumer", "--state"]);
    assert!(listed.contains("members") && listed.contains("Stable"), "{listed}");

    c.kill();
    wait_for_shares(&[&a, &b], 6);
    write(&broker, "shared", 600..1_200);
    wait_for_values(&[&a, &b, &c], 0..1_200);

    broker.terminate();
    broker.start_again();
    write(&broker, "shared", 1_200..1_800);
    wait_for_values(&[&a, &b, &c], 0..1_800);
    let python = Tools::python_process(PYTHON_MEMBER, &[&broker.bootstrap(), "members", "shared"]);
    wait_for_shares(&[&a, &b, &python], 6);
    drop((a, b, python));
    wait_until("an empty group that can be deleted", WAIT_MAX, || {
        let state = groups(&broker, &["--describe", "--group", "members", "--state"]);
        state.contains("Empty").then_some(())
    });
    let deleted = groups(&broker, &["--delete", "--group", "members"]);
    assert!(deleted.contains("successful"), "{deleted}");
    broker.terminate();
    let dumped = dump_offsets(&broker);
    for part in ["metadataHash", "assignmentEpochs", "\"subscribedTopicNames\":[\"shared\"]"] {
        assert!(dumped.contains(part), "{part} in:\n{dumped}");
    }
}

/// What Kafka reads in the log of groups.
fn dump_offsets(broker: &Broker) -> String {
    let dirs = ["__consumer_offsets-0", "__consumer_offsets-1"];
    let files = dirs.map(|dir| broker.log_dir().join(dir).join("00000000000000000000.log"));
    // Partitions without records have no files.
    let files = files.iter().filter(|file| file.exists());
    let files = files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(",");
    Tools::kafka(DUMP_LOG, &["--offsets-decoder", "--files", &files], b"").ok().text()
}

#[test]
fn a_static_member_by_pattern_keeps_its_partitions_over_a_restart_and_gets_new_topics() {
    let broker = start("consumer-pattern");
    broker.client().create_topic("orders-1", 2, &[]);
    broker.client().create_topic("other", 2, &[]);
    let pattern = |instance| ["pattern", "orders-.*", instance];
    let mut a = member(&broker, &pattern("one"));
    let b = member(&broker, &pattern("two"));
    wait_for_shares(&[&a, &b], 2);
    let (had, others) = (has(&a), has(&b));
    // It leaves for a while and says so.
    a.terminate();
    let a = member(&broker, &pattern("one"));
    wait_for_shares(&[&a, &b], 2);
    assert_eq!((has(&a), has(&b)), (had, others), "nothing moved");

    broker.client().create_topic("orders-2", 2, &[]);
    wait_for_shares(&[&a, &b], 4);
    write(&broker, "orders-2", 0..50);
    wait_for_values(&[&a, &b], 0..50);

    let bootstrap = broker.bootstrap();
    let entity =
        ["--bootstrap-server", &bootstrap, "--entity-type", "groups", "--entity-name", "members"];
    let alter = ["--alter", "--add-config", "consumer.session.timeout.ms=7000"];
    Tools::kafka(CONFIGS, &[&entity[..], &alter].concat(), b"").ok();
    let told = Tools::kafka(CONFIGS, &[&entity[..], &["--describe"]].concat(), b"").ok().text();
    assert!(told.contains("consumer.session.timeout.ms=7000"), "{told}");
    let alter = ["--alter", "--add-config", "consumer.session.timeout.ms=5999"];
    let refused = Tools::kafka(CONFIGS, &[&entity[..], &alter].concat(), b"");
    let message = "must be greater than or equal to group.consumer.min.session.timeout.ms";
    assert!(refused.all().contains(message), "{}", refused.all());
    let klamm = ["config", "describe", "--group", "members", "--bootstrap-server", &bootstrap];
    let told = Tools::klamm(&klamm).ok().text();
    assert!(told.contains("consumer.session.timeout.ms") && told.contains("7000"), "{told}");
    let alter = ["--alter", "--delete-config", "consumer.session.timeout.ms"];
    Tools::kafka(CONFIGS, &[&entity[..], &alter].concat(), b"").ok();
    let told = Tools::kafka(CONFIGS, &[&entity[..], &["--describe"]].concat(), b"").ok().text();
    assert!(!told.contains("consumer.session.timeout.ms=7000"), "{told}");
}

#[test]
fn a_group_moves_to_the_consumer_protocol_and_back_while_kafkas_client_and_librdkafka_read() {
    let mut broker = start("consumer-migration");
    broker.client().create_topic("moving", 6, &[]);
    let python = |protocol| {
        let args = [&broker.bootstrap(), "members", "moving", protocol];
        Tools::python_process(PYTHON_MEMBER, &args)
    };
    let java = |protocol| member(&broker, &[protocol, "moving"]);
    let types = |kind: &str| groups(&broker, &["--list", "--type", kind]);
    let (mut a, b) = (java("classic"), python("classic"));
    wait_for_shares(&[&a, &b], 6);
    assert!(types("classic").contains("members"));
    write(&broker, "moving", 0..300);
    wait_for_values(&[&a, &b], 0..300);

    let mut c = java("name");
    wait_for_shares(&[&a, &b, &c], 6);
    assert!(types("consumer").contains("members"));
    write(&broker, "moving", 300..600);
    wait_for_values(&[&a, &b, &c], 0..600);

    a.terminate();
    let mut d = python("consumer");
    wait_for_shares(&[&b, &c, &d], 6);
    write(&broker, "moving", 600..900);
    wait_for_values(&[&a, &b, &c, &d], 0..900);

    c.terminate();
    wait_for_shares(&[&b, &d], 6);
    assert!(types("consumer").contains("members"));
    d.kill();
    let e = java("classic");
    wait_for_shares(&[&b, &e], 6);
    assert!(types("classic").contains("members"));
    write(&broker, "moving", 900..1_200);
    wait_for_values(&[&a, &b, &c, &d, &e], 0..1_200);
    broker.terminate();
    let dumped = dump_offsets(&broker);
    for part in ["classicMemberMetadata", "supportedProtocols", "\"protocolType\":\"consumer\""] {
        assert!(dumped.contains(part), "{part} in:\n{dumped}");
    }
}

/// From when to when somebody had a partition, by the machine's clock: until it gave it up, or
/// until its last sign of life.
fn tenures(owner: &Process) -> Vec<(String, u128, u128)> {
    let mut since = BTreeMap::new();
    let mut over = Vec::new();
    let mut last = 0;
    for line in owner.stdout.all() {
        let mut words = line.split_whitespace();
        let (Some(what), Some(at)) = (words.next(), words.next()) else { continue };
        let Ok(at) = at.parse::<u128>() else { continue };
        last = at;
        for partition in words.map(str::to_owned) {
            match what {
                "gets" => drop(since.insert(partition, at)),
                "gives" => {
                    let start = since.remove(&partition).expect("what is given up was had");
                    over.push((partition, start, at));
                }
                _ => {}
            }
        }
    }
    over.extend(since.into_iter().map(|(partition, start)| (partition, start, last)));
    over
}

#[test]
fn three_librdkafka_members_never_have_a_partition_twice_though_one_is_killed() {
    let broker = start("consumer-librdkafka");
    broker.client().create_topic("shared", 6, &[]);
    let owner = || Tools::python_process(PYTHON_OWNER, &[&broker.bootstrap(), "members", "shared"]);
    let (a, b) = (owner(), owner());
    wait_for_shares(&[&a, &b], 6);
    let mut c = owner();
    wait_for_shares(&[&a, &b, &c], 6);
    c.kill();
    wait_for_shares(&[&a, &b], 6);
    let mut all: Vec<(String, u128, u128)> = [&a, &b, &c].into_iter().flat_map(tenures).collect();
    all.sort();
    for pair in all.windows(2) {
        let ((before, _, end), (after, start, _)) = (&pair[0], &pair[1]);
        assert!(before != after || end <= start, "two owners of {before}: {all:?}");
    }
    assert!(all.len() >= 10, "partitions moved: {all:?}");
}

#[test]
fn a_group_of_both_protocols_lives_on_while_klamm_and_kafka_take_turns() {
    let properties = "group.consumer.min.session.timeout.ms=6000\n\
        group.consumer.session.timeout.ms=6000\n\
        group.consumer.min.heartbeat.interval.ms=500\n\
        group.consumer.heartbeat.interval.ms=500\n";
    let house = House::new("consumer-mixed", properties);
    house.format_by_kafka();
    let bootstrap = house.address().to_string();
    let member = |what| Tools::kafka_process(MEMBER, &[&*bootstrap, "members", what, "mixed"]);
    let klamm = house.start_klamm();
    let connection = RawConnection::open(house.address()).expect("the tenant listens");
    Client::new(connection).create_topic("mixed", 6, &[]);
    let a = member("classic");
    wait_for_shares(&[&a], 6);
    let b = member("name");
    wait_for_shares(&[&a, &b], 6);
    write_to(&bootstrap, "mixed", 0..200);
    wait_for_values(&[&a, &b], 0..200);
    stop(klamm);

    let kafka = house.start_kafka();
    write_to(&bootstrap, "mixed", 200..400);
    wait_for_values(&[&a, &b], 0..400);
    wait_for_shares(&[&a, &b], 6);
    let c = member("classic");
    wait_for_shares(&[&a, &b, &c], 6);
    stop(kafka);

    let klamm = house.start_klamm();
    write_to(&bootstrap, "mixed", 400..600);
    wait_for_values(&[&a, &b, &c], 0..600);
    wait_for_shares(&[&a, &b, &c], 6);
    drop(b);
    wait_for_shares(&[&a, &c], 6);
    let list = ["--bootstrap-server", &bootstrap, "--list", "--type", "classic"];
    assert!(Tools::kafka(GROUPS, &list, b"").ok().text().contains("members"));
    stop(klamm);
}
