//! What can go wrong for a client, by what the caller can do about it.

use std::fmt;
use std::io;
use std::sync::Arc;

use klamm_codec::{DecodeError, EncodeError};
use klamm_model::ErrorCode;
use klamm_protocol::ApiKey;

/// Why a call has no result. Cheap to clone: every record of a failed batch tells the same.
#[derive(Debug, Clone)]
pub enum ClientError {
    /// No broker answered.
    Unreachable {
        /// Where we tried.
        address: String,
        /// What happened.
        error: Arc<io::Error>,
    },
    /// The connection ended before the answer: whether the request was done is unknown.
    Disconnected(Arc<io::Error>),
    /// No answer in time: whether the request was done is unknown.
    TimedOut {
        /// The request.
        api: ApiKey,
    },
    /// The broker does not serve the API, or no version that we know.
    NotServed {
        /// The API.
        api: ApiKey,
    },
    /// The answer is not what the protocol says.
    Malformed(DecodeError),
    /// A request cannot be told in the version that the broker serves.
    Unencodable(EncodeError),
    /// The broker refused.
    Refused {
        /// Its code.
        code: ErrorCode,
        /// Its words, or ours if it had none.
        message: String,
    },
    /// Another producer with the same transactional id has taken over, or the coordinator has
    /// given this one up: it is over for good.
    Fenced {
        /// The broker's code.
        code: ErrorCode,
        /// What was being done.
        message: String,
    },
    /// The transaction cannot be committed for this reason. It is to be aborted; the producer
    /// goes on after that.
    MustAbort(Box<Self>),
    /// What was asked for cannot be.
    Invalid(String),
    /// Records that were read are damaged.
    Damaged(String),
}

impl ClientError {
    /// A connection that ended.
    #[must_use]
    pub fn disconnected(error: io::Error) -> Self {
        Self::Disconnected(Arc::new(error))
    }

    /// Whether the request was certainly not done, so that it may be sent again without harm.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Disconnected(_) | Self::TimedOut { .. } | Self::Malformed(_) => false,
            Self::MustAbort(cause) => cause.is_certain(),
            _ => true,
        }
    }

    /// A refusal, with the broker's words if it had any.
    #[must_use]
    pub fn refused(code: i16, message: Option<&str>, what: &str) -> Self {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        let message = match message {
            Some(words) if !words.is_empty() => format!("{what}: {words}"),
            _ => what.to_owned(),
        };
        Self::Refused { code, message }
    }

    /// The broker's code, if it was the broker that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::Fenced { code, .. } => Some(*code),
            Self::MustAbort(cause) => cause.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Disconnected(_) | Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, error } => {
                write!(f, "no broker answers at {address}: {error}")
            }
            Self::Disconnected(error) => write!(f, "the broker closed the connection: {error}"),
            Self::TimedOut { api } => write!(f, "the broker did not answer {api} in time"),
            Self::NotServed { api } => {
                write!(f, "the broker does not serve {api} in a version that we know")
            }
            Self::Malformed(error) => write!(f, "the broker's answer is malformed: {error}"),
            Self::Unencodable(error) => {
                write!(f, "the request cannot be told to this broker: {error}")
            }
            Self::Refused { code, message } => write!(f, "{message} ({code})"),
            Self::Fenced { code, message } => {
                write!(f, "{message}: another producer has taken over ({code})")
            }
            Self::MustAbort(cause) => write!(f, "the transaction is to be aborted: {cause}"),
            Self::Invalid(text) | Self::Damaged(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<DecodeError> for ClientError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> Self {
        Self::Unencodable(error)
    }
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, ClientError>;
