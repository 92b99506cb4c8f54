//! The only task runner: `cargo xtask <command>`, one file per command. Never part of a release.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod codegen;
mod peer;
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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Codegen(arguments) => codegen::run(&arguments),
        Command::Peer(arguments) => peer::run(&arguments),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
