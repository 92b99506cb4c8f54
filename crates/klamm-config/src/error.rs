//! What is wrong with a configuration.

use std::fmt;

/// One thing that stops the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A key has a value that it does not accept.
    Value {
        /// The key.
        key: &'static str,
        /// Its value; hidden for secrets.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// A key must be set.
    Missing {
        /// The key.
        key: &'static str,
        /// Why it is needed.
        reason: &'static str,
    },
    /// Keys contradict each other.
    Conflict(String),
    /// Something would protect the node in Kafka and is not built: going on would leave it open.
    Unprotected {
        /// The key.
        key: String,
        /// What would be missing.
        reason: String,
    },
    /// A listener without protection could be reached from other machines.
    ExposedListener {
        /// The listener.
        listener: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { key, value, reason } => {
                write!(f, "invalid value '{value}' for {key}: {reason}")
            }
            Self::Missing { key, reason } => write!(f, "{key} is not set: {reason}"),
            Self::Conflict(text) => f.write_str(text),
            Self::Unprotected { key, reason } => {
                write!(
                    f,
                    "{key} is set, but {reason}; the node would be less protected than it says"
                )
            }
            Self::ExposedListener { listener } => write!(
                f,
                "listener {listener} has no authentication or encryption and can be reached from \
                 other machines; use a loopback address, or set klamm.allow.insecure.listeners=true"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong, so that one start tells all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
