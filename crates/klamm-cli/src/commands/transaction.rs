//! `klamm transaction`: what is open, what hangs, and how to end it (KIP-664).

mod hanging;
mod show;

use clap::{Args, Subcommand};
use klamm_client::Client;
use klamm_model::TopicPartition;

use super::{Failure, Outcome};
use crate::scope::Scope;

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the transactional ids and the states of their transactions.
    #[command(after_help = "Examples:\n  klamm transaction list\n  \
        klamm transaction list --state Ongoing --longer-than 10m\n  \
        klamm transaction list --pattern 'orders-.*' -o json")]
    List(show::List),
    /// Show a transactional id as its coordinator knows it: state, producer, age, partitions.
    #[command(after_help = "Examples:\n  klamm transaction describe orders-1")]
    Describe(show::Describe),
    /// Show who writes to partitions, and which transactions are open there.
    #[command(after_help = "Examples:\n  klamm transaction producers orders\n  \
        klamm transaction producers orders:0,3 -o json")]
    Producers(show::Producers),
    /// Find transactions that nobody will ever end.
    ///
    /// A transaction hangs in a partition when the partition has it open for longer than any
    /// transaction may be, and no coordinator has a transaction with that partition in it. Nothing
    /// behind its start is read by consumers with isolation.level=read_committed, and compaction
    /// stops there. 'klamm transaction abort' ends it.
    #[command(after_help = "Examples:\n  klamm transaction find-hanging\n  \
        klamm transaction find-hanging orders payments:0 --max-transaction-timeout 1h")]
    FindHanging(hanging::FindHanging),
    /// End a hanging transaction in one partition, as aborted.
    ///
    /// The partition's leader is told by a marker with the epochs that it knows itself; the
    /// coordinator is not asked. A transaction that a coordinator still has is left alone: it ends
    /// by its producer or its timeout.
    #[command(
        after_help = "Examples:\n  klamm transaction abort orders 0 --start-offset 12345\n  \
        klamm transaction abort orders 0 --producer-id 4000"
    )]
    Abort(hanging::Abort),
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::List(a) => a.bootstrap.clone().run(|client| show::list(client, a)),
        Command::Describe(a) => a.bootstrap.clone().run(|client| show::describe(client, a)),
        Command::Producers(a) => a.bootstrap.clone().run(|client| show::producers(client, a)),
        Command::FindHanging(a) => a.bootstrap.clone().run(|client| hanging::find(client, a)),
        Command::Abort(a) => a.bootstrap.clone().run(|client| hanging::abort(client, a)),
    }
}

/// The partitions of some topics; without any, of all topics, internal ones too.
async fn partitions(client: &Client, scopes: &[Scope]) -> Result<Vec<TopicPartition>, Failure> {
    if scopes.is_empty() {
        return Ok(crate::scope::all_partitions(client).await?);
    }
    crate::scope::partitions(client, scopes).await
}
