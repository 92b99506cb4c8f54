//! `cargo xtask test`: sets up what the tests need of other people's programs, then runs every
//! test. Nothing is skipped in silence: what cannot be had is an error with its cure.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Passed on to `cargo test`, such as a test's name or `-p klamm-log`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// Runs the tests.
///
/// # Errors
/// Something that the tests need cannot be had, or a test failed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let peers = Peers::prepare()?;
    run_command(cargo(&["build", "--package", "klamm-cli"]), "the binary does not build")?;
    let mut tests = cargo(&["test"]);
    if !arguments.cargo.iter().any(|a| a == "-p" || a == "--package") {
        tests.arg("--workspace");
    }
    tests.args(&arguments.cargo);
    tests.env("KLAMM_TEST_BINARY", target_directory().join("debug/klamm"));
    tests.env("KLAMM_TEST_KAFKA_LIB", &peers.kafka_lib);
    tests.env("KLAMM_TEST_KCAT", &peers.kcat);
    tests.env("KLAMM_TEST_PYTHON", &peers.python);
    run_command(tests, "tests failed")
}

/// Other people's programs.
struct Peers {
    kafka_lib: PathBuf,
    kcat: PathBuf,
    python: PathBuf,
}

impl Peers {
    fn prepare() -> Result<Self, String> {
        Ok(Self { kafka_lib: peer::jars()?, kcat: kcat()?, python: python()? })
    }
}

fn kcat() -> Result<PathBuf, String> {
    if let Some(path) = find("kcat") {
        return Ok(path);
    }
    println!("kcat is missing: it is installed with apt-get");
    let quiet = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        run_command(apt, "apt-get failed")
    };
    let installed =
        quiet(&["update", "-qq"]).and_then(|()| quiet(&["install", "-y", "-qq", "kcat"]));
    installed.and_then(|()| find("kcat").ok_or_else(|| "it is not on the path".into())).map_err(|error| {
        format!("kcat cannot be had ({error}); install the package kcat (or kafkacat) and run this again")
    })
}

/// A virtual environment with confluent-kafka, beside Kafka's jars.
fn python() -> Result<PathBuf, String> {
    let home = peer::cache()?.join("python");
    let python = home.join("bin/python3");
    let marker = home.join(".complete");
    if marker.exists() {
        return Ok(python);
    }
    println!("Python's confluent-kafka is installed into {}", home.display());
    let cure = "Python's confluent-kafka cannot be had; python3 with venv and pip is needed";
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    run_command(venv, cure)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "confluent-kafka==2.16.1"]);
    run_command(pip, cure)?;
    std::fs::write(&marker, "").map_err(|e| format!("{}: {e}", marker.display()))?;
    Ok(python)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root().join("target"),
    }
}

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is inside the checkout")
}

/// Cargo in the checkout.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end.
pub(crate) fn run_command(mut command: Command, failure: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{failure} ({status})")),
        Err(error) => {
            Err(format!("{failure}: {} cannot be run: {error}", command.get_program().display()))
        }
    }
}
