//! `cargo xtask sim`: the campaign on the simulated disk, in release mode. A seed that breaks a
//! promise ends it, and its last line replays it.

use crate::test::{cargo, run_command};

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The first seed, and how many.
    #[arg(long, num_args = 2, value_names = ["FROM", "COUNT"], default_values_t = [0_u64, 10_000])]
    seeds: Vec<u64>,
}

/// Runs the seeds.
///
/// # Errors
/// A promise was broken, or the campaign does not build.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let seeds: Vec<String> = arguments.seeds.iter().map(u64::to_string).collect();
    let mut run = cargo(&["run", "--release", "--quiet", "--package", "klamm-sim", "--", "seeds"]);
    run.args(&seeds);
    run_command(run, "the campaign found something")
}
