//! `cargo xtask bench`: the same loads against Klamm and Apache Kafka on one machine, in pairs
//! of windows that change their order, beside the goals. Never judges by one window.
//!
//! Both servers of a workload live side by side and are warmed with the load itself; only
//! `start`, `idle`, `conns`, `group-…`, `restart-…` and `partitions-10000` take fresh ones for
//! every window. The server has core 0 and the load core 1, except where nothing but the server
//! runs. CPU time is the server's own, over all its threads.

mod lives;
mod server;
mod table;
mod workload;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use self::server::{Kind, Pin, Programs, Server};
use self::table::Row;
use self::workload::{Chosen, Life, WORKLOADS, Workload};
use crate::{peer, test};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which workloads; if none is named all that are short. `restart-1gb`, `restart-10gb` (20 GB of
    /// disk), `partitions-10000`, `compaction`, `cold-reads` and the groups run only by name.
    workloads: Vec<String>,
    /// Pairs of windows.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Only Apache Kafka.
    #[arg(long, conflicts_with = "klamm_only")]
    kafka_only: bool,
    /// Only Klamm.
    #[arg(long)]
    klamm_only: bool,
    /// Length of a window in seconds; each workload has its own without this.
    #[arg(long)]
    seconds: Option<u32>,
    /// Seconds of load before Kafka's first window; Klamm gets a fifth, as nothing in it is
    /// compiled while it runs.
    #[arg(long, default_value_t = 20)]
    warm_seconds: u32,
    /// Folder with `klamm` and `klamm-load`; without it they are built.
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// How the figures are printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A Markdown table.
    Table,
    /// One line of JSON for each window.
    Json,
}

/// Runs the workloads.
///
/// # Errors
/// A server does not start, a load fails, or a workload has no such name.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let chosen = choose(&arguments.workloads)?;
    let kinds = kinds(arguments);
    let programs = programs(arguments, &kinds)?;
    if arguments.output == Output::Table {
        print!("{}", table::head());
    }
    let mut failures = Vec::new();
    for workload in chosen {
        match run_workload(workload, arguments, &kinds, &programs) {
            Ok(rows) if arguments.output == Output::Table => {
                for row in rows {
                    println!("{row}");
                }
            }
            Ok(_) => {}
            // The other workloads are still worth their figures.
            Err(error) => {
                eprintln!("{}: {error}", workload.name);
                failures.push(workload.name);
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("no figures for {}", failures.join(", ")))
}

fn choose(names: &[String]) -> Result<Vec<&'static Workload>, String> {
    if names.is_empty() {
        return Ok(WORKLOADS.iter().filter(|w| w.chosen == Chosen::Always).collect());
    }
    let known = || WORKLOADS.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        WORKLOADS
            .iter()
            .find(|w| w.name == name)
            .ok_or_else(|| format!("there is no workload {name}; there are {}", known()))
    };
    names.iter().map(find).collect()
}

fn kinds(arguments: &Arguments) -> Vec<Kind> {
    match (arguments.klamm_only, arguments.kafka_only) {
        (true, _) => vec![Kind::Klamm],
        (_, true) => vec![Kind::Kafka],
        _ => vec![Kind::Klamm, Kind::Kafka],
    }
}

fn programs(arguments: &Arguments, kinds: &[Kind]) -> Result<Programs, String> {
    let folder = match &arguments.binaries {
        // Servers run in folders of their own.
        Some(folder) => {
            std::path::absolute(folder).map_err(|error| format!("{}: {error}", folder.display()))?
        }
        None => {
            let packages = ["build", "--release", "-p", "klamm-cli", "-p", "klamm-bench"];
            test::run_command(test::cargo(&packages), "the binaries do not build")?;
            test::target_directory().join("release")
        }
    };
    let kafka_lib = match kinds.contains(&Kind::Kafka) {
        true => Some(peer::jars()?),
        false => None,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Ok(Programs {
        klamm: folder.join("klamm"),
        load: folder.join("klamm-load"),
        kafka_lib,
        may_pin: cores >= 2,
    })
}

/// The figures of one side, a window each.
type Windows = Vec<Value>;

fn run_workload(
    workload: &'static Workload,
    arguments: &Arguments,
    kinds: &[Kind],
    programs: &Programs,
) -> Result<Vec<Row>, String> {
    let mut sides = Vec::new();
    for kind in kinds {
        sides.push(Side {
            kind: *kind,
            server: None,
            ended: Vec::new(),
            windows: Vec::new(),
            serial: 0,
        });
    }
    let bench = Bench { workload, arguments, programs };
    if workload.life == Life::Steady {
        for side in &mut sides {
            bench.prepare(side)?;
        }
    }
    for pair in 0..arguments.pairs.max(1) {
        // A B, B A, A B: a machine that slows down bears on both alike.
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let side = &mut sides[index];
            let figures = bench.window(side)?;
            if arguments.output == Output::Json {
                let line = json!({"workload": workload.name, "server": side.kind.name(),
                    "pair": pair, "figures": figures});
                println!("{line}");
            }
            side.windows.push(figures);
        }
    }
    let windows = |kind| {
        sides.iter().find(|side| side.kind == kind).map_or(&[][..], |side| &side.windows[..])
    };
    Ok(table::rows(workload, windows(Kind::Klamm), windows(Kind::Kafka)))
}

/// One server's part in a workload.
struct Side {
    kind: Kind,
    server: Option<Server>,
    /// Servers of earlier windows whose files stay until the workload ends.
    ended: Vec<Server>,
    windows: Windows,
    /// Makes the names of topics differ.
    serial: u32,
}

struct Bench<'a> {
    workload: &'static Workload,
    arguments: &'a Arguments,
    programs: &'a Programs,
}

impl Bench<'_> {
    /// Starts a server that stays for all windows, and warms it.
    fn prepare(&self, side: &mut Side) -> Result<(), String> {
        eprintln!("{}: {} is started and warmed", self.workload.name, side.kind.name());
        let mut server = Server::prepare(self.programs, side.kind, Pin::Split)?;
        server.start()?;
        self.first_ack(&server)?;
        side.server = Some(server);
        let warm_seconds = match side.kind {
            Kind::Kafka => self.arguments.warm_seconds,
            Kind::Klamm => self.arguments.warm_seconds.div_ceil(5),
        };
        if !self.workload.setup.is_empty() {
            self.load(side, self.workload.setup, None)?;
        }
        self.warm(side, u64::from(warm_seconds))
    }

    /// Loads until both limits are reached. A load is bounded in bytes as well as in time.
    fn warm(&self, side: &mut Side, seconds: u64) -> Result<(), String> {
        let words = match self.workload.warm {
            [] => self.workload.load,
            warm => warm,
        };
        let start = Instant::now();
        let mut request_count = 0;
        loop {
            let passed = start.elapsed().as_secs();
            let is_warm = passed >= seconds && request_count >= self.workload.warm_requests;
            // A machine that cannot send so many in this time is too slow for these figures.
            if is_warm || passed >= WARM_LONGER * seconds.max(1) {
                return Ok(());
            }
            let left = seconds.saturating_sub(passed).clamp(2, 10);
            let figures = self.load(side, words, u32::try_from(left).ok())?;
            request_count += figures["requests"].as_u64().unwrap_or(0);
        }
    }

    fn window(&self, side: &mut Side) -> Result<Value, String> {
        let seconds = self.arguments.seconds.unwrap_or(self.workload.seconds);
        match self.workload.life {
            Life::Steady => self.load(side, self.workload.load, Some(seconds)),
            Life::Start => self.start_window(side.kind),
            Life::Restart(bytes) => self.restart_window(side, bytes),
            Life::Partitions => self.partitions_window(side, seconds),
            Life::Fresh => {
                let mut server = Server::prepare(self.programs, side.kind, Pin::None)?;
                server.start()?;
                self.first_ack(&server)?;
                // What a start leaves to be done belongs to the start.
                self.memory(&server, lives::SETTLE_SECONDS)?;
                side.server = Some(server);
                let seconds = (self.workload.name == "idle").then_some(seconds);
                let figures = self.load(side, self.workload.load, seconds);
                side.server = None;
                figures
            }
        }
    }

    fn first_ack(&self, server: &Server) -> Result<Value, String> {
        output(self.load_command(Pin::None, &["first-ack", "--address", &server.address()]))
    }

    /// Runs `klamm-load` with these words, for so many seconds.
    fn load(&self, side: &mut Side, words: &[&str], seconds: Option<u32>) -> Result<Value, String> {
        let server = side.server.as_ref().ok_or("the server does not run")?;
        side.serial += 1;
        let topic = match words.first() {
            Some(&"consume") => workload::KEPT_TOPIC.to_owned(),
            _ if words.contains(&"keep") => workload::KEPT_TOPIC.to_owned(),
            _ => format!("load-{}", side.serial),
        };
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let command = words[0].clone();
        words.extend(["--pid".to_owned(), server.pid()?.to_string()]);
        if command != "idle" {
            words.extend(["--address".to_owned(), server.address()]);
        }
        if command != "idle" && command != "connections" {
            words.extend(["--topic".to_owned(), topic]);
        }
        if command == "compaction" || command == "cold-reads" {
            words.extend(["--data".to_owned(), server.data().display().to_string()]);
        }
        if command == "compaction" {
            words.extend(["--cleaner-threads".to_owned(), side.kind.cleaner_threads().to_owned()]);
        }
        if let Some(seconds) = seconds {
            words.extend(["--seconds".to_owned(), seconds.to_string()]);
        }
        output(self.load_command(Pin::Split, &words))
            .map_err(|error| format!("{}: {error}", side.kind.name()))
    }

    fn load_command<S: AsRef<str>>(&self, pin: Pin, words: &[S]) -> Command {
        let mut command = pinned(&self.programs.load, pin, LOAD_CORE, self.programs.may_pin);
        command.args(words.iter().map(AsRef::as_ref));
        command
    }
}

/// A warm-up takes at most this many times as long as it was told.
const WARM_LONGER: u64 = 4;

/// The load's core; the server has the other.
const LOAD_CORE: &str = "1";

/// A program, on one core where that is wanted and possible.
fn pinned(program: &Path, pin: Pin, core: &str, may_pin: bool) -> Command {
    if pin == Pin::None || !may_pin {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// Runs a load to its end; it bounds its own time.
fn output(mut command: Command) -> Result<Value, String> {
    let finished = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{} cannot be run: {e}", command.get_program().display()))?;
    if !finished.status.success() {
        return Err(String::from_utf8_lossy(&finished.stderr).trim().to_owned());
    }
    figures(&String::from_utf8_lossy(&finished.stdout))
}

/// The last line of what a load printed.
fn figures(text: &str) -> Result<Value, String> {
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("no figures in {line:?}: {error}"))
}
