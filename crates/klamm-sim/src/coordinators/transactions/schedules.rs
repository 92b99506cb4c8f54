//! Schedules that tore transactions or lost them in Kafka and its peers, as scripts (KIP-890;
//! KAFKA-17754; Jepsen on Bufstream 0.1.0). Each says which message is late, and by how much.
//!
//! With v2 every transaction has its own epoch, and a late message is refused for its epoch. With
//! v1 one epoch serves them all: what protects is that a first write is verified. It protects from
//! writes that no transaction waits for, and from nothing that arrives while the next transaction is
//! open: the tests whose names say so hold what Kafka's v1 does too.

use klamm_coordinator::Time;
use klamm_env::Moment;
use klamm_model::{ErrorCode, Offset, Timestamp};
use klamm_transaction_coordinator::{Outcome, ProducerIdAndEpoch, Protocol};

use super::broker::Broker;
use super::client::{Answer, Call, Message};
use super::markers::Writer;
use super::options::Options;
use crate::random::Seeded;

/// Turns within which every request is answered.
const TURNS: u64 = 50;

/// One producer and a broker; nothing happens that the script does not say.
struct Script {
    broker: Broker,
    random: Seeded,
    ms: u64,
    number: u64,
    protocol: Protocol,
    producer: Option<ProducerIdAndEpoch>,
}

const COMMIT: Call = Call::End(Outcome::Commit);
const ABORT: Call = Call::End(Outcome::Abort);

fn produce(partition: usize, sequence: i32, value: u64) -> Call {
    Call::Produce { partition, sequence, value }
}

impl Script {
    fn new(protocol: Protocol) -> Self {
        let time = Time { now: Moment(0), wall: Timestamp(0) };
        let mut random = Seeded::new(1);
        let (options, _) = Options::random(&mut random);
        let options = Options { partitions: 2, timeout_ms: 60_000, ..options.calm() };
        let broker = Broker::start(time, &options);
        let mut this = Self { broker, random, ms: 0, number: 0, protocol, producer: None };
        this.does(Call::Init(None));
        this
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    /// A request as the producer sends it now; it may arrive whenever the script says.
    fn sends(&mut self, call: Call) -> Message {
        self.number += 1;
        let (number, protocol, producer) = (self.number, self.protocol, self.producer);
        Message { client: 0, number, transactional: 0, protocol, producer, call }
    }

    /// A request arrives and is answered; everything that is written is committed.
    fn arrives(&mut self, message: Message) -> Answer {
        self.broker.serve(self.time(), message);
        for _ in 0..TURNS {
            self.turn();
            let time = self.time();
            let answers = self.broker.advance(time);
            if let Some((_, answer)) = answers.into_iter().find(|(m, _)| m.number == message.number)
            {
                return answer;
            }
        }
        panic!("{message:?} is not answered");
    }

    fn turn(&mut self) {
        self.ms += 1;
        let logs = [&self.broker.transaction_log, &self.broker.group_log];
        logs.into_iter().chain(&self.broker.partitions).for_each(|log| log.commit());
        let time = self.time();
        self.broker.turn(time);
    }

    /// The markers of whatever was ended are in their partitions.
    fn markers_are_written(&mut self) {
        for mut writer in self.broker.take_markers().into_iter().map(Writer::new) {
            while !writer.step(self.time(), (&mut self.broker, &mut self.random)).0 {
                self.turn();
            }
        }
        self.turn();
    }

    /// A request is sent, arrives, and does what it asks; markers too.
    #[track_caller]
    fn does(&mut self, call: Call) {
        let answer = self.tries(call);
        assert_eq!(answer, ErrorCode::None, "{call:?}");
    }

    fn tries(&mut self, call: Call) -> ErrorCode {
        let message = self.sends(call);
        let answer = self.arrives(message);
        self.producer = answer.next.or(self.producer);
        self.markers_are_written();
        answer.code
    }

    /// A first write to a partition, as the protocol has it.
    #[track_caller]
    fn writes(&mut self, partition: usize, sequence: i32, value: u64) {
        self.adds(partition);
        self.does(produce(partition, sequence, value));
    }

    /// With v2 a partition comes with its first write.
    #[track_caller]
    fn adds(&mut self, partition: usize) {
        if self.protocol == Protocol::V1 {
            self.does(Call::Add(Some(partition)));
        }
    }

    /// What a reader of committed records has seen of a partition.
    fn reads(&self, partition: usize) -> Vec<u64> {
        self.broker.partitions[partition].read_committed(Offset(0)).0
    }

    /// The end of what such a reader may see.
    fn stable(&self, partition: usize) -> Offset {
        self.broker.partitions[partition].read_committed(Offset(0)).1
    }

    /// The first transaction: its end is sent, is late, is sent again and done. Gives the late one.
    fn ends_with_a_late_copy(&mut self, end: Call) -> Message {
        let late = self.sends(end);
        self.does(end);
        late
    }
}

/// The sequence number of the second write to a partition: with v2 an epoch begins at 0.
fn second(protocol: Protocol) -> i32 {
    i32::from(protocol == Protocol::V1)
}

#[test]
fn schedule_1_with_v2_a_late_commit_does_not_commit_the_next_transaction_early() {
    let mut script = Script::new(Protocol::V2);
    script.writes(0, 0, 1);
    let late = script.ends_with_a_late_copy(COMMIT);
    script.writes(0, 0, 2);
    assert_eq!(script.arrives(late).code, ErrorCode::ProducerFenced);
    script.markers_are_written();
    assert_eq!(script.reads(0), [1], "the second transaction is open");
    script.writes(1, 0, 3);
    script.does(ABORT);
    assert_eq!((script.reads(0), script.reads(1)), (vec![1], vec![]));
}

#[test]
fn schedule_1_with_v1_nothing_tells_a_late_commit_from_one_of_the_next_transaction() {
    let mut script = Script::new(Protocol::V1);
    script.writes(0, 0, 1);
    let late = script.ends_with_a_late_copy(COMMIT);
    script.writes(0, second(Protocol::V1), 2);
    assert_eq!(script.arrives(late).code, ErrorCode::None);
    script.markers_are_written();
    assert_eq!(script.reads(0), [1, 2], "it is committed half-way, as with Kafka");
    assert_eq!(script.tries(ABORT), ErrorCode::InvalidTxnState, "and its producer is told");
}

#[test]
fn schedule_2_with_v2_a_late_abort_does_not_take_what_the_next_transaction_wrote() {
    let mut script = Script::new(Protocol::V2);
    script.writes(0, 0, 1);
    let late = script.ends_with_a_late_copy(ABORT);
    script.writes(0, 0, 2);
    assert_eq!(script.arrives(late).code, ErrorCode::ProducerFenced);
    script.markers_are_written();
    script.writes(1, 0, 3);
    script.does(COMMIT);
    assert_eq!((script.reads(0), script.reads(1)), (vec![2], vec![3]));
}

#[test]
fn schedule_2_with_v1_a_late_abort_is_told_by_the_next_write_to_the_same_partition() {
    let mut script = Script::new(Protocol::V1);
    script.writes(0, 0, 1);
    let late = script.ends_with_a_late_copy(ABORT);
    script.writes(0, 1, 2);
    assert_eq!(script.arrives(late).code, ErrorCode::None);
    script.markers_are_written();
    assert_eq!(script.tries(produce(0, 2, 3)), ErrorCode::TransactionAbortable);
    assert_eq!(script.tries(COMMIT), ErrorCode::InvalidTxnState);
    assert_eq!(script.reads(0), [] as [u64; 0], "nothing was promised, and nothing is read");
}

#[test]
fn schedule_2_with_v1_a_late_abort_is_not_told_when_the_next_write_brings_another_partition() {
    let mut script = Script::new(Protocol::V1);
    script.writes(0, 0, 1);
    let late = script.ends_with_a_late_copy(ABORT);
    script.writes(0, 1, 2);
    assert_eq!(script.arrives(late).code, ErrorCode::None);
    script.markers_are_written();
    script.writes(1, 0, 3);
    script.does(COMMIT);
    assert_eq!((script.reads(0), script.reads(1)), (vec![], vec![3]), "2 is lost, as with Kafka");
}

#[test]
fn schedule_3_with_v2_a_late_write_does_not_become_part_of_the_next_transaction() {
    let mut script = Script::new(Protocol::V2);
    let late = script.sends(produce(0, 0, 1));
    script.writes(1, 0, 2);
    script.does(ABORT);
    script.writes(1, 0, 3);
    assert_eq!(script.arrives(late).code, ErrorCode::ProducerFenced);
    script.writes(0, 0, 4);
    script.does(COMMIT);
    assert_eq!((script.reads(0), script.reads(1)), (vec![4], vec![3]));
}

#[test]
fn schedule_3_with_v1_a_late_write_is_refused_once_the_next_transaction_has_written_there() {
    let mut script = Script::new(Protocol::V1);
    script.adds(0);
    let late = script.sends(produce(0, 0, 1));
    script.does(ABORT);
    // The client does not know whether it arrived, and begins anew in the next epoch (KIP-360).
    let own = script.producer;
    script.does(Call::Init(own));
    script.writes(0, 0, 2);
    assert_eq!(script.arrives(late).code, ErrorCode::ProducerFenced);
    script.does(COMMIT);
    assert_eq!(script.reads(0), [2]);
}

#[test]
fn schedule_3_with_v1_a_late_write_in_the_same_epoch_becomes_part_of_the_next_transaction() {
    let mut script = Script::new(Protocol::V1);
    script.adds(0);
    let late = script.sends(produce(0, 0, 1));
    script.does(ABORT);
    script.adds(0);
    assert_eq!(script.arrives(late).code, ErrorCode::None);
    script.does(COMMIT);
    assert_eq!(script.reads(0), [1], "as with Kafka");
}

#[test]
fn schedule_4_a_late_write_that_no_transaction_follows_leaves_no_transaction_open() {
    for (protocol, refusal) in
        [(Protocol::V1, ErrorCode::TransactionAbortable), (Protocol::V2, ErrorCode::ProducerFenced)]
    {
        let mut script = Script::new(protocol);
        script.writes(1, 0, 7);
        script.adds(0);
        let late = script.sends(produce(0, 0, 1));
        script.does(ABORT);
        let before = script.stable(0);
        assert_eq!(script.arrives(late).code, refusal, "{protocol:?}");
        script.turn();
        assert_eq!(script.broker.is_quiet(), Ok(()), "{protocol:?}");
        assert_eq!((script.reads(0), script.stable(0)), (vec![], before));
    }
}
