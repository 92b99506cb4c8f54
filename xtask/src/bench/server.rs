//! A server under load: its files, its process, its end. Whatever happens, the process is ended by
//! its id and its files are removed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::peer;

/// The server's core.
const SERVER_CORE: &str = "0";

/// The JVM as Kafka's own scripts start it.
const JVM: [&str; 7] = [
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Klamm,
    Kafka,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Klamm => "klamm",
            Self::Kafka => "kafka",
        }
    }

    /// What the names of its cleaner threads begin with, as far as the kernel keeps them.
    pub(super) fn cleaner_threads(self) -> &'static str {
        match self {
            Self::Klamm => "cleaner-",
            Self::Kafka => "kafka-log-clean",
        }
    }
}

/// Whether server and load have a core each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    Split,
    None,
}

/// Where the programs are.
pub(super) struct Programs {
    pub(super) klamm: PathBuf,
    pub(super) load: PathBuf,
    pub(super) kafka_lib: Option<PathBuf>,
    /// Whether there is a core for each.
    pub(super) may_pin: bool,
}

/// A server and its directory.
pub(super) struct Server {
    command: Command,
    process: Option<Child>,
    port: u16,
    dir: PathBuf,
}

/// How long a server may take to stop, and the pause between two looks.
const STOP_WAIT_MAX: Duration = Duration::from_secs(120);
const STOP_LOOK: Duration = Duration::from_millis(2);

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// A server with an empty directory, not started. Kafka's is formatted here, outside its
    /// clock; Klamm formats its own inside.
    pub(super) fn prepare(programs: &Programs, kind: Kind, pin: Pin) -> Result<Self, String> {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("klamm-bench-{}-{count}-{}", std::process::id(), kind.name());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let (port, controller_port) = free_ports()?;
        // From here on the directory goes with the server.
        let mut server = Self { command: Command::new("true"), process: None, port, dir };
        let config = server.dir.join("server.properties");
        fs::write(&config, server.properties(kind, controller_port))
            .map_err(|e| format!("{}: {e}", config.display()))?;
        server.command = match kind {
            Kind::Klamm => {
                let mut command =
                    super::pinned(&programs.klamm, pin, SERVER_CORE, programs.may_pin);
                command.arg("start").arg("--config").arg(&config);
                command
            }
            Kind::Kafka => {
                server.format_kafka(&config)?;
                let java = std::path::Path::new("java");
                let mut command = super::pinned(java, pin, SERVER_CORE, programs.may_pin);
                let lib = programs.kafka_lib.as_ref().ok_or("Kafka's jars are not there")?;
                command.args(JVM).args(["-cp", &peer::class_path(lib), "kafka.Kafka"]).arg(&config);
                command
            }
        };
        Ok(server)
    }

    fn properties(&self, kind: Kind, controller_port: u16) -> String {
        let (port, dir) = (self.port, self.dir.display());
        let own = match kind {
            // What acks=all waits for in Kafka as it ships.
            Kind::Klamm => "klamm.log.durability=page-cache\nklamm.metrics.listeners=\n",
            Kind::Kafka => "",
        };
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={dir}/data\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             log.segment.delete.delay.ms=1000\n\
             {own}"
        )
    }

    fn format_kafka(&self, config: &std::path::Path) -> Result<(), String> {
        let config = config.display().to_string();
        let words = ["format", "-t", "a2xhbW0tYmVuY2gtMDAwMQ", "-c", &config];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let finished = peer::program_command("storage", &words)?
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot start java: {e}; is a JRE 17 installed?"))?;
        if finished.status.success() {
            return Ok(());
        }
        Err(format!("Kafka's storage tool failed: {}", String::from_utf8_lossy(&finished.stderr)))
    }

    /// Starts the process; gives the moment before, in microseconds since 1970.
    pub(super) fn start(&mut self) -> Result<u64, String> {
        let log = self.dir.join("server.log");
        let log = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = log.try_clone().map_err(|e| format!("server.log: {e}"))?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(&self.dir);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = now.map_err(|_| "the clock is before 1970")?.as_micros();
        let child = self.command.spawn().map_err(|e| {
            format!("{} cannot be started: {e}", self.command.get_program().display())
        })?;
        self.process = Some(child);
        Ok(u64::try_from(started).unwrap_or(u64::MAX))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its partitions are.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Ends the process at once, as a crash would. Its files stay.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        let mut process = self.process.take().ok_or("the server does not run")?;
        process
            .kill()
            .and_then(|()| process.wait())
            .map(drop)
            .map_err(|e| format!("process {} cannot be ended: {e}", process.id()))
    }

    /// Has the process end in order; gives how long it took. Its files stay.
    pub(super) fn stop(&mut self) -> Result<Duration, String> {
        let process = self.process.as_mut().ok_or("the server does not run")?;
        let id = process.id().to_string();
        let start = Instant::now();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        asked.map_err(|e| format!("cannot run kill: {e}"))?;
        while start.elapsed() < STOP_WAIT_MAX {
            if process.try_wait().map_err(|e| format!("process {id}: {e}"))?.is_some() {
                self.process = None;
                return Ok(start.elapsed());
            }
            std::thread::sleep(STOP_LOOK);
        }
        Err(format!("process {id} does not stop"))
    }

    /// CPU time that the process has used so far, over all its threads.
    pub(super) fn cpu_s(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/stat", self.pid()?);
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        cpu_ticks(&text).map(|ticks| ticks / TICKS_PER_SECOND).ok_or(format!("{path}: {text}"))
    }

    /// Its process; `taskset` becomes the server, so that the id is the server's.
    pub(super) fn pid(&self) -> Result<u32, String> {
        self.process.as_ref().map(Child::id).ok_or_else(|| "the server does not run".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its data is thrown away: it need not end in order.
            if let Err(error) = process.kill().and_then(|()| process.wait()) {
                eprintln!("process {} may still run: {error}", process.id());
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} stays behind: {error}", self.dir.display());
        }
    }
}

/// `USER_HZ` of every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Of `/proc/PID/stat`: user and system time. The name of the program, in brackets, may hold
/// anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Two ports that nobody uses.
fn free_ports() -> Result<(u16, u16), String> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"));
    let port = |listener: &TcpListener| {
        listener.local_addr().map(|a| a.port()).map_err(|e| format!("no free port: {e}"))
    };
    // Both are held at once, so that they differ.
    let (first, second) = (bind()?, bind()?);
    Ok((port(&first)?, port(&second)?))
}

/// A load that is started before the server.
pub(super) struct Probe {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Probe {
    pub(super) fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{} cannot be run: {e}", command.get_program().display()))?;
        let stdout = child.stdout.take().ok_or("the load has no output")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Waits until it tries.
    pub(super) fn wait_ready(&mut self) -> Result<(), String> {
        let line = self.line()?;
        if line.trim() == "ready" { Ok(()) } else { Err(format!("the load said {line:?}")) }
    }

    /// Its figures; it bounds its own time.
    pub(super) fn finish(mut self) -> Result<Value, String> {
        let line = self.line()?;
        super::figures(&line)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(|e| format!("the load cannot be read: {e}"))?;
        Ok(line)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // After its figures it ends by itself, and both calls then say so.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("process {} may still run: {error}", self.child.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cpu_ticks;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_brackets_and_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(175.0));
        assert_eq!(cpu_ticks("7 (a"), None);
    }
}
