//! Connections through the public door: an echo service behind real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_env::net::{BoundListener, SocketOptions};
use klamm_network::{
    Call, Network, NetworkOptions, Peer, Reply, Response, Service, ServiceFactory, Session,
    StopGrace,
};

/// Echoes each frame. `w…` waits for a later turn first, `c…` closes, `s…` stays silent.
/// `p…` and `w…` may be pipelined.
struct Echo;

impl Service for Echo {
    fn open(&self, _: &Peer) -> Box<dyn Session> {
        Box::new(Echo)
    }
}

impl Session for Echo {
    fn is_pipelined(&self, frame: &[u8]) -> bool {
        matches!(frame.first(), Some(b'p' | b'w'))
    }

    fn call(&mut self, frame: Bytes) -> Call {
        match frame.first() {
            Some(b'c') => Call::Now(Reply::Close("asked to".into())),
            Some(b's') => Call::Now(Reply::Silent),
            Some(b'w') => Call::Later(Box::pin(async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                echo(&frame)
            })),
            _ => Call::Now(echo(&frame)),
        }
    }
}

fn echo(frame: &[u8]) -> Reply {
    Reply::Send(Response::plain(framed(frame)))
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes =
        i32::try_from(body.len()).expect("the test's sockets work").to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn options() -> NetworkOptions {
    NetworkOptions {
        listeners: vec!["PLAINTEXT".into()],
        workers: 2,
        frame_bytes_max: 4 * 1024 * 1024,
        request_bytes_max: 8 * 1024 * 1024,
        requests_in_flight_max: 4,
        connections_max: 1_000,
        connections_per_ip_max: 1_000,
        idle_max: Duration::from_secs(600),
        stop_grace: StopGrace(Duration::from_secs(5)),
    }
}

fn start(options: NetworkOptions) -> Network {
    let listener = BoundListener::bind(
        "127.0.0.1",
        0,
        SocketOptions { backlog: 50, ..SocketOptions::default() },
    );
    let env = klamm_env::real::env();
    let echo: ServiceFactory = Arc::new(|_| Box::new(Echo));
    Network::start(options, vec![listener.expect("the test's sockets work")], &env.clock, &echo)
        .expect("the test's sockets work")
}

fn connect(network: &Network) -> TcpStream {
    let stream = TcpStream::connect(network.addresses()[0]).expect("the test's sockets work");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("the test's sockets work");
    stream
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("the test's sockets work");
    let mut body = vec![0; i32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).expect("the test's sockets work");
    body
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn replies_come_in_the_order_of_the_requests_whatever_waits() {
    let network = start(options());
    let mut stream = connect(&network);
    let bodies: Vec<String> =
        ["w1", "p2", "x3", "w4", "w5", "w6", "w7", "w8", "x9"].map(String::from).to_vec();
    let all: Vec<u8> = bodies.iter().flat_map(|body| framed(body.as_bytes())).collect();
    stream.write_all(&all).unwrap();
    for body in &bodies {
        assert_eq!(read_frame(&mut stream), body.as_bytes());
    }
    network.stop();
}

#[test]
fn a_frame_may_arrive_one_byte_at_a_time() {
    let network = start(options());
    let mut stream = connect(&network);
    for byte in framed(b"hello").into_iter().chain(framed(b"again")) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_frame(&mut stream), b"hello");
    assert_eq!(read_frame(&mut stream), b"again");
    network.stop();
}

#[test]
fn large_and_small_frames_alternate_and_all_bytes_come_back() {
    let network = start(options());
    let mut stream = connect(&network);
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = large.clone();
    let sender = std::thread::spawn(move || {
        for _ in 0..5 {
            writer.write_all(&framed(&sent)).unwrap();
            writer.write_all(&framed(b"xsmall")).unwrap();
            writer.write_all(&framed(&sent[..40_000])).unwrap();
        }
    });
    for round in 0..5 {
        for expected in [&large[..], b"xsmall", &large[..40_000]] {
            let frame = read_frame(&mut stream);
            assert_eq!(frame.len(), expected.len(), "round {round}");
            assert!(frame == expected, "round {round}");
        }
    }
    sender.join().unwrap();
    assert_eq!(network.request_bytes_used(), 0);
    network.stop();
}

#[test]
fn a_length_that_is_negative_or_too_large_closes_the_connection_and_no_other() {
    let network = start(options());
    let mut good = connect(&network);
    for len in [-1_i32, i32::MIN, i32::MAX, 4 * 1024 * 1024 + 1] {
        let mut bad = connect(&network);
        bad.write_all(&len.to_be_bytes()).unwrap();
        assert!(is_closed(&mut bad), "{len}");
    }
    good.write_all(&framed(b"fine")).unwrap();
    assert_eq!(read_frame(&mut good), b"fine");
    assert_eq!(network.stats().snapshot().connections_faulty, 4);
    network.stop();
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answers() {
    let network = start(options());
    let mut stream = connect(&network);
    stream.write_all(&[framed(b"w1"), framed(b"x2"), framed(b"x3")].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for body in [b"w1", b"x2", b"x3"] {
        assert_eq!(read_frame(&mut stream), body);
    }
    assert!(is_closed(&mut stream));
    network.stop();
}

#[test]
fn a_session_can_stay_silent_or_close() {
    let network = start(options());
    let mut stream = connect(&network);
    stream.write_all(&[framed(b"s"), framed(b"x"), framed(b"c")].concat()).unwrap();
    assert_eq!(read_frame(&mut stream), b"x");
    assert!(is_closed(&mut stream));
    network.stop();
}

#[test]
fn frames_that_are_promised_and_never_come_do_not_stop_those_that_do() {
    let network = start(options());
    let promised = 4 * 1024 * 1024_i32;
    let waiting: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = connect(&network);
            stream.write_all(&promised.to_be_bytes()).unwrap();
            stream.write_all(b"x").unwrap();
            stream
        })
        .collect();
    let mut stream = connect(&network);
    for _ in 0..100 {
        stream.write_all(&framed(b"x small")).unwrap();
        assert_eq!(read_frame(&mut stream), b"x small");
    }
    drop(waiting);
    network.stop();
}

#[test]
fn an_idle_connection_is_closed_and_a_cap_refuses_the_next() {
    let network = start(NetworkOptions {
        idle_max: Duration::from_millis(1),
        connections_per_ip_max: 1,
        ..options()
    });
    let mut first = connect(&network);
    let mut second = connect(&network);
    assert!(is_closed(&mut second));
    assert!(is_closed(&mut first));
    let stats = network.stats().snapshot();
    assert_eq!((stats.connections_refused, stats.connections_expired), (1, 1));
    network.stop();
}

#[test]
fn the_stop_closes_idle_connections_at_once() {
    let network = start(options());
    let mut stream = connect(&network);
    stream.write_all(&framed(b"x")).unwrap();
    assert_eq!(read_frame(&mut stream), b"x");
    network.stop();
    assert!(is_closed(&mut stream));
}
