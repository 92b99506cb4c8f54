//! Other people's programs: Kafka's tools, kcat, and Python with confluent-kafka.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Process;
use crate::temp_dir::TempDir;

/// Longest run of a program to its end.
const RUN_MAX: Duration = Duration::from_secs(120);

/// A variable that the runner sets.
///
/// # Panics
/// If it did not.
pub(crate) fn required(name: &str) -> PathBuf {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from).unwrap_or_else(
        || panic!("run `cargo xtask test`: it sets up {name}, which this test needs"),
    )
}

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
}

impl Finished {
    /// What it printed, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything that it said.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.text(), self.stderr)
    }

    /// Itself, if it ended well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "ended with {}:\n{}", self.status, self.all());
        self
    }
}

fn java() -> Command {
    let mut command = Command::new("java");
    // Short runs: compiling well costs more than it gives on two cores.
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
    command
}

/// All of Kafka's jars.
fn class_path() -> String {
    format!("{}/*", required("KLAMM_TEST_KAFKA_LIB").display())
}

/// A program of a test's own in Java, for Kafka's own clients; compiled once.
#[derive(Debug)]
pub struct JavaProgram {
    class: &'static str,
    dir: TempDir,
}

impl JavaProgram {
    /// Compiles the source of a class.
    ///
    /// # Panics
    /// If there is no compiler (a JDK 17), or the source is wrong.
    #[must_use]
    pub fn compile(class: &'static str, source: &str) -> Self {
        let dir = TempDir::new("java-program");
        let file = dir.join(&format!("{class}.java"));
        std::fs::write(&file, source).expect("the source can be written");
        let mut javac = Command::new("javac");
        javac.args(["-J-XX:TieredStopAtLevel=1", "-proc:none", "-cp", &class_path(), "-d"]);
        let _ = run(javac.arg(dir.path()).arg(&file), b"").ok();
        Self { class, dir }
    }

    /// Starts it.
    #[must_use]
    pub fn process(&self, args: &[&str]) -> Process {
        let mut command = java();
        let path = format!("{}:{}", self.dir.path().display(), class_path());
        Process::spawn(command.args(["-cp", &path, self.class]).args(args))
    }
}

/// The programs.
#[derive(Debug, Clone, Copy)]
pub struct Tools;

impl Tools {
    /// Runs a class of Kafka's to its end. Java takes a second to start: ask for much at once.
    ///
    /// # Panics
    /// If Java or Kafka is missing, or the program does not end.
    #[must_use]
    pub fn kafka(class: &str, args: &[&str], input: &[u8]) -> Finished {
        run(Self::kafka_command(class).args(args), input)
    }

    /// A class of Kafka's that goes on running.
    #[must_use]
    pub fn kafka_process(class: &str, args: &[&str]) -> Process {
        Process::spawn(Self::kafka_command(class).args(args))
    }

    fn kafka_command(class: &str) -> Command {
        let mut command = java();
        command.arg("-cp").arg(class_path()).arg(class);
        command
    }

    /// Runs `klamm` to its end.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn klamm(args: &[&str]) -> Finished {
        run(Command::new(required("KLAMM_TEST_BINARY")).args(args), b"")
    }

    /// A `klamm` that goes on running.
    #[must_use]
    pub fn klamm_process(args: &[&str]) -> Process {
        Process::spawn(Command::new(required("KLAMM_TEST_BINARY")).args(args))
    }

    /// Runs kcat to its end.
    ///
    /// # Panics
    /// If kcat is missing, or does not end.
    #[must_use]
    pub fn kcat<A: AsRef<OsStr>>(args: &[A], input: &[u8]) -> Finished {
        run(Command::new(required("KLAMM_TEST_KCAT")).args(args), input)
    }

    /// A kcat that goes on running.
    #[must_use]
    pub fn kcat_process<A: AsRef<OsStr>>(args: &[A]) -> Process {
        Process::spawn(Command::new(required("KLAMM_TEST_KCAT")).args(args))
    }

    /// Runs a Python script to its end.
    ///
    /// # Panics
    /// If Python is missing, or the script does not end.
    #[must_use]
    pub fn python(script: &str, args: &[&str]) -> Finished {
        run(Self::python_command(script).args(args), b"")
    }

    /// A Python script that goes on running.
    #[must_use]
    pub fn python_process(script: &str, args: &[&str]) -> Process {
        Process::spawn(Self::python_command(script).args(args))
    }

    fn python_command(script: &str) -> Command {
        let mut command = Command::new(required("KLAMM_TEST_PYTHON"));
        command.args(["-u", "-c", script]);
        command
    }

    /// Runs any command to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end.
    #[must_use]
    pub fn run(command: &mut Command, input: &[u8]) -> Finished {
        run(command, input)
    }
}

fn run(command: &mut Command, input: &[u8]) -> Finished {
    let program = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more if it took too long.
        drop(sender.send(child.wait_with_output()));
    });
    std::thread::scope(|scope| {
        // A program that ends early does not read the rest, and its status says why.
        scope.spawn(move || stdin.write_all(input));
        let Ok(output) = receiver.recv_timeout(RUN_MAX) else {
            if let Some(pid) = pid {
                // If it has just ended, the panic below is all there is to say.
                let _ = kill_process(pid, Signal::KILL);
            }
            panic!("{command:?} did not end in {RUN_MAX:?}");
        };
        let output = output.unwrap_or_else(|error| panic!("{program} cannot be read: {error}"));
        Finished {
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
}
