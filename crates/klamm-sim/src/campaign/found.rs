//! The batches of a log as readers are given them.

use klamm_log::LogView;
use klamm_records::{BatchHeader, BatchView, Scratch, batches};

use super::finding::{ensure, limits, read};
use super::model::Model;
use super::stored::Content;
use crate::random::Seeded;

/// A batch that is in the log.
pub(super) struct Found {
    pub(super) header: BatchHeader,
    pub(super) records: Vec<Record>,
    pub(super) is_abort: bool,
}

pub(super) struct Record {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) content: Content,
}

/// Every batch that readers are given, in order.
pub(super) fn found(
    view: &LogView,
    model: &Model,
    random: &mut Seeded,
) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    let mut offset = model.start;
    while offset < model.end {
        let bytes_max = 50 + random.below(3000) as u32;
        let bytes = read(view, offset, limits(bytes_max, model))?;
        let before = all.len();
        for batch in batches(&bytes).map_while(Result::ok) {
            let header = *batch.header();
            let is_next = header.base_offset.0 >= offset || all.is_empty();
            ensure(is_next && header.last_offset().0 >= offset, || {
                format!("whoever asks for {offset} is given {header:?}")
            })?;
            all.push(parse(&batch).map_err(|what| format!("at {offset}: {what}"))?);
            offset = header.next_offset().0;
        }
        ensure(all.len() > before, || format!("nothing at {offset}, below {}", model.end))?;
    }
    ensure(offset == model.end, || format!("batches end at {offset}, the log at {}", model.end))?;
    Ok(all)
}

fn parse(batch: &BatchView<'_>) -> Result<Found, String> {
    batch.check_crc().map_err(|e| e.to_string())?;
    let mut scratch = Scratch::default();
    let mut found = Found { header: *batch.header(), records: Vec::new(), is_abort: false };
    for record in batch.records(&mut scratch).map_err(|e| e.to_string())? {
        let record = record.map_err(|e| e.to_string())?;
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let content = Content { key: owned(record.key), value: owned(record.value) };
        if found.header.attributes.is_control() {
            // Version and type, of which 0 is the one that aborts (KIP-98).
            found.is_abort = content.key.as_deref() == Some(&[0, 0, 0, 0]);
        }
        let (offset, timestamp) = (record.offset.0, record.timestamp.0);
        found.records.push(Record { offset, timestamp, content });
    }
    Ok(found)
}
