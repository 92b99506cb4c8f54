//! When batches leave, in which order, and with which sequence numbers.

use klamm_model::Timestamp;

use super::*;

fn rules() -> Rules {
    Rules {
        compression: Compression::NONE,
        batch_bytes_max: 200,
        linger: Duration::from_millis(5),
        is_transactional: false,
        in_flight_max: 2,
    }
}

fn append(accumulator: &mut Accumulator, now_ms: u64, len: usize) -> i64 {
    let value = vec![b'x'; len];
    let record =
        RecordParts { timestamp: Timestamp(1), key: None, value: Some(&value), headers: &[] };
    let now = Moment::default().plus_ms(now_ms);
    let (delivery, _) = accumulator.append(now, &"t".into(), 0, &record).unwrap();
    delivery.index
}

fn take(accumulator: &mut Accumulator) -> Option<ReadyBatch> {
    let partition = accumulator.sendable().pop()?;
    accumulator.take(&partition, Some((ProducerId(1), ProducerEpoch(0))))
}

#[test]
fn a_batch_leaves_when_it_has_lingered_and_not_before() {
    let mut accumulator = Accumulator::new(rules());
    assert_eq!(append(&mut accumulator, 0, 10), 0);
    assert_eq!(append(&mut accumulator, 1, 10), 1);
    let now = Moment::default().plus_ms(4);
    let due = accumulator.close_lingered(now).unwrap();
    assert_eq!(due, Some(Moment::default().plus_ms(5)));
    assert!(take(&mut accumulator).is_none());
    assert_eq!(accumulator.close_lingered(due.unwrap()).unwrap(), None);
    assert_eq!(take(&mut accumulator).unwrap().record_count, 2);
}

#[test]
fn a_full_batch_leaves_at_once_and_a_large_record_has_one_of_its_own() {
    let mut accumulator = Accumulator::new(rules());
    append(&mut accumulator, 0, 50);
    append(&mut accumulator, 0, 1000);
    assert_eq!(take(&mut accumulator).unwrap().record_count, 1);
    assert_eq!(take(&mut accumulator).unwrap().record_count, 1);
    assert!(take(&mut accumulator).is_none());
}

#[test]
fn sequences_count_records_and_start_again_after_the_last() {
    let mut accumulator = Accumulator::new(rules());
    append(&mut accumulator, 0, 10);
    append(&mut accumulator, 0, 10);
    append(&mut accumulator, 1, 1000);
    let sequence = |batch: Option<ReadyBatch>| batch.unwrap().producer.unwrap().base_sequence;
    assert_eq!(sequence(take(&mut accumulator)), 0);
    assert_eq!(sequence(take(&mut accumulator)), 2);
    assert_eq!(next_sequence(i32::MAX, 1), 0);
    assert_eq!(next_sequence(i32::MAX - 1, 3), 1);
}

#[test]
fn a_batch_that_came_back_goes_first_alone_and_with_its_sequence() {
    let mut accumulator = Accumulator::new(rules());
    for now in 0..3 {
        append(&mut accumulator, now, 1000);
    }
    let first = take(&mut accumulator).unwrap();
    let second = take(&mut accumulator).unwrap();
    assert!(take(&mut accumulator).is_none(), "two are in flight");
    accumulator.come_back(second);
    accumulator.come_back(first);
    let first = take(&mut accumulator).unwrap();
    assert_eq!((first.producer.unwrap().base_sequence, first.attempts), (0, 2));
    assert!(take(&mut accumulator).is_none(), "one at a time until it is through");
    accumulator.finish(&first);
    let second = take(&mut accumulator).unwrap();
    assert_eq!(second.producer.unwrap().base_sequence, 1);
    accumulator.finish(&second);
    assert!(take(&mut accumulator).is_some());
    assert_eq!(accumulator.batch_count, 1);
}

#[test]
fn after_a_new_start_only_batches_that_may_be_stored_are_given_up() {
    let mut accumulator = Accumulator::new(rules());
    for now in 0..4 {
        append(&mut accumulator, now, 1000);
    }
    let first = take(&mut accumulator).unwrap();
    let mut second = take(&mut accumulator).unwrap();
    accumulator.acknowledge(&first);
    assert!(accumulator.is_next(&second));
    second.may_be_stored = true;
    accumulator.come_back(second);
    let uncertain = accumulator.start_over();
    assert_eq!(uncertain.len(), 1);
    accumulator.finish(&uncertain[0]);
    let third = take(&mut accumulator).unwrap();
    assert_eq!(third.producer.unwrap().base_sequence, 0);
    assert!(accumulator.is_next(&third));
    accumulator.come_back(third);
    assert!(accumulator.start_over().is_empty(), "it was refused: it goes on");
    let third = take(&mut accumulator).unwrap();
    assert_eq!(third.producer.unwrap().base_sequence, 0);
    accumulator.acknowledge(&third);
    let fourth = take(&mut accumulator).unwrap();
    assert_eq!(fourth.producer.unwrap().base_sequence, 1);
}

#[test]
fn a_batch_is_not_the_next_while_one_before_it_has_no_answer() {
    let mut accumulator = Accumulator::new(rules());
    append(&mut accumulator, 0, 1000);
    append(&mut accumulator, 1, 1000);
    let first = take(&mut accumulator).unwrap();
    let second = take(&mut accumulator).unwrap();
    assert!(accumulator.is_next(&first) && !accumulator.is_next(&second));
    accumulator.acknowledge(&first);
    assert!(accumulator.is_next(&second));
}

#[test]
fn what_is_discarded_is_counted_down_and_what_is_on_its_way_is_not_touched() {
    let mut accumulator = Accumulator::new(rules());
    append(&mut accumulator, 0, 1000);
    append(&mut accumulator, 0, 10);
    let sent = take(&mut accumulator).unwrap();
    let discarded = accumulator.discard().unwrap();
    assert_eq!(discarded.len(), 1);
    accumulator.finish(&discarded[0]);
    assert!(accumulator.has_in_flight());
    accumulator.finish(&sent);
    assert!(!accumulator.has_in_flight());
    assert_eq!((accumulator.batch_count, accumulator.buffered_bytes), (0, 0));
}

#[test]
fn a_flush_ends_the_lingering() {
    let mut accumulator = Accumulator::new(rules());
    append(&mut accumulator, 0, 10);
    accumulator.start_flush();
    assert_eq!(accumulator.close_lingered(Moment::default()).unwrap(), None);
    let batch = take(&mut accumulator).unwrap();
    accumulator.finish(&batch);
    assert_eq!((accumulator.batch_count, accumulator.buffered_bytes), (0, 0));
}
