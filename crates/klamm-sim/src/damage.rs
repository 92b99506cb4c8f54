//! What a device, a file system or a person does to the bytes of a file while nobody looks.

use crate::disk::PAGE_BYTES;
use crate::random::Seeded;

/// A way to damage a file. Places are counted from its start, and wrap around its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A bit flips.
    Flip {
        /// Which.
        bit: usize,
    },
    /// A run of bytes becomes zeros.
    Zero {
        /// The first.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// The file ends earlier.
    Truncate {
        /// How many bytes stay.
        bytes: usize,
    },
    /// A page is written over another one too.
    Duplicate {
        /// The page that is right.
        from: usize,
        /// The page that is overwritten.
        to: usize,
    },
    /// Two pages change places.
    Swap {
        /// The one.
        one: usize,
        /// The other.
        other: usize,
    },
    /// A run of bytes becomes something else.
    Garbage {
        /// The first.
        at: usize,
        /// How many.
        bytes: usize,
        /// What they become follows from it.
        seed: u64,
    },
}

impl Damage {
    /// A damage within bytes `from..to` of a file.
    pub fn within(from: usize, to: usize, random: &mut Seeded) -> Self {
        let at = from + random.below(to.saturating_sub(from));
        let page = at / PAGE_BYTES;
        let bytes = 1 + random.below(PAGE_BYTES);
        match random.below(7) {
            0 | 1 => Self::Flip { bit: at * 8 + random.below(8) },
            2 => Self::Zero { at, bytes },
            3 => Self::Truncate { bytes: at },
            4 => Self::Duplicate { from: random.below(page + 2), to: page },
            5 => Self::Swap { one: page, other: random.below(page + 2) },
            _ => Self::Garbage { at, bytes, seed: random.bits() },
        }
    }

    /// Does it; an empty file stays empty.
    pub fn apply(self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        match self {
            Self::Flip { bit } => {
                let bit = bit % (len * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Zero { at, bytes: n } => run(bytes, at, n).fill(0),
            Self::Truncate { bytes: n } => bytes.truncate(n % len),
            Self::Duplicate { from, to } => {
                let page = page(bytes, from).to_vec();
                overwrite(bytes, to, &page);
            }
            Self::Swap { one, other } => {
                let (first, second) = (page(bytes, one).to_vec(), page(bytes, other).to_vec());
                overwrite(bytes, one, &second);
                overwrite(bytes, other, &first);
            }
            Self::Garbage { at, bytes: n, seed } => {
                let mut random = Seeded::new(seed);
                run(bytes, at, n).fill_with(|| (random.bits() & 0xff) as u8);
            }
        }
    }
}

fn run(bytes: &mut [u8], at: usize, n: usize) -> &mut [u8] {
    let from = at % bytes.len();
    let to = (from + n).min(bytes.len());
    &mut bytes[from..to]
}

/// A page of the file; the last may be short.
fn page(bytes: &[u8], page: usize) -> &[u8] {
    let from = page % bytes.len().div_ceil(PAGE_BYTES) * PAGE_BYTES;
    &bytes[from..(from + PAGE_BYTES).min(bytes.len())]
}

fn overwrite(bytes: &mut [u8], page: usize, with: &[u8]) {
    let from = page % bytes.len().div_ceil(PAGE_BYTES) * PAGE_BYTES;
    let n = with.len().min(bytes.len() - from);
    bytes[from..from + n].copy_from_slice(&with[..n]);
}
