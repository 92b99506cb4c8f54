//! Python's confluent-kafka, kcat and Kafka's console tools: what one writes the others read, to
//! the last header.

use klamm_testkit::{Broker, Tools};
use serde_json::{Value, json};

const WRITE: &str = include_str!("python/write.py");
const READ: &str = include_str!("python/read.py");
const ADMIN: &str = include_str!("python/admin.py");
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";

/// An hour ago: no clock gives it while the test runs.
fn timestamp() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.expect("it is after 1970").as_millis();
    u64::try_from(now_ms).expect("for a long time it fits") - 3_600_000
}

fn read(broker: &Broker, topic: &str, count: usize) -> Vec<Value> {
    let args = [&broker.bootstrap(), topic, &count.to_string()];
    let text = Tools::python(READ, &args).ok().text();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_python_writes_all_others_read() {
    let broker = Broker::start("python-writes");
    broker.client().create_topic("mixed", 1, &[]);
    let at = timestamp();
    let record = |n: u64, key: Option<&str>, value: Option<&str>, headers: Value| json!({ "timestamp": at + n, "key": key, "value": value, "headers": headers });
    let records = [
        record(0, Some("k"), Some("v"), json!([["h", "1"], ["h", "2"], ["void", null]])),
        record(1, None, Some("no key"), json!([])),
        record(2, Some("gone"), None, json!([["why", "tombstone"]])),
        record(3, Some(""), Some(""), json!([])),
        record(4, Some("ключ"), Some("значение ✓"), json!([["ü", "ö"]])),
    ];
    let args = [&broker.bootstrap(), "mixed", &Value::from(records.to_vec()).to_string()];
    let acknowledged = Tools::python(WRITE, &args).ok().text();
    let expected: Vec<String> = (0..5).map(|n| format!("0 {n} {}", at + n)).collect();
    assert_eq!(acknowledged.lines().collect::<Vec<_>>(), expected);

    let back = read(&broker, "mixed", 5);
    for (n, record) in records.iter().enumerate() {
        let mut record = record.clone();
        record["offset"] = json!(n);
        assert_eq!(back[n], record);
    }
    assert_eq!(back[5], json!([0, 5]), "the watermarks");

    let bootstrap = broker.bootstrap();
    let format = "%o %T %K %S %k|%s|%h\n";
    let kcat = ["-b", &bootstrap, "-q", "-C", "-t", "mixed", "-o", "beginning", "-e", "-f", format];
    let kcat = Tools::kcat(&kcat, b"").ok().text();
    let expected = [
        format!("0 {at} 1 1 k|v|h=1,h=2,void=NULL"),
        format!("1 {} -1 6 |no key|", at + 1),
        format!("2 {} 4 -1 gone||why=tombstone", at + 2),
        format!("3 {} 0 0 ||", at + 3),
        format!("4 {} 8 20 ключ|значение ✓|ü=ö", at + 4),
    ];
    assert_eq!(kcat.lines().collect::<Vec<_>>(), expected);

    let java = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "mixed",
        "--from-beginning",
        "--max-messages",
        "5",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.timestamp=true",
        "--formatter-property",
        "print.offset=true",
        "--formatter-property",
        "print.headers=true",
    ];
    let java = Tools::kafka(CONSUMER, &java, b"").ok().text();
    let expected = [
        format!("CreateTime:{at}\tOffset:0\th:1,h:2,void:null\tk\tv"),
        format!("CreateTime:{}\tOffset:1\tNO_HEADERS\tnull\tno key", at + 1),
        format!("CreateTime:{}\tOffset:2\twhy:tombstone\tgone\tnull", at + 2),
        format!("CreateTime:{}\tOffset:3\tNO_HEADERS\t\t", at + 3),
        format!("CreateTime:{}\tOffset:4\tü:ö\tключ\tзначение ✓", at + 4),
    ];
    assert_eq!(java.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_kcat_and_java_write_python_reads() {
    let broker = Broker::start("python-reads");
    broker.client().create_topic("mixed", 1, &[]);
    let bootstrap = broker.bootstrap();
    let kcat = ["-b", &bootstrap, "-P", "-t", "mixed", "-p", "0", "-K", ":", "-Z", "-z", "zstd"];
    let headers = ["-H", "from=kcat"];
    Tools::kcat(&[&kcat[..], &headers].concat(), b"a:1\nb:\n:2\n").ok();
    let java = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "mixed",
        "--compression-codec",
        "gzip",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "null.marker=NIL",
    ];
    Tools::kafka(PRODUCER, &java, b"from:java,n:1\tc\t3\nfrom:java\td\tNIL\n").ok();
    let found = read(&broker, "mixed", 5);
    let of = |n: usize| {
        let record = &found[n];
        (
            record["offset"].clone(),
            record["key"].clone(),
            record["value"].clone(),
            record["headers"].clone(),
        )
    };
    let kcat = json!([["from", "kcat"]]);
    assert_eq!(of(0), (json!(0), json!("a"), json!("1"), kcat.clone()));
    assert_eq!(of(1), (json!(1), json!("b"), Value::Null, kcat.clone()));
    assert_eq!(of(2), (json!(2), Value::Null, json!("2"), kcat));
    let java = json!([["from", "java"], ["n", "1"]]);
    assert_eq!(of(3), (json!(3), json!("c"), json!("3"), java));
    assert_eq!(of(4), (json!(4), json!("d"), Value::Null, json!([["from", "java"]])));
}

#[test]
fn the_admin_client_is_served_in_all_that_it_asks() {
    let broker = Broker::start("python-admin");
    let done = Tools::python(ADMIN, &[&broker.bootstrap()]).ok().text();
    assert_eq!(done.trim(), "done");
}
