//! Reads typed values out of layers of text, and collects what is wrong.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;

use crate::value::items;
use crate::{ConfigError, ConfigKey, Layers, broker_key};

/// One configuration while it is read.
pub(crate) struct Reader<'a> {
    pub(crate) layers: &'a Layers<'a>,
    errors: RefCell<Vec<ConfigError>>,
    keys_read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(layers: &'a Layers<'a>) -> Self {
        Self { layers, errors: RefCell::default(), keys_read: RefCell::default() }
    }

    pub(crate) fn fail(&self, error: ConfigError) {
        let mut errors = self.errors.borrow_mut();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// What was wrong.
    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    pub(crate) fn conflict(&self, text: String) {
        self.fail(ConfigError::Conflict(text));
    }

    pub(crate) fn refuse(&self, name: &'static str, reason: String) {
        let key = declared(name);
        let value = if key.is_sensitive() { "[hidden]".to_owned() } else { self.text(name) };
        self.fail(ConfigError::Value { key: name, value, reason });
    }

    /// The value that somebody set, without defaults and weaker names.
    pub(crate) fn given_text(&self, name: &'static str) -> Option<String> {
        self.keys_read.borrow_mut().insert(name);
        self.layers.given(name).map(|(value, _)| value.trim().to_owned())
    }

    /// The value that holds; empty if there is none. A value that its key does not accept is
    /// reported by the check of all keys; here its default stands in, so that reading goes on.
    pub(crate) fn text(&self, name: &'static str) -> String {
        self.keys_read.borrow_mut().insert(name);
        let key = declared(name);
        let effective = self.layers.effective(name).and_then(|text| key.check(&text).ok());
        effective.or_else(|| key.default.value().map(str::to_owned)).unwrap_or_default()
    }

    /// The value that holds, units and weaker names taken into account.
    pub(crate) fn text_effective(&self, name: &'static str) -> Option<String> {
        let mut keys_read = self.keys_read.borrow_mut();
        keys_read.insert(name);
        keys_read.extend(crate::keys::weaker_names(name).iter().map(|(weaker, _)| *weaker));
        self.layers.effective(name)
    }

    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.text(name) == "true"
    }

    /// A number; out of the range of `T` it is refused.
    pub(crate) fn number<T: FromStr + Default>(&self, name: &'static str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.refuse(name, "expected a number of 0 or more".to_owned());
            T::default()
        })
    }

    pub(crate) fn optional<T: FromStr>(&self, name: &'static str) -> Option<T> {
        self.text(name).parse().ok()
    }

    pub(crate) fn list(&self, name: &'static str) -> Vec<String> {
        items(&self.text(name)).map(str::to_owned).collect()
    }

    pub(crate) fn lower(&self, name: &'static str) -> String {
        self.text(name).to_ascii_lowercase()
    }

    pub(crate) fn host_limits(&self, name: &'static str) -> Vec<(String, usize)> {
        let text = self.text(name);
        let parse = |item: &str| {
            let (host, limit) = item.rsplit_once(':')?;
            (!host.is_empty()).then_some((host.to_owned(), limit.trim().parse().ok()?))
        };
        let limits: Option<Vec<_>> = items(&text).map(parse).collect();
        limits.unwrap_or_else(|| {
            self.refuse(name, "expected host:limit pairs".to_owned());
            Vec::new()
        })
    }

    /// Keys that nothing has read although they are declared to have an effect.
    #[cfg(test)]
    pub(crate) fn unread(&self) -> Vec<&'static str> {
        let read = self.keys_read.borrow();
        let acted = crate::broker_keys().filter(|key| key.has_effect());
        acted.map(|key| key.name).filter(|name| !read.contains(name)).collect()
    }
}

fn declared(name: &'static str) -> &'static ConfigKey {
    broker_key(name).expect("only declared keys are read; a test reads them all")
}
