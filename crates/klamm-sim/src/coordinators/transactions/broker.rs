//! The broker's side: the coordinators and the partitions that producers write to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use klamm_coordinator::{Loaded, Time};
use klamm_group_coordinator::{
    FoundOffset, GroupShard, Limits as GroupLimits, OffsetFetch, OffsetLimits,
    Request as GroupRequest, Response as GroupResponse, Stability,
};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{
    Limits, MarkersToWrite, Record, Request, Response, TransactionShard,
};
use tokio::sync::oneshot::Receiver;

use super::options::Options;
use super::requests::Task;
use crate::coordinators::coordinator::{Coordinator, no_effects};
use crate::coordinators::ensure;
use crate::coordinators::partition::SimPartition;

/// How often the coordinator looks for transactions that are open for too long.
pub(super) const ABORT_INTERVAL_MS: u64 = 100;
/// The group that all commit to.
pub(super) const GROUP: &str = "g";
/// The group's partition, as transactions name it.
pub(super) const GROUP_TOPIC: &str = "__consumer_offsets";

/// The shards and the partitions.
pub(super) struct Broker {
    transactions: Coordinator<TransactionShard>,
    groups: Coordinator<GroupShard>,
    pub(super) transaction_log: SimPartition,
    pub(super) group_log: SimPartition,
    pub(super) partitions: Vec<SimPartition>,
    pub(super) tasks: Vec<Task>,
    markers: ToWrite,
    pub(super) last_producer_id: i64,
    pub(super) timeout_ms: u64,
}

pub(super) fn transactional_id(index: usize) -> Str {
    Str::from(format!("t{index}"))
}

impl Broker {
    pub(super) fn start(time: Time, options: &Options) -> Self {
        let markers = ToWrite::default();
        let (transaction_log, group_log) = (SimPartition::default(), SimPartition::default());
        Self {
            transactions: transactions(&transaction_log, &markers, time),
            groups: groups(&group_log, time),
            transaction_log,
            group_log,
            partitions: (0..options.partitions).map(|_| SimPartition::default()).collect(),
            tasks: Vec::new(),
            markers,
            last_producer_id: 0,
            timeout_ms: options.timeout_ms,
        }
    }

    /// Another takes the transaction coordinator over; requests of the one before have no answer.
    pub(super) fn fail_over(&mut self, time: Time) {
        self.markers = Arc::default();
        self.transactions = transactions(&self.transaction_log, &self.markers, time);
    }

    /// It stops and starts, with what its logs kept.
    pub(super) fn restart(&mut self, time: Time) {
        self.tasks.clear();
        self.fail_over(time);
        self.groups = groups(&self.group_log, time);
    }

    /// Commits and timers.
    pub(super) fn turn(&mut self, time: Time) {
        self.transactions.turn(time);
        self.groups.turn(time);
    }

    pub(super) fn take_markers(&mut self) -> Vec<MarkersToWrite> {
        std::mem::take(&mut self.markers.lock().expect("one thread"))
    }

    /// Every log.
    pub(super) fn logs(&self) -> impl Iterator<Item = &SimPartition> {
        [&self.transaction_log, &self.group_log].into_iter().chain(&self.partitions)
    }

    /// What the coordinator knows of each transactional id is what its log says.
    pub(super) fn is_as_written(&self) -> Result<(), String> {
        let mut written = BTreeMap::new();
        for loaded in self.transaction_log.all() {
            if let Loaded::Record((key, value)) = loaded {
                written.insert(key, value);
            }
        }
        written.retain(|_, value| value.is_some());
        let shard = self.transactions.shard();
        let known = shard.transactions().map(|(id, known)| {
            Record::to_key_value(id, Some(known)).expect("it was written before")
        });
        let known: BTreeMap<_, _> = known.collect();
        ensure(known == written, || {
            let ids: Vec<_> = shard.transactions().collect();
            format!("the coordinator knows {ids:?}, and its log says something else")
        })
    }

    /// Whether no transaction is open or ending.
    pub(super) fn is_quiet(&self) -> Result<(), String> {
        let shard = self.transactions.shard();
        if let Some((id, known)) = shard.transactions().find(|(_, known)| !known.state.is_idle()) {
            return Err(format!("{id} hangs in {:?}", known.state));
        }
        for (index, partition) in self.partitions.iter().chain([&self.group_log]).enumerate() {
            if let Some((id, entry)) = partition.open_transaction() {
                return Err(format!("producer {id} hangs in partition {index}: {entry:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, time: Time, request: Request) -> Receiver<Response> {
        self.transactions.ask(time, request)
    }

    pub(super) fn ask_group(
        &mut self,
        time: Time,
        request: GroupRequest,
    ) -> Receiver<GroupResponse> {
        self.groups.ask(time, request)
    }

    /// Asks for the committed offset of a transactional id's partition.
    pub(super) fn fetch_offset(&mut self, time: Time, index: usize) -> Receiver<GroupResponse> {
        let asked = vec![(Str::from("in"), vec![index as i32])];
        let group = Str::from(GROUP);
        let fetch = OffsetFetch { asked: Some(asked), stability: Stability::Any, member: None };
        self.ask_group(time, GroupRequest::FetchOffsets(group, fetch))
    }
}

/// The committed offset in an answer, if it says one.
pub(super) fn offset_in(response: &GroupResponse) -> Option<i64> {
    let GroupResponse::FetchOffsets(Ok(found)) = response else { return None };
    match &found.topics.first()?.1.first()?.1 {
        FoundOffset::Committed(offset) => Some(offset.offset.0),
        FoundOffset::None | FoundOffset::Unstable => None,
    }
}

type ToWrite = Arc<Mutex<Vec<MarkersToWrite>>>;

fn transactions(
    log: &SimPartition,
    markers: &ToWrite,
    time: Time,
) -> Coordinator<TransactionShard> {
    let shard = TransactionShard::new(Limits {
        timeout_ms_max: 900_000,
        expiration_ms: 604_800_000,
        abort_interval_ms: ABORT_INTERVAL_MS,
        remove_interval_ms: 3_600_000,
        wait_ms: 20,
        ids_max: 100,
    });
    let markers = Arc::clone(markers);
    let effects = Arc::new(move |marker| markers.lock().expect("one thread").push(marker));
    Coordinator::load(shard, (log, None), effects, time)
}

fn groups(log: &SimPartition, time: Time) -> Coordinator<GroupShard> {
    let shard = GroupShard::new(GroupLimits::default(), OffsetLimits::default());
    Coordinator::load(shard, (log, None), no_effects(), time)
}
