//! Keys and values in the coordinators' logs (Kafka: `CoordinatorRecordSerde`): a key starts
//! with the record's number, a value with its version.

use bytes::Bytes;
use klamm_codec::{DecodeError, EncodeError, Reader, Writer};

use crate::group::{GroupRecordKey, GroupRecordValue};
use crate::share::{ShareRecordKey, ShareRecordValue};
use crate::transaction::{TransactionRecordKey, TransactionRecordValue};

/// The version of every key; where a key would need another, Kafka takes another number.
const KEY_VERSION: i16 = 0;
/// Room for what most keys and values take; it is given back at once.
const FRAME_BYTES: usize = 128;

macro_rules! coordinator_frames {
    ($($key:ident, $value:ident);+) => {$(
        impl $key {
            /// Reads a record's key, which must be all of `frame`.
            ///
            /// # Errors
            /// The record is of an unknown kind ([`DecodeError::UnknownKind`], which a
            /// coordinator skips with a warning, as Kafka does), or the bytes are no key.
            pub fn from_frame(frame: Bytes) -> Result<Self, DecodeError> {
                let mut r = Reader::new(frame);
                let kind = r.i16()?;
                let key = Self::decode(kind, KEY_VERSION, &mut r)?;
                r.finish()?;
                Ok(key)
            }

            /// The key's bytes in a record.
            ///
            /// # Errors
            /// A text in it is too long.
            pub fn to_frame(&self) -> Result<Bytes, EncodeError> {
                let mut w = Writer::from_vec(Vec::with_capacity(FRAME_BYTES));
                w.i16(self.kind());
                self.encode(&mut w, KEY_VERSION)?;
                Ok(Bytes::copy_from_slice(w.as_slice()))
            }
        }

        impl $value {
            /// Reads a record's value, which must be all of `frame`; `kind` is that of its key.
            /// Gives the value's version too.
            ///
            /// # Errors
            /// The record is of an unknown kind or version, or the bytes are no value.
            pub fn from_frame(kind: i16, frame: Bytes) -> Result<(Self, i16), DecodeError> {
                let mut r = Reader::new(frame);
                let version = r.i16()?;
                let value = Self::decode(kind, version, &mut r)?;
                r.finish()?;
                Ok((value, version))
            }

            /// The value's bytes in a record, in a version.
            ///
            /// # Errors
            /// The version cannot tell it.
            pub fn to_frame(&self, version: i16) -> Result<Bytes, EncodeError> {
                let mut w = Writer::from_vec(Vec::with_capacity(FRAME_BYTES));
                w.i16(version);
                self.encode(&mut w, version)?;
                Ok(Bytes::copy_from_slice(w.as_slice()))
            }
        }
    )+};
}

coordinator_frames!(
    GroupRecordKey, GroupRecordValue;
    TransactionRecordKey, TransactionRecordValue;
    ShareRecordKey, ShareRecordValue
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{OffsetCommitKey, OffsetCommitValue};

    #[test]
    fn a_committed_offset_is_stored_as_kafka_stores_it() {
        let key = GroupRecordKey::from(OffsetCommitKey {
            group: "g".into(),
            topic: "t".into(),
            partition: 3,
        });
        let frame = key.to_frame().unwrap();
        assert_eq!(&frame[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        assert_eq!(GroupRecordKey::from_frame(frame), Ok(key));

        let value = GroupRecordValue::from(OffsetCommitValue {
            offset: 5,
            leader_epoch: 2,
            commit_timestamp: 9,
            ..OffsetCommitValue::default()
        });
        let frame = value.to_frame(3).unwrap();
        // The bytes that Kafka's GroupCoordinatorRecordSerde writes.
        assert_eq!(&frame[..], *b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\0\0\x09");
        assert_eq!(GroupRecordValue::from_frame(1, frame), Ok((value, 3)));
    }

    #[test]
    fn a_key_of_an_unknown_kind_is_told_apart_from_a_broken_one() {
        let decode = |bytes: &'static [u8]| GroupRecordKey::from_frame(Bytes::from_static(bytes));
        assert_eq!(
            decode(&[0, 99, 1]),
            Err(DecodeError::UnknownKind { of: "group coordinator record", kind: 99 })
        );
        assert!(matches!(decode(&[0]), Err(DecodeError::Truncated { .. })));
        assert!(matches!(decode(&[0, 1, 0, 5, b'g']), Err(DecodeError::Truncated { .. })));
    }
}
