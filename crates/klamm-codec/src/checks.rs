//! What holds for every message, as visitors over all messages of a crate; for tests only.

use std::collections::HashMap;

use bytes::Bytes;

use crate::arbitrary::{Arbitrary, Source, Visitor};
use crate::{EncodeError, Message, Reader, Writer};

/// Counts what was checked, so that a test can tell that something was.
#[derive(Debug, Default)]
pub struct Tally {
    /// Message types seen.
    pub message_count: usize,
    /// Single comparisons made.
    pub check_count: usize,
}

/// Made-up values are read back as they were written, in every version.
#[derive(Debug)]
pub struct RoundTrip {
    /// Values for each version.
    pub seed_count: u64,
    /// What was checked.
    pub tally: Tally,
}

impl Visitor for RoundTrip {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.tally.message_count += 1;
        for version in M::VERSIONS {
            for seed in 0..self.seed_count {
                let value: M = Source::random(seed).value(M::form(version));
                let bytes = value.to_bytes(version);
                let bytes = bytes.unwrap_or_else(|e| panic!("{} v{version} {seed}: {e}", M::NAME));
                let back = M::decode_exact(bytes, version);
                assert_eq!(back, Ok(value), "{} v{version} seed {seed}", M::NAME);
                self.tally.check_count += 1;
            }
        }
    }
}

/// A message cut short after any byte is an error, in every version.
#[derive(Debug, Default)]
pub struct Truncation {
    /// What was checked.
    pub tally: Tally,
}

impl Visitor for Truncation {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.tally.message_count += 1;
        for version in M::VERSIONS {
            let value: M = Source::counted().value(M::form(version));
            let bytes = value.to_bytes(version).expect("counted values have bytes");
            for length in 0..bytes.len() {
                let cut = M::decode(&mut Reader::new(bytes.slice(..length)), version);
                assert!(cut.is_err(), "{} v{version} cut at {length}: {cut:?}", M::NAME);
                self.tally.check_count += 1;
            }
        }
    }
}

/// Bytes with faults are refused, or read as a message that can be written again.
#[derive(Debug)]
pub struct Garbage {
    /// Inputs for each version.
    pub seed_count: u64,
    /// What was checked.
    pub tally: Tally,
}

impl Visitor for Garbage {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.tally.message_count += 1;
        for version in M::VERSIONS {
            let value: M = Source::counted().value(M::form(version));
            let good = value.to_bytes(version).expect("counted values have bytes");
            for seed in 0..self.seed_count {
                let input = faulty(&good, seed);
                let Ok(read) = M::decode(&mut Reader::new(input), version) else { continue };
                let first = read.to_bytes(version).expect("what was read can be written");
                let again = M::decode_exact(first.clone(), version);
                let again = again.unwrap_or_else(|e| panic!("{} v{version} {seed}: {e}", M::NAME));
                assert_eq!(again.to_bytes(version), Ok(first), "{} v{version} {seed}", M::NAME);
                self.tally.check_count += 1;
            }
        }
    }
}

/// A good message with some bytes replaced; for every fourth seed nothing of it is left.
fn faulty(good: &Bytes, seed: u64) -> Bytes {
    const FAULTS: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, b'a'];
    let mut bytes = good.to_vec();
    let mut source = Source::random(seed);
    let everywhere = seed.is_multiple_of(4);
    let fault_count = if everywhere { bytes.len() } else { 1 + (seed % 3) as usize };
    for i in 0..fault_count {
        let random = source.bits();
        let at = if everywhere { i } else { random as usize % bytes.len().max(1) };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = FAULTS[(random >> 32) as usize % FAULTS.len()];
        }
    }
    Bytes::from(bytes)
}

/// A field that a version does not have is either dropped or refused, never written.
#[derive(Debug, Default)]
pub struct Downgrade {
    /// What was checked.
    pub tally: Tally,
    /// Values that an older version refused.
    pub refused_count: usize,
}

impl Visitor for Downgrade {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.tally.message_count += 1;
        let newest: M = Source::counted().value(M::form(*M::VERSIONS.end()));
        for version in M::VERSIONS {
            self.tally.check_count += 1;
            match newest.to_bytes(version) {
                Ok(bytes) => {
                    let read = M::decode_exact(bytes, version);
                    assert!(read.is_ok(), "{} v{version}: {read:?}", M::NAME);
                }
                Err(EncodeError::NotInVersion { .. }) => self.refused_count += 1,
                Err(error) => panic!("{} v{version}: {error}", M::NAME),
            }
        }
        for version in [*M::VERSIONS.start() - 1, *M::VERSIONS.end() + 1] {
            let refused = EncodeError::UnsupportedVersion { message: M::NAME, version };
            assert_eq!(newest.to_bytes(version), Err(refused));
            assert!(M::decode_exact(Bytes::new(), version).is_err());
        }
    }
}

/// What a fixture has for each version of a message: the default, the counted and the null value,
/// and the newest version's counted value told in this version.
const ENTRY_COUNT: usize = 4;

/// The bytes that Kafka's own classes made of a value are those that we make, and are read back
/// as that value; what Kafka refuses to tell in an older version, we refuse too.
#[derive(Debug, Default)]
pub struct Golden {
    fixtures: HashMap<String, Bytes>,
    /// What was checked.
    pub tally: Tally,
    /// Values that Kafka refuses in a version, and so do we.
    pub refused_count: usize,
    /// What is not as it should be; empty is good.
    pub faults: Vec<String>,
}

impl Golden {
    /// Over the fixtures that `cargo xtask codegen --golden` writes. `versions` gives a
    /// message's number of versions, without which a fixture cannot be taken apart.
    #[must_use]
    pub fn new(files: &[&'static [u8]], counts: &VersionCounts) -> Self {
        let mut golden = Self::default();
        for file in files {
            let mut r = Reader::new(Bytes::from_static(file));
            while r.remaining() > 0 {
                let length = r.i8().expect("a name's length") as usize;
                let name = r.take(length).expect("a name").to_vec();
                let name = String::from_utf8(name).expect("a name is text");
                let start = r.rest();
                let entry_count = ENTRY_COUNT * counts.0.get(&name).copied().unwrap_or(0);
                for _ in 0..entry_count {
                    let length = r.i32().expect("a length");
                    r.take(usize::try_from(length).unwrap_or(0)).expect("bytes");
                }
                golden.fixtures.insert(name, start.slice(..start.len() - r.remaining()));
            }
        }
        golden
    }
}

impl Visitor for Golden {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.tally.message_count += 1;
        let Some(fixture) = self.fixtures.get(M::NAME).cloned() else {
            self.faults.push(format!("{} has no golden bytes", M::NAME));
            return;
        };
        let mut r = Reader::new(fixture);
        for version in M::VERSIONS {
            let form = M::form(version);
            let newest = M::form(*M::VERSIONS.end());
            let values: [M; ENTRY_COUNT] = [
                M::default(),
                Source::counted().value(form),
                Source::nulls().value(form),
                Source::counted().value(newest),
            ];
            for (what, value) in ["default", "counted", "null", "newest"].iter().zip(values) {
                let length = r.i32().expect("a length");
                let kafka = usize::try_from(length).ok().map(|n| r.take(n).expect("bytes"));
                self.compare(&value, version, what, kafka);
            }
        }
    }
}

impl Golden {
    fn compare<M: Message>(&mut self, value: &M, version: i16, what: &str, kafka: Option<Bytes>) {
        self.tally.check_count += 1;
        let ours = value.to_bytes(version).ok();
        if ours != kafka {
            let name = M::NAME;
            self.faults
                .push(format!("{name} v{version} {what}: ours {ours:02x?}, Kafka's {kafka:02x?}"));
        }
        let Some(kafka) = kafka else {
            self.refused_count += 1;
            return;
        };
        let back = M::decode_exact(kafka.clone(), version);
        // A value of the newest version comes back without the fields that this one lacks.
        let good = match &back {
            Ok(back) if what == "newest" => back.to_bytes(version).ok() == Some(kafka),
            Ok(back) => back == value,
            Err(_) => false,
        };
        if !good {
            self.faults.push(format!("{} v{version} {what}: read {back:?}", M::NAME));
        }
    }
}

/// How many versions each message has.
#[derive(Debug, Default)]
pub struct VersionCounts(HashMap<String, usize>);

impl Visitor for VersionCounts {
    fn visit<M: Message + Arbitrary>(&mut self) {
        self.0.insert(M::NAME.to_owned(), M::VERSIONS.count());
    }
}

/// A deferred field leaves a hole exactly as long as it says, wherever it stands.
///
/// # Panics
/// It does not.
pub fn check_splice(w: &Writer, holes: &[&[u8]], expected: &[u8]) {
    assert_eq!(w.cuts().len(), holes.len());
    let mut whole = Vec::new();
    let mut from = 0;
    for (cut, hole) in w.cuts().iter().zip(holes) {
        whole.extend_from_slice(&w.as_slice()[from..*cut]);
        whole.extend_from_slice(hole);
        from = *cut;
    }
    whole.extend_from_slice(&w.as_slice()[from..]);
    assert_eq!(whole, expected);
    assert_eq!(w.len() + w.deferred_bytes(), expected.len());
}
