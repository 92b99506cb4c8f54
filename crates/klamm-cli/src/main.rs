//! The binary `klamm`: one file per command in `commands/`. Parses arguments, prints results;
//! what a command does is done elsewhere.

mod commands;
mod logging;
mod output;
mod pairs;
mod record_format;
mod scope;
mod session;
mod signals;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::Failure;

/// Klamm: everything Apache Kafka is, in one binary.
#[derive(Debug, Parser)]
#[command(name = "klamm", version, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  klamm demo\n  klamm start\n  \
    echo hello | klamm produce greetings\n  klamm consume greetings --from-beginning -e")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node; without a configuration one node in ./klamm-data at 127.0.0.1:9092.
    Start(commands::start::Arguments),
    /// Show what Klamm does: a node in a temporary directory, a topic, producers and a group.
    Demo(commands::demo::Arguments),
    /// Create, list, describe, alter and delete topics.
    Topic(commands::topic::Arguments),
    /// Produce lines of a file, or of standard input, to a topic.
    Produce(commands::produce::Arguments),
    /// Print the records of a topic.
    Consume(commands::consume::Arguments),
    /// List, describe, reset and delete groups.
    Group(commands::group::Arguments),
    /// List and describe transactions, find those that hang, and end them.
    Transaction(commands::transaction::Arguments),
    /// Describe and alter configs of topics, brokers and groups.
    Config(commands::config::Arguments),
    /// Format log directories, and look at them.
    Storage(commands::storage::Arguments),
    /// Look into the files of a log.
    Log(commands::log::Arguments),
    /// Print what a shell needs to complete these commands.
    Completions(commands::completions::Arguments),
}

/// The exit code of a command that tells findings from not being able to look for them.
const CANNOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // Commands say what is wrong themselves; only a node and who asks for it gets a log.
    if !matches!(command, Command::Start(_)) {
        logging::start("error");
    }
    let result = match command {
        Command::Start(arguments) => commands::start::run(&arguments),
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Topic(arguments) => commands::topic::run(arguments),
        Command::Produce(arguments) => commands::produce::run(arguments),
        Command::Consume(arguments) => commands::consume::run(&arguments),
        Command::Group(arguments) => commands::group::run(arguments),
        Command::Transaction(arguments) => commands::transaction::run(arguments),
        Command::Config(arguments) => commands::config::run(arguments),
        Command::Storage(arguments) => commands::storage::run(arguments),
        Command::Log(arguments) => commands::log::run(arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments),
    };
    match result {
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Found) => ExitCode::FAILURE,
        Err(Failure::CannotRun(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(CANNOT_RUN)
        }
        Err(Failure::Told(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
