//! The storage of a node: log directories with partitions in them, without clients.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use klamm_env::{Disk, Env, real};
use klamm_log::{
    AtLeastOne, Limits, LogConfig, LogDir, LogDirs, LogDirsOptions, MetaProperties, Origin,
};
use klamm_model::{
    DirectoryId, IsolationLevel, LeaderEpoch, NodeId, Timestamp, TopicPartition, Uuid,
};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, Rules, ValidBatch, batches};
use klamm_replication::{Age, AppendRefused, Directories, NewPartition, Partition, Partitions};

use crate::disk::FailingDisk;

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Log directories that go when the test ends.
pub(crate) struct Storage {
    root: PathBuf,
    pub(crate) disk: Arc<FailingDisk>,
}

impl Storage {
    /// With formatted directories `0`, `1` and so on.
    pub(crate) fn new(name: &str, count: u128) -> Self {
        let id = std::process::id();
        let root = std::env::temp_dir().join(format!("klamm-replication-{name}-{id}"));
        let disk = Arc::new(FailingDisk::default());
        for i in 0..count {
            let meta = MetaProperties {
                cluster_id: "cluster".to_owned(),
                node_id: NodeId(1),
                directory_id: Some(directory_id(i)),
            };
            LogDir::format(disk.as_ref(), &root.join(i.to_string()), &meta, NOW).unwrap();
        }
        Self { root, disk }
    }

    pub(crate) fn path(&self, i: usize) -> PathBuf {
        self.root.join(i.to_string())
    }

    pub(crate) fn env(&self) -> Env {
        Env { disk: Arc::clone(&self.disk) as Arc<dyn Disk>, ..real::env() }
    }

    /// Opens what is there.
    pub(crate) fn open(&self, count: usize) -> Partitions {
        let env = self.env();
        let paths = (0..count).map(|i| self.path(i)).collect();
        let options = LogDirsOptions { paths, node_id: NodeId(1) };
        let dirs = LogDirs::open(&env.disk, &options).unwrap();
        let directories = Directories::start(Arc::clone(&env.disk), &dirs, None).unwrap();
        Partitions::open(env, directories).unwrap()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let removed = real::RealDisk.remove_dir_all(&self.root);
        if let Err(error) = removed {
            eprintln!("{} stays: {error}", self.root.display());
        }
    }
}

pub(crate) fn directory_id(i: u128) -> DirectoryId {
    Uuid(100 + i)
}

pub(crate) fn topic_id(topic: &str) -> Uuid {
    Uuid(topic.bytes().fold(1_000, |id, byte| id * 256 + u128::from(byte)))
}

/// A partition that this node leads.
pub(crate) fn wanted(topic: &str, partition: i32, directory: Option<u128>) -> NewPartition {
    NewPartition {
        name: TopicPartition::new(topic, partition),
        topic_id: topic_id(topic),
        directory: directory.map(directory_id),
        config: LogConfig::default(),
        rules: Rules::default(),
        leader_epoch: Some(LeaderEpoch(3)),
        age: Age::New,
    }
}

/// Has a partition led here, which must work.
pub(crate) fn lead(partitions: &Partitions, wanted: NewPartition) -> Arc<Partition> {
    let name = wanted.name.clone();
    let failed = partitions.assign(vec![wanted]);
    assert!(failed.is_empty(), "{failed:?}");
    partitions.by_name(&name.topic, name.partition).unwrap()
}

pub(crate) fn append_at(
    partition: &Partition,
    value: &str,
    wall: Timestamp,
) -> Result<i64, AppendRefused> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = Some(value.as_bytes());
    builder.push(RecordToAppend { timestamp: NOW, value, ..RecordToAppend::default() });
    let bytes = builder.build().unwrap();
    let batch = ValidBatch::own(&bytes).unwrap();
    partition.append(batch, Origin::Client, wall).map(|appended| appended.last_offset.0)
}

/// Appends and waits; gives whether it was committed.
pub(crate) fn commit(partition: &Arc<Partition>, value: &str) -> bool {
    let last_offset = append_at(partition, value, NOW).unwrap();
    block_on(partition.committed_past(klamm_model::Offset(last_offset)))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// A reader gets nothing while a log is being replaced, which takes no time.
const READS_MAX: usize = 1_000_000;

/// What consumers get.
pub(crate) fn values(partition: &Partition) -> Vec<String> {
    let upper = partition.readable_end(IsolationLevel::ReadUncommitted);
    let mut next = partition.view().log_start_offset();
    let mut found = Vec::new();
    while next < upper {
        let limits = Limits { bytes_max: 1 << 20, at_least_one: AtLeastOne::Batch, upper };
        let read = || partition.read(next, limits).unwrap().slice;
        let slice = (0..READS_MAX).find_map(|_| read()).expect("there is more");
        for batch in batches(&slice.read().unwrap()) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let mut scratch = klamm_records::Scratch::default();
            for record in batch.records(&mut scratch).unwrap() {
                let value = record.unwrap().value.unwrap_or_default();
                found.push(String::from_utf8_lossy(value).into_owned());
            }
            next = batch.header().next_offset();
        }
    }
    found
}
