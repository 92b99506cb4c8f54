//! kcat (librdkafka) against a live broker: what goes in comes out, byte for byte.

use klamm_testkit::{Broker, Tools};

const WORDS: [&str; 16] = [
    "amber", "brook", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet", "juniper",
    "knoll", "lagoon", "meadow", "north", "orchard", "prairie",
];

/// Lines of words, the same every time, `bytes` long or a line more.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 256);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut line: u64 = 0;
    while text.len() < bytes {
        line += 1;
        text.extend_from_slice(line.to_string().as_bytes());
        for _ in 0..8 + line % 9 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push(b' ');
            text.extend_from_slice(WORDS[(state >> 60) as usize].as_bytes());
        }
        text.push(b'\n');
    }
    text
}

/// Runs kcat against the broker; gives what it printed.
#[track_caller]
fn kcat(broker: &Broker, args: &[&str], input: &[u8]) -> Vec<u8> {
    let bootstrap = broker.bootstrap();
    let args = [&["-b", &bootstrap, "-q"], args].concat();
    Tools::kcat(&args, input).ok().stdout
}

#[track_caller]
fn lines(broker: &Broker, args: &[&str]) -> Vec<String> {
    let printed = String::from_utf8_lossy(&kcat(broker, args, b"")).into_owned();
    printed.lines().map(str::to_owned).collect()
}

#[track_caller]
fn check_round_trip(broker: &Broker, codec: &str, bytes: usize) {
    let topic = format!("text-{codec}");
    let text = text(bytes);
    broker.client().create_topic(&topic, 1, &[]);
    let start = std::time::Instant::now();
    kcat(broker, &["-P", "-t", &topic, "-p", "0", "-z", codec, "-X", "acks=all"], &text);
    let produced = start.elapsed();
    let consumed = kcat(broker, &["-C", "-t", &topic, "-p", "0", "-o", "beginning", "-e"], b"");
    println!(
        "{codec}: {} MB written in {produced:.1?}, read in {:.1?}",
        bytes / 1_000_000,
        start.elapsed() - produced
    );
    // Not assert_eq: nobody wants fifty megabytes in a message.
    assert!(consumed == text, "{codec}: {} bytes in, {} bytes out", text.len(), consumed.len());
}

#[test]
fn fifty_megabytes_of_text_come_back_as_they_were_with_every_codec() {
    let broker = Broker::start("kcat-text");
    check_round_trip(&broker, "none", 50_000_000);
    check_round_trip(&broker, "lz4", 50_000_000);
    check_round_trip(&broker, "gzip", 50_000_000);
    check_round_trip(&broker, "snappy", 50_000_000);
    check_round_trip(&broker, "zstd", 50_000_000);
}

#[test]
fn keys_headers_partitions_offsets_and_nulls_are_kept() {
    let broker = Broker::start("kcat-fields");
    broker.client().create_topic("fields", 3, &[]);
    let headers = ["-H", "trace=abc", "-H", "empty=", "-H", "trace=def"];
    let produce = ["-P", "-t", "fields", "-p", "2", "-K", ":", "-Z"];
    kcat(&broker, &[&produce[..], &headers].concat(), b"k1:v1\nk2:\n:v3\n:\n");
    let read = ["-C", "-t", "fields", "-o", "beginning", "-e", "-Z"];
    let format = ["-f", "%p/%o key=%k(%K) value=%s(%S) %h\n"];
    let headers = "trace=abc,empty=,trace=def";
    assert_eq!(
        lines(&broker, &[&read[..], &format].concat()),
        [
            format!("2/0 key=k1(2) value=v1(2) {headers}"),
            format!("2/1 key=k2(2) value=NULL(-1) {headers}"),
            format!("2/2 key=NULL(-1) value=v3(2) {headers}"),
            format!("2/3 key=NULL(-1) value=NULL(-1) {headers}"),
        ]
    );
    // One partition, from an offset, so many records.
    let some = ["-C", "-t", "fields", "-p", "2", "-o", "1", "-c", "2", "-f", "%o\n"];
    assert_eq!(lines(&broker, &some), ["1", "2"]);
    let last = ["-C", "-t", "fields", "-p", "2", "-o", "-1", "-e", "-f", "%o\n"];
    assert_eq!(lines(&broker, &last), ["3"]);
}

#[test]
fn records_of_one_key_stay_together_and_in_order() {
    let broker = Broker::start("kcat-keys");
    broker.client().create_topic("keyed", 6, &[]);
    let input: String = (0..3_000).map(|i| format!("key{}:{i}\n", i % 17)).collect();
    kcat(&broker, &["-P", "-t", "keyed", "-K", ":", "-z", "zstd"], input.as_bytes());
    let read = lines(&broker, &["-C", "-t", "keyed", "-o", "beginning", "-e", "-f", "%p %k %s\n"]);
    assert_eq!(read.len(), 3_000);
    let mut last = std::collections::BTreeMap::<String, (String, u32)>::new();
    for line in &read {
        let fields: Vec<&str> = line.split(' ').collect();
        let value: u32 = fields[2].parse().unwrap();
        if let Some((partition, before)) =
            last.insert(fields[1].to_owned(), (fields[0].to_owned(), value))
        {
            assert_eq!(partition, fields[0], "{line}");
            assert!(before < value, "{line} after {before}");
        }
    }
    assert_eq!(last.len(), 17);
}

#[test]
fn offsets_are_found_by_timestamp() {
    let broker = Broker::start("kcat-times");
    broker.client().create_topic("times", 1, &[]);
    let stamp = |offset: &str| {
        let query = format!("times:0:{offset}");
        lines(&broker, &["-Q", "-t", &query])
    };
    assert_eq!(stamp("-1"), ["times [0] offset 0"]);
    // kcat writes no timestamps of its choice, so those that it got are asked for.
    kcat(&broker, &["-P", "-t", "times", "-p", "0"], b"first\n");
    let read = ["-C", "-t", "times", "-p", "0", "-e", "-f", "%T %s\n"];
    let first = lines(&broker, &[&read[..], &["-o", "beginning"]].concat());
    let first_ms: i64 = first[0].split(' ').next().unwrap().parse().unwrap();
    klamm_testkit::wait_until("the next millisecond", klamm_testkit::WAIT_MAX, || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        (now.as_millis() > first_ms.unsigned_abs().into()).then_some(())
    });
    kcat(&broker, &["-P", "-t", "times", "-p", "0"], b"second\n");
    let at = |ms: i64| format!("s@{ms}");
    let from = lines(&broker, &[&read[..], &["-o", &at(first_ms + 1)]].concat());
    assert_eq!(from.len(), 1, "{from:?}");
    assert!(from[0].ends_with(" second"), "{from:?}");
    let both = lines(&broker, &[&read[..], &["-o", &at(first_ms)]].concat());
    assert_eq!(both.len(), 2, "{both:?}");
    let second_ms: i64 = from[0].split(' ').next().unwrap().parse().unwrap();
    let until = ["-o", &at(first_ms), "-o", &format!("e@{second_ms}")];
    assert_eq!(lines(&broker, &[&read[..], &until].concat()), first);
    assert_eq!(stamp(&(first_ms + 1).to_string()), ["times [0] offset 1"]);
    assert_eq!(stamp(&(second_ms + 1).to_string()), ["times [0] offset -1"]);
    assert_eq!(stamp("-2"), ["times [0] offset 0"]);
}

#[test]
fn a_topic_is_created_by_its_first_record_and_listed() {
    let broker = Broker::start("kcat-list");
    kcat(&broker, &["-P", "-t", "made-by-producing"], b"x\n");
    let listed: serde_json::Value =
        serde_json::from_slice(&kcat(&broker, &["-L", "-J"], b"")).unwrap();
    let topics = listed["topics"].as_array().unwrap();
    let names: Vec<&str> = topics.iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["made-by-producing"]);
    assert_eq!(listed["brokers"].as_array().unwrap().len(), 1);
    assert_eq!(listed["brokers"][0]["name"].as_str().unwrap(), broker.bootstrap());
    assert_eq!(topics[0]["partitions"][0]["isrs"].as_array().unwrap().len(), 1);
}
