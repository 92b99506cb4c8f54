//! What a partition remembers of producers, batch by batch.

use super::*;
use klamm_model::{LeaderEpoch, ProducerEpoch};
use klamm_records::Attributes;

#[test]
fn only_open_transactions_of_producers_that_are_silent_are_late() {
    let mut state = ProducerState::default();
    let mut header = batch(0, 0, 1, 0);
    header.attributes = header.attributes.transactional();
    header.max_timestamp = Timestamp(1000);
    state.on_appended(&header);
    assert!(state.has_transaction_before(Timestamp(1001)));
    assert!(!state.has_transaction_before(Timestamp(1000)));
    state.on_marker(&header, Marker { is_commit: true, coordinator_epoch: 0 });
    assert!(!state.has_transaction_before(Timestamp(1001)), "it has ended");
    header.max_timestamp = Timestamp(-1);
    state.on_appended(&header);
    assert!(!state.has_transaction_before(Timestamp(1001)), "its records have no time");
}

fn batch(epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base_offset),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(0),
        max_timestamp: Timestamp(0),
        producer: Some(Producer {
            id: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
        }),
        record_count: count,
    }
}

fn state(batches: &[BatchHeader]) -> ProducerState {
    let mut state = ProducerState::default();
    for header in batches {
        assert_eq!(state.check(header), Ok(None));
        state.on_appended(header);
    }
    state
}

#[test]
fn a_batch_sent_twice_is_answered_with_the_first_append() {
    let state = state(&[batch(0, 0, 3, 100), batch(0, 3, 2, 103)]);
    let known = state.check(&batch(0, 0, 3, 999)).unwrap().unwrap();
    assert_eq!((known.first_offset(), known.last_offset), (Offset(100), Offset(102)));
    assert!(state.check(&batch(0, 3, 2, 0)).unwrap().is_some());
}

#[test]
fn the_last_five_batches_are_remembered_and_no_more() {
    let batches: Vec<BatchHeader> = (0..6).map(|i| batch(0, i, 1, i64::from(i))).collect();
    let state = state(&batches);
    assert!(state.check(&batches[1]).unwrap().is_some());
    assert_eq!(state.check(&batches[0]), Err(SequenceError::Sequence { sequence: 0, last: 5 }));
}

#[test]
fn a_gap_or_a_step_back_is_refused() {
    let state = state(&[batch(0, 0, 3, 0)]);
    assert_eq!(
        state.check(&batch(0, 4, 1, 0)),
        Err(SequenceError::Sequence { sequence: 4, last: 2 })
    );
    assert_eq!(
        state.check(&batch(0, 2, 1, 0)),
        Err(SequenceError::Sequence { sequence: 2, last: 2 })
    );
    assert_eq!(state.check(&batch(0, 3, 1, 0)), Ok(None));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old() {
    let mut state = state(&[batch(0, 0, 3, 0)]);
    assert_eq!(
        state.check(&batch(1, 3, 1, 3)),
        Err(SequenceError::Sequence { sequence: 3, last: -1 })
    );
    state.on_appended(&batch(1, 0, 1, 3));
    let error = SequenceError::Epoch { epoch: ProducerEpoch(0), current: ProducerEpoch(1) };
    assert_eq!(state.check(&batch(0, 3, 1, 4)), Err(error));
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    let state = state(&[batch(0, i32::MAX - 1, 2, 0)]);
    assert_eq!(state.check(&batch(0, 0, 1, 2)), Ok(None));
    let wrapping = self::state(&[batch(0, i32::MAX - 1, 4, 0)]);
    assert!(wrapping.check(&batch(0, i32::MAX - 1, 4, 9)).unwrap().is_some());
    assert_eq!(wrapping.check(&batch(0, 2, 1, 4)), Ok(None));
}

#[test]
fn a_producer_that_is_not_known_may_begin_anywhere() {
    assert_eq!(ProducerState::default().check(&batch(3, 55, 1, 0)), Ok(None));
}

#[test]
fn an_open_transaction_holds_back_the_stable_offset_until_its_marker() {
    let mut state = ProducerState::default();
    let mut data = batch(0, 0, 2, 10);
    data.attributes = data.attributes.transactional();
    state.on_appended(&data);
    assert_eq!(state.first_unstable_offset(), Some(Offset(10)));
    let mut end = batch(0, -1, 1, 12);
    end.attributes = end.attributes.transactional().control();
    let aborted = state.on_marker(&end, Marker { is_commit: false, coordinator_epoch: 0 }).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_offset), (Offset(10), Offset(12)));
    assert_eq!(aborted.last_stable_offset, Offset(13));
    assert_eq!(state.first_unstable_offset(), None);
}

#[test]
fn silent_producers_are_forgotten_but_not_within_a_transaction() {
    let mut state = state(&[batch(0, 0, 1, 0)]);
    state.expire(Timestamp(99), 100);
    assert_eq!(state.len(), 1);
    state.expire(Timestamp(100), 100);
    assert_eq!(state.len(), 0);
    let mut data = batch(0, 0, 1, 0);
    data.attributes = data.attributes.transactional();
    state.on_appended(&data);
    state.expire(Timestamp(100_000), 100);
    assert_eq!(state.len(), 1);
}
