//! `cargo xtask fuzz`: builds the targets in `fuzz/` with coverage instrumentation, on the stable
//! toolchain, and runs each for a bounded time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::test::{cargo, root, run_command};

const TARGETS: [&str; 5] = ["request", "response", "batch", "file", "config"];
/// For each target in CI.
const SHORT_SECONDS: u32 = 12;
/// Memory of a target; more is a finding.
const MEMORY_MIB_MAX: u32 = 512;

/// What cargo-fuzz passes too, without a sanitizer: that needs no nightly toolchain.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One target; all if none is named.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Fuzzes.
///
/// # Errors
/// A finding: its input is in `fuzz/artifacts`.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let programs = build()?;
    let chosen =
        TARGETS.iter().filter(|t| arguments.target.as_deref().is_none_or(|chosen| chosen == **t));
    chosen.copied().try_for_each(|target| fuzz(&programs, target, arguments.seconds))
}

/// Every target, briefly.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_short() -> Result<(), String> {
    run(&Arguments { target: None, seconds: SHORT_SECONDS })
}

/// Builds the targets; gives the folder that they are in. A target triple is named, so that the
/// flags do not reach build scripts.
fn build() -> Result<PathBuf, String> {
    let triple = host()?;
    let mut build = cargo(&["build", "--release", "--bins", "--target", &triple]);
    build.current_dir(root().join("fuzz")).env("RUSTFLAGS", FLAGS);
    run_command(build, "the fuzz targets do not build; a C++ compiler is needed")?;
    Ok(root().join("fuzz/target").join(triple).join("release"))
}

fn host() -> Result<String, String> {
    let told = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|e| format!("rustc cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc does not tell its host".into())
}

fn fuzz(programs: &Path, target: &str, seconds: u32) -> Result<(), String> {
    let home = root().join("fuzz");
    let artifacts = home.join("artifacts").join(target);
    let corpus = home.join("target/corpus").join(target);
    for dir in [&artifacts, &corpus] {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let mut run = Command::new(programs.join(target));
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-timeout=5", "-max_len=8192", "-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    println!("fuzzing {target} for {seconds} s");
    let failure = format!("fuzzing {target} found something: see {}", artifacts.display());
    run_command(run, &failure)
}
