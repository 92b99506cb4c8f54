//! Batches that nobody vouches for: how many are whole, and the cut behind them.

use klamm_model::Offset;
use klamm_records::{BatchHeader, BatchView};

use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::names::LOG_SUFFIX;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::Segment;

/// How many bytes of a segment are whole batches with right checksums and growing offsets, and
/// where they end. What is before `position`, where `next_offset` is to come, is not looked at.
pub(super) fn valid_bytes(
    segment: &Segment,
    (mut position, mut next_offset): (u64, Offset),
    epochs: &mut LeaderEpochs,
) -> Result<(u64, Offset), LogError> {
    /// Read at once; a batch that is larger is read as a whole.
    const CHUNK_BYTES: usize = 1024 * 1024;
    let size = segment.size();
    if position == size {
        return Ok((position, next_offset));
    }
    let path = segment.path(LOG_SUFFIX);
    let file = segment.file().map_err(LogError::io(&path))?;
    let chunk = usize::try_from(size - position).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut buffer = vec![0; chunk];
    let mut last_position = position;
    loop {
        let n = file.read_at(&mut buffer, position).map_err(LogError::io(&path))?;
        let mut used = 0;
        while let Ok(batch) = BatchView::parse(&buffer[used..n]) {
            let is_whole = is_seeded(SeededBug::CrcSkipped) || batch.check_crc().is_ok();
            if !is_whole || batch.header().base_offset < next_offset {
                return Ok((position + used as u64, next_offset));
            }
            next_offset = batch.header().next_offset();
            epochs.believe(batch.header().partition_leader_epoch, batch.header().base_offset);
            last_position = position + used as u64;
            used += batch.header().size_in_bytes();
        }
        position += used as u64;
        if used > 0 && n == buffer.len() {
            continue;
        }
        // Nothing whole at the front: a batch larger than the buffer, or the end.
        let needed =
            BatchHeader::parse(&buffer[used..n]).map_or(0, |header| header.size_in_bytes());
        let is_there = needed > buffer.len() && position + needed as u64 <= size;
        if !is_there || used > 0 {
            if is_seeded(SeededBug::RecoveryCutsValidBatch) && position > 0 {
                return Ok((last_position, next_offset));
            }
            return Ok((position, next_offset));
        }
        buffer.resize(needed, 0);
    }
}

pub(super) fn cut(segment: &Segment, valid: u64) -> Result<(), LogError> {
    segment.publish_size(valid);
    let cut = || {
        let file = segment.file()?;
        file.set_len(valid)?;
        file.sync()
    };
    cut().map_err(LogError::io(&segment.path(LOG_SUFFIX)))
}
