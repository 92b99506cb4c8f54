//! A batch read where it lies, and several batches one after another. Never copies.

use std::ops::Deref;

use crate::batch_error::BatchError;
use crate::checksum::crc32c;
use crate::header::BatchHeader;
use crate::layout;
use crate::record::{Records, RecordsError};
use crate::scratch::Scratch;

/// A whole batch in memory. Its length is consistent; its checksum is not looked at.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`; more may follow it.
    ///
    /// # Errors
    /// The bytes are not a batch, or end before it does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.size_in_bytes()) {
            Some(bytes) => Ok(Self { header, bytes }),
            None => Err(BatchError::Short {
                needed: header.size_in_bytes() as u64,
                available: bytes.len(),
            }),
        }
    }

    /// The header, in numbers.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records' bytes, as they are: compressed if the batch is.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[layout::HEADER_LEN..]
    }

    /// Compares the checksum with the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let actual = crc32c(&self.bytes[layout::ATTRIBUTES..]);
        if actual == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Crc { expected: self.header.crc, actual })
        }
    }

    /// The records. A compressed batch is decompressed into `scratch` first.
    ///
    /// # Errors
    /// The codec is unknown, or the compressed bytes are not what they should be.
    pub fn records<'s>(&self, scratch: &'s mut Scratch) -> Result<Records<'s>, RecordsError>
    where
        'a: 's,
    {
        let codec = self.header.attributes.codec().map_err(RecordsError::Codec)?;
        let body = scratch.decompress(codec, self.body()).map_err(RecordsError::Decompress)?;
        Ok(Records::new(&self.header, body))
    }
}

impl Deref for BatchView<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

/// The batches in `bytes`, one after another.
#[must_use]
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// Iterator of [`batches`]; it ends after its first error.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let view = BatchView::parse(self.rest);
        self.rest = match &view {
            Ok(view) => &self.rest[view.bytes.len()..],
            Err(_) => &[],
        };
        Some(view)
    }
}
