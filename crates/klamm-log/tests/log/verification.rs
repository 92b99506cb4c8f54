//! A transaction begins in a log only if its coordinator knows, and ends once (KIP-890).

use klamm_log::{AppendError, Appended, Log, Origin, SequenceError, TransactionError};
use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Verification};
use klamm_records::{EndTxnMarker, Producer, ValidBatch};

use crate::batches::*;
use crate::disk::MemoryDisk;

const ID: i64 = 7;

fn data(epoch: i16, sequence: i32) -> Spec {
    values(["x"]).by(ID, epoch, sequence).transactional()
}

fn begin(log: &mut Log, epoch: i16, sequence: i32) -> Option<Verification> {
    let producer =
        Producer { id: ProducerId(ID), epoch: ProducerEpoch(epoch), base_sequence: sequence };
    log.begin_verification(producer, NOW).unwrap()
}

fn append_as(log: &mut Log, spec: &Spec, origin: Origin) -> Result<Appended, AppendError> {
    let bytes = spec.bytes();
    log.append_as_leader(ValidBatch::own(&bytes).unwrap(), LeaderEpoch(0), origin, NOW)
}

fn transact(log: &mut Log, spec: &Spec, proof: Option<Verification>) -> Result<(), AppendError> {
    append_as(log, spec, Origin::Transaction(proof)).map(|_| ())
}

/// A marker of the given producer epoch, coordinator epoch and protocol.
fn mark(log: &mut Log, epoch: i16, coordinator: i32, version: i8) -> Result<Appended, AppendError> {
    let marker = EndTxnMarker { is_abort: false, coordinator_epoch: coordinator };
    let bytes = marker.batch(ProducerId(ID), ProducerEpoch(epoch), NOW);
    let origin = Origin::Marker { transaction_version: version };
    log.append_as_leader(ValidBatch::own(&bytes).unwrap(), LeaderEpoch(0), origin, NOW)
}

fn is_not_in_transaction<T>(result: &Result<T, AppendError>) -> bool {
    matches!(result, Err(AppendError::Transaction(TransactionError::NotInTransaction)))
}

fn is_fenced<T>(result: &Result<T, AppendError>) -> bool {
    matches!(result, Err(AppendError::Sequence(SequenceError::Epoch { .. })))
}

fn log() -> Log {
    create(&MemoryDisk::new(), config())
}

#[test]
fn a_transaction_begins_with_a_proof_and_goes_on_without() {
    let mut log = log();
    assert!(is_not_in_transaction(&transact(&mut log, &data(0, 0), None)));
    let proof = begin(&mut log, 0, 0);
    assert!(proof.is_some());
    transact(&mut log, &data(0, 0), proof).unwrap();
    assert_eq!(begin(&mut log, 0, 1), None);
    transact(&mut log, &data(0, 1), None).unwrap();
    assert_eq!(log.log_end_offset(), Offset(2));
}

#[test]
fn a_marker_between_the_question_and_the_append_makes_the_proof_worthless() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    mark(&mut log, 0, 0, 1).unwrap();
    assert!(is_not_in_transaction(&transact(&mut log, &data(0, 0), proof)));
    assert_eq!(log.producers().first_unstable_offset(), None);
}

/// Found by a load of short transactions: a producer that has its answer is faster than markers.
#[test]
fn with_v2_the_marker_of_one_transaction_leaves_the_proof_of_the_next() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    transact(&mut log, &data(0, 0), proof).unwrap();
    let next = begin(&mut log, 1, 0);
    mark(&mut log, 1, 0, 2).unwrap();
    transact(&mut log, &data(1, 0), next).unwrap();
    let later = begin(&mut log, 2, 0);
    mark(&mut log, 3, 0, 2).unwrap();
    assert!(transact(&mut log, &data(2, 0), later).is_err());
}

#[test]
fn batches_that_wait_together_share_a_proof_and_none_overtakes_the_first() {
    let mut log = log();
    let (second, first) = (begin(&mut log, 0, 1), begin(&mut log, 0, 0));
    assert_eq!(first, second);
    let ahead = transact(&mut log, &data(0, 1), second);
    assert!(matches!(ahead, Err(AppendError::Sequence(SequenceError::Sequence { .. }))));
    transact(&mut log, &data(0, 0), first).unwrap();
    transact(&mut log, &data(0, 1), second).unwrap();
}

#[test]
fn a_new_epoch_needs_a_proof_of_its_own() {
    let mut log = log();
    let old = begin(&mut log, 0, 0);
    let new = begin(&mut log, 1, 0);
    assert_ne!(old, new);
    assert!(is_not_in_transaction(&transact(&mut log, &data(0, 0), old)));
    transact(&mut log, &data(1, 0), new).unwrap();
}

#[test]
fn a_proof_does_not_outlive_a_producer_that_is_forgotten() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    log.expire_producers(klamm_model::Timestamp(NOW.0 + config().producer_id_expiration_ms));
    assert!(is_not_in_transaction(&transact(&mut log, &data(0, 0), proof)));
}

#[test]
fn nothing_outside_of_it_is_written_while_a_transaction_is_open() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    transact(&mut log, &data(0, 0), proof).unwrap();
    let outside = append_as(&mut log, &values(["x"]).by(ID, 0, 1), Origin::Client);
    let refused = AppendError::Transaction(TransactionError::OutsideOfTransaction);
    assert_eq!(outside.unwrap_err().to_string(), refused.to_string());
}

#[test]
fn what_was_stored_before_is_answered_without_a_proof() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    transact(&mut log, &data(0, 0), proof).unwrap();
    mark(&mut log, 0, 0, 1).unwrap();
    let again = append_as(&mut log, &data(0, 0), Origin::Transaction(None)).unwrap();
    assert_eq!((again.is_duplicate, again.base_offset), (true, Offset(0)));
}

#[test]
fn a_marker_of_an_older_producer_or_coordinator_is_fenced() {
    let mut log = log();
    mark(&mut log, 3, 5, 1).unwrap();
    assert!(is_fenced(&mark(&mut log, 2, 5, 1)));
    let zombie = mark(&mut log, 3, 4, 1).unwrap_err();
    let fenced = TransactionError::CoordinatorFenced { epoch: 4, current: 5 };
    assert!(matches!(zombie, AppendError::Transaction(error) if error == fenced));
    mark(&mut log, 3, 6, 1).unwrap();
}

/// With transactions v2 a marker has the epoch after its transaction's.
#[test]
fn a_marker_that_comes_late_does_not_end_the_next_transaction() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    transact(&mut log, &data(0, 0), proof).unwrap();
    mark(&mut log, 1, 0, 2).unwrap();
    let proof = begin(&mut log, 1, 0);
    transact(&mut log, &data(1, 0), proof).unwrap();
    assert!(is_fenced(&mark(&mut log, 1, 0, 2)));
    mark(&mut log, 2, 0, 2).unwrap();
    assert_eq!(log.producers().first_unstable_offset(), None);
}

#[test]
fn a_marker_sent_twice_is_written_once() {
    let mut log = log();
    let proof = begin(&mut log, 0, 0);
    transact(&mut log, &data(0, 0), proof).unwrap();
    mark(&mut log, 1, 0, 2).unwrap();
    let again = mark(&mut log, 1, 0, 2).unwrap();
    assert!(again.is_duplicate);
    assert_eq!((again.last_offset, log.log_end_offset()), (Offset(1), Offset(2)));
}

#[test]
fn what_a_coordinator_writes_for_a_producer_needs_its_epoch_and_a_proof() {
    let mut log = log();
    let offsets = |epoch: i16| values(["offset"]).by(ID, epoch, -1).transactional();
    let unproven = append_as(&mut log, &offsets(1), Origin::Coordinator(None));
    assert!(is_not_in_transaction(&unproven));
    let proof = begin(&mut log, 1, -1);
    append_as(&mut log, &offsets(1), Origin::Coordinator(proof)).unwrap();
    append_as(&mut log, &offsets(1), Origin::Coordinator(None)).unwrap();
    assert!(is_fenced(&append_as(&mut log, &offsets(0), Origin::Coordinator(None))));
}
