//! A ratchet: what a request asks of the disk. A node in this process runs over a disk that
//! counts; nothing is timed. System calls on sockets are not seen from here, and allocations have
//! a ratchet of their own beside the server.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use klamm_bench::payload::{PRODUCE_VERSION, Payload, Shape};
use klamm_bench::read_back::{FETCH_VERSION, fetch_frame, read_all};
use klamm_bench::topic::{self, Topic, check_produced};
use klamm_bench::wire::Connection;
use klamm_config::{BrokerConfig, Properties};
use klamm_env::real::RealDisk;
use klamm_env::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, Space};
use klamm_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::{
    DeleteGroupsRequest, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest,
    OffsetCommitRequest, ProduceRequest,
};
use klamm_server::{Node, NodeOptions};
use klamm_stdx::Str;

/// Requests that are counted.
const REQUESTS: u64 = 1_000;

/// Whatever is waited for should be there long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// `ListOffsetsRequest.LATEST_TIMESTAMP` and `MAX_TIMESTAMP`, and a version that knows them.
const LATEST: i64 = -1;
const MAX_TIMESTAMP: i64 = -3;
const LIST_OFFSETS_VERSION: i16 = 7;
const FIND_COORDINATOR_VERSION: i16 = 4;
const OFFSET_COMMIT_VERSION: i16 = 9;
const DELETE_GROUPS_VERSION: i16 = 2;

const TOPIC: Topic<'static> = Topic { name: "counted", partition_count: 1 };

/// How often each was called, on files of the counted topic and of groups alone: the metadata log
/// and the checkpoints have a rhythm of their own.
#[derive(Debug, Default)]
struct Calls {
    opens: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    lens: AtomicU64,
    residencies: AtomicU64,
    descriptors: AtomicU64,
    names: AtomicU64,
    /// Nothing is in memory for who does not want to wait.
    is_cold: AtomicBool,
    /// Reads for which a worker would have waited.
    waits_of_workers: AtomicU64,
    held: HeldSyncs,
}

/// Syncs that wait until so much is written that there is nothing more to wait for.
#[derive(Debug, Default)]
struct HeldSyncs {
    /// Writes that are still to come, and whether a sync has waited for them in vain.
    state: Mutex<(u64, bool)>,
    written: Condvar,
}

impl HeldSyncs {
    fn until(&self, writes: u64) {
        *self.state.lock().expect("no holder of this lock can panic") = (writes, false);
    }

    fn on_write(&self) {
        let mut state = self.state.lock().expect("no holder of this lock can panic");
        state.0 = state.0.saturating_sub(1);
        self.written.notify_all();
    }

    fn wait(&self) {
        let state = self.state.lock().expect("no holder of this lock can panic");
        let held = |state: &mut (u64, bool)| state.0 > 0;
        let (mut state, _) = self
            .written
            .wait_timeout_while(state, PATIENCE, held)
            .expect("no holder of this lock can panic");
        if state.0 > 0 {
            *state = (0, true);
        }
    }

    fn was_in_vain(&self) -> bool {
        self.state.lock().expect("no holder of this lock can panic").1
    }
}

/// A moment's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    opens: u64,
    reads: u64,
    writes: u64,
    syncs: u64,
    lens: u64,
    residencies: u64,
    descriptors: u64,
    /// Listings, renames, removals.
    names: u64,
}

impl Calls {
    fn take(&self) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counts {
            opens: take(&self.opens),
            reads: take(&self.reads),
            writes: take(&self.writes),
            syncs: take(&self.syncs),
            lens: take(&self.lens),
            residencies: take(&self.residencies),
            descriptors: take(&self.descriptors),
            names: take(&self.names),
        }
    }
}

fn count(calls: &AtomicU64) {
    calls.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug)]
struct CountingDisk {
    disk: RealDisk,
    calls: Arc<Calls>,
}

impl CountingDisk {
    fn name(&self, path: &Path) {
        if is_counted(path) {
            count(&self.calls.names);
        }
    }
}

fn is_counted(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/counted-") || path.contains("/__consumer_offsets-")
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        if !is_counted(path) {
            return Ok(file);
        }
        count(&self.calls.opens);
        Ok(Arc::new(CountingFile { file, calls: Arc::clone(&self.calls) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.name(path);
        self.disk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.name(dir);
        self.disk.list(dir)
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.name(path);
        self.disk.file_len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name(from);
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.name(path);
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.name(path);
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.name(dir);
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    calls: Arc<Calls>,
}

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        count(&self.calls.lens);
        self.file.len()
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        if std::thread::current().name().is_some_and(|name| name.starts_with("worker-")) {
            count(&self.calls.waits_of_workers);
        }
        count(&self.calls.reads);
        self.file.read_at(into, position)
    }

    fn read_cached_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        if self.calls.is_cold.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        count(&self.calls.reads);
        self.file.read_at(into, position)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        count(&self.calls.writes);
        self.calls.held.on_write();
        self.file.write_all_at(parts, position)
    }

    fn sync(&self) -> io::Result<()> {
        count(&self.calls.syncs);
        self.calls.held.wait();
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn is_resident(&self, position: u64, len: u64) -> bool {
        count(&self.calls.residencies);
        !self.calls.is_cold.load(Ordering::Relaxed) && self.file.is_resident(position, len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        count(&self.calls.descriptors);
        self.file.descriptor()
    }
}

struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

struct Fixture {
    node: Option<Node>,
    calls: Arc<Calls>,
    address: SocketAddr,
    _dir: TempDir,
}

impl Fixture {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[("klamm.log.durability", "page-cache")])
    }

    fn start_with(name: &str, configs: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("klamm-counts-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the directory can be made");
        let dir = TempDir(dir);
        let mut properties = Properties::default();
        properties.set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
        properties.set("log.dirs", dir.0.display().to_string());
        properties.set("num.network.threads", "1");
        properties.set("klamm.metrics.listeners", "");
        configs.iter().for_each(|(name, value)| properties.set(*name, *value));
        let config = BrokerConfig::load(&properties).expect("the configuration is sound").config;
        let calls = Arc::new(Calls::default());
        let mut env = klamm_env::real::env();
        env.disk = Arc::new(CountingDisk { disk: RealDisk, calls: Arc::clone(&calls) });
        let node = Node::start(NodeOptions { config, properties, env }).expect("the node starts");
        let address = node.address("PLAINTEXT").expect("the listener is bound");
        topic::make(address, TOPIC).expect("the topic is made");
        Self { node: Some(node), calls, address, _dir: dir }
    }

    fn stop(mut self) {
        self.node.take().expect("it is stopped once").stop();
    }
}

fn payload() -> Payload {
    Payload::new(Shape { value_bytes: 100, batch_bytes_max: 0 }).expect("one record fits")
}

fn produce(connection: &mut Connection, times: u64) {
    let mut frame = payload().produce_frame(TOPIC.name, 0).expect("the request is small");
    for _ in 0..times {
        let id = connection.send(&mut frame).expect("the node reads");
        let answer =
            connection.receive::<ProduceRequest>(id, PRODUCE_VERSION).expect("the node answers");
        check_produced(&answer).expect("the batch is taken");
    }
}

/// What ListOffsets says of a time or a sentinel.
fn offset_at(connection: &mut Connection, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    let topic = ListOffsetsTopic { name: Str::from(TOPIC.name), partitions: vec![partition] };
    let request = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
    let answer = connection.ask(&request, LIST_OFFSETS_VERSION).expect("the node answers");
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.offset
}

#[test]
fn an_unbatched_produce_request_is_one_write() {
    let fixture = Fixture::start("produce");
    let mut connection = Connection::open(fixture.address).unwrap();
    produce(&mut connection, 1);
    fixture.calls.take();
    produce(&mut connection, REQUESTS);
    let counts = fixture.calls.take();
    // Index entries wait in memory: only the log itself is written.
    assert_eq!(counts, Counts { writes: REQUESTS, ..NOTHING });

    let read = read_all(fixture.address, TOPIC).unwrap();
    // One for the making of the topic, one to warm.
    assert_eq!(read.record_counts, [REQUESTS as i64 + 2]);
    fixture.stop();
}

#[test]
fn what_nobody_waits_for_is_synced_in_bulk_and_yet_below_the_end_for_who_asks() {
    let fixture = Fixture::start_with("bulk", &[]);
    let mut connection = Connection::open(fixture.address).unwrap();
    produce(&mut connection, 1);
    // A log's first sync writes the file of its epochs too: who was told of the end is behind it.
    assert_eq!(offset_at(&mut connection, LATEST), 2);
    fixture.calls.take();
    produce(&mut connection, REQUESTS);
    let counts = fixture.calls.take();
    assert_eq!(counts.writes, REQUESTS);
    assert!(counts.syncs <= REQUESTS / 10, "{counts:?}");
    // The leader alone has acknowledged; whoever asks for the end then is told of all of it.
    assert_eq!(offset_at(&mut connection, LATEST), REQUESTS as i64 + 2);
    let read = read_all(fixture.address, TOPIC).unwrap();
    assert_eq!(read.record_counts, [REQUESTS as i64 + 2]);
    fixture.stop();
}

#[test]
fn with_flush_messages_1_an_answer_follows_its_sync() {
    let configs = [("klamm.log.durability", "page-cache"), ("log.flush.interval.messages", "1")];
    let fixture = Fixture::start_with("flush", &configs);
    let mut connection = Connection::open(fixture.address).unwrap();
    produce(&mut connection, 1);
    fixture.calls.take();
    for _ in 0..50 {
        produce(&mut connection, 1);
        let counts = fixture.calls.take();
        assert_eq!((counts.writes, counts.syncs), (1, 1), "{counts:?}");
    }
    fixture.stop();
}

#[test]
fn with_flush_ms_what_nobody_waits_for_is_synced_by_time_and_without_it_never() {
    let page_cache = ("klamm.log.durability", "page-cache");
    let lazy = Fixture::start_with("lazy", &[page_cache]);
    let configs =
        [page_cache, ("log.flush.interval.ms", "1"), ("log.flush.scheduler.interval.ms", "5")];
    let timed = Fixture::start_with("timed", &configs);
    for fixture in [&lazy, &timed] {
        let mut connection = Connection::open(fixture.address).unwrap();
        produce(&mut connection, 1);
    }
    // Both nodes have the same time for it; the one has to use it.
    let started = Instant::now();
    while timed.calls.syncs.load(Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < PATIENCE, "it is never synced");
        std::thread::yield_now();
    }
    assert_eq!(lazy.calls.take().syncs, 0);
    lazy.stop();
    timed.stop();
}

const NOTHING: Counts = Counts {
    opens: 0,
    reads: 0,
    writes: 0,
    syncs: 0,
    lens: 0,
    residencies: 0,
    descriptors: 0,
    names: 0,
};

/// Fetches from `offset` on; gives the bytes of the batches.
fn fetch(connection: &mut Connection, offset: i64) -> usize {
    let mut frame = fetch_frame(TOPIC.name, &[offset]).expect("the request is small");
    let id = connection.send(&mut frame).expect("the node reads");
    let answer = connection.receive::<FetchRequest>(id, FETCH_VERSION).expect("the node answers");
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.records.len()
}

#[test]
fn a_fetch_at_the_tail_reads_at_most_once_and_opens_nothing() {
    let fixture = Fixture::start("fetch");
    let mut connection = Connection::open(fixture.address).unwrap();
    let mut total = NOTHING;
    for n in 0..REQUESTS as i64 {
        produce(&mut connection, 1);
        fixture.calls.take();
        // The topic's making left the record at offset 0.
        assert_eq!(fetch(&mut connection, n + 1), payload().batch.len());
        let counts = fixture.calls.take();
        assert!(counts.reads <= 1, "{counts:?}");
        total.reads += counts.reads;
        total.residencies += counts.residencies;
        let others = Counts { reads: 0, residencies: 0, descriptors: 0, ..counts };
        assert_eq!(others, NOTHING, "{counts:?}");
        assert!(counts.descriptors <= 2 && counts.residencies <= 1, "{counts:?}");
    }
    assert!(total.reads <= REQUESTS);
    fixture.stop();
}

#[test]
fn a_worker_waits_for_no_device_whatever_is_read() {
    let fixture = Fixture::start("cold");
    let mut connection = Connection::open(fixture.address).unwrap();
    produce(&mut connection, REQUESTS);
    fixture.calls.is_cold.store(true, Ordering::Relaxed);
    fixture.calls.take();
    // The topic's making left the record at offset 0.
    let (last, len) = (REQUESTS as i64, payload().batch.len());
    assert_eq!(fetch(&mut connection, 1), payload().batch.len() * REQUESTS as usize);
    assert_eq!(fetch(&mut connection, 1 + last / 2), len * REQUESTS as usize / 2);
    assert_eq!(fetch(&mut connection, last), len);
    assert_eq!(offset_at(&mut connection, 0), 0);
    assert_eq!(offset_at(&mut connection, MAX_TIMESTAMP), 0);
    // Others have waited.
    assert_eq!(fixture.calls.waits_of_workers.load(Ordering::Relaxed), 0);
    assert!(fixture.calls.take().reads > 0);
    fixture.stop();
}

/// Commits offset 0 of the topic for a group without members; `None` while the coordinator loads.
fn commit(connection: &mut Connection, group_id: &Str) -> Option<()> {
    let partition = OffsetCommitRequestPartition::default();
    let topic = OffsetCommitRequestTopic {
        name: Str::from(TOPIC.name),
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: group_id.clone(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let answer = connection.ask(&request, OFFSET_COMMIT_VERSION).expect("the node answers");
    (answer.topics[0].partitions[0].error_code == 0).then_some(())
}

#[test]
fn groups_that_one_request_deletes_are_all_written_before_one_is_synced() {
    const GROUPS: usize = 64;
    let fixture = Fixture::start_with("groups", &[("offsets.topic.num.partitions", "1")]);
    let mut connection = Connection::open(fixture.address).unwrap();
    let groups: Vec<Str> = (0..GROUPS).map(|n| Str::from(format!("group-{n}"))).collect();
    let finder = FindCoordinatorRequest {
        coordinator_keys: vec![groups[0].clone()],
        ..FindCoordinatorRequest::default()
    };
    connection.ask(&finder, FIND_COORDINATOR_VERSION).expect("the node answers");
    let started = Instant::now();
    while commit(&mut connection, &groups[0]).is_none() {
        assert!(started.elapsed() < PATIENCE, "no coordinator comes");
        std::thread::yield_now();
    }
    for group in &groups[1..] {
        commit(&mut connection, group).expect("the coordinator is there");
    }
    fixture.calls.held.until(GROUPS as u64);
    let request = DeleteGroupsRequest { groups_names: groups };
    let answer = connection.ask(&request, DELETE_GROUPS_VERSION).expect("the node answers");
    assert_eq!(answer.results.iter().filter(|result| result.error_code == 0).count(), GROUPS);
    assert!(!fixture.calls.held.was_in_vain(), "one was synced before the next was written");
    fixture.stop();
}
