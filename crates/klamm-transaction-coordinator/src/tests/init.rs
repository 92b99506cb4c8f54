//! InitProducerId: who a producer is, and whom it fences.

use super::*;

fn refused(code: ErrorCode) -> Response {
    Response::Init(Err(code))
}

#[test]
fn a_new_id_gets_a_producer_in_its_first_epoch_and_the_next_instance_the_next() {
    let mut world = World::new();
    assert_eq!(world.init(), producer(1000, 0));
    assert_eq!(world.init(), producer(1000, 1));
    assert_eq!(world.state(), State::Empty);
}

#[test]
fn nothing_is_answered_before_it_is_committed() {
    let mut world = World::new();
    world.commits = false;
    let ticket = world.begin(init(None));
    assert_eq!(world.answer(ticket), None);
}

#[test]
fn an_empty_id_and_a_timeout_out_of_bounds_are_refused() {
    let mut world = World::new();
    let ask = |transactional_id: &'static str, timeout_ms: i32| Request::Init {
        transactional_id: Str::from_static(transactional_id),
        timeout_ms,
        expected: None,
        fresh: None,
    };
    assert_eq!(world.ask(ask("", 1)), refused(ErrorCode::InvalidRequest));
    assert_eq!(world.ask(ask("t", 0)), refused(ErrorCode::InvalidTransactionTimeout));
    assert_eq!(world.ask(ask("t", 900_001)), refused(ErrorCode::InvalidTransactionTimeout));
}

#[test]
fn a_producer_that_goes_on_gets_the_next_epoch_and_the_same_answer_if_it_asks_again() {
    let mut world = World::new();
    let first = world.init();
    let next = Response::Init(Ok(producer(1000, 1)));
    assert_eq!(world.ask(init(Some(first))), next);
    assert_eq!(world.ask(init(Some(first))), next);
}

#[test]
fn a_producer_whose_epoch_or_id_is_over_is_fenced() {
    let mut world = World::new();
    let first = world.init();
    world.init();
    assert_eq!(world.ask(init(Some(first))), refused(ErrorCode::ProducerFenced));
    assert_eq!(world.ask(init(Some(producer(5, 0)))), refused(ErrorCode::ProducerFenced));
}

#[test]
fn a_new_instance_aborts_what_the_old_left_open_and_waits_for_it() {
    let mut world = World::new();
    let old = world.init();
    world.add(old, 0);
    let ticket = world.begin(init(None));
    assert_eq!((world.answer(ticket), world.state()), (None, State::PrepareAbort));
    let markers = world.write_markers();
    assert_eq!((markers[0].outcome, markers[0].producer), (Outcome::Abort, producer(1000, 1)));
    assert_eq!(world.answer(ticket), Some(Response::Init(Ok(producer(1000, 2)))));
    assert_eq!(world.add(old, 0), ErrorCode::ProducerFenced);
}

#[test]
fn a_new_instance_that_waits_too_long_is_told_to_come_back() {
    let mut world = World::new();
    let old = world.init();
    world.add(old, 0);
    let ticket = world.begin(init(None));
    world.pass(100);
    assert_eq!(world.answer(ticket), Some(refused(ErrorCode::ConcurrentTransactions)));
    world.write_markers();
    assert_eq!(world.init(), producer(1000, 2));
}

#[test]
fn a_producer_with_a_transaction_open_may_begin_anew_by_itself() {
    let mut world = World::new();
    let own = world.init();
    world.add(own, 0);
    let ticket = world.begin(init(Some(own)));
    world.write_markers();
    assert_eq!(world.answer(ticket), Some(Response::Init(Ok(producer(1000, 2)))));
}

#[test]
fn after_the_last_epoch_comes_another_producer_id() {
    let mut world = World::new();
    world.init();
    let mut last = producer(1000, 0);
    for _ in 0..i16::MAX - 1 {
        last = world.init();
    }
    assert_eq!(last, producer(1000, i16::MAX - 1));
    let rotated = Response::Init(Ok(producer(1001, 0)));
    assert_eq!(world.ask(init(Some(last))), rotated);
    // Its answer was lost: the same producer asks again, as the one before.
    assert_eq!(world.ask(init(Some(last))), Response::Init(Ok(producer(1001, 0))));
}

#[test]
fn an_id_in_its_last_epoch_can_still_be_fenced() {
    let mut world = World::new();
    let mut last = world.init();
    while last.epoch.0 < i16::MAX - 1 {
        last = world.init();
    }
    world.add(last, 0);
    let ticket = world.begin(init(None));
    assert_eq!(world.write_markers()[0].producer, producer(1000, i16::MAX));
    assert_eq!(world.answer(ticket), Some(Response::NeedsProducerId));
}

#[test]
fn beyond_the_bound_the_id_that_was_idle_for_longest_makes_room() {
    let mut world = World::with(Limits { ids_max: 2, ..LIMITS });
    let ask = |transactional_id: &'static str| Request::Init {
        transactional_id: Str::from_static(transactional_id),
        timeout_ms: 1,
        expected: None,
        fresh: None,
    };
    for id in ["a", "b", "c"] {
        world.pass(1);
        assert!(matches!(world.ask(ask(id)), Response::Init(Ok(_))));
    }
    let known = |id| world.shard.transaction(id).is_some();
    assert_eq!((known("a"), known("b"), known("c")), (false, true, true));
}
