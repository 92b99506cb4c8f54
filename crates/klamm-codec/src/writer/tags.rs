//! The tagged fields at the end of a struct (KIP-482): counted and sized as they are written.

use klamm_stdx::varint;

use super::Writer;
use crate::EncodeError;

/// The tagged fields of one struct, while they are written.
#[derive(Debug)]
pub struct Tags<'a> {
    w: &'a mut Writer,
    count_at: usize,
}

impl Tags<'_> {
    /// One tagged field: its tag, its size and what `write` writes.
    ///
    /// # Errors
    /// The value cannot be told in this version.
    pub fn field(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        // No schema has 128 tagged fields, so the count is always the one byte that `tags` left.
        assert!(self.w.out[self.count_at] < 0x7f, "a struct has fewer than 128 tagged fields");
        self.w.out[self.count_at] += 1;
        self.w.unsigned_varint(tag);
        let (size_at, cuts, deferred) =
            (self.w.out.len(), self.w.cuts.len(), self.w.deferred_bytes);
        self.w.out.push(0);
        write(self.w)?;
        let length = self.w.out.len() - size_at - 1 + self.w.deferred_bytes - deferred;
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if let Ok(size @ ..0x80) = u8::try_from(size) {
            self.w.out[size_at] = size;
            return Ok(());
        }
        // The value is moved by the further bytes of its size: rare, and shorter than writing
        // everything twice.
        let mut prefix = Vec::with_capacity(varint::U32_BYTES_MAX);
        varint::write_u32(&mut prefix, size);
        self.w.out.splice(size_at..=size_at, prefix.iter().copied());
        self.w.cuts[cuts..].iter_mut().for_each(|cut| *cut += prefix.len() - 1);
        Ok(())
    }
}

impl Writer {
    /// The end of a struct with tagged fields, which are then written in the order of their tags.
    pub fn tags(&mut self) -> Tags<'_> {
        let count_at = self.out.len();
        self.out.push(0);
        Tags { w: self, count_at }
    }
}
