//! The files of a log, for whoever looks at them offline. Nothing is changed, nothing is believed:
//! what is wrong is told with its position.
//!
//! Indexes, snapshots and checkpoints have their decoders beside them: [`crate::decode_index`],
//! [`crate::decode_time_index`], [`crate::decode_snapshot`] and, here, [`transaction_index`],
//! [`leader_epochs`] and [`offsets`].

use std::fmt;
use std::io;
use std::sync::Arc;

use klamm_env::DiskFile;
use klamm_model::{LeaderEpoch, Offset, TopicPartition};
use klamm_records::{BatchError, BatchHeader, BatchView, layout};

use crate::checkpoint::{CheckpointError, parse_leader_epochs, parse_offsets};
use crate::segment::transaction_index::AbortedTransaction;

/// A batch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedBatch {
    /// Where it begins.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// The whole batch; [`BatchView`] reads it.
    pub bytes: Vec<u8>,
    /// What its checksum says.
    pub checksum: Result<(), BatchError>,
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub enum DumpError {
    /// It cannot be read at all.
    Io {
        /// Where.
        position: u64,
        /// How it failed.
        error: io::Error,
    },
    /// There is no batch: the rest of the file is a torn tail, or damaged.
    NotABatch {
        /// Where.
        position: u64,
        /// Bytes from there to the file's end.
        rest_bytes: u64,
        /// What is wrong.
        error: BatchError,
    },
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { position, error } => write!(f, "cannot read at byte {position}: {error}"),
            Self::NotABatch { position, rest_bytes, error } => {
                write!(f, "no batch at byte {position}, {rest_bytes} before the end: {error}")
            }
        }
    }
}

impl std::error::Error for DumpError {}

/// The batches of a `.log` file, one after another; see [`dump_batches`].
#[derive(Debug)]
pub struct DumpedBatches {
    file: Arc<dyn DiskFile>,
    position: u64,
    len: u64,
    has_ended: bool,
}

/// The batches of a `.log` file, with their positions. A batch with a wrong checksum is given all
/// the same; the first bytes that are no batch end the iteration with an error.
///
/// # Errors
/// The file's length cannot be asked for.
pub fn dump_batches(file: Arc<dyn DiskFile>) -> io::Result<DumpedBatches> {
    let len = file.len()?;
    Ok(DumpedBatches { file, position: 0, len, has_ended: false })
}

impl DumpedBatches {
    fn read(&self) -> Result<DumpedBatch, DumpError> {
        let (position, rest_bytes) = (self.position, self.len - self.position);
        let io = |error| DumpError::Io { position, error };
        let not_a_batch = |error| DumpError::NotABatch { position, rest_bytes, error };
        let mut header = [0; layout::HEADER_LEN];
        let n = self.file.read_at(&mut header, position).map_err(io)?;
        let header = BatchHeader::parse(&header[..n]).map_err(not_a_batch)?;
        let needed = header.size_in_bytes() as u64;
        if needed > rest_bytes {
            let available = usize::try_from(rest_bytes).unwrap_or(usize::MAX);
            return Err(not_a_batch(BatchError::Short { needed, available }));
        }
        let mut bytes = vec![0; header.size_in_bytes()];
        let n = self.file.read_at(&mut bytes, position).map_err(io)?;
        let checksum = BatchView::parse(&bytes[..n]).map_err(not_a_batch)?.check_crc();
        Ok(DumpedBatch { position, header, bytes, checksum })
    }
}

impl Iterator for DumpedBatches {
    type Item = Result<DumpedBatch, DumpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended || self.position >= self.len {
            return None;
        }
        let batch = self.read();
        match &batch {
            Ok(batch) => self.position += batch.bytes.len() as u64,
            Err(_) => self.has_ended = true,
        }
        Some(batch)
    }
}

/// The aborted transactions in a `.txnindex` file, as many as are whole.
#[must_use]
pub fn transaction_index(bytes: &[u8]) -> Vec<AbortedTransaction> {
    AbortedTransaction::decode(bytes)
}

/// The entries of a `leader-epoch-checkpoint`.
///
/// # Errors
/// The text has another form.
pub fn leader_epochs(bytes: &[u8]) -> Result<Vec<(LeaderEpoch, Offset)>, CheckpointError> {
    parse_leader_epochs(bytes)
}

/// The entries of a checkpoint of offsets: recovery points, log starts, high watermarks.
///
/// # Errors
/// The text has another form.
pub fn offsets(bytes: &[u8]) -> Result<Vec<(TopicPartition, Offset)>, CheckpointError> {
    parse_offsets(bytes)
}
