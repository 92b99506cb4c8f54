//! Why a load could not be driven to its end.

use std::fmt;

use klamm_codec::{DecodeError, EncodeError};
use klamm_records::BatchError;

/// Why a load ended early. All its figures are void then.
#[derive(Debug)]
pub enum LoadError {
    /// The system refused something.
    System {
        /// What was tried.
        doing: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A request cannot be written.
    Encode(EncodeError),
    /// An answer cannot be read.
    Decode(DecodeError),
    /// A fetched batch is damaged.
    Batch(BatchError),
    /// The broker answered with an error's code.
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Kafka's code.
        code: i16,
    },
    /// An answer that belongs to no request, or lacks what was asked for.
    Unexpected {
        /// What was wrong.
        what: String,
    },
    /// Records were lost, repeated or reordered.
    Records {
        /// The partition.
        partition: i32,
        /// How many were acknowledged.
        acknowledged: i64,
        /// How many came back.
        read: i64,
    },
    /// Nothing happened in time.
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
}

impl LoadError {
    /// An error of the system while `doing` something.
    pub fn system(doing: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        Self::System { doing: doing.into(), error: error.into() }
    }

    /// An answer that makes no sense.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, error } => write!(f, "cannot {doing}: {error}"),
            Self::Encode(error) => write!(f, "request: {error}"),
            Self::Decode(error) => write!(f, "answer: {error}"),
            Self::Batch(error) => write!(f, "fetched batch: {error}"),
            Self::Refused { what, code } => write!(f, "{what} is refused with error code {code}"),
            Self::Unexpected { what } => f.write_str(what),
            Self::Records { partition, acknowledged, read } => write!(
                f,
                "partition {partition} gave {read} records back of {acknowledged} acknowledged"
            ),
            Self::TimedOut { what } => write!(f, "waited in vain for {what}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<EncodeError> for LoadError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for LoadError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<BatchError> for LoadError {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}
