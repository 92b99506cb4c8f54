//! What a session remembers, what it is told, and which one gives way.

use klamm_model::Offset;

use super::*;

fn wanted(fetch_offset: i64) -> Wanted {
    Wanted {
        fetch_offset: Offset(fetch_offset),
        bytes_max: 1_000,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    }
}

fn request(
    id: i32,
    epoch: i32,
    partitions: &[(&'static str, i64)],
) -> SessionRequest<&'static str> {
    SessionRequest {
        session: SessionRef { id, epoch },
        by_topic_id: true,
        partitions: partitions.iter().map(|(key, offset)| (*key, wanted(*offset))).collect(),
        forgotten: Vec::new(),
    }
}

fn told(high_watermark: i64) -> Told {
    Told { high_watermark: Some(Offset(high_watermark)), log_start_offset: Some(Offset(0)) }
}

fn started() -> FetchSessions<&'static str> {
    let mut sessions = FetchSessions::new(2);
    let begun = sessions.on_request(Moment(0), 7, request(0, 0, &[("a", 0), ("b", 0)])).unwrap();
    assert_eq!(begun.0, Answer::Started(7));
    let lines = [("a", told(0), Worth::Nothing), ("b", told(0), Worth::Nothing)];
    assert_eq!(sessions.on_answer(begun.0, &lines), [true, true]);
    sessions
}

#[test]
fn a_session_remembers_what_the_client_wants_and_takes_changes() {
    let mut sessions = started();
    let (answer, all) = sessions.on_request(Moment(1), 0, request(7, 1, &[("b", 5)])).unwrap();
    assert_eq!(answer, Answer::Changed(7));
    assert_eq!(all, [("a", wanted(0)), ("b", wanted(5))]);
    let mut third = request(7, 2, &[]);
    third.forgotten = vec!["a"];
    assert_eq!(sessions.on_request(Moment(2), 0, third).unwrap().1, [("b", wanted(5))]);
}

#[test]
fn only_what_changed_is_told() {
    let mut sessions = started();
    let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
    let lines = [("a", told(0), Worth::Nothing), ("b", told(4), Worth::Nothing)];
    assert_eq!(sessions.on_answer(answer, &lines), [false, true]);
    let lines = [("a", told(0), Worth::Records), ("b", told(4), Worth::Nothing)];
    assert_eq!(sessions.on_answer(answer, &lines), [true, false]);
}

#[test]
fn who_had_records_is_served_last_the_next_time() {
    let mut sessions = started();
    let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
    let _ = sessions.on_answer(answer, &[("a", told(1), Worth::Records)]);
    let (_, all) = sessions.on_request(Moment(2), 0, request(7, 2, &[])).unwrap();
    assert_eq!(all.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn an_error_is_told_again_when_it_is_over() {
    let mut sessions = started();
    let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
    assert_eq!(sessions.on_answer(answer, &[("a", Told::default(), Worth::Error)]), [true]);
    assert_eq!(sessions.on_answer(answer, &[("a", told(0), Worth::Nothing)]), [true]);
    assert_eq!(sessions.on_answer(answer, &[("a", told(0), Worth::Nothing)]), [false]);
}

#[test]
fn a_request_out_of_turn_or_of_a_lost_session_is_refused() {
    let mut sessions = started();
    assert_eq!(sessions.on_request(Moment(1), 0, request(8, 1, &[])), Err(SessionError::NotFound));
    assert_eq!(sessions.on_request(Moment(1), 0, request(7, 2, &[])), Err(SessionError::Epoch));
    let mut by_name = request(7, 1, &[]);
    by_name.by_topic_id = false;
    assert_eq!(sessions.on_request(Moment(1), 0, by_name), Err(SessionError::TopicNaming));
}

#[test]
fn the_final_epoch_ends_the_session() {
    let mut sessions = started();
    let (answer, _) = sessions.on_request(Moment(1), 0, request(7, -1, &[("a", 0)])).unwrap();
    assert_eq!(answer, Answer::Whole);
    assert!(sessions.is_empty());
}

#[test]
fn a_full_house_takes_a_new_session_only_in_place_of_an_idle_or_smaller_one() {
    let mut sessions = started();
    sessions.on_request(Moment(0), 9, request(0, 0, &[("x", 0)])).unwrap();
    let small = sessions.on_request(Moment(1), 11, request(0, 0, &[("y", 0)])).unwrap();
    assert_eq!(small.0, Answer::Whole);
    let larger = sessions.on_request(Moment(1), 11, request(0, 0, &[("y", 0), ("z", 0)])).unwrap();
    assert_eq!(larger.0, Answer::Started(11));
    assert_eq!(sessions.evictions(), 1);
    let later = Moment(0).plus_ms(IDLE_BEFORE_EVICTION_MS + 1);
    let idle = sessions.on_request(later, 13, request(0, 0, &[("q", 0)])).unwrap();
    assert_eq!(idle.0, Answer::Started(13));
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(following(i32::MAX), 1);
}
