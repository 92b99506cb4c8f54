//! `cargo xtask ci`: everything that must hold before a change lands, each stage with its time.

use std::time::Instant;

use crate::test::{cargo, run_command};
use crate::{codegen, docs, fuzz, test, tidy};

type Stage = (&'static str, fn() -> Result<(), String>);

const STAGES: [Stage; 7] = [
    ("format", || run_command(cargo(&["fmt", "--all", "--check"]), "run `cargo fmt --all`")),
    ("tidy", tidy::run),
    ("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run_command(cargo(&args), "clippy found something")
    }),
    ("generated code is fresh", codegen::check),
    ("documentation of the crates", docs::crates),
    ("tests", || test::run(&test::Arguments::default())),
    ("fuzzing, for a bounded time", fuzz::run_short),
];

/// Runs the stages; the first that fails ends it.
///
/// # Errors
/// The stage and what it said.
pub(crate) fn run() -> Result<(), String> {
    for (name, stage) in STAGES {
        println!("=== {name}");
        let start = Instant::now();
        stage().map_err(|error| format!("{name}: {error}"))?;
        println!("=== {name}: ok in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
