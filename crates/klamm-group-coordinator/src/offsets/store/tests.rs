//! What the store remembers of offsets, open transactions among them.

use super::*;
use klamm_model::Offset;

fn record(offset: i64) -> Record {
    let offset = CommittedOffset {
        offset: Offset(offset),
        leader_epoch: None,
        metadata: Str::new(),
        committed_at: Timestamp(0),
        expires_at: None,
        topic_id: None,
    };
    Record::Offset { group_id: "g".into(), topic: "t".into(), partition: 0, offset: Some(offset) }
}

const A: ProducerId = ProducerId(1);
const B: ProducerId = ProducerId(2);

fn found(store: &OffsetStore, stability: Stability) -> FoundOffset {
    let asked = [("t".into(), vec![0])];
    store.fetch(&"g".into(), Some(&asked), stability).topics[0].1[0].1.clone()
}

fn committed(store: &OffsetStore) -> Option<i64> {
    match found(store, Stability::Any) {
        FoundOffset::Committed(offset) => Some(offset.offset.0),
        FoundOffset::None | FoundOffset::Unstable => None,
    }
}

#[test]
fn an_offset_in_a_transaction_counts_when_it_is_committed() {
    let mut store = OffsetStore::default();
    store.apply(&record(1));
    store.apply_open(A, &record(2));
    assert_eq!(committed(&store), Some(1));
    assert_eq!(found(&store, Stability::Required), FoundOffset::Unstable);
    store.end(A, true);
    assert_eq!(committed(&store), Some(2));
    assert_ne!(found(&store, Stability::Required), FoundOffset::Unstable);
}

#[test]
fn an_offset_in_a_transaction_that_is_aborted_never_was() {
    let mut store = OffsetStore::default();
    store.apply_open(A, &record(2));
    assert!(store.contains(&"g".into()));
    store.end(A, false);
    assert_eq!(committed(&store), None);
    assert!(store.is_empty());
}

#[test]
fn what_is_later_in_the_log_is_not_undone_by_a_transaction_that_ends_later_still() {
    let mut store = OffsetStore::default();
    store.apply_open(A, &record(1));
    store.apply_open(B, &record(2));
    store.apply(&record(3));
    store.end(B, true);
    store.end(A, true);
    assert_eq!(committed(&store), Some(3));
}

#[test]
fn an_offset_is_unstable_until_the_last_transaction_that_has_it_ends() {
    let mut store = OffsetStore::default();
    store.apply_open(A, &record(1));
    store.apply_open(A, &record(2));
    store.apply_open(B, &record(3));
    store.end(A, true);
    assert_eq!(found(&store, Stability::Required), FoundOffset::Unstable);
    store.end(B, false);
    assert_eq!(committed(&store), Some(2));
}

#[test]
fn what_is_deleted_is_not_brought_back_by_a_transaction() {
    let mut store = OffsetStore::default();
    store.apply_open(A, &record(1));
    let tombstones = store.tombstones(&"g".into());
    assert_eq!(tombstones.len(), 1);
    tombstones.iter().for_each(|tombstone| store.apply(tombstone));
    store.end(A, true);
    assert_eq!(committed(&store), None);
    assert!(store.is_empty());
}

#[test]
fn an_offset_that_a_transaction_may_renew_does_not_expire() {
    let mut store = OffsetStore::default();
    store.apply(&record(1));
    store.apply_open(A, &record(2));
    let expired = |store: &OffsetStore| store.expired(&"g".into(), (Timestamp(10), 5), None);
    assert_eq!(expired(&store), []);
    store.end(A, false);
    assert_eq!(expired(&store).len(), 1);
}
