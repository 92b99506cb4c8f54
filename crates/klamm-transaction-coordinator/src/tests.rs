//! The shard by itself: what is asked, what is answered, what is written, and which markers go out.

use std::collections::VecDeque;

use klamm_env::Moment;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use klamm_stdx::Str;

use crate::{
    Actions, Limits, MarkersToWrite, Outcome, ProducerIdAndEpoch, Protocol, Record, Request,
    Response, State, Ticket, Time, TransactionFilter, TransactionShard, Write,
};

mod arrows;
mod ends;
mod init;
mod life;

const LIMITS: Limits = Limits {
    timeout_ms_max: 900_000,
    expiration_ms: 604_800_000,
    abort_interval_ms: 10_000,
    remove_interval_ms: 3_600_000,
    wait_ms: 100,
    ids_max: 100,
};

/// A shard, its log, and who waits.
struct World {
    shard: TransactionShard,
    ms: u64,
    log: Vec<Record>,
    uncommitted: VecDeque<Write>,
    /// While false, what is appended stays uncommitted.
    commits: bool,
    /// While true, nothing can be appended.
    is_full: bool,
    answers: Vec<(Ticket, Response)>,
    markers: Vec<MarkersToWrite>,
    last_ticket: u64,
    last_producer_id: i64,
}

impl World {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        Self {
            shard: TransactionShard::new(limits),
            ms: 1_000_000,
            log: Vec::new(),
            uncommitted: VecDeque::new(),
            commits: true,
            is_full: false,
            answers: Vec::new(),
            markers: Vec::new(),
            last_ticket: 0,
            last_producer_id: 999,
        }
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    fn act(&mut self, actions: Actions) {
        let mut queue = VecDeque::from([actions]);
        loop {
            while let Some(actions) = queue.pop_front() {
                self.answers.extend(actions.replies);
                self.markers.extend(actions.markers);
                for write in actions.writes {
                    let mut wanted = Actions::default();
                    if self.is_full {
                        let error = ErrorCode::KafkaStorageError;
                        self.shard.on_failed(self.time(), write, error, &mut wanted);
                    } else {
                        for (id, next) in &write.changes {
                            self.log.push(stored(id, next.as_ref()));
                        }
                        self.shard.on_appended(self.time(), &write, &mut wanted);
                        self.uncommitted.push_back(write);
                    }
                    queue.push_back(wanted);
                }
                self.answers.extend(actions.reads);
            }
            let Some(write) = self.uncommitted.pop_front().filter(|_| self.commits) else { return };
            let mut wanted = Actions::default();
            self.shard.on_committed(self.time(), write, &mut wanted);
            queue.push_back(wanted);
        }
    }

    /// Asks; a producer id is given if it is wanted.
    fn begin(&mut self, mut request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let mut actions = Actions::default();
        self.shard.on_request(self.time(), request.clone(), ticket, &mut actions);
        if actions.replies.iter().any(|(_, answer)| *answer == Response::NeedsProducerId) {
            actions = Actions::default();
            self.last_producer_id += 1;
            let id = ProducerId(self.last_producer_id);
            match &mut request {
                Request::Init { fresh, .. } | Request::End { fresh, .. } => *fresh = Some(id),
                _ => unreachable!("nothing else needs one"),
            }
            self.shard.on_request(self.time(), request, ticket, &mut actions);
        }
        self.act(actions);
        ticket
    }

    fn answer(&mut self, ticket: Ticket) -> Option<Response> {
        let at = self.answers.iter().position(|(of, _)| *of == ticket)?;
        Some(self.answers.remove(at).1)
    }

    fn ask(&mut self, request: Request) -> Response {
        let ticket = self.begin(request);
        self.answer(ticket).expect("it is answered at once")
    }

    fn init(&mut self) -> ProducerIdAndEpoch {
        match self.ask(init(None)) {
            Response::Init(Ok(producer)) => producer,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, producer: ProducerIdAndEpoch, partition: i32) -> ErrorCode {
        match self.ask(add(producer, partition, Protocol::V2)) {
            Response::Added(code) => code,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: ProducerIdAndEpoch, how: (Outcome, Protocol)) -> Ended {
        match self.ask(end(producer, how)) {
            Response::Ended(ended) => ended,
            other => panic!("{other:?}"),
        }
    }

    /// The markers that went out are in their partitions.
    fn write_markers(&mut self) -> Vec<MarkersToWrite> {
        let markers = std::mem::take(&mut self.markers);
        for marker in &markers {
            self.ask(Request::MarkersWritten {
                transactional_id: marker.transactional_id.clone(),
                producer: marker.producer,
                coordinator_epoch: marker.coordinator_epoch,
            });
        }
        markers
    }

    /// A whole transaction; gives who writes the next.
    fn transact(
        &mut self,
        producer: ProducerIdAndEpoch,
        how: (Outcome, Protocol),
    ) -> ProducerIdAndEpoch {
        assert_eq!(self.add(producer, 0), ErrorCode::None);
        let next = self.end(producer, how).expect("it ends");
        self.write_markers();
        next
    }

    fn state(&self) -> State {
        self.shard.transaction("t").expect("it is known").state
    }

    fn pass(&mut self, ms: u64) {
        self.ms += ms;
        let mut actions = Actions::default();
        if self.shard.next_timeout().is_some_and(|at| at <= self.time().now) {
            self.shard.on_timeout(self.time(), &mut actions);
        }
        self.act(actions);
    }

    /// Another broker takes over, with what the log holds.
    fn reload(&mut self) {
        self.shard = TransactionShard::new(LIMITS);
        self.answers.clear();
        self.markers.clear();
        self.uncommitted.clear();
        self.log.iter().for_each(|record| self.shard.replay(record.clone()));
        let mut actions = Actions::default();
        self.shard.on_loaded(self.time(), 7, &mut actions);
        self.act(actions);
    }
}

type Ended = Result<ProducerIdAndEpoch, ErrorCode>;

/// A record after its way through the log.
fn stored(id: &Str, next: Option<&crate::Transaction>) -> Record {
    let (key, value) = Record::to_key_value(id, next).expect("it can be told");
    Record::from_key_value(key, value).expect("it can be read")
}

fn producer(id: i64, epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(Str::from_static("topic"), index)
}

fn id() -> Str {
    Str::from_static("t")
}

fn init(expected: Option<ProducerIdAndEpoch>) -> Request {
    Request::Init { transactional_id: id(), timeout_ms: 60_000, expected, fresh: None }
}

fn add(producer: ProducerIdAndEpoch, index: i32, protocol: Protocol) -> Request {
    let partitions = vec![partition(index)];
    Request::AddPartitions { transactional_id: id(), producer, partitions, protocol }
}

fn end(producer: ProducerIdAndEpoch, (outcome, protocol): (Outcome, Protocol)) -> Request {
    Request::End { transactional_id: id(), producer, outcome, protocol, fresh: None }
}

const COMMIT_V1: (Outcome, Protocol) = (Outcome::Commit, Protocol::V1);
const ABORT_V1: (Outcome, Protocol) = (Outcome::Abort, Protocol::V1);
const COMMIT_V2: (Outcome, Protocol) = (Outcome::Commit, Protocol::V2);
const ABORT_V2: (Outcome, Protocol) = (Outcome::Abort, Protocol::V2);
