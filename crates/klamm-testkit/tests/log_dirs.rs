//! Several log directories under a running node: replicas move between them, and one that fails
//! takes only its own partitions offline, as Kafka's clients and tools see it.
//!
//! The tests of failing file systems need root, a loop device, `mkfs.ext4` and `chattr`. Where they
//! cannot be had the tests fail, unless `KLAMM_TEST_WITHOUT_POWER_CUTS=1` says that this is known.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use klamm_model::ErrorCode;
use klamm_protocol::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use klamm_protocol::describe_log_dirs_response::DescribeLogDirsPartition;
use klamm_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm_protocol::metadata_response::MetadataResponsePartition;
use klamm_protocol::{
    AlterReplicaLogDirsRequest, DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest,
};
use klamm_records::BatchOptions;
use klamm_testkit::{
    Broker, BrokerOptions, Client, TempDir, Tools, WAIT_MAX, batch_of, wait_until,
};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const LIMIT: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// A broker with two log directories, and a directory of the test's that holds them.
struct Two {
    broker: Broker,
    dirs: TempDir,
}

impl Two {
    fn start(name: &str, options: BrokerOptions) -> Self {
        let dirs = TempDir::new(&format!("{name}-dirs"));
        let both = format!("{},{}", dirs.join("0").display(), dirs.join("1").display());
        let broker = Broker::start_with(name, options.with("log.dirs", &both));
        Self { broker, dirs }
    }

    fn path(&self, i: usize) -> PathBuf {
        self.dirs.join(&i.to_string())
    }

    /// The number of the directory that a partition is in.
    fn home(&self, client: &mut Client, topic: &str, partition: i32) -> usize {
        let is_here = |i: &usize| {
            let lines = described(client, &self.path(*i), topic);
            lines.iter().any(|line| line.partition_index == partition && !line.is_future_key)
        };
        [0, 1].into_iter().find(is_here).expect("the partition is in one of them")
    }

    fn ask(&self, client: &mut Client, topic: &str, to: &Path) -> ErrorCode {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0] }];
        let dir = AlterReplicaLogDir { path: to.display().to_string().into(), topics };
        let request = AlterReplicaLogDirsRequest { dirs: vec![dir] };
        // An earlier move that has just come to its end is refused for a moment.
        wait_until("an earlier move to end", WAIT_MAX, || {
            let answers = [1, 2].map(|version| client.ask(&request, version));
            let codes = answers.map(|answer| {
                assert_eq!(&*answer.results[0].topic_name, topic);
                code(answer.results[0].partitions[0].error_code)
            });
            if codes.contains(&ErrorCode::ReplicaNotAvailable) {
                return None;
            }
            assert_eq!(codes[0], codes[1]);
            Some(codes[0])
        })
    }

    fn wait_until_moved(&self, client: &mut Client, topic: &str, to: usize) {
        wait_until("the replica to be moved", WAIT_MAX, || {
            let is_done = |i: usize| {
                let lines = described(client, &self.path(i), topic);
                lines.iter().all(|line| !line.is_future_key)
            };
            let has_no_future = [0, 1].map(is_done) == [true, true];
            (has_no_future && self.home(client, topic, 0) == to).then_some(())
        });
    }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

/// What DescribeLogDirs says of a topic in a directory.
fn described(client: &mut Client, dir: &Path, topic: &str) -> Vec<DescribeLogDirsPartition> {
    let described = client.ask(&DescribeLogDirsRequest { topics: None }, 4);
    let here = described.results.into_iter().filter(|found| Path::new(&*found.log_dir) == dir);
    let topics = here.flat_map(|found| found.topics).filter(|found| &*found.name == topic);
    topics.flat_map(|found| found.partitions).collect()
}

fn limit_moves(client: &mut Client, bytes_per_second: &str) {
    let config = AlterableConfig {
        name: LIMIT.into(),
        value: Some(bytes_per_second.into()),
        ..AlterableConfig::default()
    };
    let resource =
        AlterConfigsResource { resource_type: 4, resource_name: "".into(), configs: vec![config] };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.ask(&request, 1).responses[0].error_code, 0);
}

fn numbered(n: usize) -> Vec<u8> {
    batch_of(BatchOptions::default(), &[n.to_string().as_bytes()])
}

fn check_numbered(client: &mut Client, topic: &str, count: usize) {
    let records = client.fetch_all(topic, 0, 0);
    assert_eq!(records.len(), count);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.offset, n as i64);
        assert_eq!(record.value.as_deref(), Some(n.to_string().as_bytes()));
    }
}

#[test]
fn kafkas_own_client_moves_a_replica_while_it_is_written_to() {
    let mut two = Two::start("log-dirs-java", BrokerOptions::default());
    let mut client = two.broker.client();
    client.create_topic("moved", 1, &[("segment.bytes", "1048576")]);
    let filler = vec![b'x'; 200_000];
    client.create_topic("filler", 1, &[]);
    assert_eq!(
        client.produce_code("filler", 0, &batch_of(BatchOptions::default(), &[&filler])),
        ErrorCode::None
    );
    let mut home = two.home(&mut client, "moved", 0);
    let is_done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = two.broker.client();
            let mut written = 0;
            while !is_done.load(Ordering::SeqCst) {
                let answer = client.produce_code("moved", 0, &numbered(written));
                assert_eq!(answer, ErrorCode::None, "at {written}");
                written += 1;
            }
            written
        });
        for _ in 0..2 {
            let to = two.path(1 - home).display().to_string();
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/java/MoveReplica.java");
            let args = [&two.broker.bootstrap(), "moved", "0", "1", &to];
            let said = Tools::kafka(source, &args, b"").ok().text();
            print!("{said}");
            assert!(said.contains(&format!("from {}", two.path(home).display())), "{said}");
            assert!(said.contains(&format!("in {to}")), "{said}");
            home = 1 - home;
        }
        is_done.store(true, Ordering::SeqCst);
        writer.join().expect("the writer ends well")
    });
    check_numbered(&mut client, "moved", written);
    two.broker.kill();
    two.broker.start_again();
    let mut client = two.broker.client();
    assert_eq!(two.home(&mut client, "moved", 0), home);
    check_numbered(&mut client, "moved", written);
}

#[test]
fn a_move_is_throttled_told_of_and_goes_on_after_a_kill() {
    let options = BrokerOptions::default().with(LIMIT, "500000");
    let mut two = Two::start("log-dirs-throttle", options);
    let mut client = two.broker.client();
    client.create_topic("moved", 1, &[]);
    let value = vec![b'x'; 900_000];
    let batch = batch_of(BatchOptions::default(), &[&value]);
    for _ in 0..8 {
        assert_eq!(client.produce_code("moved", 0, &batch), ErrorCode::None);
    }
    let from = two.home(&mut client, "moved", 0);
    let to = two.path(1 - from);
    assert_eq!(two.ask(&mut client, "moved", &to), ErrorCode::None);
    // At half a megabyte a second it takes a quarter of a minute.
    let lag = |client: &mut Client| {
        let lines = described(client, &to, "moved");
        let [line] = &lines[..] else { panic!("one is on its way: {lines:?}") };
        assert!(line.is_future_key, "{line:?}");
        line.offset_lag
    };
    wait_until("a part to be copied", WAIT_MAX, || (lag(&mut client) < 8).then_some(()));
    assert!(lag(&mut client) > 0);
    two.broker.kill();
    two.broker.start_again();
    let mut client = two.broker.client();
    assert!(lag(&mut client) > 0);
    assert_eq!(client.produce_code("moved", 0, &batch), ErrorCode::None);
    limit_moves(&mut client, "1000000000");
    two.wait_until_moved(&mut client, "moved", 1 - from);
    assert_eq!(client.fetch_all("moved", 0, 0).len(), 9);
    // Back, called off, and back again, across an orderly stop.
    limit_moves(&mut client, "500000");
    assert_eq!(two.ask(&mut client, "moved", &two.path(from)), ErrorCode::None);
    assert_eq!(two.ask(&mut client, "moved", &to), ErrorCode::None);
    wait_until("the move to be called off", WAIT_MAX, || {
        described(&mut client, &two.path(from), "moved").is_empty().then_some(())
    });
    assert_eq!(two.ask(&mut client, "moved", &two.path(from)), ErrorCode::None);
    two.broker.terminate();
    two.broker.start_again();
    let mut client = two.broker.client();
    limit_moves(&mut client, "1000000000");
    two.wait_until_moved(&mut client, "moved", from);
    assert_eq!(client.fetch_all("moved", 0, 0).len(), 9);
}

#[test]
fn what_cannot_be_moved_is_refused_with_kafkas_codes() {
    let two = Two::start("log-dirs-refused", BrokerOptions::default());
    let mut client = two.broker.client();
    let nowhere = two.ask(&mut client, "later", Path::new("/nowhere"));
    assert_eq!(nowhere, ErrorCode::LogDirNotFound);
    let long = "a".repeat(249);
    assert_eq!(two.ask(&mut client, &long, &two.path(0)), ErrorCode::InvalidTopicException);
    for (topic, i) in [("later", 1), ("latest", 1), ("last", 0)] {
        let unknown = two.ask(&mut client, topic, &two.path(i));
        assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition);
        client.create_topic(topic, 1, &[]);
        assert_eq!(two.home(&mut client, topic, 0), i, "{topic}");
    }
    assert_eq!(two.ask(&mut client, "later", &two.path(1)), ErrorCode::None);
}

/// What the metadata says of a topic's partitions.
fn partitions(client: &mut Client, topic: &str) -> Vec<MetadataResponsePartition> {
    let answer = client.ask(&MetadataRequest { topics: None, ..MetadataRequest::default() }, 9);
    let found = answer.topics.into_iter().find(|found| found.name.as_deref() == Some(topic));
    let mut partitions = found.expect("the topic is known").partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions
}

#[test]
fn a_failed_log_directorys_partitions_have_no_leader_until_it_is_back() {
    let options = BrokerOptions::default()
        .expecting_error("an append failed")
        .expecting_error("a partition is offline")
        .expecting_error("log directory is offline")
        .expecting_error("could not be")
        .expecting_error("1");
    let mut two = Two::start("log-dirs-leaders", options);
    let mut client = two.broker.client();
    client.create_topic("spread", 2, &[("segment.bytes", "1048576")]);
    let failing = i32::from(two.home(&mut client, "spread", 0) == 0);
    assert_eq!(two.home(&mut client, "spread", failing), 1);
    let batch = batch_of(BatchOptions::default(), &[&[b'x'; 100_000]]);
    for i in 0..2 {
        assert_eq!(client.produce_code("spread", i, &batch), ErrorCode::None);
    }
    let aside = two.dirs.join("aside");
    std::fs::rename(two.path(1), &aside).expect("it can be moved away");
    let mut acknowledged = 1;
    wait_until("the directory to fail", WAIT_MAX, || {
        assert_eq!(client.produce_code("spread", 1 - failing, &batch), ErrorCode::None);
        match client.produce_code("spread", failing, &batch) {
            ErrorCode::None => acknowledged += 1,
            ErrorCode::KafkaStorageError => return Some(()),
            other => panic!("{other:?}"),
        }
        None
    });
    let index = usize::try_from(failing).expect("it is 0 or 1");
    let check_leaderless = |client: &mut Client| {
        wait_until("the leadership to go", WAIT_MAX, || {
            (partitions(client, "spread")[index].leader_id == -1).then_some(())
        });
        let [lost, kept] = [index, 1 - index].map(|i| partitions(client, "spread")[i].clone());
        assert_eq!(code(lost.error_code), ErrorCode::LeaderNotAvailable);
        assert_eq!(lost.offline_replicas, [1]);
        assert_eq!((kept.leader_id, kept.error_code), (1, 0));
        assert!(kept.offline_replicas.is_empty());
    };
    check_leaderless(&mut client);
    let refused = client.produce_code("spread", failing, &batch);
    assert_eq!(refused, ErrorCode::KafkaStorageError);
    let bootstrap = two.broker.bootstrap();
    let args = ["--bootstrap-server", &bootstrap, "--describe", "--unavailable-partitions"];
    let said = Tools::kafka(TOPICS, &args, b"").ok().text();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("Partition: {failing}\tLeader: none")), "{said}");
    // Without it at the next start, and with it at the one after.
    two.broker.terminate();
    std::fs::remove_dir_all(two.path(1)).ok();
    std::fs::write(two.path(1), "a file, as a failed mount leaves none").expect("it can be made");
    two.broker.start_again();
    check_leaderless(&mut two.broker.client());
    two.broker.kill();
    std::fs::remove_file(two.path(1)).expect("it is there");
    std::fs::rename(&aside, two.path(1)).expect("it can be put back");
    two.broker.start_again();
    let mut client = two.broker.client();
    assert!(partitions(&mut client, "spread").iter().all(|p| p.leader_id == 1));
    assert!(client.end_offset("spread", failing) >= acknowledged, "nothing acknowledged is lost");
    assert_eq!(client.produce_code("spread", failing, &batch), ErrorCode::None);
}

/// A file system of its own on a loop device; unmounted when dropped.
struct FileSystem {
    dir: TempDir,
}

impl FileSystem {
    fn mount(name: &str) -> Self {
        let dir = TempDir::new(name);
        let image = dir.join("image");
        let file = std::fs::File::create(&image).expect("the image can be made");
        file.set_len(64 * 1024 * 1024).expect("it can be sparse");
        std::fs::create_dir(dir.join("mounted")).expect("the mount point can be made");
        run("mkfs.ext4", &["-q", "-F", &image.display().to_string()]);
        let this = Self { dir };
        let at = this.path().display().to_string();
        run("mount", &["-o", "loop", &image.display().to_string(), &at]);
        this
    }

    fn path(&self) -> PathBuf {
        self.dir.join("mounted")
    }

    /// As after an error in its journal: from now on it is read-only, open files included.
    fn fail(&self) {
        run("mount", &["-o", "remount,abort", &self.path().display().to_string()]);
    }

    fn mend(&self) {
        let (image, at) = (self.dir.join("image"), self.path());
        run("umount", &[&at.display().to_string()]);
        let checked = Command::new("e2fsck").arg("-fy").arg(&image).output();
        // Its status is 1 if it has mended something.
        let checked = checked.expect("e2fsck runs").status;
        assert!(checked.code().is_some_and(|code| code <= 1), "{checked}");
        run("mount", &["-o", "loop", &image.display().to_string(), &at.display().to_string()]);
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let path = self.path();
        // What a test made immutable; a test that has made nothing so needs nothing of it.
        drop(Tools::run(Command::new("chattr").args(["-R", "-f", "-i"]).arg(&path), b""));
        let done = Tools::run(Command::new("umount").arg("--lazy").arg(&path), b"");
        if !done.status.success() {
            eprintln!("{} stays mounted: {}", path.display(), done.stderr);
        }
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let _ = Tools::run(Command::new(program).args(args), b"").ok();
}

/// Whether the machine cannot do it and somebody knows.
fn is_excused() -> bool {
    let is_known =
        std::env::var_os("KLAMM_TEST_WITHOUT_POWER_CUTS").is_some_and(|value| value == "1");
    if is_known {
        println!("nothing failed: KLAMM_TEST_WITHOUT_POWER_CUTS says that this machine cannot");
    }
    is_known
}

/// Records with their numbers go to two partitions.
struct Numbered {
    client: Client,
    acknowledged: [usize; 2],
}

impl Numbered {
    fn produce(&mut self, i: usize) -> ErrorCode {
        let batch = numbered(self.acknowledged[i]);
        let code = self.client.produce_code("spread", index(i), &batch);
        self.acknowledged[i] += usize::from(code.is_none());
        code
    }
}

fn index(i: usize) -> i32 {
    i32::try_from(i).expect("it is 0 or 1")
}

/// A broker whose second directory is on a file system that is about to do something.
fn check_failing(name: &str, fail: fn(&FileSystem), mend: fn(&FileSystem)) {
    if is_excused() {
        return;
    }
    let disk = FileSystem::mount(&format!("{name}-disk"));
    let dirs = TempDir::new(&format!("{name}-dirs"));
    let bad = disk.path().join("data");
    let both = format!("{},{}", dirs.join("good").display(), bad.display());
    let options = BrokerOptions::default()
        .with("log.dirs", &both)
        .with("log.flush.offset.checkpoint.interval.ms", "500")
        .expecting_error(&disk.path().display().to_string())
        .expecting_error("an earlier");
    let mut broker = Broker::start_with(name, options);
    let mut client = broker.client();
    client.create_topic("spread", 2, &[("segment.bytes", "1048576")]);
    let is_bad =
        |i| described(&mut client, &bad, "spread").iter().any(|line| line.partition_index == i);
    let failing = usize::from(![0].into_iter().any(is_bad));
    let mut load = Numbered { client: broker.client(), acknowledged: [0, 0] };
    for i in [0, 1, 0, 1] {
        assert_eq!(load.produce(i), ErrorCode::None);
    }
    fail(&disk);
    let refusal = wait_until("the directory to fail", WAIT_MAX, || {
        assert_eq!(load.produce(1 - failing), ErrorCode::None);
        Some(load.produce(failing)).filter(|code| !code.is_none())
    });
    assert_eq!(refusal, ErrorCode::KafkaStorageError);
    wait_until("the leadership to go", WAIT_MAX, || {
        (partitions(&mut load.client, "spread")[failing].leader_id == -1).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(load.produce(1 - failing), ErrorCode::None);
        assert_eq!(load.produce(failing), ErrorCode::KafkaStorageError);
    }
    check_told(&broker, &bad);
    broker.kill();
    mend(&disk);
    broker.start_again();
    check_all_there(&mut broker.client(), load.acknowledged);
    drop(broker);
    drop(disk);
}

fn check_told(broker: &Broker, bad: &Path) {
    let lines = broker.log().all();
    let told = lines.iter().find(|line| line.contains("log directory is offline"));
    let told = told.expect("the log says so");
    for part in [&*bad.display().to_string(), "restart the node when the disk is sound"] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

fn check_all_there(client: &mut Client, acknowledged: [usize; 2]) {
    for (i, count) in acknowledged.into_iter().enumerate() {
        let records = client.fetch_all("spread", index(i), 0);
        assert!(records.len() >= count, "{} of {count}", records.len());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.value.as_deref(), Some(n.to_string().as_bytes()));
        }
        let next = numbered(records.len());
        assert_eq!(client.produce_code("spread", index(i), &next), ErrorCode::None);
    }
}

#[test]
fn a_log_directory_that_becomes_read_only_takes_its_partitions_offline_and_loses_nothing() {
    check_failing("log-dirs-read-only", FileSystem::fail, FileSystem::mend);
}

#[test]
fn a_log_directory_that_may_not_be_written_any_more_takes_its_partitions_offline() {
    // Root may do whatever the permissions say, but not this.
    let forbid = |disk: &FileSystem| {
        run("chattr", &["-R", "+i", &disk.path().join("data").display().to_string()]);
    };
    let allow = |disk: &FileSystem| {
        run("chattr", &["-R", "-i", &disk.path().join("data").display().to_string()]);
    };
    check_failing("log-dirs-forbidden", forbid, allow);
}
