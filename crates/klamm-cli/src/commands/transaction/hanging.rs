//! `klamm transaction find-hanging` and `abort`: what nobody will end, and its end.

use std::time::Duration;

use clap::Args;
use klamm_client::{ActiveProducer, Client};
use klamm_model::TopicPartition;
use klamm_stdx::Str;

use super::super::{Failure, Outcome};
use super::show::{Line, Lines};
use crate::output::{Done, Output};
use crate::scope::Scope;
use crate::session::Bootstrap;
use crate::when::parse_duration;

#[derive(Debug, Args)]
pub(super) struct FindHanging {
    /// Only these partitions, as TOPIC or TOPIC:0,1; all of the cluster if left out.
    #[arg(value_name = "TOPIC[:PARTITIONS]")]
    partitions: Vec<Scope>,
    /// How long a transaction may be open: the brokers' transaction.max.timeout.ms.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    max_transaction_timeout: Duration,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["start_offset", "producer_id"]))]
pub(super) struct Abort {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// Where the transaction begins in the partition, as find-hanging tells.
    #[arg(long, value_name = "N")]
    start_offset: Option<i64>,
    /// Whose open transaction it is.
    #[arg(long, value_name = "N")]
    producer_id: Option<i64>,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn find(client: Client, arguments: FindHanging) -> Outcome {
    let partitions = super::partitions(&client, &arguments.partitions).await?;
    let timeout_max = arguments.max_transaction_timeout;
    let hanging = client.hanging_transactions(&partitions, timeout_max).await?;
    let line = |h: &klamm_client::HangingTransaction| {
        Line::of(&h.partition, &h.producer).with_id(h.transactional_id.as_ref())
    };
    arguments.output.print(&Lines(hanging.iter().map(line).collect()))
}

pub(super) async fn abort(client: Client, arguments: Abort) -> Outcome {
    let partition = TopicPartition::new(arguments.topic.as_str(), arguments.partition);
    let producers = client.describe_producers(std::slice::from_ref(&partition)).await?;
    let producers = producers.get(&partition).map(Vec::as_slice).unwrap_or_default();
    let is_meant = |producer: &&ActiveProducer| {
        producer.transaction_start.is_some_and(|start| match arguments.start_offset {
            Some(asked) => start.0 == asked,
            None => Some(producer.id.0) == arguments.producer_id,
        })
    };
    let Some(producer) = producers.iter().find(is_meant) else {
        return Err(no_such(&partition, &arguments, producers));
    };
    // It may be younger than any timeout: what counts is whether somebody will end it.
    let hanging =
        client.hanging_transactions(std::slice::from_ref(&partition), Duration::ZERO).await?;
    if !hanging.iter().any(|hanging| hanging.producer.id == producer.id) {
        let text = "a coordinator has this transaction: it ends by its producer or its timeout";
        return Err(format!("{partition}: {text}").into());
    }
    client.abort_in_partition(&partition, producer).await?;
    let (id, epoch) = (producer.id, producer.epoch);
    let done = format!("aborted the transaction of producer {id} epoch {epoch} in {partition}");
    arguments.output.print(&Done { done })
}

fn no_such(partition: &TopicPartition, asked: &Abort, producers: &[ActiveProducer]) -> Failure {
    let what = match (asked.start_offset, asked.producer_id) {
        (Some(offset), _) => format!("begins at offset {offset}"),
        (None, id) => format!("is of producer {}", id.unwrap_or_default()),
    };
    let open = producers.iter().filter_map(|p| {
        let start = p.transaction_start?;
        Some(Str::from(format!("producer {} at offset {start}", p.id)))
    });
    let open = crate::output::joined(open);
    let open = if open.is_empty() { "none".to_owned() } else { open };
    format!("no open transaction in {partition} {what}; open are: {open}").into()
}
