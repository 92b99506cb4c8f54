//! Kafka's own tools against a live broker, and Kafka's own reader on its files. A tool takes a
//! second to start, so each is asked for much at once.

use std::path::{Path, PathBuf};

use klamm_testkit::{Broker, BrokerOptions, Tools, WAIT_MAX, wait_until};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

/// Runs a tool against the broker; gives what it printed.
#[track_caller]
fn tool(broker: &Broker, class: &str, args: &[&str], input: &str) -> String {
    let bootstrap = broker.bootstrap();
    let args = [&["--bootstrap-server", &bootstrap], args].concat();
    Tools::kafka(class, &args, input.as_bytes()).ok().text()
}

#[track_caller]
fn check_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn start(name: &str) -> Broker {
    let options = BrokerOptions::default().with("offsets.topic.num.partitions", "2");
    Broker::start_with(name, options)
}

#[test]
fn topics_are_created_described_altered_listed_and_deleted() {
    let broker = start("java-topics");
    let topics = |args: &[&str]| tool(&broker, TOPICS, args, "");
    let created = topics(&[
        "--create",
        "--topic",
        "orders",
        "--partitions",
        "3",
        "--replication-factor",
        "1",
        "--config",
        "cleanup.policy=compact",
    ]);
    check_has(&created, &["Created topic orders."]);
    topics(&["--alter", "--topic", "orders", "--partitions", "5"]);
    let described = topics(&["--describe", "--topic", "orders"]);
    check_has(
        &described,
        &["PartitionCount: 5", "ReplicationFactor: 1", "cleanup.policy=compact", "Partition: 4"],
    );
    broker.client().create_topic("second", 1, &[]);
    let listed = topics(&["--list"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["orders", "second"]);
    topics(&["--delete", "--topic", "orders"]);
    assert_eq!(topics(&["--list"]).lines().collect::<Vec<_>>(), ["second"]);
    let bootstrap = broker.bootstrap();
    let again = ["--bootstrap-server", &bootstrap, "--create", "--topic", "second"];
    let again = Tools::kafka(TOPICS, &again, b"");
    assert!(!again.status.success());
    check_has(&again.all(), &["already exists"]);
}

#[test]
fn configs_of_topics_and_brokers_are_altered_and_described() {
    let broker = start("java-configs");
    broker.client().create_topic("configured", 1, &[]);
    let configs = |args: &[&str]| tool(&broker, CONFIGS, args, "");
    let topic = ["--entity-type", "topics", "--entity-name", "configured"];
    let add = ["--alter", "--add-config", "retention.ms=1234567,max.message.bytes=2000000"];
    check_has(&configs(&[&topic[..], &add].concat()), &["Completed updating config"]);
    let described = configs(&[&topic[..], &["--describe"]].concat());
    check_has(&described, &["retention.ms=1234567", "max.message.bytes=2000000"]);
    configs(&[&topic[..], &["--alter", "--delete-config", "retention.ms"]].concat());
    let described = configs(&[&topic[..], &["--describe"]].concat());
    assert!(!described.contains("retention.ms=1234567"), "{described}");
    let all = configs(&[&topic[..], &["--describe", "--all"]].concat());
    check_has(&all, &["retention.ms=604800000", "DEFAULT_CONFIG", "DYNAMIC_TOPIC_CONFIG"]);
    let broker_default = ["--entity-type", "brokers", "--entity-default"];
    let add = ["--alter", "--add-config", "log.retention.ms=7654321"];
    configs(&[&broker_default[..], &add].concat());
    check_has(
        &configs(&[&broker_default[..], &["--describe"]].concat()),
        &["log.retention.ms=7654321"],
    );
    check_has(
        &configs(&[&topic[..], &["--describe", "--all"]].concat()),
        &["retention.ms=7654321"],
    );
}

#[test]
fn the_console_tools_keep_keys_and_headers_with_every_codec() {
    let broker = start("java-console");
    broker.client().create_topic("console", 1, &[]);
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let args = [
            "--topic",
            "console",
            "--compression-codec",
            codec,
            "--reader-property",
            "parse.key=true",
            "--reader-property",
            "parse.headers=true",
        ];
        let lines: String =
            (0..20).map(|i| format!("codec:{codec},n:{i}\tkey{i}\tvalue {i}\n")).collect();
        tool(&broker, PRODUCER, &args, &lines);
        expected.extend(lines.lines().map(str::to_owned));
    }
    let args = [
        "--topic",
        "console",
        "--from-beginning",
        "--max-messages",
        "100",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.headers=true",
    ];
    let read = tool(&broker, CONSUMER, &args, "");
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn offsets_are_told_records_deleted_and_directories_described() {
    let broker = start("java-offsets");
    broker.client().create_topic("offsets", 2, &[]);
    let input: String = (0..30).map(|i| format!("{i}\n")).collect();
    let bootstrap = broker.bootstrap();
    let kcat = ["-b", &bootstrap, "-P", "-t", "offsets", "-p", "1"];
    Tools::kcat(&kcat, input.as_bytes()).ok();
    let json = broker.scratch().join("delete.json");
    let text = r#"{"partitions":[{"topic":"offsets","partition":1,"offset":10}],"version":1}"#;
    std::fs::write(&json, text).unwrap();
    let path = json.display().to_string();
    let deleted = tool(&broker, DELETE_RECORDS, &["--offset-json-file", &path], "");
    check_has(&deleted, &["partition: offsets-1", "low_watermark: 10"]);
    let offsets = |time: &str| tool(&broker, OFFSETS, &["--topic", "offsets", "--time", time], "");
    assert_eq!(offsets("earliest"), "offsets:0:0\noffsets:1:10\n");
    assert_eq!(offsets("latest"), "offsets:0:0\noffsets:1:30\n");
    check_has(&offsets("max-timestamp"), &["offsets:1:"]);
    assert_eq!(offsets("-4"), "offsets:0:0\noffsets:1:10\n", "earliest local");
    check_has(&offsets("1"), &["offsets:1:10"]);
    let dirs = tool(&broker, LOG_DIRS, &["--describe", "--topic-list", "offsets"], "");
    let dir = broker.log_dir().display().to_string();
    check_has(&dirs, &["offsets-0", "offsets-1", &dir, "\"error\":null"]);
}

#[test]
fn groups_are_listed_described_reset_and_deleted() {
    let broker = start("java-groups");
    broker.client().create_topic("grouped", 2, &[]);
    let input: String = (0..50).map(|i| format!("{i}\n")).collect();
    let bootstrap = broker.bootstrap();
    for partition in ["0", "1"] {
        let kcat = ["-b", &bootstrap, "-P", "-t", "grouped", "-p", partition];
        Tools::kcat(&kcat, input.as_bytes()).ok();
    }
    let read =
        ["--topic", "grouped", "--group", "readers", "--from-beginning", "--max-messages", "100"];
    assert_eq!(tool(&broker, CONSUMER, &read, "").lines().count(), 100);
    let groups = |args: &[&str]| tool(&broker, GROUPS, args, "");
    assert_eq!(groups(&["--list"]).trim(), "readers");
    let described = groups(&["--describe", "--group", "readers"]);
    let lines: Vec<Vec<&str>> = described
        .lines()
        .filter(|line| line.starts_with("readers"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 2, "{described}");
    for line in lines {
        assert_eq!(line[3..6], ["50", "50", "0"], "{described}");
    }
    check_has(&groups(&["--describe", "--group", "readers", "--state"]), &["Empty"]);
    let reset = [
        "--reset-offsets",
        "--group",
        "readers",
        "--topic",
        "grouped",
        "--to-offset",
        "7",
        "--execute",
    ];
    check_has(&groups(&reset), &["grouped", "7"]);
    let rest = ["--topic", "grouped", "--group", "readers", "--max-messages", "86"];
    assert_eq!(tool(&broker, CONSUMER, &rest, "").lines().count(), 86);
    check_has(&groups(&["--delete", "--group", "readers"]), &["successful"]);
    assert_eq!(groups(&["--list"]).trim(), "");
}

#[test]
fn every_api_that_is_announced_is_usable_for_kafkas_own_client() {
    let broker = start("java-apis");
    let told = tool(&broker, API_VERSIONS, &[], "");
    check_has(&told, &["Produce(0)", "[usable: ", "CreateTopics(19)", "DescribeCluster(60)"]);
    let unusable: Vec<&str> = told
        .lines()
        .filter(|line| !line.contains("UNSUPPORTED") && line.contains("UNUSABLE"))
        .collect();
    assert_eq!(unusable, Vec::<&str>::new());
}

#[test]
fn an_idempotent_producer_at_full_speed_is_acknowledged_by_all() {
    let broker = start("java-speed");
    broker.client().create_topic("speed", 4, &[]);
    let bootstrap = format!("bootstrap.servers={}", broker.bootstrap());
    let args = [
        "--topic",
        "speed",
        "--num-records",
        "200000",
        "--record-size",
        "200",
        "--throughput",
        "-1",
        "--producer-props",
        &bootstrap,
        "acks=all",
        "enable.idempotence=true",
        "compression.type=lz4",
    ];
    let told = Tools::kafka(PERFORMANCE, &args, b"").ok().text();
    println!("{}", told.lines().last().unwrap_or_default());
    check_has(&told, &["200000 records sent"]);
    let mut client = broker.client();
    let ends: i64 = (0..4).map(|partition| client.end_offset("speed", partition)).sum();
    assert_eq!(ends, 200_000);
}

/// The files of a partition with one of these endings.
fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("a directory can be read").path())
        .filter(|path| endings.iter().any(|e| path.display().to_string().ends_with(e)))
        .collect();
    files.sort();
    files
}

/// Has Kafka read files; it must not complain.
#[track_caller]
fn dump(files: &[PathBuf], args: &[&str]) -> String {
    assert!(!files.is_empty(), "there is nothing to read");
    let list: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let list = list.join(",");
    let args = [&["--files", &list], args].concat();
    let said = Tools::kafka(DUMP_LOG, &args, b"").ok().all();
    for complaint in [
        "Found",
        "mismatch",
        "Mismatch",
        "isvalid: false",
        "corrupt",
        "Exception",
        "Could not",
        "out of order",
        "Warning",
        "bytes invalid",
    ] {
        assert!(!said.contains(complaint), "{complaint:?} in:\n{said}");
    }
    said
}

#[test]
fn kafkas_own_reader_finds_no_fault_in_our_files() {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "1")
        .with("metadata.log.max.record.bytes.between.snapshots", "1000")
        .with("log.index.interval.bytes", "256");
    let mut broker = Broker::start_with("java-dump", options);
    let mut client = broker.client();
    client.create_topic("dumped", 1, &[("segment.bytes", "1048576")]);
    for topic in 0..20 {
        client.create_topic(&format!("other-{topic}"), 3, &[("retention.ms", "86400000")]);
    }
    let input: String =
        (0..40_000).map(|i| format!("key{i}:a value to fill a segment {i}\n")).collect();
    let bootstrap = broker.bootstrap();
    for codec in ["none", "zstd"] {
        let produce = ["-b", &bootstrap, "-P", "-t", "dumped", "-K", ":", "-z", codec];
        Tools::kcat(&produce, input.as_bytes()).ok();
    }
    let consume = ["-b", &bootstrap, "-q", "-G", "dumpers", "-c", "1000", "dumped"];
    Tools::kcat(&[&["-X", "auto.offset.reset=earliest"], &consume[..]].concat(), b"").ok();
    broker.terminate();
    let data = broker.log_dir();
    let dumped = data.join("dumped-0");
    let logs = files(&dumped, &[".log"]);
    assert!(logs.len() >= 2, "{logs:?}");
    let records = dump(&logs, &["--deep-iteration"]);
    assert_eq!(records.matches("| offset: ").count(), 80_000);
    dump(&files(&dumped, &[".index", ".timeindex"]), &["--index-sanity-check"]);
    dump(&files(&dumped, &[".index", ".timeindex"]), &["--verify-index-only"]);
    let offsets =
        dump(&files(&data.join("__consumer_offsets-0"), &[".log"]), &["--offsets-decoder"]);
    check_has(&offsets, &["dumpers"]);
    let metadata = data.join("__cluster_metadata-0");
    let records = dump(&files(&metadata, &[".log"]), &["--cluster-metadata-decoder"]);
    check_has(&records, &["TOPIC_RECORD", "other-19"]);
    let snapshots = files(&metadata, &[".checkpoint"]);
    let newest = snapshots.last().cloned().into_iter().collect::<Vec<_>>();
    let records = dump(&newest, &["--cluster-metadata-decoder"]);
    check_has(&records, &["FEATURE_LEVEL_RECORD", "SnapshotFooter"]);
}

#[test]
fn kafkas_own_reader_finds_no_fault_in_what_compaction_has_left() {
    let options = BrokerOptions::default()
        .with("log.cleaner.backoff.ms", "50")
        .with("log.index.interval.bytes", "256");
    let mut broker = Broker::start_with("java-compacted", options);
    let mut client = broker.client();
    let configs =
        [("cleanup.policy", "compact"), ("segment.ms", "1"), ("min.cleanable.dirty.ratio", "0.01")];
    client.create_topic("compacted", 1, &configs);
    let bootstrap = broker.bootstrap();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        // The first half of the keys goes on living, the second belongs to this codec.
        let lines: String = (0..4000)
            .map(|i| match i % 2 {
                0 => format!("key{i}:a value of {codec} {i}\n"),
                _ => format!("{codec}{i}:\n"),
            })
            .collect();
        let produce =
            ["-b", &bootstrap, "-P", "-t", "compacted", "-p", "0", "-K", ":", "-Z", "-z", codec];
        Tools::kcat(&produce, lines.as_bytes()).ok();
    }
    let checkpoint = broker.log_dir().join("cleaner-offset-checkpoint");
    wait_until("four of five rounds to be compacted", WAIT_MAX, || {
        let text = std::fs::read_to_string(&checkpoint).ok()?;
        let offset = text.lines().find_map(|line| line.strip_prefix("compacted 0 "))?;
        (offset.parse::<i64>().ok()? >= 16_000).then_some(())
    });
    let left = client.fetch_all("compacted", 0, 0);
    broker.terminate();
    let dir = broker.log_dir().join("compacted-0");
    let records = dump(&files(&dir, &[".log"]), &["--deep-iteration"]);
    assert_eq!(records.matches("| offset: ").count(), left.len());
    assert!(left.len() < 20_000 && records.contains("deleteHorizonMs: OptionalLong["), "{records}");
    dump(&files(&dir, &[".index", ".timeindex"]), &["--index-sanity-check"]);
    dump(&files(&dir, &[".index", ".timeindex"]), &["--verify-index-only"]);
}
