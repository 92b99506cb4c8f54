//! From the log to images: replays committed records and keeps what an open transaction says
//! (KIP-868) back until the transaction ends. Never reads the log itself.
//!
//! ```text
//!            Begin                 record
//!   +------+ ------> +------+ ------------+
//!   | flat |         | open | <-----------+
//!   +------+ <------ +------+
//!       End (its records count) or Abort (they never were)
//! ```

use std::sync::Arc;

use klamm_persisted::metadata::MetadataRecord;

use crate::{Changes, MetadataDelta, MetadataImage, Provenance, ReplayError};

/// The follower of a metadata log.
#[derive(Debug, Clone)]
pub struct Loader {
    delta: MetadataDelta,
    /// What an open transaction has changed, on top of `delta`.
    open: Option<MetadataDelta>,
    provenance: Provenance,
}

impl Loader {
    /// Continues after an image.
    #[must_use]
    pub fn new(image: &MetadataImage) -> Self {
        Self { delta: MetadataDelta::new(image), open: None, provenance: image.provenance }
    }

    /// Takes the next committed record.
    ///
    /// # Errors
    /// The record does not fit; it is not taken.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) if self.open.is_some() => {
                Err(ReplayError::Transaction { why: "a transaction begins in another" })
            }
            MetadataRecord::BeginTransaction(_) => {
                self.open = Some(MetadataDelta::new(self.delta.image()));
                Ok(())
            }
            MetadataRecord::EndTransaction(_) => {
                let why = "a transaction ends that never began";
                let open = self.open.take().ok_or(ReplayError::Transaction { why })?;
                self.delta.advance(open);
                Ok(())
            }
            MetadataRecord::AbortTransaction(_) => {
                let why = "a transaction aborts that never began";
                self.open.take().map(drop).ok_or(ReplayError::Transaction { why })
            }
            record => self.open.as_mut().unwrap_or(&mut self.delta).replay(record),
        }
    }

    /// Says up to where the records so far reach.
    pub fn read_to(&mut self, provenance: Provenance) {
        self.provenance = provenance;
        // While a transaction is open, the image stays at what it has seen in full: a snapshot
        // of it must not hide the transaction's records.
        if self.open.is_none() {
            self.delta.read_to(provenance);
        }
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// The image so far, without what an open transaction says.
    #[must_use]
    pub fn image(&self) -> &MetadataImage {
        self.delta.image()
    }

    /// The image to publish and what changed since the last call.
    pub fn take(&mut self) -> (Arc<MetadataImage>, Changes) {
        let next = MetadataDelta::new(self.delta.image());
        let (image, changes) = std::mem::replace(&mut self.delta, next).apply();
        (Arc::new(image), changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::{LeaderEpoch, Offset, Timestamp, Uuid};
    use klamm_persisted::metadata::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, RemoveTopicRecord,
        TopicRecord,
    };

    fn topic(name: &str, id: u128) -> MetadataRecord {
        TopicRecord { name: name.into(), topic_id: Uuid(id) }.into()
    }

    fn begin() -> MetadataRecord {
        BeginTransactionRecord::default().into()
    }

    fn end() -> MetadataRecord {
        EndTransactionRecord {}.into()
    }

    fn loader(records: &[MetadataRecord]) -> Loader {
        let mut loader = Loader::new(&MetadataImage::default());
        for record in records {
            loader.replay(record).unwrap();
        }
        loader
    }

    fn names(loader: &Loader) -> Vec<String> {
        loader.image().topics.names().map(ToString::to_string).collect()
    }

    #[test]
    fn a_transaction_is_seen_when_it_has_ended_and_not_before() {
        let mut loader = loader(&[topic("a", 201), begin(), topic("b", 202)]);
        assert_eq!(names(&loader), ["a"]);
        let (image, changes) = loader.take();
        assert_eq!((image.topics.len(), changes.topics_created.len()), (1, 1));
        loader.replay(&end()).unwrap();
        let (image, changes) = loader.take();
        assert_eq!(image.topics.len(), 2);
        assert_eq!(changes.topics_created.into_iter().collect::<Vec<_>>(), [Uuid(202)]);
        assert!(loader.take().1.is_empty());
    }

    #[test]
    fn an_aborted_transaction_never_was() {
        let abort = AbortTransactionRecord::default().into();
        let loader = loader(&[begin(), topic("a", 201), abort, topic("a", 202)]);
        assert_eq!(loader.image().topics.id("a"), Some(Uuid(202)));
    }

    #[test]
    fn a_topic_created_before_and_removed_in_a_transaction_is_no_change() {
        let remove = RemoveTopicRecord { topic_id: Uuid(201) }.into();
        let mut loader = loader(&[topic("a", 201), begin(), remove, end()]);
        assert!(loader.take().1.is_empty());
    }

    #[test]
    fn transactions_that_do_not_pair_are_refused() {
        let mut flat = loader(&[]);
        assert!(flat.replay(&end()).is_err());
        assert!(flat.replay(&AbortTransactionRecord::default().into()).is_err());
        let mut open = loader(&[begin()]);
        assert!(open.replay(&begin()).is_err());
        assert!(open.is_in_transaction());
    }

    #[test]
    fn an_image_stays_at_the_offset_before_an_open_transaction() {
        let at = |offset| Provenance {
            next_offset: Offset(offset),
            epoch: LeaderEpoch(1),
            append_time: Timestamp(5),
        };
        let mut loader = loader(&[topic("a", 201)]);
        loader.read_to(at(1));
        loader.replay(&begin()).unwrap();
        loader.read_to(at(2));
        assert_eq!(loader.image().provenance, at(1));
        loader.replay(&end()).unwrap();
        loader.read_to(at(3));
        assert_eq!(loader.take().0.provenance, at(3));
    }
}
