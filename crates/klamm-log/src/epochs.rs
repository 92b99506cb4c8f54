//! Which leader epoch began at which offset (Kafka: `LeaderEpochFileCache`, KIP-101, KIP-279).

use klamm_model::{LeaderEpoch, Offset};

/// Where an epoch ends, as far as this log knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not larger than the one asked for.
    pub leader_epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// Epochs with their start offsets, both ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    is_dirty: bool,
}

impl LeaderEpochs {
    /// The entries, as read from a checkpoint.
    #[must_use]
    pub fn new(entries: Vec<(LeaderEpoch, Offset)>) -> Self {
        let mut this = Self::default();
        for (epoch, start) in entries {
            this.assign(epoch, start);
        }
        this.is_dirty = false;
        this
    }

    /// None, where there were some: the checkpoint is to be written.
    pub(crate) fn cleared() -> Self {
        Self { entries: Vec::new(), is_dirty: true }
    }

    /// The same, where no checkpoint has them yet.
    pub(crate) fn unsaved(mut self) -> Self {
        self.is_dirty = true;
        self
    }

    /// A batch of `epoch` is at `start_offset`. Older knowledge that contradicts it goes.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if epoch.0 < 0
            || self
                .latest()
                .is_some_and(|latest| epoch <= latest && self.is_before_end(start_offset))
        {
            return;
        }
        self.entries.retain(|(e, start)| *e < epoch && *start < start_offset);
        self.entries.push((epoch, start_offset));
        self.is_dirty = true;
    }

    /// A batch that was just checked says so. What is known from its offset on is of another life
    /// if it differs: the file was written, and the batches that it speaks of were lost.
    pub(crate) fn believe(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if epoch.0 >= 0 && self.at(start_offset) != Some(epoch) {
            self.truncate_from_end(start_offset);
            self.assign(epoch, start_offset);
        }
    }

    fn is_before_end(&self, start_offset: Offset) -> bool {
        self.entries.last().is_some_and(|(_, start)| start_offset >= *start)
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// Where `epoch` ends in a log that ends at `log_end_offset`; `None` if all its epochs are
    /// later, or it has none (Kafka: `endOffsetFor`).
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some(EpochEnd { leader_epoch: epoch, end_offset: log_end_offset });
        }
        let n = self.entries.partition_point(|(e, _)| *e <= epoch);
        if epoch > latest {
            return None;
        }
        let (_, end_offset) = *self.entries.get(n)?;
        let leader_epoch = match n.checked_sub(1) {
            Some(i) => self.entries[i].0,
            // The client's epoch is older than all of ours: it ends where our first begins.
            None => epoch,
        };
        Some(EpochEnd { leader_epoch, end_offset })
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let n = self.entries.partition_point(|(_, start)| *start <= offset);
        n.checked_sub(1).map(|i| self.entries[i].0)
    }

    /// The log ends at `end_offset` now.
    pub fn truncate_from_end(&mut self, end_offset: Offset) {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end_offset);
        self.is_dirty |= self.entries.len() != before;
    }

    /// The log starts at `start_offset` now; the epoch that holds it starts there too.
    pub fn truncate_from_start(&mut self, start_offset: Offset) {
        let n = self.entries.partition_point(|(_, start)| *start <= start_offset);
        let Some(i) = n.checked_sub(1) else { return };
        if i > 0 || self.entries[i].1 < start_offset {
            self.entries[i].1 = start_offset;
            self.entries.drain(..i);
            self.is_dirty = true;
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The file holds them.
    pub(crate) fn on_saved(&mut self) {
        self.is_dirty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        LeaderEpochs::new(vec![
            (LeaderEpoch(1), Offset(0)),
            (LeaderEpoch(3), Offset(10)),
            (LeaderEpoch(4), Offset(20)),
        ])
    }

    fn end(epoch: i32, end: i64) -> Option<EpochEnd> {
        Some(EpochEnd { leader_epoch: LeaderEpoch(epoch), end_offset: Offset(end) })
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs();
        let ask = |epoch| epochs.end_of(LeaderEpoch(epoch), Offset(30));
        assert_eq!(ask(1), end(1, 10));
        assert_eq!(ask(2), end(1, 10), "the largest known epoch not after the one asked for");
        assert_eq!(ask(3), end(3, 20));
        assert_eq!(ask(4), end(4, 30), "the newest ends with the log");
        assert_eq!(ask(5), None, "not known yet");
        assert_eq!(ask(0), end(0, 0), "older than all: before the first record");
        assert_eq!(LeaderEpochs::default().end_of(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn a_new_epoch_is_noted_once() {
        let mut epochs = epochs();
        epochs.assign(LeaderEpoch(4), Offset(25));
        assert!(!epochs.is_dirty());
        epochs.assign(LeaderEpoch(5), Offset(30));
        assert!(epochs.is_dirty());
        assert_eq!(epochs.latest(), Some(LeaderEpoch(5)));
        assert_eq!(epochs.at(Offset(29)), Some(LeaderEpoch(4)));
    }

    #[test]
    fn truncation_forgets_what_is_cut_off_at_either_end() {
        let mut epochs = epochs();
        epochs.truncate_from_end(Offset(20));
        assert_eq!(epochs.latest(), Some(LeaderEpoch(3)));
        epochs.truncate_from_start(Offset(15));
        assert_eq!(epochs.entries(), [(LeaderEpoch(3), Offset(15))]);
    }
}
