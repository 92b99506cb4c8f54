//! `klamm-load`: drives one load against a running broker and prints its figures as one line of
//! JSON. Works with any broker that speaks Kafka's protocol. Never starts one.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use klamm_bench::LoadError;
use serde_json::Value;

mod load;

/// Drives one load against a broker.
#[derive(Debug, Parser)]
#[command(name = "klamm-load", version)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Waits for a broker that is about to start; tells when it acknowledged the first record.
    FirstAck(load::first_ack::Arguments),
    /// Memory of the broker.
    Memory(load::rest::Memory),
    /// What the broker uses while nothing is asked of it.
    Idle(load::rest::Idle),
    /// Large batches, several in flight.
    Produce(load::produce::Arguments),
    /// One record a request, one request in flight on each connection.
    Unbatched(load::unbatched::Arguments),
    /// Transactions of one record, committed one after another by many producers.
    Transactions(load::transactions::Arguments),
    /// Members that join one group at once, and one that leaves.
    Group(load::group::Arguments),
    /// Offsets, committed one request after another by many groups.
    Commits(load::commits::Arguments),
    /// Reads a topic from its start, again and again.
    Consume(load::consume::Arguments),
    /// Requests at a fixed rate; latency counts from when each was due.
    Latency(load::latency::Arguments),
    /// Connections that do nothing.
    Connections(load::connections::Arguments),
    /// Many partitions, each with a record.
    Partitions(load::partitions::Arguments),
    /// A topic that is compacted once it is full.
    Compaction(load::compaction::Arguments),
    /// Requests at a fixed rate, without and with somebody who reads what no memory holds.
    ColdReads(load::cold_reads::Arguments),
}

/// The broker under load.
#[derive(Debug, Args)]
struct Target {
    /// Where it listens.
    #[arg(long)]
    address: SocketAddr,
    /// Its process.
    #[arg(long)]
    pid: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().load) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: &Load) -> Result<Value, LoadError> {
    match load {
        Load::FirstAck(arguments) => load::first_ack::run(arguments),
        Load::Memory(arguments) => load::rest::memory(arguments),
        Load::Idle(arguments) => load::rest::idle(arguments),
        Load::Produce(arguments) => load::produce::run(arguments),
        Load::Unbatched(arguments) => load::unbatched::run(arguments),
        Load::Transactions(arguments) => load::transactions::run(arguments),
        Load::Group(arguments) => load::group::run(arguments),
        Load::Commits(arguments) => load::commits::run(arguments),
        Load::Consume(arguments) => load::consume::run(arguments),
        Load::Latency(arguments) => load::latency::run(arguments),
        Load::Connections(arguments) => load::connections::run(arguments),
        Load::Partitions(arguments) => load::partitions::run(arguments),
        Load::Compaction(arguments) => load::compaction::run(arguments),
        Load::ColdReads(arguments) => load::cold_reads::run(arguments),
    }
}
