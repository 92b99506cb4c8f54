//! Hostile bytes against a live broker: frames that lie, requests cut short anywhere, counts that
//! promise billions. Each ends that connection at most; the broker and its memory stay as they were.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use klamm_codec::Message;
use klamm_codec::arbitrary::{Arbitrary, Source, Visitor};
use klamm_model::ErrorCode;
use klamm_protocol::metadata_request::MetadataRequestTopic;
use klamm_protocol::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, RequestHead, visit_messages,
};
use klamm_records::BatchOptions;
use klamm_stdx::Str;
use klamm_testkit::{Broker, BrokerOptions, Client, RawConnection, batch_of, frame_of, head};

/// Most memory that the broker may hold on to after an attack.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const FRAME_BYTES_MAX: usize = 1 << 20;

fn start(name: &str) -> Broker {
    let options = BrokerOptions::default()
        .with("socket.request.max.bytes", &FRAME_BYTES_MAX.to_string())
        .with("offsets.topic.num.partitions", "1");
    Broker::start_with(name, options)
}

/// A client of good will, whose connection must outlive whatever others do.
struct Control {
    client: Client,
    offset: i64,
    resident_bytes: u64,
}

impl Control {
    fn new(broker: &Broker) -> Self {
        let mut client = broker.client();
        client.create_topic("control", 1, &[]);
        let mut control = Self { client, offset: 0, resident_bytes: 0 };
        control.check();
        control.resident_bytes = broker.resident_bytes();
        control
    }

    /// Writes and reads on the connection that was there from the start.
    #[track_caller]
    fn check(&mut self) {
        let batch = batch_of(BatchOptions::default(), &[b"control"]);
        let answer = self.client.produce("control", 0, &batch);
        assert_eq!((answer.error_code, answer.base_offset), (0, self.offset));
        let read = self.client.fetch_all("control", 0, self.offset);
        assert_eq!(read.len(), 1);
        self.offset += 1;
    }

    #[track_caller]
    fn check_memory(&mut self, broker: &Broker, what: &str) {
        self.check();
        let now = broker.resident_bytes();
        let growth = now.saturating_sub(self.resident_bytes);
        println!(
            "{what}: {} KiB before, {} KiB after, {} KiB at most",
            self.resident_bytes >> 10,
            now >> 10,
            broker.resident_bytes_max() >> 10
        );
        assert!(growth < GROWTH_BYTES_MAX, "{what}: {growth} bytes more than before");
    }
}

/// Sends bytes on a connection of their own and says no more; gives how the broker reacts.
fn provoke(address: SocketAddr, bytes: &[u8]) -> io::Result<Reaction> {
    let mut connection = RawConnection::open(address)?;
    match connection.send_bytes(bytes) {
        // The broker may close before it has read everything, which is its right.
        Err(error) if is_closed(&error) => return Ok(Reaction::Closed),
        sent => sent?,
    }
    Ok(match connection.receive_frame()? {
        Some(_) => Reaction::Answered,
        None => Reaction::Closed,
    })
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    Answered,
    Closed,
}

/// Bytes with the length that they have.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a test's frame is short");
    [&length.to_be_bytes(), content].concat()
}

#[test]
fn a_frame_of_an_impossible_length_ends_its_connection_only() {
    let broker = start("hostile-lengths");
    let mut control = Control::new(&broker);
    let above = i32::try_from(FRAME_BYTES_MAX).unwrap() + 1;
    for length in [-1, i32::MIN, 0, 1, 3, 7, above, i32::MAX, 0x4745_5420] {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0; 8]);
        let reaction = provoke(broker.address(), &bytes).unwrap();
        assert_eq!(reaction, Reaction::Closed, "length {length}");
        control.check();
    }
    // A length that is allowed, and a client that goes away before it is reached.
    for sent in [0, 1, 1000] {
        let mut connection = broker.connect();
        connection.send_bytes(&1_000_000_u32.to_be_bytes()).unwrap();
        connection.send_bytes(&vec![0; sent]).unwrap();
        connection.finish_sending().unwrap();
        assert!(connection.is_closed().unwrap());
    }
    control.check_memory(&broker, "lengths");
}

#[test]
fn promises_of_large_frames_take_no_memory() {
    let broker = start("hostile-promises");
    let mut control = Control::new(&broker);
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut connection = broker.connect();
        connection.send_bytes(&u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes()).unwrap();
        connection.send_bytes(&[0, 3]).unwrap();
        waiting.push(connection);
    }
    control.check_memory(&broker, "200 frames of 1 MiB promised");
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let broker = start("hostile-bytes");
    let request = ApiVersionsRequest {
        client_software_name: Str::from("slow"),
        client_software_version: Str::from("1"),
    };
    let frame = framed(&frame_of(&head(ApiKey::ApiVersions, 3, 77), &request).unwrap());
    let mut connection = broker.connect();
    for byte in frame {
        connection.send_bytes(&[byte]).unwrap();
    }
    let answer = connection.receive::<ApiVersionsRequest>(77, 3).unwrap();
    assert_eq!(answer.error_code, 0);
    // Two requests in one write are two requests.
    let two = [1, 2].map(|id| {
        let head = head(ApiKey::Metadata, 9, id);
        framed(&frame_of(&head, &MetadataRequest::default()).unwrap())
    });
    connection.send_bytes(&two.concat()).unwrap();
    connection.receive::<MetadataRequest>(1, 9).unwrap();
    connection.receive::<MetadataRequest>(2, 9).unwrap();
}

#[test]
fn a_request_that_ends_before_its_content_does_is_refused_and_bytes_after_it_are_left_alone() {
    let broker = start("hostile-content");
    let mut control = Control::new(&broker);
    let frame = frame_of(&head(ApiKey::Metadata, 9, 1), &MetadataRequest::default()).unwrap();
    assert_eq!(provoke(broker.address(), &framed(&frame)).unwrap(), Reaction::Answered);
    let longer = [&frame[..], &[0]].concat();
    assert_eq!(provoke(broker.address(), &framed(&longer)).unwrap(), Reaction::Answered);
    let shorter = &frame[..frame.len() - 1];
    assert_eq!(provoke(broker.address(), &framed(shorter)).unwrap(), Reaction::Closed);
    control.check();
}

#[test]
fn unknown_kinds_and_versions_are_refused_and_api_versions_tells_what_there_is() {
    let broker = start("hostile-kinds");
    let mut control = Control::new(&broker);
    for code in [-1_i16, 4, 7, 93, 1_000, i16::MAX, i16::MIN] {
        let content = [&code.to_be_bytes()[..], &[0, 0, 0, 0, 0, 1, 0, 1, b'c']].concat();
        assert_eq!(
            provoke(broker.address(), &framed(&content)).unwrap(),
            Reaction::Closed,
            "{code}"
        );
    }
    for (key, versions) in served(&mut control.client) {
        for version in [-1, versions.1 + 1, 99, i16::MAX, i16::MIN] {
            if key == ApiKey::ApiVersions {
                continue;
            }
            let content = frame_of(&head(key, version, 1), &MetadataRequest::default());
            let content = content.unwrap_or_else(|_| head_bytes(&head(key, version, 1)));
            let reaction = provoke(broker.address(), &framed(&content)).unwrap();
            assert_eq!(reaction, Reaction::Closed, "{key} v{version}");
        }
    }
    for version in [5, 99, i16::MAX, -1] {
        let mut connection = broker.connect();
        let content = [head_bytes(&head(ApiKey::ApiVersions, version, 9)), vec![0xff; 30]].concat();
        connection.send_frame(&content).unwrap();
        let answer = connection.receive_frame().unwrap().expect("an answer (KIP-511)");
        assert_eq!(answer[..4], [0, 0, 0, 9], "correlation id");
        let answer = ApiVersionsResponse::decode_exact(answer.slice(4..), 0).unwrap();
        assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
        let listed = answer.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.code());
        assert_eq!(listed.map(|api| (api.min_version, api.max_version)), Some((0, 4)));
        // And the client may try again on the same connection.
        assert_eq!(connection.ask(&ApiVersionsRequest::default(), 0).unwrap().error_code, 0);
    }
    control.check();
}

fn head_bytes(head: &RequestHead) -> Vec<u8> {
    let mut w = klamm_codec::Writer::new();
    head.encode(&mut w).expect("a short header");
    w.into_vec()
}

/// The kinds that the broker says it serves, with their lowest and highest versions.
fn served(client: &mut Client) -> Vec<(ApiKey, (i16, i16))> {
    let answer = client.ask(&ApiVersionsRequest::default(), 0);
    let served = answer.api_keys.iter().map(|api| {
        let key = ApiKey::from_code(api.api_key).expect("a kind of Kafka's");
        (key, (api.min_version, api.max_version))
    });
    served.collect()
}

/// A frame of each kind and version, without its length.
struct Frames {
    served: BTreeMap<String, (ApiKey, (i16, i16))>,
    source: fn() -> Source,
    frames: Vec<(ApiKey, i16, Vec<u8>)>,
}

impl Frames {
    fn new(client: &mut Client, source: fn() -> Source) -> Self {
        let served = served(client).into_iter();
        let served = served.map(|(key, versions)| (format!("{key}Request"), (key, versions)));
        let mut frames = Self { served: served.collect(), source, frames: Vec::new() };
        visit_messages(&mut frames);
        frames
    }
}

impl Visitor for Frames {
    fn visit<M: Message + Arbitrary>(&mut self) {
        let Some((key, (lowest, highest))) = self.served.get(M::NAME).copied() else { return };
        // Produce is announced from v0 on for old clients' sake, and served from v3 on.
        for version in lowest.max(*M::VERSIONS.start())..=highest {
            let request: M = (self.source)().value(M::form(version));
            let frame = frame_of(&head(key, version, 1), &request).expect("made for this version");
            self.frames.push((key, version, frame));
        }
    }
}

#[test]
fn every_request_in_every_version_cut_short_anywhere_ends_its_connection_only() {
    let broker = start("hostile-cuts");
    let mut control = Control::new(&broker);
    let frames = Frames::new(&mut control.client, Source::counted).frames;
    assert!(frames.len() > 100, "{} frames", frames.len());
    let mut cut_count = 0;
    for (key, version, frame) in &frames {
        for length in 0..frame.len() {
            let reaction = provoke(broker.address(), &framed(&frame[..length])).unwrap();
            assert_eq!(reaction, Reaction::Closed, "{key} v{version} cut at {length}");
            cut_count += 1;
        }
        // Whole, it is answered: at worst with an error, because its values are made up.
        let whole = provoke(broker.address(), &framed(frame)).unwrap();
        assert_eq!(whole, Reaction::Answered, "{key} v{version}");
        control.check();
    }
    println!("{} requests, {cut_count} cuts", frames.len());
    control.check_memory(&broker, "cut requests");
}

#[test]
fn counts_and_lengths_that_promise_billions_take_no_memory() {
    let broker = start("hostile-counts");
    let mut control = Control::new(&broker);
    let frames = Frames::new(&mut control.client, Source::counted).frames;
    let promises: [&[u8]; 3] =
        [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0x7f, 0xff]];
    let mut lie_count = 0;
    for (_, _, frame) in &frames {
        // What comes first is the kind and the version, which other tests lie about.
        for at in 4..frame.len() {
            let promise = promises[at % promises.len()];
            let mut lie = frame.clone();
            let end = (at + promise.len()).min(lie.len());
            lie.splice(at..end, promise.iter().copied());
            let mut connection = broker.connect();
            // Some lies are long waits, so an answer is not waited for: the end of our side is.
            connection.send_frame(&lie).unwrap();
            connection.finish_sending().unwrap();
            while connection.receive_frame().unwrap().is_some() {}
            lie_count += 1;
        }
        control.check();
    }
    println!("{} requests, {lie_count} lies", frames.len());
    control.check_memory(&broker, "promised counts");
}

#[test]
fn random_requests_of_every_kind_leave_the_broker_as_it_was() {
    let broker = start("hostile-random");
    let mut control = Control::new(&broker);
    let seeds: [fn() -> Source; 6] = [
        Source::nulls,
        || Source::random(1),
        || Source::random(2),
        || Source::random(3),
        || Source::random(4),
        || Source::random(5),
    ];
    for seed in seeds {
        for (_, _, frame) in &Frames::new(&mut control.client, seed).frames {
            let mut connection = broker.connect();
            connection.send_frame(frame).unwrap();
            connection.finish_sending().unwrap();
            while connection.receive_frame().unwrap().is_some() {}
        }
        control.check();
    }
    control.check_memory(&broker, "random requests");
}

#[test]
fn a_frame_of_tagged_fields_without_end_is_refused() {
    let broker = start("hostile-tags");
    let mut control = Control::new(&broker);
    for count in [&[0xff, 0xff, 0xff, 0xff, 0x07][..], &[0xff, 0xff, 0x3f]] {
        // A flexible header whose tagged fields are as many as fit, each of no bytes.
        let mut content = head_bytes(&head(ApiKey::Metadata, 12, 1));
        assert_eq!(content.pop(), Some(0), "the count of the header's tagged fields");
        content.extend_from_slice(count);
        let filler = (0_u32..).flat_map(|tag| [tag as u8 | 0x80, (tag >> 7) as u8 & 0x7f, 0]);
        content.extend(filler.take(FRAME_BYTES_MAX - content.len()));
        assert_eq!(provoke(broker.address(), &framed(&content)).unwrap(), Reaction::Closed);
    }
    control.check_memory(&broker, "tagged fields");
}

#[test]
fn a_topic_with_an_illegal_name_is_not_created_by_anyone() {
    let broker = start("hostile-names");
    let mut client = broker.client();
    let long = "a".repeat(250);
    let names = ["", ".", "..", "a/b", "../up", "a b", "ä", "a\0", "a\n", "a:b", "\\", &long];
    for name in names {
        let code = client.try_create_topic(name, 1, &[]);
        assert_eq!(code, ErrorCode::InvalidTopicException, "{name:?}");
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(Str::from(name)),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        for version in [4, 9, 12] {
            let answer = client.ask(&request, version);
            let code = ErrorCode::from_code(answer.topics[0].error_code);
            assert_eq!(code, Some(ErrorCode::InvalidTopicException), "{name:?} v{version}");
        }
    }
    let all = client.ask(&MetadataRequest { topics: None, ..MetadataRequest::default() }, 9);
    assert!(all.topics.is_empty(), "{:?}", all.topics);
    let longest = "a".repeat(249);
    client.create_topic(&longest, 1, &[]);
}

#[test]
fn a_topic_id_that_a_version_cannot_answer_is_an_invalid_request() {
    let broker = start("hostile-ids");
    let mut client = broker.client();
    let topic = |name: Option<&'static str>, topic_id| MetadataRequestTopic {
        name: name.map(Str::from),
        topic_id,
    };
    let id = klamm_model::Uuid::from_bytes([7; 16]);
    for asked in [topic(None, id), topic(None, klamm_model::Uuid::ZERO), topic(Some("x"), id)] {
        for version in [10, 11] {
            let topics = Some(vec![asked.clone()]);
            let request = MetadataRequest { topics, ..MetadataRequest::default() };
            let answer = client.ask(&request, version);
            let code = ErrorCode::from_code(answer.topics[0].error_code);
            assert_eq!(code, Some(ErrorCode::InvalidRequest), "{asked:?} v{version}");
        }
    }
}
