//! `cargo xtask fuzz`: builds the targets in `fuzz/` with coverage instrumentation, on the stable
//! toolchain, and runs each for a bounded time.

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
    build()?;
    let chosen =
        TARGETS.iter().filter(|t| arguments.target.as_deref().is_none_or(|chosen| chosen == **t));
    chosen.copied().try_for_each(|target| fuzz(target, arguments.seconds))
}

/// Every target, briefly.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_short() -> Result<(), String> {
    run(&Arguments { target: None, seconds: SHORT_SECONDS })
}

fn build() -> Result<(), String> {
    let mut build = cargo(&["build", "--release", "--bins"]);
    build.current_dir(root().join("fuzz")).env("RUSTFLAGS", FLAGS);
    run_command(build, "the fuzz targets do not build; a C++ compiler is needed")
}

fn fuzz(target: &str, seconds: u32) -> Result<(), String> {
    let home = root().join("fuzz");
    let artifacts = home.join("artifacts").join(target);
    let corpus = home.join("target/corpus").join(target);
    for dir in [&artifacts, &corpus] {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let mut run = Command::new(home.join("target/release").join(target));
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-timeout=5", "-max_len=8192", "-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    println!("fuzzing {target} for {seconds} s");
    let failure = format!("fuzzing {target} found something: see {}", artifacts.display());
    run_command(run, &failure)
}
