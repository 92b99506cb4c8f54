//! Why a node does not start: one line with the cause and the cure.

use std::fmt;
use std::io;

use klamm_controller::ApiError;
use klamm_log::DirError;
use klamm_raft::{FormatError, RaftError};
use klamm_replication::OpenError;

/// What stands in the way.
#[derive(Debug)]
pub enum StartError {
    /// A configuration that this version cannot run.
    Config(String),
    /// A listener's address.
    Bind {
        /// The listener, as configured.
        listener: String,
        /// Why not.
        error: io::Error,
    },
    /// A log directory.
    Dir(DirError),
    /// Formatting a new directory.
    Format(FormatError),
    /// The metadata log.
    Raft(RaftError),
    /// The partitions.
    Partitions(OpenError),
    /// The controller refused this broker.
    Controller(ApiError),
    /// The system refused a thread or an event queue.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => f.write_str(what),
            Self::Bind { listener, error } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "listener {listener}: the port is in use by another process; stop it, or choose another port with --override listeners=…"
            ),
            Self::Bind { listener, error } => {
                write!(f, "listener {listener} cannot be opened: {error}")
            }
            Self::Dir(error) => fmt::Display::fmt(error, f),
            Self::Format(error) => fmt::Display::fmt(error, f),
            Self::Raft(error) => fmt::Display::fmt(error, f),
            Self::Partitions(error) => fmt::Display::fmt(error, f),
            Self::Controller(error) => {
                let words = error.message.as_deref().unwrap_or("no reason was given");
                write!(f, "the controller refused this broker: {words} ({})", error.code)
            }
            Self::System(error) => write!(f, "the system refused a resource: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

macro_rules! from {
    ($($of:ty => $variant:ident,)*) => {$(
        impl From<$of> for StartError {
            fn from(error: $of) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from! {
    DirError => Dir,
    FormatError => Format,
    RaftError => Raft,
    OpenError => Partitions,
    ApiError => Controller,
    io::Error => System,
}
