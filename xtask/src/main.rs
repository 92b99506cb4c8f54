//! The only task runner: `cargo xtask <command>`, one file per command. Never part of a release.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod codegen;
mod docs;
mod fuzz;
mod peer;
mod sim;
mod test;
mod tidy;

/// Klamm's tasks.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the message types from Apache Kafka's schemas.
    Codegen(codegen::Arguments),
    /// Fetch Apache Kafka's jars, print their folder, or run one of its programs.
    Peer(peer::Arguments),
    /// Check the house rules.
    Tidy,
    /// Set up what the tests need and run all of them.
    Test(test::Arguments),
    /// Render the reference pages and the crates' documentation.
    Docs,
    /// Run logs on a simulated disk, seed after seed: crashes, faults, compaction.
    Sim(sim::Arguments),
    /// Fuzz the decoders, for as long as you say.
    Fuzz(fuzz::Arguments),
    /// The same loads against Klamm and Apache Kafka, in pairs.
    Bench(bench::Arguments),
    /// Everything that must hold before a change lands.
    Ci,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Codegen(arguments) => codegen::run(&arguments),
        Command::Peer(arguments) => peer::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Docs => docs::run(),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Ci => ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
