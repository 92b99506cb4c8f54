//! Reads partitions from their start to their end with fetches of 1 MiB a partition, and checks
//! every batch: offsets without a gap, and the checksum.

use std::net::SocketAddr;

use klamm_protocol::FetchRequest;
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::fetch_response::{FetchResponse, PartitionData};
use klamm_records::{BatchView, batches};
use klamm_stdx::Str;

use crate::LoadError;
use crate::topic::Topic;
use crate::wire::{Connection, Frame};

/// The version of fetch that is sent: the last one that names topics by name.
pub const FETCH_VERSION: i16 = 12;

/// What is fetched of a partition at once.
const PARTITION_BYTES_MAX: i32 = 1024 * 1024;

/// What is fetched at once.
const FETCH_BYTES_MAX: i32 = 8 * PARTITION_BYTES_MAX;

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Records of each partition.
    pub record_counts: Vec<i64>,
    /// Bytes of batches.
    pub bytes: u64,
    /// Fetch requests.
    pub request_count: u64,
}

impl Read {
    /// Checks that each partition gave what was acknowledged, no more and no less.
    ///
    /// # Errors
    /// One did not.
    pub fn expect(&self, acknowledged: &[i64]) -> Result<(), LoadError> {
        for (index, (&read, &acknowledged)) in
            self.record_counts.iter().zip(acknowledged).enumerate()
        {
            if read != acknowledged {
                return Err(LoadError::Records { partition: index as i32, acknowledged, read });
            }
        }
        Ok(())
    }
}

/// Reads all of a topic once.
///
/// # Errors
/// The broker refuses, or a batch is damaged or out of order.
pub fn read_all(address: SocketAddr, topic: Topic<'_>) -> Result<Read, LoadError> {
    let mut connection = Connection::open(address)?;
    let mut read = Read {
        record_counts: vec![0; topic.partition_count.unsigned_abs() as usize],
        ..Read::default()
    };
    let mut is_at_end = vec![false; read.record_counts.len()];
    while is_at_end.contains(&false) {
        let mut frame = fetch_frame(topic.name, &read.record_counts)?;
        let id = connection.send(&mut frame)?;
        let answer = connection.receive::<FetchRequest>(id, FETCH_VERSION)?;
        take_answer(&answer, &mut read, &mut is_at_end)?;
    }
    Ok(read)
}

/// Takes one answer into account.
///
/// # Errors
/// The broker refuses, or a batch is damaged or out of order.
pub fn take_answer(
    answer: &FetchResponse,
    read: &mut Read,
    is_at_end: &mut [bool],
) -> Result<(), LoadError> {
    read.request_count += 1;
    check_code("a fetch", answer.error_code)?;
    for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
        let index = usize::try_from(partition.partition_index)
            .ok()
            .filter(|index| *index < is_at_end.len())
            .ok_or_else(|| LoadError::unexpected("a partition that was not asked for"))?;
        let next_offset = &mut read.record_counts[index];
        read.bytes += take(partition, next_offset)?;
        is_at_end[index] = *next_offset >= partition.high_watermark;
    }
    Ok(())
}

fn check_code(what: &'static str, code: i16) -> Result<(), LoadError> {
    if code == 0 { Ok(()) } else { Err(LoadError::Refused { what, code }) }
}

/// A fetch of all partitions from these offsets, without a session.
///
/// # Errors
/// The request cannot be written.
pub fn fetch_frame(topic: &str, offsets: &[i64]) -> Result<Frame, LoadError> {
    let wanted = offsets.iter().enumerate();
    frame_of(topic, wanted.map(|(index, offset)| wanted_from(index as i32, *offset)).collect())
}

/// A fetch of one partition from an offset, without a session.
///
/// # Errors
/// The request cannot be written.
pub fn partition_frame(topic: &str, partition: i32, offset: i64) -> Result<Frame, LoadError> {
    frame_of(topic, vec![wanted_from(partition, offset)])
}

fn wanted_from(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: PARTITION_BYTES_MAX,
        ..FetchPartition::default()
    }
}

fn frame_of(topic: &str, partitions: Vec<FetchPartition>) -> Result<Frame, LoadError> {
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: FETCH_BYTES_MAX,
        topics: vec![FetchTopic { topic: Str::from(topic), partitions, ..FetchTopic::default() }],
        ..FetchRequest::default()
    };
    Frame::encode(&request, FETCH_VERSION)
}

/// Walks the batches of a partition; gives their bytes. A batch that was cut off at the end of
/// the answer is left for the next fetch.
fn take(partition: &PartitionData, next_offset: &mut i64) -> Result<u64, LoadError> {
    check_code("a partition's fetch", partition.error_code)?;
    let Some(records) = partition.records.as_bytes() else { return Ok(0) };
    let mut bytes = 0;
    let before = *next_offset;
    for batch in batches(records) {
        let Ok(batch) = batch else { break };
        let view: BatchView<'_> = batch;
        view.check_crc()?;
        let header = view.header();
        if header.base_offset.0 != *next_offset {
            return Err(LoadError::unexpected(format!(
                "partition {}: a batch at offset {} where {next_offset} comes next",
                partition.partition_index, header.base_offset.0
            )));
        }
        *next_offset = header.next_offset().0;
        bytes += view.bytes().len() as u64;
    }
    if before == *next_offset && before < partition.high_watermark && !records.is_empty() {
        return Err(LoadError::unexpected(format!(
            "partition {}: no whole batch at offset {before}",
            partition.partition_index
        )));
    }
    Ok(bytes)
}
