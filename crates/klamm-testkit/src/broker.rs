//! A node as a process of its own: started, killed, started again. Never touches a process or a
//! directory that it did not make.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use klamm_protocol::{ApiVersionsRequest, ApiVersionsResponse};

use crate::client::Client;
use crate::connection::RawConnection;
use crate::process::{Lines, Process};
use crate::temp_dir::TempDir;
use crate::tools::required;
use crate::wait::{WAIT_MAX, wait_until};

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct BrokerOptions {
    /// Keys beside those that every test's broker has.
    pub overrides: Vec<(String, String)>,
    /// Where its data is, if not in a directory of its own.
    pub log_dir: Option<PathBuf>,
    /// Errors that the test provokes: parts of lines that may be logged.
    pub expected_errors: Vec<String>,
}

impl BrokerOptions {
    /// With one more key.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    /// In a directory that the test made.
    #[must_use]
    pub fn in_dir(mut self, log_dir: &Path) -> Self {
        self.log_dir = Some(log_dir.to_owned());
        self
    }

    /// With an error that may be logged.
    #[must_use]
    pub fn expecting_error(mut self, text: &str) -> Self {
        self.expected_errors.push(text.to_owned());
        self
    }
}

/// A running broker with its data. Dropped, it is killed, its log must hold no unexpected error,
/// and its data goes.
#[derive(Debug)]
pub struct Broker {
    options: BrokerOptions,
    process: Process,
    addresses: BTreeMap<String, SocketAddr>,
    dir: TempDir,
    startup: Duration,
}

impl Broker {
    /// Starts a broker with nothing special about it.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_with(name, BrokerOptions::default())
    }

    /// Starts a broker.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(name: &str, options: BrokerOptions) -> Self {
        let dir = TempDir::new(name);
        let listeners = "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
        let (process, addresses, startup) = launch(&options, dir.path(), listeners);
        Self { options, process, addresses, dir, startup }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses["PLAINTEXT"]
    }

    /// Where its controller is reached.
    #[must_use]
    pub fn controller_address(&self) -> SocketAddr {
        self.addresses["CONTROLLER"]
    }

    /// The address as clients' `bootstrap.servers` want it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    /// Where its data is.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        log_dir(&self.options, self.dir.path())
    }

    /// A directory for the test's own files, which goes with the broker.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// From exec to the first request that was answered.
    #[must_use]
    pub fn startup(&self) -> Duration {
        self.startup
    }

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> &Lines {
        &self.process.stderr
    }

    /// A new connection.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.address())
            .unwrap_or_else(|error| panic!("no connection to {}: {error}", self.address()))
    }

    /// A new connection that asks for what tests often want.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.connect())
    }

    /// Bytes of memory that it holds (`VmRSS`).
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that it ever held (`VmHWM`).
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn resident_bytes_max(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path} cannot be read: {error}"));
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{path} has no {field}")) * 1024
    }

    /// Stops every thread where it is. One that waits for a device goes no further than to the end
    /// of its system call.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.process.id());
        wait_until("all threads to stop", WAIT_MAX, || {
            let mut tasks = std::fs::read_dir(&tasks).expect("the broker runs");
            let is_still = tasks.all(|task| {
                let stat = std::fs::read_to_string(task.expect("an entry").path().join("stat"));
                // The state is behind the name, which stands in brackets (`proc(5)`).
                let state = stat.ok().and_then(|text| text.rsplit(") ").next()?.chars().next());
                matches!(state, Some('T' | 'D') | None)
            });
            is_still.then_some(())
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.check_log();
        self.process.kill();
    }

    /// Ends it in order.
    ///
    /// # Panics
    /// If it does not end, or not well.
    pub fn terminate(&mut self) {
        let status = self.process.terminate();
        self.check_log();
        assert!(status.success(), "the broker ended with {status}: {:?}", self.process.stderr);
    }

    /// Starts it again on the same ports and data, after it was killed or ended.
    pub fn start_again(&mut self) {
        assert!(!self.process.is_running(), "it is started again while it runs");
        let listeners: Vec<String> =
            self.addresses.iter().map(|(name, address)| format!("{name}://{address}")).collect();
        let (process, addresses, startup) =
            launch(&self.options, self.dir.path(), &listeners.join(","));
        self.process = process;
        self.addresses = addresses;
        self.startup = startup;
    }

    /// Its log must hold no error that the test did not announce.
    fn check_log(&self) {
        let unexpected: Vec<String> = self
            .log()
            .all()
            .into_iter()
            .filter(|line| line.contains(" ERROR ") || line.contains("panicked at"))
            .filter(|line| !self.options.expected_errors.iter().any(|text| line.contains(text)))
            .collect();
        assert!(unexpected.is_empty(), "the broker logged errors: {unexpected:#?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("the broker's log: {:#?}", self.log());
        } else {
            self.check_log();
        }
    }
}

fn log_dir(options: &BrokerOptions, dir: &Path) -> PathBuf {
    options.log_dir.clone().unwrap_or_else(|| dir.join("data"))
}

fn command(options: &BrokerOptions, dir: &Path, listeners: &str) -> Command {
    let mut command = Command::new(required("KLAMM_TEST_BINARY"));
    command.arg("start").current_dir(dir);
    let mut add = |key: &str, value: &str| {
        command.arg("--override").arg(format!("{key}={value}"));
    };
    add("log.dirs", &log_dir(options, dir).display().to_string());
    add("listeners", listeners);
    // Its port is the same for every node of a machine.
    add("klamm.metrics.listeners", "");
    // A group's first member would be kept waiting for others.
    add("group.initial.rebalance.delay.ms", "0");
    for (key, value) in &options.overrides {
        add(key, value);
    }
    command
}

fn launch(
    options: &BrokerOptions,
    dir: &Path,
    listeners: &str,
) -> (Process, BTreeMap<String, SocketAddr>, Duration) {
    let start = Instant::now();
    let process = Process::spawn(&mut command(options, dir, listeners));
    let Some(line) = process.stderr.wait_for("listeners=", WAIT_MAX) else {
        panic!("the broker did not start: {:#?}", process.stderr);
    };
    let addresses = addresses(&line);
    let asked = RawConnection::open(addresses["PLAINTEXT"]).and_then(|mut connection| {
        connection.ask::<ApiVersionsRequest>(&ApiVersionsRequest::default(), 0)
    });
    let answer: ApiVersionsResponse =
        asked.unwrap_or_else(|error| panic!("a started broker does not answer: {error}"));
    assert_eq!(answer.error_code, 0, "a started broker does not answer well");
    (process, addresses, start.elapsed())
}

/// The addresses in `… listeners=NAME://HOST:PORT,NAME://HOST:PORT …`.
fn addresses(line: &str) -> BTreeMap<String, SocketAddr> {
    let (_, rest) = line.split_once("listeners=").unwrap_or_default();
    let list = rest.split_whitespace().next().unwrap_or_default().trim_matches('"');
    list.split(',')
        .filter_map(|one| one.split_once("://"))
        .filter_map(|(name, address)| Some((name.to_owned(), address.parse().ok()?)))
        .collect()
}

/// Starts a node that must refuse to start, and gives what it said.
///
/// # Panics
/// If it starts, or does not end.
#[must_use]
pub fn start_refused(options: &BrokerOptions, dir: &Path, listeners: &str) -> String {
    let mut process = Process::spawn(&mut command(options, dir, listeners));
    let status = process.wait(WAIT_MAX);
    let said = process.stderr.all().join("\n");
    assert!(!status.success(), "a node started that must not: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_that_the_system_chose_are_read_from_the_log() {
        let line = "INFO started listeners=CONTROLLER://127.0.0.1:9,PLAINTEXT://127.0.0.1:8 cluster_id=\"x\"";
        let found = addresses(line);
        assert_eq!(found["CONTROLLER"].port(), 9);
        assert_eq!(found["PLAINTEXT"].port(), 8);
        assert!(addresses("nothing of the kind").is_empty());
    }
}
