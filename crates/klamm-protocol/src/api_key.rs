//! What is known of each kind of request. The kinds and their facts are generated.

use std::fmt;
use std::ops::RangeInclusive;

use klamm_codec::Message;

use crate::ApiKey;

/// A message that asks for another.
pub trait Request: Message {
    /// Its kind.
    const KEY: ApiKey;
    /// What answers it, in the same version.
    type Response: Message;
}

/// Where requests come in (Kafka: `ApiMessageType.ListenerType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// A broker's listener.
    Broker,
    /// A controller's listener.
    Controller,
}

pub(crate) struct ApiFacts {
    pub(crate) name: &'static str,
    pub(crate) lowest: i16,
    pub(crate) highest: i16,
    pub(crate) highest_is_unstable: bool,
    pub(crate) flexible_from: Option<i16>,
    pub(crate) listeners: &'static [Listener],
}

impl ApiKey {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `InitProducerId`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The versions that Kafka serves, without one that it holds to be unstable.
    #[must_use]
    pub const fn stable_versions(self) -> RangeInclusive<i16> {
        let facts = self.facts();
        facts.lowest..=if facts.highest_is_unstable { facts.highest - 1 } else { facts.highest }
    }

    /// All versions of the schema.
    #[must_use]
    pub const fn versions(self) -> RangeInclusive<i16> {
        let facts = self.facts();
        facts.lowest..=facts.highest
    }

    /// The first version with compact lengths and tagged fields.
    #[must_use]
    pub const fn request_flexible_from(self) -> Option<i16> {
        self.facts().flexible_from
    }

    /// The version of the header before a request of this version. Also right for versions that
    /// do not exist yet, so that their client can be told so.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header before the response to a request of this version.
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        // A client that does not know the broker's versions yet must be able to read the answer
        // to its first request, so that header never changes (KIP-511).
        if matches!(self, Self::ApiVersions) || !self.is_flexible(version) { 0 } else { 1 }
    }

    const fn is_flexible(self, version: i16) -> bool {
        match self.facts().flexible_from {
            Some(from) => version >= from,
            None => false,
        }
    }

    /// Where Kafka takes this kind of request.
    #[must_use]
    pub const fn listeners(self) -> &'static [Listener] {
        self.facts().listeners
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_code_and_has_its_own_facts() {
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(key.code()), Some(*key));
            assert_eq!(format!("{key:?}"), key.name());
        }
    }

    #[test]
    fn codes_that_kafka_took_out_are_no_kind() {
        for code in [-1, 4, 5, 6, 7, 1000, i16::MAX, i16::MIN] {
            assert_eq!(ApiKey::from_code(code), None);
        }
    }

    #[test]
    fn an_unstable_version_is_not_among_the_stable_ones() {
        assert_eq!(ApiKey::InitProducerId.versions(), 0..=6);
        assert_eq!(ApiKey::InitProducerId.stable_versions(), 0..=5);
        assert_eq!(ApiKey::Produce.stable_versions(), ApiKey::Produce.versions());
    }

    #[test]
    fn header_versions_follow_the_flexible_versions_except_for_api_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(8), 0);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(99), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
