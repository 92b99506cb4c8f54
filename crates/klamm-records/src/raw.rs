//! Records as the bytes that they are, for whoever copies some of them. Never looks into values
//! and headers, and never copies by itself.

use klamm_stdx::varint;

use crate::record::{Cursor, RecordsError};

/// One record as it lies in its batch.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// All of it, with its length field.
    pub bytes: &'a [u8],
    /// Its time less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Whether it has no value.
    pub is_tombstone: bool,
    attributes: u8,
    /// What follows the timestamp.
    tail: &'a [u8],
}

impl RawRecord<'_> {
    /// Appends the record with another timestamp delta; nothing else changes.
    pub fn write_with_timestamp_delta(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let len = 1 + varint::len_i64(timestamp_delta) + self.tail.len();
        varint::write_i64(out, len as i64);
        out.push(self.attributes);
        varint::write_i64(out, timestamp_delta);
        out.extend_from_slice(self.tail);
    }
}

/// Iterator over the records in a body that is not compressed; it ends after its first error.
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    cursor: Cursor<'a>,
    index: u32,
    count: u32,
}

impl<'a> RawRecords<'a> {
    /// The `count` records in `body`.
    #[must_use]
    pub fn new(body: &'a [u8], count: i32) -> Self {
        Self { cursor: Cursor { rest: body }, index: 0, count: u32::try_from(count).unwrap_or(0) }
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let trailing_bytes = std::mem::take(&mut self.cursor.rest).len();
            return (trailing_bytes > 0).then_some(Err(RecordsError::Trailing { trailing_bytes }));
        }
        match raw_record(&mut self.cursor) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => {
                let index = std::mem::replace(&mut self.index, self.count);
                self.cursor.rest = &[];
                Some(Err(RecordsError::Record { index, what }))
            }
        }
    }
}

#[inline]
fn raw_record<'a>(cursor: &mut Cursor<'a>) -> Result<RawRecord<'a>, &'static str> {
    let from = cursor.rest;
    let len = cursor.varint().ok_or("its length is cut off or too long")?;
    let len = usize::try_from(len).map_err(|_| "its length is negative")?;
    let inner = cursor.take(len).ok_or("it is longer than the batch")?;
    let bytes = &from[..from.len() - cursor.rest.len()];
    let mut inner = Cursor { rest: inner };
    let attributes = inner.take(1).ok_or("it has no attributes")?[0];
    let timestamp_delta = inner.varlong().ok_or("its timestamp is cut off or too long")?;
    let tail = inner.rest;
    let offset_delta = inner.varint().ok_or("its offset is cut off or too long")?;
    let key = inner.nullable().ok_or("its key does not fit into it")?;
    let is_tombstone = inner.varint().ok_or("its value does not fit into it")? < 0;
    Ok(RawRecord { bytes, timestamp_delta, offset_delta, key, is_tombstone, attributes, tail })
}

#[cfg(test)]
mod tests {
    use klamm_model::Timestamp;

    use super::*;
    use crate::{BatchBuilder, BatchOptions, BatchView, HeaderToAppend, RecordToAppend, Scratch};

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let headers = [HeaderToAppend { key: "h", value: Some(b"1") }];
        let record = RecordToAppend { timestamp: Timestamp(1000), ..RecordToAppend::default() };
        builder.push(RecordToAppend { key: Some(b"a"), value: Some(b"one"), ..record });
        builder.push(RecordToAppend { key: Some(b"b"), headers: &headers, ..record });
        builder.push(RecordToAppend { timestamp: Timestamp(70_000), value: Some(b""), ..record });
        builder.build().expect("nothing is compressed")
    }

    #[test]
    fn the_records_together_are_the_body() {
        let bytes = batch();
        let view = BatchView::parse(&bytes).expect("it was just built");
        let records: Vec<RawRecord<'_>> =
            RawRecords::new(view.body(), view.record_count).map(|r| r.expect("sound")).collect();
        let together: Vec<u8> = records.iter().flat_map(|r| r.bytes).copied().collect();
        assert_eq!(together, view.body());
        let keys: Vec<_> = records.iter().map(|r| (r.key, r.is_tombstone)).collect();
        assert_eq!(keys, [(Some(&b"a"[..]), false), (Some(&b"b"[..]), true), (None, false)]);
        assert_eq!(records.iter().map(|r| r.offset_delta).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn another_timestamp_changes_nothing_else() {
        let mut bytes = batch();
        let view = BatchView::parse(&bytes).expect("it was just built");
        let mut body = Vec::new();
        for record in RawRecords::new(view.body(), view.record_count) {
            let record = record.expect("sound");
            record.write_with_timestamp_delta(record.timestamp_delta - 1_000_000, &mut body);
        }
        let mut header = *view.header();
        header.batch_length += i32::try_from(body.len()).unwrap() - view.body().len() as i32;
        bytes.truncate(crate::layout::HEADER_LEN);
        bytes[..].copy_from_slice(&header.to_bytes());
        bytes.extend_from_slice(&body);
        let moved = BatchView::parse(&bytes).expect("its length is right");
        let mut scratch = Scratch::default();
        let records: Vec<_> =
            moved.records(&mut scratch).expect("plain").map(|r| r.expect("sound")).collect();
        let times: Vec<i64> = records.iter().map(|r| r.timestamp.0).collect();
        assert_eq!(times, [1000 - 1_000_000, 1000 - 1_000_000, 70_000 - 1_000_000]);
        assert_eq!(records[1].headers().len(), 1);
        assert_eq!(records[0].value, Some(&b"one"[..]));
    }

    #[test]
    fn damage_ends_the_walk_with_an_error() {
        let bytes = batch();
        let body = &bytes[crate::layout::HEADER_LEN..];
        let outcome = |body, count| RawRecords::new(body, count).last().expect("one").map(drop);
        assert!(matches!(outcome(body, 2), Err(RecordsError::Trailing { .. })));
        assert!(matches!(outcome(body, 4), Err(RecordsError::Record { index: 3, .. })));
        let cut = &body[..body.len() - 1];
        assert!(matches!(outcome(cut, 3), Err(RecordsError::Record { index: 2, .. })));
        for n in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[n] ^= 0xff;
            assert!(RawRecords::new(&damaged, 3).count() <= 4, "byte {n}");
        }
    }
}
