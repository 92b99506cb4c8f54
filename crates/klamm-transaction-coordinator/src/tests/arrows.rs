//! The arrows of the drawing that no other test goes along: what follows an ended transaction, what
//! a restart finds, who is forgotten and who is not, and who waits.

use super::*;

/// Every way to end a transaction, and where it stands then.
const ENDS: [((Outcome, Protocol), State, State); 4] = [
    (COMMIT_V1, State::PrepareCommit, State::CompleteCommit),
    (ABORT_V1, State::PrepareAbort, State::CompleteAbort),
    (COMMIT_V2, State::PrepareCommit, State::CompleteCommit),
    (ABORT_V2, State::PrepareAbort, State::CompleteAbort),
];

#[test]
fn after_a_commit_as_after_an_abort_the_next_transaction_opens() {
    for (how, _, complete) in ENDS {
        let mut world = World::new();
        let own = world.init();
        let next = world.transact(own, how);
        assert_eq!(world.state(), complete);
        assert_eq!(world.add(next, 1), ErrorCode::None);
        let known = world.shard.transaction("t").unwrap();
        assert_eq!((known.state, known.partitions.len()), (State::Ongoing, 1));
    }
}

#[test]
fn after_a_commit_as_after_an_abort_another_instance_begins_in_the_next_epoch() {
    for (how, ..) in ENDS {
        let mut world = World::new();
        let own = world.init();
        let old = world.transact(own, how);
        assert_eq!(world.init(), producer(1000, old.epoch.0 + 1));
        assert_eq!(world.state(), State::Empty);
        assert_eq!(world.add(old, 0), ErrorCode::ProducerFenced);
        assert_eq!(world.end(old, how), Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn after_a_commit_as_after_an_abort_v2_aborts_a_transaction_that_never_began() {
    for how in [COMMIT_V2, ABORT_V2] {
        let mut world = World::new();
        let own = world.init();
        let next = world.transact(own, how);
        let last = world.end(next, ABORT_V2).unwrap();
        assert_eq!((last, world.markers.len()), (producer(1000, 2), 0));
        assert_eq!(world.state(), State::CompleteAbort);
        assert_eq!(world.end(next, ABORT_V2), Ok(last), "it is asked again");
    }
}

#[test]
fn a_restart_goes_on_with_whatever_was_ending() {
    for (how, prepare, complete) in ENDS {
        let mut world = World::new();
        let own = world.init();
        world.add(own, 0);
        let next = world.end(own, how).unwrap();
        world.reload();
        assert_eq!((world.state(), world.markers.len()), (prepare, 1));
        assert_eq!((world.markers[0].producer, world.markers[0].outcome), (next, how.0));
        world.write_markers();
        assert_eq!(world.state(), complete);
    }
}

#[test]
fn a_restart_goes_on_fencing_the_producer_of_a_transaction_that_took_too_long() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.pass(60_000);
    world.reload();
    assert_eq!((world.state(), world.markers.len()), (State::PrepareAbort, 1));
    let ticket = world.begin(add(own, 1, Protocol::V2));
    world.write_markers();
    assert_eq!(world.answer(ticket), Some(Response::Added(ErrorCode::ProducerFenced)));
    assert_eq!(world.end(own, COMMIT_V2), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.ask(init(Some(own))), Response::Init(Err(ErrorCode::ProducerFenced)));
    assert_eq!(world.init(), producer(1000, 2), "which no one was before");
}

#[test]
fn an_ended_transaction_that_nobody_follows_is_forgotten_with_its_id() {
    for (how, ..) in ENDS {
        let mut world = World::new();
        let own = world.init();
        let next = world.transact(own, how);
        world.pass(LIMITS.expiration_ms.unsigned_abs());
        assert!(world.shard.transaction("t").is_none());
        assert_eq!(world.add(next, 0), ErrorCode::InvalidProducerIdMapping);
        assert_eq!(world.end(next, how), Err(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(world.init(), producer(1001, 0), "it begins under another producer id");
    }
}

#[test]
fn an_id_whose_markers_are_not_written_is_never_forgotten() {
    for (how, prepare, complete) in ENDS {
        let mut world = World::new();
        let own = world.init();
        world.add(own, 0);
        world.end(own, how).unwrap();
        world.pass(2 * LIMITS.expiration_ms.unsigned_abs());
        assert_eq!(world.state(), prepare);
        world.write_markers();
        assert_eq!(world.state(), complete);
    }
}

#[test]
fn a_write_that_waits_for_markers_for_too_long_is_told_to_come_back() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    let ticket = world.begin(add(next, 0, Protocol::V2));
    world.pass(LIMITS.wait_ms - 1);
    assert_eq!(world.answer(ticket), None);
    world.pass(1);
    let concurrent = Response::Added(ErrorCode::ConcurrentTransactions);
    assert_eq!(world.answer(ticket), Some(concurrent));
}

#[test]
fn no_more_than_a_few_wait_for_the_same_markers() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let next = world.end(own, COMMIT_V2).unwrap();
    let waiting: Vec<Ticket> =
        (0..9).map(|index| world.begin(add(next, index, Protocol::V2))).collect();
    let concurrent = Response::Added(ErrorCode::ConcurrentTransactions);
    assert_eq!(world.answer(waiting[8]), Some(concurrent));
    world.write_markers();
    for ticket in &waiting[..8] {
        assert_eq!(world.answer(*ticket), Some(Response::Added(ErrorCode::None)));
    }
}

#[test]
fn a_transaction_begins_anew_when_its_open_time_is_told_and_not_when_a_partition_comes() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    world.pass(40_000);
    world.add(own, 1);
    world.pass(20_000);
    assert_eq!(world.state(), State::PrepareAbort, "its first partition came a minute ago");
}
