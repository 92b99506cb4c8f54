//! How far a log is on the disk, and what of its indexes with it: a restart reads only what came
//! after it.
//!
//! ```text
//! index entries, producers ──saved every 32 MiB and at a roll──┐
//! batches ──appended──> sync ticket carries a mark ──honoured──> the log's mark
//!                                                                  │ written aside, synced,
//!                                                                  ▼ renamed
//!                                                     klamm-recovery-checkpoint
//! ```
//!
//! A mark never vouches for what was not synced before it. It is a promise about files, so it is
//! compared with them before it is believed; one that does not fit is ignored, and the log is
//! checked from Kafka's recovery point on.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_model::{Offset, TopicId, TopicPartition};

use crate::error::LogError;

/// Index entries and producers are saved when this much was appended since the last time; with
/// what is appended until the checkpoint is written, a restart reads at most twice as much.
pub(crate) const SAVE_EVERY_BYTES: u64 = 32 * 1024 * 1024;
/// The file in a log directory. Kafka's `LogManager` looks at directories only, and leaves it.
pub(crate) const RECOVERY_MARKS: &str = "klamm-recovery-checkpoint";
const VERSION: &str = "1";
/// 10,000 partitions have about 1 MB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What of a log is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryMark {
    /// Every batch below.
    pub offset: Offset,
    /// The segment that it was in, and all before it with their indexes.
    pub segment_base: Offset,
    /// Bytes of that segment's file, which end with a whole batch.
    pub position: u64,
    /// Entries of its offset index.
    pub index_entries: usize,
    /// Entries of its time index.
    pub time_entries: usize,
    /// A snapshot of the producers, and all aborted transactions that ended before it.
    pub snapshot: Option<Offset>,
}

/// Marks of partitions, each with its topic's id: a topic of the same name is another one.
pub(crate) type Marks = HashMap<TopicPartition, (TopicId, RecoveryMark)>;

/// What is wrong with the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MarksError {
    Version(String),
    Crc,
    Count,
    Line(String),
}

impl fmt::Display for MarksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version '{version}' is not known"),
            Self::Crc => f.write_str("the checksum differs"),
            Self::Count => f.write_str("the number of lines differs from what the file says"),
            Self::Line(line) => write!(f, "line '{line}' has the wrong form"),
        }
    }
}

/// The file's text: version, count, a line each, and the CRC-32C of all that is before it.
pub(crate) fn encode(marks: &[(TopicPartition, TopicId, RecoveryMark)]) -> String {
    use fmt::Write;
    let mut text = format!("{VERSION}\n{}\n", marks.len());
    for (name, topic_id, mark) in marks {
        let snapshot = mark.snapshot.map_or(-1, |offset| offset.0);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {} {topic_id} {} {} {} {} {} {snapshot}",
            name.topic,
            name.partition,
            mark.offset,
            mark.segment_base,
            mark.position,
            mark.index_entries,
            mark.time_entries,
        );
    }
    with_crc(text)
}

/// A text with the CRC-32C of all that is before it in its last line.
pub(crate) fn with_crc(mut text: String) -> String {
    let crc = klamm_records::crc32c(text.as_bytes());
    text.push_str(&format!("{crc:08x}\n"));
    text
}

/// A text of [`with_crc`] without its last line, if it is whole and of that version.
pub(crate) fn checked_body<'a>(bytes: &'a [u8], expected: &str) -> Result<&'a str, MarksError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MarksError::Crc)?;
    let version = text.lines().next().unwrap_or_default();
    if version != expected {
        return Err(MarksError::Version(version.chars().take(40).collect()));
    }
    let body_len = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    let (body, crc) = text.split_at(body_len);
    if u32::from_str_radix(crc.trim_end(), 16) != Ok(klamm_records::crc32c(body.as_bytes())) {
        return Err(MarksError::Crc);
    }
    Ok(body)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Marks, MarksError> {
    let body = checked_body(bytes, VERSION)?;
    let mut lines = body.lines().skip(1);
    let count: usize = lines.next().and_then(|n| n.parse().ok()).ok_or(MarksError::Count)?;
    let mut marks = Marks::new();
    for line in lines {
        let (name, mark) = parse(line).ok_or_else(|| MarksError::Line(line.to_owned()))?;
        marks.insert(name, mark);
    }
    if marks.len() == count { Ok(marks) } else { Err(MarksError::Count) }
}

fn parse(line: &str) -> Option<(TopicPartition, (TopicId, RecoveryMark))> {
    let words: Vec<&str> = line.split(' ').collect();
    let [topic, partition, topic_id, numbers @ ..] = &words[..] else { return None };
    let numbers: Option<Vec<i64>> = numbers.iter().map(|word| word.parse().ok()).collect();
    let &[offset, base, position, index_entries, time_entries, snapshot] = &numbers?[..] else {
        return None;
    };
    let mark = RecoveryMark {
        offset: Offset(offset),
        segment_base: Offset(base),
        position: u64::try_from(position).ok()?,
        index_entries: usize::try_from(index_entries).ok()?,
        time_entries: usize::try_from(time_entries).ok()?,
        snapshot: (snapshot >= 0).then_some(Offset(snapshot)),
    };
    let is_sound = base >= 0 && offset >= base && snapshot <= offset;
    let name = TopicPartition::new(*topic, partition.parse().ok()?);
    is_sound.then_some((name, (topic_id.parse().ok()?, mark)))
}

/// The marks in a directory. A file that is missing, or that is none of ours, vouches for nothing.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Marks, LogError> {
    let bytes = durable::read(disk, path, FILE_BYTES_MAX).map_err(LogError::io(path))?;
    let Some(bytes) = bytes else { return Ok(Marks::new()) };
    decode(&bytes).or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "recovery checkpoint ignored: logs are checked from their recovery points on");
        Ok(Marks::new())
    })
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use super::*;

    fn marks() -> Vec<(TopicPartition, TopicId, RecoveryMark)> {
        let mark = RecoveryMark {
            offset: Offset(70),
            segment_base: Offset(50),
            position: 1234,
            index_entries: 5,
            time_entries: 6,
            snapshot: Some(Offset(60)),
        };
        let without = RecoveryMark { snapshot: None, ..mark };
        vec![
            (TopicPartition::new("a", 0), Uuid(5), mark),
            (TopicPartition::new("b.c", 17), Uuid(6), without),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let read = decode(encode(&marks()).as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        for (name, topic_id, mark) in marks() {
            assert_eq!(read[&name], (topic_id, mark));
        }
        assert_eq!(decode(encode(&[]).as_bytes()), Ok(Marks::new()));
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_vouches_for_nothing() {
        let text = encode(&marks()).into_bytes();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            // The last line's end is not part of what it says.
            assert!(decode(&flipped).is_err() || at == text.len() - 1, "byte {at}");
            assert!(decode(&text[..at]).is_err() || at == text.len() - 1, "cut to {at}");
        }
    }

    #[test]
    fn a_file_of_another_version_or_with_lines_that_cannot_be_is_refused() {
        let signed = |body: &str| format!("{body}{:08x}\n", klamm_records::crc32c(body.as_bytes()));
        let refused = |body: &str| decode(signed(body).as_bytes()).unwrap_err();
        assert_eq!(decode(b"2\n0\n"), Err(MarksError::Version("2".into())));
        assert_eq!(decode(b""), Err(MarksError::Version(String::new())));
        assert_eq!(refused("1\n1\n"), MarksError::Count);
        let id = Uuid(5).to_string();
        for line in [
            "a 0".to_owned(),
            format!("a x {id} 7 5 12 0 0 -1"),
            format!("a 0 {id} 4 5 12 0 0 -1"),
            format!("a 0 {id} 7 5 -12 0 0 -1"),
            format!("a 0 {id} 7 5 12 0 0 8"),
        ] {
            assert!(matches!(refused(&format!("1\n1\n{line}\n")), MarksError::Line(_)), "{line}");
        }
    }
}
