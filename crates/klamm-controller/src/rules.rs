//! What the controller must know of configs, asked from whoever declares them. Never holds a
//! value.

use klamm_metadata::Configs;
use klamm_stdx::Str;

/// How a config's value is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigShape {
    /// One value.
    Single,
    /// Values between commas: can be appended to and subtracted from.
    List,
}

/// Knows which configs a kind of resource has. Kinds are `klamm_metadata::CONFIG_TOPIC` and its
/// like.
pub trait ConfigRules: Send + Sync {
    /// Checks a name and its value.
    ///
    /// # Errors
    /// What is wrong: the name is unknown, or the value is not one of it.
    fn check(&self, resource_type: i8, name: &str, value: &str) -> Result<(), String>;

    /// Checks what a resource will have as a whole, each value checked already.
    ///
    /// # Errors
    /// What is wrong: a value is out of the node's bounds, or does not go with another.
    fn check_together(&self, resource_type: i8, configs: &Configs) -> Result<(), String>;

    /// How the value is built; a single one if the name is unknown.
    fn shape(&self, resource_type: i8, name: &str) -> ConfigShape;

    /// The value where nobody set one: what a list is appended to.
    fn default_value(&self, resource_type: i8, name: &str) -> Option<Str>;
}
