//! The batches of a file, each with what its checksum says, through a buffer that is as large as
//! the largest batch at most. What follows damage inside a batch is still found, because no damage
//! there changes the batch's length.

use std::io;

use klamm_env::DiskFile;
use klamm_records::{BatchError, BatchHeader, BatchView};

use super::{Progress, VerifyError};
use crate::error::LogError;
use std::path::Path;

/// Read at once; a batch that is larger is read as a whole.
const CHUNK_BYTES: usize = 256 * 1024;

/// A batch and where it lies.
#[derive(Debug)]
pub struct BatchCheck<'a> {
    /// The batch.
    pub batch: BatchView<'a>,
    /// Where it begins.
    pub position: u64,
    /// What its checksum says.
    pub checksum: Result<(), BatchError>,
}

/// How a walk came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkEnd {
    /// With the file.
    Whole,
    /// At bytes that are no batch.
    NotABatch {
        /// Where they begin.
        position: u64,
        /// What is wrong with them.
        error: BatchError,
    },
}

/// Shows every batch in the first `len` bytes of a file to `each`.
///
/// # Errors
/// The disk failed, the file is shorter, or it was stopped.
pub fn walk_batches(
    (path, file): (&Path, &dyn DiskFile),
    len: u64,
    progress: &mut dyn Progress,
    each: &mut dyn FnMut(&BatchCheck<'_>),
) -> Result<WalkEnd, VerifyError> {
    let (mut position, mut wanted) = (0, CHUNK_BYTES);
    let mut buffer = Vec::new();
    while position < len {
        let rest = len - position;
        buffer.resize(usize::try_from(rest).map_or(wanted, |rest| rest.min(wanted)), 0);
        let n = file.read_at(&mut buffer, position).map_err(LogError::io(path))?;
        if n < buffer.len() {
            return Err(LogError::io(path)(io::ErrorKind::UnexpectedEof.into()).into());
        }
        progress.read(n as u64)?;
        let (mut used, mut next) = (0, CHUNK_BYTES);
        while used < n {
            let at = position + used as u64;
            match BatchView::parse(&buffer[used..]) {
                Ok(batch) => {
                    used += batch.bytes().len();
                    each(&BatchCheck { checksum: batch.check_crc(), batch, position: at });
                }
                Err(BatchError::Short { needed, .. }) if needed <= len - at => {
                    let whole = BatchHeader::parse(&buffer[used..]).map(|h| h.size_in_bytes());
                    next = whole.unwrap_or(0).max(CHUNK_BYTES);
                    break;
                }
                Err(error) => return Ok(WalkEnd::NotABatch { position: at, error }),
            }
        }
        position += used as u64;
        wanted = next;
    }
    Ok(WalkEnd::Whole)
}
