//! How much a shard remembers, whatever clients ask for.

/// The most that a shard remembers; Kafka sets no bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `klamm.groups.max`.
    pub groups_max: usize,
    /// `klamm.group.members.max`.
    pub members_max: usize,
    /// `klamm.group.offsets.max`.
    pub offsets_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { groups_max: 20_000, members_max: 50_000, offsets_max: 200_000 }
    }
}
