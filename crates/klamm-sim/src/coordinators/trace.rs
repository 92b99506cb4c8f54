//! What a seed did, event by event: told, or only its hash, or neither, which is quickest.

use std::fmt::{self, Write};

/// FNV-1a, so that a hash is the same in every process and on every machine.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// What is wanted of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Silent,
    Hashed,
    Told,
}

/// The trace of one seed.
#[derive(Debug)]
pub(super) struct Trace {
    kind: Kind,
    hash: u64,
    story: Vec<String>,
}

impl Trace {
    /// Nothing is kept.
    pub(super) fn silent() -> Self {
        Self { kind: Kind::Silent, hash: FNV_OFFSET, story: Vec::new() }
    }

    /// The hash is kept.
    pub(super) fn hashed() -> Self {
        Self { kind: Kind::Hashed, ..Self::silent() }
    }

    /// Every line is kept.
    pub(super) fn told() -> Self {
        Self { kind: Kind::Told, ..Self::silent() }
    }

    /// Something happened; it is not even put into words when nobody wants to know.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        match self.kind {
            Kind::Silent => {}
            Kind::Hashed => self.write_fmt(what).expect("a hash takes everything"),
            Kind::Told => self.story.push(what.to_string()),
        }
    }

    /// The hash of all that was noted.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// All that was noted.
    pub(super) fn into_story(self) -> Vec<String> {
        self.story
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        Ok(())
    }
}
