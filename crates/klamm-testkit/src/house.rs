//! A house with two tenants: one directory that Apache Kafka and Klamm take turns on, with one
//! `server.properties` and one address, so that clients stay where they are.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::connection::RawConnection;
use crate::process::Process;
use crate::temp_dir::TempDir;
use crate::tools::Tools;
use crate::wait::{WAIT_MAX, wait_until};
use klamm_protocol::MetadataRequest;

const STORAGE: &str = "kafka.tools.StorageTool";
const SERVER: &str = "kafka.Kafka";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

/// Where [`free_port`] looks.
const PORTS: Range<u16> = 15_000..32_000;

/// The directories, and the file that both programs are started with.
#[derive(Debug)]
pub struct House {
    dir: TempDir,
    address: SocketAddr,
}

/// A port that was free a moment ago, below those that the system gives to clients (from 32768 on):
/// a client that asks in vain while tenants change would otherwise get it one day and meet itself.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    let ports = (0..PORTS.len() as u32).map(|_| {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u32;
        PORTS.start + u16::try_from(at).expect("less than there are")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(is_free).expect("there is a free port")
}

impl House {
    /// A house whose tenants read these properties as well, a line each.
    ///
    /// # Panics
    /// If the system refuses the directory.
    #[must_use]
    pub fn new(name: &str, properties: &str) -> Self {
        let dir = TempDir::new(name);
        let (broker, controller) = (free_port(), free_port());
        let (first, second) = (dir.join("first"), dir.join("second"));
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={},{}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=3\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.session.timeout.ms=2000\n\
             {properties}",
            first.display(),
            second.display()
        );
        let house = Self { dir, address: SocketAddr::from(([127, 0, 0, 1], broker)) };
        std::fs::write(house.properties(), properties).expect("the file can be written");
        house
    }

    /// Where clients find whoever lives here.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Both log directories.
    #[must_use]
    pub fn log_dirs(&self) -> [PathBuf; 2] {
        ["first", "second"].map(|name| self.dir.join(name))
    }

    fn properties(&self) -> String {
        self.dir.join("server.properties").display().to_string()
    }

    /// Has Kafka format the directories.
    ///
    /// # Panics
    /// If it refuses.
    pub fn format_by_kafka(&self) {
        let args = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", &self.properties()];
        let _ = Tools::kafka(STORAGE, &args, b"").ok();
    }

    /// Starts Kafka, and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start_kafka(&self) -> Process {
        let kafka = Tools::kafka_process(SERVER, &[&self.properties()]);
        self.wait_for_broker();
        kafka
    }

    /// Starts Klamm, and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start_klamm(&self) -> Process {
        let override_ = "klamm.metrics.listeners=";
        let klamm = Tools::klamm_process(&[
            "start",
            "--config",
            &self.properties(),
            "--override",
            override_,
        ]);
        let started = klamm.stderr.wait_for("listeners=", WAIT_MAX);
        assert!(started.is_some(), "it did not start: {:#?}", klamm.stderr);
        self.wait_for_broker();
        klamm
    }

    /// A broker that is not fenced is in its own metadata.
    fn wait_for_broker(&self) {
        let begun = Instant::now();
        wait_until("the broker", WAIT_MAX, || {
            let mut connection = RawConnection::open(self.address).ok()?;
            let answer = connection.ask(&MetadataRequest::default(), 12).ok()?;
            (!answer.brokers.is_empty()).then_some(())
        });
        println!("a tenant serves after {} ms", begun.elapsed().as_millis());
    }

    /// The files of partitions whose names end so.
    ///
    /// # Panics
    /// If the directories cannot be read.
    pub fn files(&self, suffixes: &[&str], topic: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in self.log_dirs() {
            for partition in list(&dir) {
                let name = partition.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !partition.is_dir() || !topic(&name) {
                    continue;
                }
                let is_asked = |file: &PathBuf| {
                    let name = file.to_string_lossy();
                    suffixes.iter().any(|suffix| name.ends_with(suffix))
                };
                found.extend(list(&partition).into_iter().filter(is_asked));
            }
        }
        found
    }

    /// Kafka's own reader finds nothing wrong in any file.
    ///
    /// # Panics
    /// If it does.
    pub fn check_with_kafkas_reader(&self) {
        let check = |files: Vec<PathBuf>, decoder: &[&str]| {
            assert!(!files.is_empty(), "there is nothing to read");
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let files = files.join(",");
            let args = [decoder, &["--files", &files]].concat();
            let said = Tools::kafka(DUMP_LOG, &args, b"").ok().all();
            for complaint in
                ["isvalid: false", "Found ", "Could not", "Exception", "mismatch", "orrupt"]
            {
                assert!(!said.contains(complaint), "{complaint:?} about {files}:\n{said}");
            }
        };
        let is = |wanted: &'static str| move |name: &str| name.starts_with(wanted);
        let all = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
        check(self.files(&all, |name| !name.starts_with("__")), &["--deep-iteration"]);
        check(self.files(&[".log"], is("__consumer_offsets")), &["--offsets-decoder"]);
        check(self.files(&[".log"], is("__transaction_state")), &["--transaction-log-decoder"]);
        check(self.files(&[".log"], is("__cluster_metadata")), &["--cluster-metadata-decoder"]);
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("it can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Ends a tenant in order.
///
/// # Panics
/// If it does not end well, or logged an error.
pub fn stop(mut process: Process) {
    let begun = Instant::now();
    let status = process.terminate();
    println!("a tenant ended after {} ms", begun.elapsed().as_millis());
    let said = process.stderr.all();
    // Java ends with 128 + SIGTERM also in order.
    assert!(matches!(status.code(), Some(0 | 143)), "ended with {status}: {said:#?}");
    check_log(&process);
}

/// A tenant has logged no error so far.
///
/// # Panics
/// If it has.
pub fn check_log(process: &Process) {
    let is_error = |line: &&String| line.contains(" ERROR ") || line.contains("panicked at");
    let said = process.stderr.all();
    assert_eq!(said.iter().find(is_error), None, "errors were logged");
}
