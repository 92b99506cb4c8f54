//! Values of broker keys from several places, the strongest first.

use std::collections::BTreeMap;

use crate::keys::weaker_names;
use crate::{ConfigSource, Properties, broker_key};

/// Configs of one resource, as the metadata log holds them: name to value.
pub type ConfigMap = BTreeMap<String, String>;

/// Where the values of broker keys come from.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set for this broker while it runs.
    pub per_broker: &'a ConfigMap,
    /// Set for all brokers while they run.
    pub cluster: &'a ConfigMap,
    /// Set in the file.
    pub file: &'a Properties,
}

impl<'a> Layers<'a> {
    /// The value of one name, without its other names, and where it comes from. The default
    /// counts only as the last resort of a whole chain, so it is not looked at here.
    pub(crate) fn given(&self, name: &str) -> Option<(&'a str, ConfigSource)> {
        let dynamic = |map: &'a ConfigMap| map.get(name).map(String::as_str);
        dynamic(self.per_broker)
            .map(|value| (value, ConfigSource::DynamicBroker))
            .or_else(|| dynamic(self.cluster).map(|v| (v, ConfigSource::DynamicDefaultBroker)))
            .or_else(|| self.file.value(name).map(|v| (v, ConfigSource::StaticBroker)))
    }

    /// The value that holds for a key, with its weaker names and units taken into account.
    pub(crate) fn effective(&self, name: &str) -> Option<String> {
        if let Some((value, _)) = self.given(name) {
            return Some(value.to_owned());
        }
        for (weaker, factor) in weaker_names(name) {
            if let Some((value, _)) = self.given(weaker) {
                return Some(scaled(value, *factor));
            }
        }
        let own = broker_key(name).and_then(|key| key.default.value());
        own.map(str::to_owned).or_else(|| {
            weaker_names(name).iter().find_map(|(weaker, factor)| {
                let default = broker_key(weaker)?.default.value()?;
                Some(scaled(default, *factor))
            })
        })
    }
}

/// A value in another unit; -1 is "no limit" in every unit. What is no number stays as it is and
/// is refused where it is checked.
pub(crate) fn scaled(value: &str, factor: i64) -> String {
    match value.trim().parse::<i64>() {
        Ok(n) if n < 0 => n.to_string(),
        Ok(n) => n.saturating_mul(factor).to_string(),
        Err(_) => value.to_owned(),
    }
}
