//! Between which protocols a group may move (`group.consumer.migration.policy`).

/// Between which protocols a group with members may move (Kafka: `ConsumerGroupMigrationPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MigrationPolicy {
    /// Between none.
    Disabled,
    /// From the consumer protocol to the classic one.
    Downgrade,
    /// From the classic protocol to the consumer one.
    Upgrade,
    /// Both ways.
    Bidirectional,
}

impl MigrationPolicy {
    /// By its name in the configuration, whatever its case. What is no name allows nothing.
    pub(crate) fn from_name(name: &str) -> Self {
        let named = [
            ("bidirectional", Self::Bidirectional),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
        ];
        let found = named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Self::Disabled, |(_, policy)| policy)
    }

    pub(crate) fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}
