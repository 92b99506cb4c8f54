//! When a record was written: one batch is fetched and looked into, and nothing is kept.

use std::time::Duration;

use klamm_model::{Offset, Timestamp, TopicPartition};
use klamm_records::{BatchError, BatchView, Scratch, batches};

use super::fetch;
use super::options::ConsumerOptions;
use crate::cluster::{AutoCreate, Client};
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// The time of the first record at `offset` or later; `None` if nothing is there. One fetch of one
/// batch, more only while a leader moves.
pub(crate) async fn time_at(
    client: &Client,
    partition: &TopicPartition,
    offset: Offset,
) -> Result<Option<Timestamp>> {
    let mut retry = Retry::default();
    loop {
        match ask(client, partition, offset).await {
            Err(error) if error.is_retriable() && retry.again().await => {
                client.forget_topic(&partition.topic);
            }
            other => return other,
        }
    }
}

async fn ask(
    client: &Client,
    partition: &TopicPartition,
    offset: Offset,
) -> Result<Option<Timestamp>> {
    // A broker gives the first batch whole, however little is asked for (KIP-74).
    let options = ConsumerOptions {
        fetch_max_wait: Duration::ZERO,
        fetch_max_bytes: 1,
        max_partition_fetch_bytes: 1,
        ..ConsumerOptions::default()
    };
    let topic = client.topic(&partition.topic, AutoCreate::Never).await?;
    let leader = topic.leaders.get(&partition.partition).copied().flatten().ok_or_else(|| {
        ClientError::Invalid(format!("{partition} has no leader that could be asked"))
    })?;
    let questions = vec![(partition.clone(), offset, topic.topic_id)];
    let answers = fetch::fetch(client, leader, questions, &options).await?;
    let Some(answer) = answers.into_iter().next() else { return Ok(None) };
    let bytes = answer.result?.records;
    for batch in batches(&bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Short { .. }) => return Ok(None),
            Err(error) => return Err(damaged(partition, &error)),
        };
        batch.check_crc().map_err(|error| damaged(partition, &error))?;
        if batch.last_offset() >= offset {
            return time_in(&batch, offset).map(Some).map_err(|error| damaged(partition, &error));
        }
    }
    Ok(None)
}

/// The time of the first record at `offset` or later in a batch; the batch's, if compaction has
/// taken that record.
fn time_in(
    batch: &BatchView<'_>,
    offset: Offset,
) -> std::result::Result<Timestamp, klamm_records::RecordsError> {
    let mut scratch = Scratch::default();
    for record in batch.records(&mut scratch)? {
        let record = record?;
        if record.offset >= offset {
            return Ok(record.timestamp);
        }
    }
    Ok(batch.max_timestamp)
}

fn damaged(partition: &TopicPartition, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Damaged(format!("{partition}: {error}"))
}

#[cfg(test)]
mod tests {
    use klamm_records::{BatchBuilder, BatchOptions, Codec, RecordToAppend};

    use super::*;

    #[test]
    fn the_time_is_that_of_the_first_record_at_the_offset_or_later() {
        for codec in [Codec::None, Codec::Zstd] {
            let options = BatchOptions {
                compression: codec.into(),
                base_offset: Offset(10),
                ..BatchOptions::default()
            };
            let mut builder = BatchBuilder::new(options);
            for timestamp in [500, 700, 600] {
                let timestamp = Timestamp(timestamp);
                builder.push(RecordToAppend { timestamp, ..RecordToAppend::default() });
            }
            let bytes = builder.build().unwrap();
            let batch = BatchView::parse(&bytes).unwrap();
            for (offset, expected) in [(9, 500), (10, 500), (11, 700), (12, 600), (13, 700)] {
                assert_eq!(time_in(&batch, Offset(offset)), Ok(Timestamp(expected)), "{offset}");
            }
        }
    }
}
