//! The bytes of one file: what the process reads (the page cache), and what the device holds.
//!
//! ```text
//! written ──> dirty page ──sync, or by chance──> on the device
//!                 └──────── failed sync ───────> clean, and not on the device: gone at a crash
//! ```

use std::collections::BTreeSet;

use crate::random::Seeded;

/// The unit of the page cache.
pub const PAGE_BYTES: usize = 4096;
/// The unit that a device writes whole.
pub const SECTOR_BYTES: usize = 512;

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it.
    Nothing,
    /// All of it.
    Everything,
    /// Any part of it.
    Something,
}

/// What goes wrong when a page is written to the device. Nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// A bit of the page flips.
    Flip(usize),
    /// The page becomes zeros.
    Zero,
    /// The page lands this many pages further on; its own place keeps what it had.
    Misdirect(usize),
    /// The page is not written at all.
    Lose,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    cached: Vec<u8>,
    /// As many bytes as were ever written; the file has `stored_len` of them.
    stored: Vec<u8>,
    stored_len: usize,
    dirty: BTreeSet<usize>,
    /// Lengths that the file had since its length was last on the device.
    lengths: Vec<usize>,
    /// The shortest that the file was cut to meanwhile.
    cut: Option<usize>,
}

impl Inode {
    /// A file whose bytes are all on the device.
    pub(super) fn stored(bytes: Vec<u8>) -> Self {
        let stored_len = bytes.len();
        Self { cached: bytes.clone(), stored: bytes, stored_len, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.cached.len() {
            self.extend(end);
        }
        self.cached[position..end].copy_from_slice(bytes);
        self.dirty.extend(position / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
    }

    fn extend(&mut self, len: usize) {
        self.cached.resize(len, 0);
        self.lengths.push(len);
    }

    pub(super) fn set_len(&mut self, len: usize, random: &mut Seeded) {
        if len > self.cached.len() {
            self.extend(len);
        }
        if len == self.cached.len() {
            return;
        }
        self.cached.truncate(len);
        self.dirty.retain(|page| page * PAGE_BYTES < len);
        self.cut = Some(self.cut.unwrap_or(len).min(len));
        self.lengths = vec![len];
        if random.one_in(3) {
            self.store_cut();
        }
    }

    /// The file system has written down that the file was cut.
    fn store_cut(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.stored_len = self.stored_len.min(cut);
            let from = cut.min(self.stored.len());
            self.stored[from..].fill(0);
        }
    }

    pub(super) fn sync(&mut self, fault: impl FnMut() -> Option<DeviceFault>) {
        self.store_cut();
        let pages: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        self.store_pages(&pages, fault);
        self.store_len();
    }

    fn store_len(&mut self) {
        self.stored_len = self.cached.len();
        self.lengths.clear();
    }

    /// The kernel writes a page by itself.
    pub(super) fn write_back_one(
        &mut self,
        random: &mut Seeded,
        fault: impl FnMut() -> Option<DeviceFault>,
    ) {
        if self.cut.is_some() {
            return;
        }
        let pages: Vec<usize> = self.dirty.iter().copied().collect();
        if pages.is_empty() {
            return;
        }
        let page = *random.pick(&pages);
        self.dirty.remove(&page);
        self.store_pages(&[page], fault);
    }

    /// A sync that fails: some pages reached the device, the others count as clean and did not.
    /// The cache shows them still, or what the device has.
    pub(super) fn fail_sync(&mut self, random: &mut Seeded) {
        self.store_cut();
        let keeps_cache = random.one_in(2);
        for page in std::mem::take(&mut self.dirty) {
            if random.one_in(3) {
                self.store_pages(&[page], || None);
            } else if !keeps_cache {
                self.evict(page);
            }
        }
        if random.one_in(2) {
            self.store_len();
        }
    }

    fn evict(&mut self, page: usize) {
        let (from, to) = self.page(page);
        for at in from..to {
            self.cached[at] = self.stored.get(at).copied().unwrap_or(0);
        }
    }

    /// Where a page is in the cache.
    fn page(&self, page: usize) -> (usize, usize) {
        let from = page * PAGE_BYTES;
        (from, (from + PAGE_BYTES).min(self.cached.len()))
    }

    fn store_pages(&mut self, pages: &[usize], mut fault: impl FnMut() -> Option<DeviceFault>) {
        for page in pages {
            let (from, to) = self.page(*page);
            let mut bytes = self.cached[from..to].to_vec();
            let mut at = from;
            match fault() {
                None => {}
                Some(DeviceFault::Flip(bit)) => {
                    let bit = bit % (bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                Some(DeviceFault::Zero) => bytes.fill(0),
                Some(DeviceFault::Misdirect(pages)) => at += pages * PAGE_BYTES,
                Some(DeviceFault::Lose) => continue,
            }
            put(&mut self.stored, &bytes, at);
        }
    }

    /// The bytes after the power went.
    pub(super) fn after_crash(&self, fate: Fate, random: &mut Seeded) -> Vec<u8> {
        let mut bytes = self.stored.clone();
        if fate == Fate::Nothing || (self.cut.is_some() && random.one_in(2)) {
            // A cut that was not written down: nothing that came after it was either.
            bytes.resize(self.stored_len, 0);
            return bytes;
        }
        let mut lengths = self.lengths.clone();
        lengths.push(self.stored_len.min(self.cut.unwrap_or(usize::MAX)));
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
        }
        for page in &self.dirty {
            let (from, to) = self.page(*page);
            let tear = if fate == Fate::Everything { Tear::Whole } else { Tear::of(random) };
            for sector in (from..to).step_by(SECTOR_BYTES) {
                if tear.keeps((sector - from) / SECTOR_BYTES, random) {
                    let end = (sector + SECTOR_BYTES).min(to);
                    put(&mut bytes, &self.cached[sector..end], sector);
                }
            }
        }
        let len = match fate {
            Fate::Everything => self.cached.len(),
            _ => self.length_after_crash(&lengths, random),
        };
        bytes.resize(len, 0);
        bytes
    }

    fn length_after_crash(&self, lengths: &[usize], random: &mut Seeded) -> usize {
        let len = *random.pick(lengths);
        let (low, high) = (lengths.iter().min(), lengths.iter().max());
        let sectors = (high.unwrap_or(&0) - low.unwrap_or(&0)) / SECTOR_BYTES;
        if sectors > 0 && random.one_in(3) {
            // A length in the middle of a write.
            return low.unwrap_or(&0).next_multiple_of(SECTOR_BYTES)
                + random.below(sectors) * SECTOR_BYTES;
        }
        len
    }
}

/// How much of a dirty page reaches the device.
enum Tear {
    Whole,
    Nothing,
    /// The sectors below this one.
    Front(usize),
    /// Any of them.
    Holes,
}

impl Tear {
    fn of(random: &mut Seeded) -> Self {
        match random.below(4) {
            0 => Self::Whole,
            1 => Self::Nothing,
            2 => Self::Front(random.below(PAGE_BYTES / SECTOR_BYTES)),
            _ => Self::Holes,
        }
    }

    fn keeps(&self, sector: usize, random: &mut Seeded) -> bool {
        match self {
            Self::Whole => true,
            Self::Nothing => false,
            Self::Front(n) => sector < *n,
            Self::Holes => random.one_in(2),
        }
    }
}

fn put(into: &mut Vec<u8>, bytes: &[u8], at: usize) {
    if into.len() < at + bytes.len() {
        into.resize(at + bytes.len(), 0);
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}
