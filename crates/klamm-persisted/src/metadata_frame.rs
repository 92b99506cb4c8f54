//! The frame of a metadata record in the metadata log (Kafka: `MetadataRecordSerde`): the
//! frame's own version, the record's number and version, and the record.

use bytes::Bytes;
use klamm_codec::{DecodeError, EncodeError, Reader, Writer};

use crate::metadata::MetadataRecord;

/// The only version that the frame has had.
const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a frame that must hold one record and nothing else; gives the record's version too.
    ///
    /// # Errors
    /// The frame or the record is of an unknown kind, or the bytes are not one record.
    pub fn from_frame(frame: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut r = Reader::new(frame);
        let frame_version = r.unsigned_varint()?;
        if frame_version != FRAME_VERSION {
            return Err(DecodeError::UnknownFrameVersion { version: frame_version });
        }
        let kind = r.unsigned_varint()?;
        let kind = i16::try_from(kind).map_err(|_| DecodeError::UnknownKind {
            of: "metadata record",
            kind: i64::from(kind),
        })?;
        let version = r.unsigned_varint()?;
        let version = i16::try_from(version).map_err(|_| DecodeError::UnsupportedVersion {
            message: "metadata record",
            version: i16::MAX,
        })?;
        let record = Self::decode(kind, version, &mut r)?;
        r.finish()?;
        Ok((record, version))
    }

    /// The frame of this record in a version.
    ///
    /// # Errors
    /// The version cannot tell it.
    pub fn to_frame(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        self.write_frame(&mut w, version)?;
        Ok(Bytes::from(w.into_vec()))
    }

    /// Appends the frame of this record in a version.
    ///
    /// # Errors
    /// The version cannot tell it.
    pub fn write_frame(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.unsigned_varint(FRAME_VERSION);
        w.unsigned_varint(self.kind() as u32);
        w.unsigned_varint(version as u32);
        self.encode(w, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{FeatureLevelRecord, NoOpRecord};

    #[test]
    fn a_frame_starts_with_its_version_the_number_and_the_records_version() {
        let record = MetadataRecord::from(FeatureLevelRecord {
            name: "metadata.version".into(),
            feature_level: 7,
        });
        let frame = record.to_frame(0).unwrap();
        // The bytes that Kafka's MetadataRecordSerde writes.
        assert_eq!(&frame[..], b"\x01\x0c\x00\x11metadata.version\x00\x07\x00");
        assert_eq!(MetadataRecord::from_frame(frame), Ok((record, 0)));
    }

    #[test]
    fn a_frame_of_an_unknown_kind_or_version_is_refused() {
        let decode = |bytes: &'static [u8]| MetadataRecord::from_frame(Bytes::from_static(bytes));
        assert_eq!(decode(&[1, 20, 0, 0]), Ok((NoOpRecord::default().into(), 0)));
        assert_eq!(decode(&[2, 20, 0, 0]), Err(DecodeError::UnknownFrameVersion { version: 2 }));
        assert_eq!(
            decode(&[1, 99, 0, 0]),
            Err(DecodeError::UnknownKind { of: "metadata record", kind: 99 })
        );
        assert_eq!(
            decode(&[1, 0xff, 0xff, 0x7f, 0, 0]),
            Err(DecodeError::UnknownKind { of: "metadata record", kind: 0x1f_ffff })
        );
        assert_eq!(
            decode(&[1, 20, 9, 0]),
            Err(DecodeError::UnsupportedVersion { message: "NoOpRecord", version: 9 })
        );
        assert_eq!(decode(&[1, 20, 0, 0, 0]), Err(DecodeError::TrailingBytes { at: 4, count: 1 }));
        assert!(decode(&[]).is_err());
    }
}
