//! The binary `klamm`: one file per command in `commands/`. Parses arguments, prints results;
//! what a command does is done elsewhere.

mod commands;
mod logging;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Klamm: everything Apache Kafka is, in one binary.
#[derive(Debug, Parser)]
#[command(name = "klamm", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node; without a configuration one node in ./klamm-data at 127.0.0.1:9092.
    Start(commands::start::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Start(arguments) => commands::start::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
