//! What the cleaner of a campaign came to.

/// What the cleaner did in a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionTally {
    /// Runs that came to their end.
    pub runs: u64,
    /// Runs that were stopped, or met a disk that failed.
    pub ended_early: u64,
    /// Records that went.
    pub records_removed: u64,
    /// Logs that slept after an orderly stop.
    pub asleep: u64,
    /// Topics that were deleted and made again.
    pub topics_made_again: u64,
}

impl CompactionTally {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.ended_early += other.ended_early;
        self.records_removed += other.records_removed;
        self.asleep += other.asleep;
        self.topics_made_again += other.topics_made_again;
    }
}
