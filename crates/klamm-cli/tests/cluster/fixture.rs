//! A node on ports that the system chose, in a directory that goes away with it.

use std::future::Future;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use klamm_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, NewTopic, StartAt,
};
use klamm_config::{BrokerConfig, Properties};
use klamm_env::task;
use klamm_model::{IsolationLevel, TopicPartition};
use klamm_server::{Node, NodeOptions};
use klamm_stdx::Str;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("klamm-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("a temporary directory can be removed");
    }
}

pub(crate) struct Cluster {
    node: Option<Node>,
    dir: TempDir,
    pub(crate) address: String,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With configs of its own.
    pub(crate) fn start_with(configs: &[(&str, &str)]) -> Self {
        Self::start_in(TempDir::new(), configs)
    }

    /// With transactions as they were before KIP-890.
    pub(crate) fn start_with_transactions_v1() -> Self {
        let dir = TempDir::new();
        let path = dir.0.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlog.dirs={}\n\
             listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n\
             controller.listener.names=CONTROLLER\n",
            dir.0.join("data").display()
        );
        std::fs::write(&path, text).expect("a file can be written");
        let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args(["storage", "format", "-t", "JEXY6aqzQY-32P5TStzaFg", "--standalone"])
            .args(["--feature", "transaction.version=1", "-c"])
            .arg(&path)
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::start_in(dir, &[])
    }

    fn start_in(dir: TempDir, configs: &[(&str, &str)]) -> Self {
        let mut properties = Properties::default();
        properties.set("log.dirs", dir.0.join("data").display().to_string());
        properties.set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
        properties.set("klamm.metrics.listeners", "");
        properties.set("group.initial.rebalance.delay.ms", "0");
        properties.set("offsets.topic.num.partitions", "3");
        properties.set("transaction.state.log.num.partitions", "3");
        for (name, value) in configs {
            properties.set(*name, *value);
        }
        let config = BrokerConfig::load(&properties).expect("the configuration is valid").config;
        let env = klamm_env::real::env();
        let node = Node::start(NodeOptions { config, properties, env }).expect("a node starts");
        let address = node.address("PLAINTEXT").expect("it listens").to_string();
        Self { node: Some(node), dir, address }
    }

    /// Ends the node; its files stay.
    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.0.join("data")
    }

    /// What a metric says now; the node has to have `klamm.metrics.listeners`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let address = self.node.as_ref().expect("it runs").metrics_addresses()[0];
        let mut socket = std::net::TcpStream::connect(address).expect("metrics are served");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let request = "GET /metrics HTTP/1.1\r\nHost: klamm\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).expect("a request can be written");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("the answer is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    pub(crate) fn client(&self) -> Client {
        let options = ClientOptions::parse(&self.address).expect("an address");
        Client::new(klamm_env::real::env(), options)
    }

    /// Runs the binary with this cluster; gives what it printed, and wants success.
    pub(crate) fn klamm(&self, arguments: &[&str]) -> String {
        let output = self.klamm_with_input(arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "klamm {arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the binary with this cluster and wants failure; gives its one line.
    pub(crate) fn klamm_fails(&self, arguments: &[&str]) -> String {
        let output = self.klamm_with_input(arguments, b"");
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "klamm {arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    pub(crate) fn klamm_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args(arguments)
            .args(["-b", &self.address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input).expect("the binary reads");
        drop(stdin);
        child.wait_with_output().expect("the binary ends")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a test on a worker, for at most as long as anybody would wait.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let limited = async { task::timeout(3 * PATIENCE, test).await.expect("the test ends") };
    task::run_worker(limited).expect("a worker starts")
}

pub(crate) async fn create(client: &Client, name: &str, partitions: i32) {
    let topic =
        NewTopic { name: name.into(), partition_count: Some(partitions), ..NewTopic::default() };
    client.create_topic(&topic).await.expect("a topic can be created");
}

/// Everything in a topic.
pub(crate) async fn read_all(client: &Client, topic: &str, partitions: i32) -> Vec<ConsumerRecord> {
    read_as(client, (topic, partitions), (ConsumerOptions::default(), 0)).await
}

/// The values of everything in a topic that is committed, at least so many: the end of a
/// transaction is told to its producer before every partition has it.
pub(crate) async fn read_committed(
    client: &Client,
    topic: (&str, i32),
    count: usize,
) -> Vec<String> {
    let isolation = IsolationLevel::ReadCommitted;
    let options = ConsumerOptions { isolation, ..ConsumerOptions::default() };
    let records = read_as(client, topic, (options, count)).await;
    let text = |record: ConsumerRecord| String::from_utf8_lossy(&record.value.unwrap()).into();
    records.into_iter().map(text).collect()
}

async fn read_as(
    client: &Client,
    (topic, partitions): (&str, i32),
    (options, count): (ConsumerOptions, usize),
) -> Vec<ConsumerRecord> {
    let topic = Str::from(topic);
    let assigned: Vec<_> = (0..partitions)
        .map(|index| (TopicPartition::new(topic.clone(), index), StartAt::Beginning))
        .collect();
    let mut consumer = Consumer::new(client.clone(), options);
    consumer.assign(&assigned).await.expect("the partitions are there");
    let mut records = Vec::new();
    while records.len() < count || !consumer.is_at_end() {
        records.extend(consumer.poll(PATIENCE / 40).await.expect("records can be read"));
    }
    records
}
