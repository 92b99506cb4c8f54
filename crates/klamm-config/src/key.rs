//! What is declared about a configuration key.

use crate::{ConfigType, Valid};

/// The value of a key that nobody has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// There is none: the key must be set.
    Required,
    /// Unset; what that means is in the key's documentation.
    Null,
    /// This value.
    Is(&'static str),
}

impl Default {
    /// The value, where there is one.
    #[must_use]
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Is(value) => Some(value),
            Self::Required | Self::Null => None,
        }
    }
}

/// How much a key matters to an operator, in Kafka's opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it before production.
    High,
    /// Worth knowing.
    Medium,
    /// Rarely changed.
    Low,
}

/// Whether a key can change while the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only with a restart.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

/// Whether Klamm does anything with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Acted,
    /// It is accepted, so that Kafka's files load; a warning says that it has no effect.
    Accepted,
}

/// One configuration key.
#[derive(Debug)]
pub struct ConfigKey {
    /// Kafka's name, or one that starts with `klamm.`.
    pub name: &'static str,
    /// How its text is read.
    pub config_type: ConfigType,
    /// Its value when nobody sets it.
    pub default: Default,
    /// Which values are accepted.
    pub valid: Valid,
    /// How much it matters.
    pub importance: Importance,
    /// Whether it can change while the node runs.
    pub update: UpdateMode,
    /// Whether it does anything.
    pub effect: Effect,
    /// One line in our own words.
    pub doc: &'static str,
    /// Kafka's default and why ours is another one.
    pub deviation: Option<Deviation>,
}

/// A default that is not Kafka's.
#[derive(Debug, Clone, Copy)]
pub struct Deviation {
    /// Kafka's default.
    pub kafka: Default,
    /// Why ours differs.
    pub reason: &'static str,
}

impl ConfigKey {
    /// Whether the value must never be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.config_type == ConfigType::Password
    }

    /// Whether Klamm acts on it.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.effect == Effect::Acted
    }

    /// Whether it may be changed for one broker while it runs.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.update != UpdateMode::ReadOnly
    }

    /// Checks the text of a value and gives it in normal form (trimmed, lists without blanks).
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence.
    pub fn check(&self, text: &str) -> Result<String, String> {
        let normal = self.config_type.normal(text)?;
        self.valid.check(self.config_type, &normal)?;
        Ok(normal)
    }
}

macro_rules! declare_configs {
    (pub(crate) static $list:ident;
     $($name:literal: $type:ident = $default:expr, $valid:expr, $importance:ident, $update:ident,
       $effect:ident, $doc:literal $(; was $kafka:expr => $reason:literal)?;)*) => {
        pub(crate) static $list: &[$crate::ConfigKey] = {
            use $crate::key::Default::*;
            use $crate::valid::Valid::*;
            &[$($crate::ConfigKey {
                name: $name,
                config_type: $crate::ConfigType::$type,
                default: $default,
                valid: $valid,
                importance: $crate::Importance::$importance,
                update: $crate::UpdateMode::$update,
                effect: $crate::Effect::$effect,
                doc: $doc,
                deviation: declare_configs!(@deviation $($kafka, $reason)?),
            }),*]
        };
    };
    (@deviation) => { None };
    (@deviation $kafka:expr, $reason:literal) => {
        Some($crate::key::Deviation { kafka: $kafka, reason: $reason })
    };
}
pub(crate) use declare_configs;
