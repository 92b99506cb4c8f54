//! Changing configs while the cluster runs: set, delete, append, subtract.

use std::fmt;

use crate::checks::PROTECTION_KEYS;
use crate::value::items;
use crate::{
    ConfigKey, ConfigMap, ConfigType, UpdateMode, broker_key, client_metrics_keys, group_key,
    topic_key,
};

/// What a change does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOp {
    /// Replaces the value.
    Set,
    /// Goes back to the layer below.
    Delete,
    /// Adds items to a list.
    Append,
    /// Takes items from a list.
    Subtract,
}

impl AlterOp {
    /// From the wire; `None` for a number that is none of the four.
    #[must_use]
    pub fn from_wire(op: i8) -> Option<Self> {
        match op {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// Whose keys are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A topic's.
    Topic,
    /// One broker's.
    Broker,
    /// All brokers'.
    Cluster,
    /// A group's.
    Group,
    /// A client metrics subscription's.
    ClientMetrics,
}

impl Scope {
    /// The key of this name in this scope.
    #[must_use]
    pub fn key(self, name: &str) -> Option<&'static ConfigKey> {
        match self {
            Self::Topic => topic_key(name),
            Self::Broker | Self::Cluster => broker_key(name),
            Self::Group => group_key(name),
            Self::ClientMetrics => client_metrics_keys().find(|key| key.name == name),
        }
    }
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// No such key.
    UnknownKey(String),
    /// The key does not accept the value.
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// Append or subtract on a key that is no list.
    NotAList(String),
    /// The key changes only with a restart, or only for one broker.
    NotDynamic {
        /// The key.
        key: String,
        /// What is possible.
        reason: &'static str,
    },
    /// Keys contradict each other.
    Conflict(String),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => write!(f, "unknown config {key}"),
            Self::Value { key, value, reason } => {
                write!(f, "invalid value '{value}' for config {key}: {reason}")
            }
            Self::NotAList(key) => {
                write!(f, "config {key} is not a list, so nothing can be appended or subtracted")
            }
            Self::NotDynamic { key, reason } => write!(f, "config {key} {reason}"),
            Self::Conflict(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ChangeError {}

/// The value of a key after one operation; `None` if it is then not set. `current` is its own
/// value; `below` what the layers below give, from which lists start (Kafka: `alterConfig`).
///
/// # Errors
/// The key is unknown or no list, or the new value is not accepted.
pub fn altered(
    scope: Scope,
    (name, op): (&str, AlterOp),
    value: Option<&str>,
    (current, below): (Option<&str>, Option<&str>),
) -> Result<Option<String>, ChangeError> {
    // What another version has left behind can be removed.
    if op == AlterOp::Delete {
        return Ok(None);
    }
    let key = scope.key(name).ok_or_else(|| ChangeError::UnknownKey(name.to_owned()))?;
    let refuse = |value: &str, reason: String| ChangeError::Value {
        key: name.to_owned(),
        value: if key.is_sensitive() {
            "[hidden]".into()
        } else {
            value.chars().take(200).collect()
        },
        reason,
    };
    let Some(value) = value else {
        return Err(refuse("null", "a value is needed".to_owned()));
    };
    let new = match op {
        AlterOp::Set | AlterOp::Delete => value.to_owned(),
        AlterOp::Append | AlterOp::Subtract if key.config_type != ConfigType::List => {
            return Err(ChangeError::NotAList(name.to_owned()));
        }
        AlterOp::Append => {
            let mut list: Vec<&str> = items(current.or(below).unwrap_or_default()).collect();
            for item in items(value) {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
            list.join(",")
        }
        AlterOp::Subtract => {
            let taken: Vec<&str> = items(value).collect();
            let list = items(current.or(below).unwrap_or_default());
            list.filter(|item| !taken.contains(item)).collect::<Vec<_>>().join(",")
        }
    };
    check_change(scope, name, &new)?;
    Ok(Some(new))
}

/// Checks that a key may be changed to a value while the cluster runs.
///
/// # Errors
/// The key is unknown or fixed, the value is not accepted, or it promises what is not built.
pub fn check_change(scope: Scope, name: &str, value: &str) -> Result<(), ChangeError> {
    let key = scope.key(name).ok_or_else(|| ChangeError::UnknownKey(name.to_owned()))?;
    let refuse = |reason: String| ChangeError::Value {
        key: name.to_owned(),
        value: if key.is_sensitive() {
            "[hidden]".into()
        } else {
            value.chars().take(200).collect()
        },
        reason,
    };
    let normal = key.check(value).map_err(refuse)?;
    match scope {
        Scope::Topic if name == "remote.storage.enable" && normal == "true" => {
            Err(refuse("tiered storage is not built".to_owned()))
        }
        Scope::Broker | Scope::Cluster if PROTECTION_KEYS.contains(&name) => {
            let what = "authentication, encryption and authorisation are not built yet";
            Err(refuse(what.to_owned()))
        }
        Scope::Broker | Scope::Cluster => check_update_mode(scope, key),
        _ => Ok(()),
    }
}

fn check_update_mode(scope: Scope, key: &ConfigKey) -> Result<(), ChangeError> {
    let reason = match (key.update, scope) {
        (UpdateMode::ReadOnly, _) => "changes only with a restart",
        (UpdateMode::PerBroker, Scope::Cluster) => "is set for each broker, not for all",
        _ => return Ok(()),
    };
    Err(ChangeError::NotDynamic { key: key.name.to_owned(), reason })
}

/// Checks that broker keys may be changed while the broker runs, for one broker or for all.
///
/// # Errors
/// The first that may not.
pub fn check_broker_change(scope: Scope, changed: &ConfigMap) -> Result<(), ChangeError> {
    let keys = changed.keys().filter_map(|name| broker_key(name));
    keys.into_iter().try_for_each(|key| check_update_mode(scope, key))
}
