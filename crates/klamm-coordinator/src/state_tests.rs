//! A shard that keeps numbers, over a log in memory.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::shard::{Batch, Loaded, LoadedChunk, Outcome, PartitionLog, Shard, Ticket, Time};
use crate::state::ShardState;

const TIME: Time = Time { now: Moment(0), wall: Timestamp(0) };

/// What can be asked of the shard.
enum Ask {
    Add(u8),
    Sum,
}

#[derive(Default)]
struct Numbers {
    sum: u32,
}

#[derive(Default)]
struct Wants(Vec<(Ticket, Told)>, Vec<(Ticket, Told)>, Vec<Add>, Vec<u8>);

struct Add(u8, Ticket);

#[derive(Debug, PartialEq)]
enum Told {
    Added,
    Sum(u32),
    Refused(ErrorCode),
}

impl From<Wants> for Outcome<Told, Add, u8> {
    fn from(Wants(replies, reads, writes, effects): Wants) -> Self {
        Self { replies, reads, writes, effects }
    }
}

impl Shard for Numbers {
    type Request = Ask;
    type Response = Told;
    type Write = Add;
    type Effect = u8;
    type News = ();
    type Actions = Wants;

    fn on_request(&mut self, _: Time, request: Ask, ticket: Ticket, wants: &mut Wants) {
        match request {
            Ask::Add(number) => wants.2.push(Add(number, ticket)),
            Ask::Sum => wants.1.push((ticket, Told::Sum(self.sum))),
        }
    }

    fn on_timeout(&mut self, _: Time, _: &mut Wants) {}

    fn next_timeout(&self) -> Option<Moment> {
        None
    }

    fn batch(write: &Add) -> Result<Batch, ErrorCode> {
        Ok(Batch::Records(vec![(Bytes::copy_from_slice(&[write.0]), None)]))
    }

    fn on_appended(&mut self, _: Time, write: &Add, _: &mut Wants) {
        self.sum += u32::from(write.0);
    }

    fn on_committed(&mut self, _: Time, write: Add, wants: &mut Wants) {
        wants.0.push((write.1, Told::Added));
        wants.3.push(write.0);
    }

    fn on_failed(&mut self, _: Time, write: Add, error: ErrorCode, wants: &mut Wants) {
        wants.0.push((write.1, Told::Refused(error)));
    }

    fn replay(&mut self, loaded: Loaded) {
        let Loaded::Record((key, _)) = loaded else { return };
        self.sum += u32::from(key[0]);
    }

    fn on_loaded(&mut self, _: Time, _: LeaderEpoch, wants: &mut Wants) {
        wants.3.push(u8::try_from(self.sum).unwrap_or(u8::MAX));
    }

    fn on_news(&mut self, (): &()) {}

    fn on_unload(&mut self, _: &mut Wants) {}

    fn unavailable(error: ErrorCode) -> Told {
        Told::Refused(error)
    }
}

#[derive(Debug, Default)]
struct Memory {
    records: Mutex<Vec<u8>>,
    high_watermark: AtomicI64,
    is_lost: AtomicBool,
    is_full: AtomicBool,
}

impl PartitionLog for Memory {
    fn append(&self, batch: &Batch, _: Timestamp) -> Result<Offset, ErrorCode> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let Batch::Records(new) = batch else { return Err(ErrorCode::InvalidTxnState) };
        self.records.lock().expect("one thread").extend(new.iter().map(|(key, _)| key[0]));
        Ok(self.log_end_offset())
    }

    fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Relaxed))
    }

    fn log_start_offset(&self) -> Offset {
        Offset::ZERO
    }

    fn log_end_offset(&self) -> Offset {
        Offset(self.records.lock().expect("one thread").len() as i64)
    }

    fn watch(&self, _: Arc<Notify>) {}

    fn leader_epoch(&self) -> Option<LeaderEpoch> {
        (!self.is_lost.load(Ordering::Relaxed)).then_some(LeaderEpoch(3))
    }

    fn read(&self, from: Offset) -> Result<LoadedChunk, ErrorCode> {
        let at = usize::try_from(from.0).expect("not negative");
        let key = Bytes::copy_from_slice(&self.records.lock().expect("one thread")[at..=at]);
        Ok(LoadedChunk { entries: vec![Loaded::Record((key, None))], next_offset: from.plus(1) })
    }
}

struct World {
    log: Arc<Memory>,
    state: ShardState<Numbers>,
    effects: Arc<Mutex<Vec<u8>>>,
}

impl World {
    fn over(log: Arc<Memory>) -> Self {
        let effects = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&effects);
        let put = move |effect| sink.lock().expect("one thread").push(effect);
        let as_log = Arc::clone(&log) as Arc<dyn PartitionLog>;
        let mut state = ShardState::new(Numbers::default(), as_log, Arc::new(put));
        while state.is_reading() {
            state.load_some(TIME).expect("the log can be read");
        }
        Self { log, state, effects }
    }

    fn ask(&mut self, ask: Ask) -> oneshot::Receiver<Told> {
        let (reply, answer) = oneshot::channel();
        self.state.on_request(TIME, ask, reply);
        answer
    }

    fn commit(&mut self, up_to: i64) {
        self.log.high_watermark.store(up_to, Ordering::Relaxed);
        self.state.on_high_watermark(TIME);
    }

    fn effects(&self) -> Vec<u8> {
        self.effects.lock().expect("one thread").clone()
    }
}

fn is_waiting(answer: &mut oneshot::Receiver<Told>) -> bool {
    answer.try_recv() == Err(oneshot::error::TryRecvError::Empty)
}

#[test]
fn an_answer_and_its_effects_wait_for_the_commit() {
    let mut world = World::over(Arc::default());
    let mut added = world.ask(Ask::Add(5));
    assert!(is_waiting(&mut added));
    assert_eq!(world.effects(), [0]);
    world.commit(1);
    assert_eq!(added.try_recv(), Ok(Told::Added));
    assert_eq!(world.effects(), [0, 5]);
}

#[test]
fn a_reader_sees_what_is_appended_and_hears_of_it_when_it_is_committed() {
    let mut world = World::over(Arc::default());
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(Told::Sum(0)));
    let _first = world.ask(Ask::Add(5));
    let mut sum = world.ask(Ask::Sum);
    let _second = world.ask(Ask::Add(6));
    assert!(is_waiting(&mut sum));
    world.commit(1);
    assert_eq!(sum.try_recv(), Ok(Told::Sum(5)));
}

#[test]
fn what_cannot_be_appended_never_happened() {
    let mut world = World::over(Arc::default());
    world.log.is_full.store(true, Ordering::Relaxed);
    let mut refused = world.ask(Ask::Add(5));
    assert_eq!(refused.try_recv(), Ok(Told::Refused(ErrorCode::KafkaStorageError)));
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(Told::Sum(0)));
}

#[test]
fn nothing_is_answered_from_records_that_another_leader_decides_about() {
    let mut world = World::over(Arc::default());
    let mut added = world.ask(Ask::Add(5));
    let mut sum = world.ask(Ask::Sum);
    world.log.is_lost.store(true, Ordering::Relaxed);
    world.state.on_high_watermark(TIME);
    assert_eq!(added.try_recv(), Ok(Told::Refused(ErrorCode::NotLeaderOrFollower)));
    assert_eq!(sum.try_recv(), Ok(Told::Refused(ErrorCode::NotCoordinator)));
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(Told::Refused(ErrorCode::NotCoordinator)));
}

#[test]
fn a_shard_is_what_its_log_says_and_does_again_what_was_under_way() {
    let log = Arc::<Memory>::default();
    log.records.lock().expect("one thread").extend([1, 2, 3]);
    log.high_watermark.store(3, Ordering::Relaxed);
    let mut world = World::over(log);
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(Told::Sum(6)));
    assert_eq!(world.effects(), [6]);
}

#[test]
fn a_shard_does_not_serve_before_what_it_has_read_is_committed() {
    let log = Arc::<Memory>::default();
    log.records.lock().expect("one thread").extend([1, 2, 3]);
    let mut world = World::over(log);
    let loading = Told::Refused(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(loading));
    assert_eq!(world.effects(), []);
    world.commit(3);
    assert_eq!(world.ask(Ask::Sum).try_recv(), Ok(Told::Sum(6)));
    assert_eq!(world.effects(), [6]);
}

#[test]
fn whoever_waits_is_sent_elsewhere_when_the_shard_moves_away() {
    let mut world = World::over(Arc::default());
    let mut added = world.ask(Ask::Add(5));
    world.state.unload();
    assert_eq!(added.try_recv(), Ok(Told::Refused(ErrorCode::NotCoordinator)));
}
