//! Values of every message, made from a seed or from a counter, for tests only.
//!
//! The counted values are also made by `cargo xtask codegen --golden`, in the same order, and
//! handed to Kafka's own classes; whoever changes one changes the other.

use bytes::Bytes;
use klamm_model::Uuid;
use klamm_stdx::Str;

use crate::{Form, Message, RecordsField};

/// Most elements of an array, most bytes of a text or a byte field. Short, because a test makes
/// every version of every message many times.
const RANDOM_LENGTH_MAX: u64 = 3;
/// A text or byte field in a hundred is this long, so that its length takes a second byte.
const RANDOM_LENGTH_LONG: u64 = 150;

/// A value that can be made up, with only those fields set that a version has.
pub trait Arbitrary: Sized {
    /// Makes one.
    fn arbitrary(source: &mut Source, form: Form) -> Self;
}

/// Called with every message type of a crate, so that one test covers them all.
pub trait Visitor {
    /// Handles one message type.
    fn visit<M: Message + Arbitrary>(&mut self);
}

/// Where values come from.
#[derive(Debug)]
pub struct Source {
    state: u64,
    kind: Kind,
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Random,
    Counted,
    Nulls,
}

impl Source {
    /// Values that look random; the same seed gives the same ones.
    #[must_use]
    pub const fn random(seed: u64) -> Self {
        Self { state: seed, kind: Kind::Random, depth: 0 }
    }

    /// Values that count up, nothing null, two elements in outer arrays and one in inner ones.
    #[must_use]
    pub const fn counted() -> Self {
        Self { state: 0, kind: Kind::Counted, depth: 0 }
    }

    /// As [`Source::counted`], but all is null that may be.
    #[must_use]
    pub const fn nulls() -> Self {
        Self { state: 0, kind: Kind::Nulls, depth: 0 }
    }

    /// A value.
    pub fn value<T: Arbitrary>(&mut self, form: Form) -> T {
        T::arbitrary(self, form)
    }

    /// Record batches, or null.
    pub fn nullable_records(&mut self, form: Form) -> RecordsField {
        if self.is_null() { RecordsField::Null } else { self.value(form) }
    }

    /// The next number.
    pub fn bits(&mut self) -> u64 {
        self.next()
    }

    /// The next number: counted, or 64 random bits (SplitMix64).
    fn next(&mut self) -> u64 {
        if self.kind != Kind::Random {
            self.state += 1;
            return self.state;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn is_null(&mut self) -> bool {
        match self.kind {
            Kind::Random => self.next().is_multiple_of(3),
            Kind::Counted => false,
            Kind::Nulls => true,
        }
    }

    /// A number from `counted` applied to the counter, or any number at all.
    fn number(&mut self, counted: impl FnOnce(u64) -> u64) -> u64 {
        let n = self.next();
        if self.kind == Kind::Random { n } else { counted(n) }
    }

    fn text(&mut self) -> String {
        let n = self.next();
        if self.kind != Kind::Random {
            return format!("ŝ{n}");
        }
        (0..random_length(n)).map(|i| char::from(b'a' + (n >> (i % 56)) as u8 % 26)).collect()
    }

    fn blob(&mut self) -> Bytes {
        let n = self.next();
        if self.kind != Kind::Random {
            return Bytes::from(vec![n as u8, 0, 0xff]);
        }
        (0..random_length(n)).map(|i| (n >> (i % 56)) as u8).collect()
    }

    fn array_count(&mut self) -> u64 {
        match (self.kind, self.depth) {
            (Kind::Random, _) => self.next() % (RANDOM_LENGTH_MAX + 1),
            (_, 0) => 2,
            _ => 1,
        }
    }
}

fn random_length(n: u64) -> u64 {
    if n.is_multiple_of(101) { RANDOM_LENGTH_LONG } else { n % (RANDOM_LENGTH_MAX + 1) }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn arbitrary(source: &mut Source, form: Form) -> Self {
        if source.is_null() { None } else { Some(source.value(form)) }
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(source: &mut Source, form: Form) -> Self {
        let count = source.array_count();
        source.depth += 1;
        let elements = (0..count).map(|_| source.value(form)).collect();
        source.depth -= 1;
        elements
    }
}

impl Arbitrary for bool {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.next() % 2 == 1
    }
}

impl Arbitrary for i8 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| n % 100) as Self
    }
}

impl Arbitrary for i16 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| 256 + n) as Self
    }
}

impl Arbitrary for u16 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| 60_000 + n) as Self
    }
}

impl Arbitrary for i32 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| 0x1_0000 + n) as Self
    }
}

impl Arbitrary for u32 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| 3_000_000_000 + n) as Self
    }
}

impl Arbitrary for i64 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.number(|n| (1 << 40) + n) as Self
    }
}

impl Arbitrary for f64 {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        // Kept small, so that it is never the one value that differs from itself.
        (source.number(|n| n) % 1_000_000) as Self + 0.5
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        let n = u128::from(source.next());
        Self(n << 64 | n)
    }
}

impl Arbitrary for Str {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        Self::from(source.text())
    }
}

impl Arbitrary for Bytes {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        source.blob()
    }
}

impl Arbitrary for RecordsField {
    fn arbitrary(source: &mut Source, _: Form) -> Self {
        Self::Bytes(source.blob())
    }
}
