//! What records of the broker's own topics say. A record that cannot be read is told so, and the
//! next one is looked at.

use bytes::Bytes;
use klamm_persisted::group::{GroupRecordKey, GroupRecordValue};
use klamm_persisted::metadata::MetadataRecord;
use klamm_records::{ControlRecordType, RecordView};

/// What records are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// Bytes.
    None,
    /// Groups and their offsets.
    Offsets,
    /// The cluster's metadata.
    ClusterMetadata,
}

impl Decoder {
    pub(super) fn decode(self, key: Option<Bytes>, value: Option<Bytes>) -> String {
        match self {
            Self::None => String::new(),
            Self::Offsets => group_record(key, value),
            Self::ClusterMetadata => match value.map(MetadataRecord::from_frame) {
                Some(Ok((record, version))) => format!("v{version} {record:?}"),
                Some(Err(error)) => format!("unreadable: {error}"),
                None => "unreadable: there is no value".to_owned(),
            },
        }
    }
}

fn group_record(key: Option<Bytes>, value: Option<Bytes>) -> String {
    let key = match key.map(GroupRecordKey::from_frame) {
        Some(Ok(key)) => key,
        Some(Err(error)) => return format!("unreadable key: {error}"),
        None => return "unreadable: there is no key".to_owned(),
    };
    match value.map(|value| GroupRecordValue::from_frame(key.kind(), value)) {
        Some(Ok((value, version))) => format!("{key:?} v{version} {value:?}"),
        Some(Err(error)) => format!("{key:?} unreadable value: {error}"),
        None => format!("{key:?} removed"),
    }
}

/// A control record's kind.
pub(super) fn control(record: &RecordView<'_>) -> String {
    match ControlRecordType::of(record) {
        Ok(Some(kind)) => format!("{kind:?}"),
        Ok(None) => "a control record of an unknown kind".to_owned(),
        Err(error) => format!("unreadable: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use klamm_persisted::group::{OffsetCommitKey, OffsetCommitValue};

    use super::*;

    #[test]
    fn a_committed_offset_is_told_with_its_group_and_offset() {
        let key = GroupRecordKey::from(OffsetCommitKey {
            group: "g".into(),
            topic: "t".into(),
            partition: 3,
        });
        let value = OffsetCommitValue { offset: 42, ..OffsetCommitValue::default() };
        let value = GroupRecordValue::from(value).to_frame(3).unwrap();
        let key = key.to_frame().unwrap();
        let text = Decoder::Offsets.decode(Some(key.clone()), Some(value));
        assert!(text.contains("\"g\"") && text.contains("42"), "{text}");
        assert!(Decoder::Offsets.decode(Some(key), None).ends_with("removed"));
    }

    #[test]
    fn records_that_cannot_be_read_are_told_so() {
        let bad = || Some(Bytes::from_static(b"\xff"));
        assert!(Decoder::Offsets.decode(bad(), bad()).starts_with("unreadable"));
        assert!(Decoder::Offsets.decode(None, None).starts_with("unreadable"));
        assert!(Decoder::ClusterMetadata.decode(None, bad()).starts_with("unreadable"));
    }
}
