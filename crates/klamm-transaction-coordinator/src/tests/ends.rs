//! EndTxn in every state, with either protocol.

use super::*;

const FENCED: Ended = Err(ErrorCode::ProducerFenced);
const CONCURRENT: Ended = Err(ErrorCode::ConcurrentTransactions);
const INVALID: Ended = Err(ErrorCode::InvalidTxnState);

#[test]
fn an_ongoing_transaction_is_prepared_marked_and_complete() {
    for (how, state) in [
        (COMMIT_V1, (State::PrepareCommit, State::CompleteCommit)),
        (ABORT_V1, (State::PrepareAbort, State::CompleteAbort)),
        (COMMIT_V2, (State::PrepareCommit, State::CompleteCommit)),
        (ABORT_V2, (State::PrepareAbort, State::CompleteAbort)),
    ] {
        let mut world = World::new();
        let own = world.init();
        world.add(own, 3);
        let next = world.end(own, how).unwrap();
        assert_eq!(next.epoch.0, i16::from(how.1 == Protocol::V2));
        assert_eq!(world.state(), state.0);
        let markers = world.write_markers();
        assert_eq!((markers[0].producer, markers[0].outcome), (next, how.0));
        assert_eq!(markers[0].partitions, [partition(3)]);
        assert_eq!(world.state(), state.1);
    }
}

#[test]
fn no_marker_goes_out_before_the_decision_is_committed() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.commits = false;
    world.begin(end(own, COMMIT_V2));
    assert_eq!((world.state(), world.markers.len()), (State::PrepareCommit, 0));
}

#[test]
fn with_v1_a_repeated_question_has_the_same_epoch() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.end(own, COMMIT_V1).unwrap();
    assert_eq!(world.end(own, COMMIT_V1), CONCURRENT);
    world.write_markers();
    assert_eq!(world.end(own, COMMIT_V1), Ok(own));
    assert_eq!(world.end(own, ABORT_V1), INVALID);
}

#[test]
fn with_v2_a_repeated_question_has_the_epoch_before() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    assert_eq!(world.end(own, COMMIT_V2), CONCURRENT);
    world.write_markers();
    assert_eq!(world.end(own, COMMIT_V2), Ok(next));
    assert_eq!(world.end(own, ABORT_V2), INVALID);
    assert_eq!(world.end(producer(1000, 7), COMMIT_V2), FENCED);
}

#[test]
fn while_markers_are_written_a_v2_producer_in_its_next_epoch_is_told_to_come_back() {
    for how in [COMMIT_V2, ABORT_V2] {
        let mut world = World::new();
        let own = world.init();
        world.add(own, 0);
        let next = world.end(own, how).unwrap();
        for other in [COMMIT_V2, ABORT_V2] {
            assert_eq!(world.end(own, other), CONCURRENT);
            assert_eq!(world.end(next, other), CONCURRENT);
        }
        world.write_markers();
        assert!(world.end(next, ABORT_V2).is_ok());
    }
}

#[test]
fn while_markers_are_written_a_v1_producer_is_told_to_come_back_and_another_is_refused() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.end(own, ABORT_V1).unwrap();
    for how in [COMMIT_V1, ABORT_V1] {
        assert_eq!(world.end(own, how), CONCURRENT);
        assert_eq!(world.end(producer(1000, 7), how), FENCED);
        assert_eq!(world.end(producer(7, 0), how), Err(ErrorCode::InvalidProducerIdMapping));
    }
}

#[test]
fn a_transaction_without_partitions_cannot_be_committed_and_only_v2_aborts_it() {
    let mut world = World::new();
    let own = world.init();
    assert_eq!(world.end(own, COMMIT_V1), INVALID);
    assert_eq!(world.end(own, ABORT_V1), INVALID);
    assert_eq!(world.end(own, COMMIT_V2), INVALID);
    let next = world.end(own, ABORT_V2).unwrap();
    assert_eq!((world.state(), world.markers.len()), (State::CompleteAbort, 0));
    // And once more, with the epoch that it got.
    assert_eq!(world.end(next, COMMIT_V2), INVALID);
    assert_eq!(world.end(next, ABORT_V2), Ok(producer(1000, 2)));
}

#[test]
fn whoever_is_not_its_producer_ends_nothing() {
    let mut world = World::new();
    assert_eq!(world.end(producer(1, 0), COMMIT_V2), Err(ErrorCode::InvalidProducerIdMapping));
    let own = world.init();
    world.add(own, 0);
    assert_eq!(world.end(producer(1, 0), COMMIT_V2), Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(world.end(producer(1000, 1), COMMIT_V2), FENCED);
    let mut nameless = end(own, COMMIT_V2);
    if let Request::End { transactional_id, .. } = &mut nameless {
        *transactional_id = Str::from_static("");
    }
    assert_eq!(world.ask(nameless), Response::Ended(Err(ErrorCode::InvalidRequest)));
}

#[test]
fn in_the_last_epoch_the_next_transaction_has_another_producer_id() {
    let mut world = World::new();
    let mut own = world.init();
    while own.epoch.0 < i16::MAX - 1 {
        own = world.transact(own, COMMIT_V2);
    }
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    assert_eq!(next, producer(1001, 0));
    assert_eq!(world.markers[0].producer, producer(1000, i16::MAX));
    assert_eq!(world.end(own, COMMIT_V2), CONCURRENT);
    assert_eq!(world.end(next, ABORT_V2), CONCURRENT, "its new id is not in use yet");
    world.write_markers();
    // The answer was lost: the producer asks again, with the id that is over.
    assert_eq!(world.end(own, COMMIT_V2), Ok(next));
    world.transact(next, COMMIT_V2);
}

#[test]
fn a_decision_that_cannot_be_written_was_not_made() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.is_full = true;
    assert_eq!(world.end(own, COMMIT_V2), Err(ErrorCode::NotCoordinator));
    assert_eq!(world.state(), State::Ongoing);
    world.is_full = false;
    assert!(world.end(own, ABORT_V2).is_ok());
}
