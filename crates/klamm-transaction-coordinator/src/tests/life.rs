//! Partitions, timeouts, restarts, expiry, and what is told of it all.

use super::*;

#[test]
fn a_partition_is_added_once_and_by_its_producer_alone() {
    let mut world = World::new();
    let own = world.init();
    assert_eq!(world.add(producer(7, 0), 0), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(world.add(producer(1000, 1), 0), ErrorCode::ProducerFenced);
    assert_eq!(world.add(own, 0), ErrorCode::None);
    let records = world.log.len();
    assert_eq!(world.add(own, 0), ErrorCode::None);
    assert_eq!(world.log.len(), records);
    assert_eq!(world.add(own, 1), ErrorCode::None);
    assert_eq!(world.shard.transaction("t").unwrap().partitions.len(), 2);
}

#[test]
fn the_next_transaction_waits_for_the_markers_of_the_last() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    let ticket = world.begin(add(next, 5, Protocol::V2));
    assert_eq!(world.answer(ticket), None);
    world.write_markers();
    assert_eq!(world.answer(ticket), Some(Response::Added(ErrorCode::None)));
    assert_eq!(world.state(), State::Ongoing);
}

#[test]
fn a_partition_is_verified_if_it_is_in_the_transaction() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let mut verify = |producer, index| {
        let partitions = vec![partition(index)];
        match world.ask(Request::Verify { transactional_id: id(), producer, partitions }) {
            Response::Verified(lines) => lines[0].1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(verify(own, 0), ErrorCode::None);
    assert_eq!(verify(own, 1), ErrorCode::TransactionAbortable);
    assert_eq!(verify(producer(1000, 5), 0), ErrorCode::ProducerFenced);
    assert_eq!(verify(producer(5, 0), 0), ErrorCode::InvalidProducerIdMapping);
    world.end(own, COMMIT_V1).unwrap();
    let asked =
        Request::Verify { transactional_id: id(), producer: own, partitions: vec![partition(0)] };
    let concurrent = vec![(partition(0), ErrorCode::ConcurrentTransactions)];
    assert_eq!(world.ask(asked), Response::Verified(concurrent));
}

#[test]
fn a_transaction_that_is_open_too_long_is_aborted_and_its_producer_fenced() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.pass(59_999);
    assert_eq!(world.state(), State::Ongoing);
    world.pass(1);
    assert_eq!(world.state(), State::PrepareAbort);
    assert_eq!(world.write_markers()[0].producer, producer(1000, 1));
    for how in [COMMIT_V1, COMMIT_V2, ABORT_V2] {
        assert_eq!(world.end(own, how), Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn an_abort_that_could_not_be_written_is_tried_again_and_not_at_once() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.is_full = true;
    world.pass(60_000);
    assert_eq!(world.state(), State::Ongoing);
    let next = world.shard.next_timeout().unwrap();
    assert_eq!(next.since(world.time().now).as_millis(), 10_000);
    world.is_full = false;
    world.pass(10_000);
    assert_eq!(world.state(), State::PrepareAbort);
}

#[test]
fn a_restart_goes_on_with_what_was_ending() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    world.reload();
    assert_eq!((world.markers.len(), world.markers[0].coordinator_epoch), (1, 7));
    assert_eq!((world.markers[0].producer, world.markers[0].protocol), (next, Protocol::V2));
    world.write_markers();
    assert_eq!(world.state(), State::CompleteCommit);
    assert_eq!(world.end(own, COMMIT_V2), Ok(next));
}

#[test]
fn a_restart_forgets_neither_open_transactions_nor_their_timeouts() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.pass(30_000);
    world.reload();
    assert_eq!(world.state(), State::Ongoing);
    while world.state() == State::Ongoing {
        world.pass(10_000);
    }
    assert_eq!(world.ms, 1_060_000);
}

#[test]
fn an_end_that_could_not_be_written_down_is_marked_again() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.end(own, COMMIT_V2).unwrap();
    world.is_full = true;
    world.write_markers();
    assert_eq!(world.state(), State::PrepareCommit);
    world.is_full = false;
    world.pass(10_000);
    assert_eq!(world.write_markers().len(), 1);
    assert_eq!(world.state(), State::CompleteCommit);
}

#[test]
fn markers_of_a_transaction_that_is_over_say_nothing() {
    let mut world = World::new();
    let own = world.init();
    let next = world.transact(own, COMMIT_V2);
    world.add(next, 0);
    world.ask(Request::MarkersWritten {
        transactional_id: id(),
        producer: next,
        coordinator_epoch: -1,
    });
    assert_eq!(world.state(), State::Ongoing);
    world.end(next, COMMIT_V2).unwrap();
    world.ask(Request::MarkersWritten {
        transactional_id: id(),
        producer: next,
        coordinator_epoch: -1,
    });
    assert_eq!(world.state(), State::PrepareCommit);
}

#[test]
fn an_id_that_is_idle_for_long_is_forgotten_and_an_open_one_is_not() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.ask(Request::Init {
        transactional_id: Str::from_static("idle"),
        timeout_ms: 1,
        expected: None,
        fresh: None,
    });
    world.shard.transactions().for_each(|(_, known)| assert!(known.timeout_ms > 0));
    world.pass(LIMITS.expiration_ms.unsigned_abs());
    assert!(world.shard.transaction("idle").is_none());
    assert!(world.shard.transaction("t").is_some());
    world.reload();
    assert!(world.shard.transaction("idle").is_none());
}

#[test]
fn a_transaction_is_described_and_listed_by_state_producer_and_age() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 4);
    let Response::Described(Some(found)) = world.ask(Request::Describe(id())) else {
        panic!("it is known")
    };
    assert_eq!((found.state, found.producer, found.timeout_ms), (State::Ongoing, own, 60_000));
    assert_eq!(found.started_at, Some(Timestamp(1_000_000)));
    assert_eq!(found.partitions, [partition(4)]);
    assert_eq!(world.ask(Request::Describe(Str::from_static("x"))), Response::Described(None));
    world.pass(5_000);
    let mut count = |filter: TransactionFilter| match world.ask(Request::List(filter.into())) {
        Response::Listed(lines) => lines.len(),
        other => panic!("{other:?}"),
    };
    let all = TransactionFilter::default;
    assert_eq!(count(all()), 1);
    assert_eq!(count(TransactionFilter { states: [State::Ongoing].into(), ..all() }), 1);
    assert_eq!(count(TransactionFilter { states: [State::Empty].into(), ..all() }), 0);
    assert_eq!(count(TransactionFilter { producer_ids: [own.id].into(), ..all() }), 1);
    assert_eq!(count(TransactionFilter { producer_ids: [ProducerId(1)].into(), ..all() }), 0);
    assert_eq!(count(TransactionFilter { longer_than_ms: Some(4_999), ..all() }), 1);
    assert_eq!(count(TransactionFilter { longer_than_ms: Some(5_000), ..all() }), 0);
}

#[test]
fn requests_that_waited_for_the_same_markers_see_what_each_other_changed() {
    let mut world = World::new();
    let first = world.init();
    assert_eq!(world.add(first, 0), ErrorCode::None);
    let next = world.end(first, COMMIT_V2).expect("it ends");
    // Its next transaction, and another instance that takes the transactional id over.
    let added = world.begin(add(next, 1, Protocol::V2));
    let taken = world.begin(init(None));
    world.write_markers();
    assert_eq!(world.answer(added), Some(Response::Added(ErrorCode::None)));
    assert_eq!(world.answer(taken), None, "it waits for the transaction that it aborts");
    let markers = world.write_markers();
    assert_eq!(markers[0].partitions, [partition(1)], "what was written there ends");
    assert_eq!(markers[0].outcome, Outcome::Abort);
    let Some(Response::Init(Ok(producer))) = world.answer(taken) else { panic!("it is answered") };
    assert!(producer.epoch.0 > next.epoch.0 + 1, "{producer}");
}

#[test]
fn markers_that_a_coordinator_before_had_written_do_not_complete_a_transaction() {
    let mut world = World::new();
    let first = world.init();
    assert_eq!(world.add(first, 0), ErrorCode::None);
    assert!(world.end(first, COMMIT_V1).is_ok());
    let earlier = world.markers[0].clone();
    world.reload();
    assert_ne!(world.markers[0].coordinator_epoch, earlier.coordinator_epoch);
    world.ask(Request::MarkersWritten {
        transactional_id: id(),
        producer: earlier.producer,
        coordinator_epoch: earlier.coordinator_epoch,
    });
    assert_eq!(world.state(), State::PrepareCommit, "its own are still under way");
    world.write_markers();
    assert_eq!(world.state(), State::CompleteCommit);
}
