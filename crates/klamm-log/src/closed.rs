//! Logs that an orderly stop left with one segment are not touched by the next start: what was
//! known of them is in one file of their directory, and each is opened when it is first appended
//! to. Readers need no more than its segment.
//!
//! ```text
//! awake ──close_clean, closed()──> klamm-closed-logs ──asleep()──> asleep ──wake()──> awake
//! ```
//!
//! The file counts only with the clean-shutdown marker of the same broker epoch: whoever ran
//! between, Kafka for example, has left another.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use klamm_env::{Disk, durable};
use klamm_model::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};

use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::log::Log;
use crate::mark::{MarksError, RecoveryMark, checked_body, with_crc};
use crate::partition_metadata::{PartitionMetadataError, read_partition_metadata};
use crate::recovery::Opening;
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;

/// The file in a log directory.
pub(crate) const CLOSED_LOGS: &str = "klamm-closed-logs";
const VERSION: &str = "1";
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A log as an orderly stop left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedLog {
    /// Where it starts.
    pub log_start_offset: Offset,
    /// The offset after its last record.
    pub log_end_offset: Offset,
    /// Its only segment.
    pub segment_base: Offset,
    /// The bytes of it.
    pub size: u64,
    /// The largest timestamp, and the last offset of the batch that has it.
    pub max_timestamp: (Timestamp, Offset),
    /// Leader epochs and where they begin.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

/// By partition, each with its topic's id.
pub(crate) type ClosedLogs = HashMap<TopicPartition, (TopicId, ClosedLog)>;

impl Log {
    /// What the next start needs to know, after [`Log::close_clean`]; `None` if it has to look
    /// for itself.
    #[must_use]
    pub fn closed(&self) -> Option<ClosedLog> {
        let is_plain = self.view.segment_count() == 1
            && self.aborted.is_empty()
            && self.view.first_unstable_offset().is_none()
            && self.deletions.is_empty()
            && self.epochs_lack_from.is_none();
        let is_whole = !self.failed && self.view.synced_offset() == self.log_end_offset();
        (is_plain && is_whole).then(|| ClosedLog {
            log_start_offset: self.log_start_offset(),
            log_end_offset: self.log_end_offset(),
            segment_base: self.active.segment.base_offset,
            size: self.active.segment.size(),
            max_timestamp: self.active.segment.max_timestamp(),
            epochs: self.epochs.entries().to_vec(),
        })
    }

    /// A log that was closed in order. No file is touched before somebody reads or appends.
    #[must_use]
    pub fn asleep(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        closed: &ClosedLog,
        wall: Timestamp,
    ) -> Self {
        let mut log = Self::empty(disk, dir, config, closed.segment_base, wall);
        let segment = Segment::new(disk, dir, closed.segment_base, closed.size);
        segment.publish_timestamp(closed.max_timestamp.0, closed.max_timestamp.1);
        log.active = ActiveSegment::new(Arc::new(segment), wall);
        log.epochs = LeaderEpochs::new(closed.epochs.clone());
        log.view.epochs.store(log.epochs.clone().into());
        log.view.segments.store(Arc::new(vec![Arc::clone(&log.active.segment)]));
        log.view.publish_end(closed.log_end_offset);
        log.view.publish_start(closed.log_start_offset);
        log.view.publish_synced(closed.log_end_offset);
        log.is_asleep = true;
        log
    }

    /// Whether nothing of it was opened since an orderly stop: producers are not known yet.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// What the recovery checkpoint says of it still holds.
    pub fn keep_mark(&mut self, mark: Option<RecoveryMark>) {
        self.mark = mark;
    }

    /// Whose it is; a log that nobody wrote to may have lost the file that says so.
    pub fn keep_topic_id(&mut self, topic_id: Option<TopicId>) {
        self.topic_id_asleep = topic_id;
    }

    /// Opens what [`Log::asleep`] has put off.
    ///
    /// # Errors
    /// The disk failed, or the files are not what they were at the stop.
    pub(crate) fn wake(&mut self) -> Result<(), LogError> {
        if !self.is_asleep {
            return Ok(());
        }
        self.check_usable()?;
        let woken = self.open_what_sleeps();
        self.closing_unless_full(woken)
    }

    fn open_what_sleeps(&mut self) -> Result<(), LogError> {
        let opening = Opening {
            was_clean: true,
            recovery_point: self.log_end_offset(),
            log_start_offset: self.log_start_offset(),
            mark: self.mark,
            cleaned_to: self.cleaned_to(),
        };
        let (config, wall) = (self.config.clone(), self.active.since());
        let (mut opened, _) = Self::open(&self.disk, &self.dir, config, opening, wall)?;
        let shape = |log: &Self| (log.log_start_offset(), log.log_end_offset(), log.active.written);
        if shape(&opened) != shape(self) || opened.view.segment_count() != 1 {
            let (found, known) = (shape(&opened), shape(self));
            let what = format!(
                "the files were changed since the last stop: start, end and bytes are {found:?} \
                 and were {known:?}; restore them, or start again without {CLOSED_LOGS}"
            );
            return Err(LogError::Unreadable { path: self.dir.clone(), what });
        }
        if let Some(topic_id) = self.topic_id_asleep {
            let found = read_partition_metadata(self.disk.as_ref(), &self.dir);
            let unreadable = |error: PartitionMetadataError| LogError::Unreadable {
                path: self.dir.clone(),
                what: error.to_string(),
            };
            if found.map_err(unreadable)?.is_none() {
                opened.assign_topic_id(topic_id)?;
            }
        }
        let view = Arc::clone(&self.view);
        view.segments.store(opened.view.segments.load_full());
        view.epochs.store(opened.view.epochs.load_full());
        let open_files = self.open_files.take();
        let compaction = std::mem::take(&mut self.compaction);
        *self = Self { view, compaction, ..opened };
        self.publish_first_unstable();
        open_files.iter().for_each(|open_files| self.bound_open_files(open_files));
        Ok(())
    }
}

/// The file's text.
pub(crate) fn encode(broker_epoch: i64, logs: &[(TopicPartition, TopicId, ClosedLog)]) -> String {
    use std::fmt::Write;
    let mut text = format!("{VERSION}\n{broker_epoch}\n{}\n", logs.len());
    for (name, topic_id, log) in logs {
        let epochs: Vec<String> =
            log.epochs.iter().map(|(epoch, start)| format!("{epoch}:{start}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {} {topic_id} {} {} {} {} {} {} {}",
            name.topic,
            name.partition,
            log.log_start_offset,
            log.log_end_offset,
            log.segment_base,
            log.size,
            log.max_timestamp.0.0,
            log.max_timestamp.1,
            epochs.join(","),
        );
    }
    with_crc(text)
}

/// What the file says, if it was written by `broker_epoch`.
pub(crate) fn decode(bytes: &[u8], broker_epoch: i64) -> Result<ClosedLogs, MarksError> {
    let body = checked_body(bytes, VERSION)?;
    let mut lines = body.lines().skip(1);
    let writer = lines.next().unwrap_or_default();
    if writer.parse() != Ok(broker_epoch) {
        return Err(MarksError::Line(writer.to_owned()));
    }
    let count: usize = lines.next().and_then(|n| n.parse().ok()).ok_or(MarksError::Count)?;
    let mut logs = ClosedLogs::with_capacity(count.min(bytes.len()));
    for line in lines {
        let (name, log) = parse(line).ok_or_else(|| MarksError::Line(line.to_owned()))?;
        logs.insert(name, log);
    }
    if logs.len() == count { Ok(logs) } else { Err(MarksError::Count) }
}

fn parse(line: &str) -> Option<(TopicPartition, (TopicId, ClosedLog))> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[topic, partition, topic_id, start, end, base, size, timestamp, offset, epochs] =
        &words[..]
    else {
        return None;
    };
    let number = |word: &str| word.parse::<i64>().ok();
    let entry = |word: &str| {
        let (epoch, start) = word.split_once(':')?;
        Some((LeaderEpoch(epoch.parse().ok()?), Offset(number(start)?)))
    };
    let epochs = epochs.split(',').filter(|word| !word.is_empty());
    let epochs: Option<Vec<_>> = epochs.map(entry).collect();
    let log = ClosedLog {
        log_start_offset: Offset(number(start)?),
        log_end_offset: Offset(number(end)?),
        segment_base: Offset(number(base)?),
        size: size.parse().ok()?,
        max_timestamp: (Timestamp(number(timestamp)?), Offset(number(offset)?)),
        epochs: epochs?,
    };
    let is_sound = log.segment_base.0 >= 0
        && log.segment_base <= log.log_end_offset
        && log.log_start_offset <= log.log_end_offset;
    let name = TopicPartition::new(topic, partition.parse().ok()?);
    is_sound.then_some((name, (topic_id.parse().ok()?, log)))
}

/// What an orderly stop of `broker_epoch` has left; nothing if the file is another's, or none.
pub(crate) fn read(
    disk: &dyn Disk,
    path: &Path,
    broker_epoch: i64,
) -> Result<ClosedLogs, LogError> {
    let bytes = durable::read(disk, path, FILE_BYTES_MAX).map_err(LogError::io(path))?;
    let Some(bytes) = bytes else { return Ok(ClosedLogs::new()) };
    decode(&bytes, broker_epoch).or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "it is not of the last stop: every log is opened");
        Ok(ClosedLogs::new())
    })
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use super::*;

    fn logs() -> Vec<(TopicPartition, TopicId, ClosedLog)> {
        let log = ClosedLog {
            log_start_offset: Offset(3),
            log_end_offset: Offset(9),
            segment_base: Offset(0),
            size: 700,
            max_timestamp: (Timestamp(17), Offset(8)),
            epochs: vec![(LeaderEpoch(1), Offset(3)), (LeaderEpoch(4), Offset(7))],
        };
        let empty = ClosedLog {
            log_start_offset: Offset(0),
            log_end_offset: Offset(0),
            segment_base: Offset(0),
            size: 0,
            max_timestamp: (Timestamp(-1), Offset(-1)),
            epochs: Vec::new(),
        };
        vec![
            (TopicPartition::new("a", 0), Uuid(5), log),
            (TopicPartition::new("b.c", 17), Uuid(6), empty),
        ]
    }

    #[test]
    fn what_is_written_is_read_by_the_same_broker_epoch_alone() {
        let text = encode(12, &logs());
        let read = decode(text.as_bytes(), 12).unwrap();
        assert_eq!(read.len(), 2);
        for (name, topic_id, log) in logs() {
            assert_eq!(read[&name], (topic_id, log));
        }
        assert!(matches!(decode(text.as_bytes(), 13), Err(MarksError::Line(_))));
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_not_believed() {
        let text = encode(12, &logs()).into_bytes();
        for at in 0..text.len() - 1 {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped, 12).is_err(), "byte {at}");
            assert!(decode(&text[..at], 12).is_err(), "cut to {at}");
        }
    }
}
