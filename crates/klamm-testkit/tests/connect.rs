//! Kafka Connect 4.3.1 on Klamm: two distributed workers bring a file to a topic, exactly once, and
//! the topic to another file; the worker with the source is killed, then the broker.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use klamm_protocol::ListGroupsRequest;
use klamm_testkit::{Broker, BrokerOptions, JavaProgram, Process, Tools, WAIT_MAX, wait_until};
use serde_json::{Value, json};

const WORKER: &str = include_str!("java_sources/Worker.java");
/// Lines of a transaction of the source, so that there are many.
const LINES_OF_TRANSACTION: &str = "50";

/// Pause between two looks at what has arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A worker, and where it answers.
struct Worker {
    process: Process,
    address: SocketAddr,
}

impl Worker {
    fn start(program: &JavaProgram, properties: &Path) -> Self {
        let process = program.process(&[&properties.display().to_string()]);
        // Nobody listens there before it says where.
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    fn wait_until_it_answers(&mut self) {
        let line = self.process.stdout.wait_for("listens ", WAIT_MAX);
        let line = line.unwrap_or_else(|| panic!("no worker: {:?}", self.process.stderr));
        self.address = line["listens ".len()..].parse().expect("an address");
        wait_until("a worker", WAIT_MAX, || self.ask("GET", "/connectors", "").ok());
    }

    /// A request to its REST interface; the status and what it said if it is no success.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let text = self.exchange(method, path, body).map_err(|error| error.to_string())?;
        let (head, content) = text.split_once("\r\n\r\n").ok_or_else(|| text.clone())?;
        match head.split(' ').nth(1) {
            Some("200" | "201") => serde_json::from_str(content).map_err(|error| error.to_string()),
            _ => Err(text),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// The file that both workers are started with.
fn worker_properties(broker: &Broker) -> PathBuf {
    let bootstrap = broker.bootstrap();
    let text = format!(
        "bootstrap.servers={bootstrap}\n\
         group.id=workers\n\
         listeners=http://127.0.0.1:0\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         exactly.once.source.support=enabled\n\
         consumer.isolation.level=read_committed\n\
         config.storage.topic=connect-configs\n\
         offset.storage.topic=connect-offsets\n\
         status.storage.topic=connect-status\n\
         config.storage.replication.factor=1\n\
         offset.storage.replication.factor=1\n\
         status.storage.replication.factor=1\n\
         offset.storage.partitions=3\n\
         status.storage.partitions=2\n\
         offset.flush.interval.ms=500\n\
         scheduled.rebalance.max.delay.ms=0\n\
         session.timeout.ms=3000\n\
         heartbeat.interval.ms=500\n\
         consumer.session.timeout.ms=3000\n\
         consumer.heartbeat.interval.ms=500\n\
         reconnect.backoff.max.ms=100\n\
         plugin.discovery=service_load\n"
    );
    let properties = broker.scratch().join("worker.properties");
    std::fs::write(&properties, text).expect("it can be written");
    properties
}

/// The broker, and the files at both ends.
struct Pipe {
    broker: Broker,
    from: PathBuf,
    to: PathBuf,
    written: usize,
}

impl Pipe {
    fn new() -> Self {
        let options = BrokerOptions::default()
            .with("offsets.topic.num.partitions", "3")
            .with("transaction.state.log.num.partitions", "3")
            .with("group.min.session.timeout.ms", "500");
        let broker = Broker::start_with("connect", options);
        broker.client().create_topic("piped", 1, &[]);
        let (from, to) = (broker.scratch().join("from"), broker.scratch().join("to"));
        Self { broker, from, to, written: 0 }
    }

    fn write(&mut self, count: usize) {
        let lines: String =
            (self.written..self.written + count).map(|n| format!("line {n}\n")).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.from).expect("open");
        file.write_all(lines.as_bytes()).expect("it can be written");
        self.written += count;
    }

    /// The numbers of the whole lines at the far end. A line that a kill tore is none.
    fn arrived(&self) -> Vec<usize> {
        let text = std::fs::read_to_string(&self.to).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
    }

    /// Waits until every line below `count` has arrived.
    ///
    /// The file goes on growing, since Kafka's source looks at lines that it has read but not sent
    /// only when there is more to read.
    fn wait_for(&mut self, count: usize, workers: &[&Worker]) {
        let start = Instant::now();
        loop {
            self.write(1);
            let arrived: BTreeSet<usize> = self.arrived().into_iter().collect();
            if (0..count).all(|n| arrived.contains(&n)) {
                return;
            }
            let state = || workers.iter().map(|worker| status(worker)).collect::<Vec<_>>();
            let late = start.elapsed() > WAIT_MAX;
            assert!(!late, "{} of {count} lines: {:#?}", arrived.len(), state());
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// What a consumer of committed records sees.
    fn committed(&self) -> Vec<String> {
        let bootstrap = self.broker.bootstrap();
        let args = ["-b", &bootstrap, "-q", "-C", "-t", "piped", "-o", "beginning", "-e"];
        let format = ["-X", "isolation.level=read_committed", "-f", "%s\n"];
        let text = Tools::kcat(&[&args[..], &format].concat(), b"").ok().text();
        text.lines().map(str::to_owned).collect()
    }

    /// Asks a worker for a connector until no rebalance is in the way.
    fn connect(&self, worker: &Worker, name: &str, config: &Value) {
        let path = format!("/connectors/{name}/config");
        wait_until(&format!("connector {name}"), WAIT_MAX, || {
            let Err(refusal) = worker.ask("PUT", &path, &config.to_string()) else {
                return Some(());
            };
            let is_rebalance = refusal.contains(" 409 ") || !refusal.starts_with("HTTP");
            assert!(is_rebalance, "{name}: {refusal}");
            None
        });
    }

    /// Name and kind of the groups that the broker has.
    fn groups(&self) -> BTreeSet<(String, String)> {
        let answer = self.broker.client().ask(&ListGroupsRequest::default(), 4);
        let pair = |group: &klamm_protocol::list_groups_response::ListedGroup| {
            (group.group_id.to_string(), group.protocol_type.to_string())
        };
        answer.groups.iter().map(pair).collect()
    }
}

fn status(worker: &Worker) -> Vec<Result<Value, String>> {
    let of = |name| worker.ask("GET", &format!("/connectors/{name}/status"), "");
    ["source", "sink"].into_iter().map(of).collect()
}

/// Where a connector's only task runs, once it does.
fn host_of_task(worker: &Worker, name: &str) -> String {
    wait_until(&format!("the task of {name}"), WAIT_MAX, || {
        let status = worker.ask("GET", &format!("/connectors/{name}/status"), "").ok()?;
        let task = status["tasks"].get(0)?;
        (task["state"] == "RUNNING").then(|| task["worker_id"].as_str().map(str::to_owned))?
    })
}

#[test]
fn a_file_goes_through_a_pair_of_workers_whole_although_one_and_the_broker_are_killed() {
    let mut pipe = Pipe::new();
    let program = JavaProgram::compile("Worker", WORKER);
    let properties = worker_properties(&pipe.broker);
    let mut workers = [0, 1].map(|_| Worker::start(&program, &properties));
    pipe.write(500);
    for worker in &mut workers {
        worker.wait_until_it_answers();
    }
    let from = pipe.from.display().to_string();
    let source = json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": "1", "file": from, "topic": "piped",
        "batch.size": LINES_OF_TRANSACTION, "exactly.once.support": "required",
    });
    let to = pipe.to.display().to_string();
    let sink = json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": "1", "file": to, "topics": "piped",
    });
    pipe.connect(&workers[0], "source", &source);
    pipe.connect(&workers[1], "sink", &sink);
    pipe.wait_for(500, &[&workers[0]]);
    let group = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    let groups = BTreeSet::from([group("workers", "connect"), group("connect-sink", "consumer")]);
    assert_eq!(pipe.groups(), groups);

    let host = host_of_task(&workers[0], "source");
    let (mut killed, left): (Vec<Worker>, Vec<Worker>) =
        workers.into_iter().partition(|worker| worker.address.to_string() == host);
    assert_eq!((killed.len(), left.len()), (1, 1), "{host}");
    pipe.write(3_000);
    pipe.wait_for(600, &[&left[0]]);
    killed[0].process.kill();
    pipe.wait_for(3_500, &[&left[0]]);
    assert_eq!(host_of_task(&left[0], "source"), left[0].address.to_string());

    pipe.write(1_500);
    pipe.wait_for(3_600, &[&left[0]]);
    pipe.broker.kill();
    pipe.broker.start_again();
    pipe.wait_for(5_000, &[&left[0]]);
    let committed = pipe.committed();
    let expected: Vec<String> = (0..committed.len()).map(|n| format!("line {n}")).collect();
    assert!(committed == expected, "the source wrote each line once, and in order");
    assert!((5_000..=pipe.written).contains(&committed.len()), "{}", committed.len());
    let arrived = pipe.arrived();
    let distinct: BTreeSet<&usize> = arrived.iter().collect();
    println!("{} lines arrived, {} of them again", arrived.len(), arrived.len() - distinct.len());
}
