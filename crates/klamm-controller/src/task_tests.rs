//! Tests of [`super::task`]: a real thread over a log in memory.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use klamm_env::real;
use klamm_metadata::{
    Changes, Loader, MetadataHandle, MetadataImage, MetadataVersion, Publisher, bootstrap_records,
};
use klamm_model::{ErrorCode, LeaderEpoch, NodeId, Offset};
use klamm_persisted::metadata::MetadataRecord;

use crate::testing::{CLUSTER_ID, TestRules, to_register};
use crate::{
    Activation, BrokerHeartbeat, Controller, ControllerHandle, ControllerParts, ControllerResult,
    Layout, MetadataLog, Mode, NewTopic, Settings, start,
};

#[derive(Default)]
struct Appended {
    frames: Vec<Bytes>,
    appends: usize,
    refuse: Option<ErrorCode>,
}

/// A log that a test can look into and make fail.
#[derive(Clone, Default)]
struct MemoryLog(Arc<Mutex<Appended>>);

impl MetadataLog for MemoryLog {
    fn next_offset(&self) -> Offset {
        Offset(self.0.lock().unwrap().frames.len() as i64)
    }

    fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(3)
    }

    fn append(&mut self, batches: &[Vec<Bytes>]) -> Result<Vec<Offset>, ErrorCode> {
        let mut log = self.0.lock().unwrap();
        if let Some(code) = log.refuse {
            return Err(code);
        }
        log.appends += 1;
        let mut last = Vec::new();
        for batch in batches {
            log.frames.extend(batch.iter().cloned());
            last.push(Offset(log.frames.len() as i64 - 1));
        }
        Ok(last)
    }
}

/// Tells a test what was published.
struct Telling(Sender<(Changes, Arc<MetadataImage>)>);

impl Publisher for Telling {
    fn publish(&mut self, changes: &Changes, image: &Arc<MetadataImage>) {
        drop(self.0.send((changes.clone(), Arc::clone(image))));
    }
}

struct Started {
    handle: ControllerHandle,
    log: MemoryLog,
    published: Receiver<(Changes, Arc<MetadataImage>)>,
    thread: std::thread::JoinHandle<()>,
}

impl Started {
    /// A new cluster with broker 1 registered and unfenced.
    fn new(session_timeout_ms: u64) -> Self {
        let log = MemoryLog::default();
        let (sender, published) = channel();
        let settings =
            Settings { broker_session_timeout_ms: session_timeout_ms, ..Settings::new(CLUSTER_ID) };
        let (handle, thread) = start(ControllerParts {
            env: real::env(),
            controller: Controller::new(settings, Arc::new(TestRules)),
            log: Box::new(log.clone()),
            metadata: MetadataHandle::default(),
            publishers: vec![Box::new(Telling(sender))],
        })
        .unwrap();
        let records = bootstrap_records(MetadataVersion::LATEST_STABLE);
        assert_eq!(handle.activate_blocking(records), Ok(Activation::Bootstrapped));
        let epoch = handle.register_broker_blocking(to_register(1)).unwrap().unwrap();
        let heartbeat = BrokerHeartbeat::new(NodeId(1), epoch, Offset(epoch.0));
        assert!(!handle.broker_heartbeat_blocking(heartbeat).unwrap().unwrap().fenced);
        Self { handle, log, published, thread }
    }

    /// The image that the log's bytes make.
    fn replayed(&self) -> MetadataImage {
        let mut loader = Loader::new(&MetadataImage::default());
        for frame in &self.log.0.lock().unwrap().frames {
            loader.replay(&MetadataRecord::from_frame(frame.clone()).unwrap().0).unwrap();
        }
        loader.image().clone()
    }
}

fn topic(name: &str) -> NewTopic {
    let layout = Layout::Automatic { partition_count: 1, replication_factor: 1 };
    NewTopic { name: name.into(), layout, configs: Vec::new() }
}

const LONG_MS: u64 = 3_600_000;

#[test]
fn what_is_answered_is_committed_and_published() {
    let started = Started::new(LONG_MS);
    let results = started.handle.create_topics_blocking(vec![topic("a")], Mode::Apply).unwrap();
    let id = results[0].1.as_ref().unwrap().id;
    let image = started.handle.metadata().image();
    assert_eq!(image.topics.id("a"), Some(id));
    assert!(started.replayed().says_the_same(&image));
    assert_eq!(image.provenance.next_offset, started.log.next_offset());
    assert_eq!(image.provenance.epoch, LeaderEpoch(3));
    let (changes, published) = started.published.try_iter().last().unwrap();
    assert!(changes.topics_created.contains(&id) && Arc::ptr_eq(&published, &image));
}

#[test]
fn a_brokers_epoch_is_the_offset_of_its_record() {
    let started = Started::new(LONG_MS);
    let epoch = started.replayed().cluster.broker(NodeId(1)).unwrap().epoch;
    let frame = started.log.0.lock().unwrap().frames[epoch.0 as usize].clone();
    let (record, _) = MetadataRecord::from_frame(frame).unwrap();
    assert!(matches!(record, MetadataRecord::RegisterBroker(r) if r.broker_epoch == epoch.0));
}

#[test]
fn requests_that_wait_together_see_each_other_and_are_one_append() {
    let started = Started::new(LONG_MS);
    let (hold, held) = channel::<()>();
    let (entered, inside) = channel::<()>();
    let blocker = started.handle.clone();
    let blocker = std::thread::spawn(move || {
        blocker.run_blocking(move |_, _| {
            entered.send(()).unwrap();
            held.recv().unwrap();
            ControllerResult::unchanged(())
        })
    });
    inside.recv().unwrap();
    let appends = started.log.0.lock().unwrap().appends;
    let asking = ["a", "a", "b"].map(|name| {
        let handle = started.handle.clone();
        std::thread::spawn(move || handle.create_topics_blocking(vec![topic(name)], Mode::Apply))
    });
    while started.handle.waiting() < asking.len() {
        std::thread::yield_now();
    }
    hold.send(()).unwrap();
    blocker.join().unwrap().unwrap();
    let [one, two, other] = asking.map(|thread| thread.join().unwrap().unwrap().remove(0).1);
    assert!(other.is_ok());
    let refused = if one.is_ok() { two } else { one };
    assert_eq!(refused.unwrap_err().code, ErrorCode::TopicAlreadyExists);
    assert_eq!(started.replayed().topics.len(), 2);
    assert_eq!(started.log.0.lock().unwrap().appends, appends + 1);
}

#[test]
fn a_failed_append_publishes_nothing_and_ends_all_decisions() {
    let started = Started::new(LONG_MS);
    let before = started.handle.metadata().image();
    started.published.try_iter().for_each(drop);
    started.log.0.lock().unwrap().refuse = Some(ErrorCode::KafkaStorageError);
    let create = || started.handle.create_topics_blocking(vec![topic("a")], Mode::Apply);
    assert_eq!(create().unwrap_err().code, ErrorCode::KafkaStorageError);
    started.log.0.lock().unwrap().refuse = None;
    assert_eq!(create().unwrap_err().code, ErrorCode::NotController);
    assert!(Arc::ptr_eq(&before, &started.handle.metadata().image()));
    assert_eq!(started.published.try_iter().count(), 0);
    assert!(started.replayed().says_the_same(&before));
}

#[test]
fn a_decision_that_changes_nothing_is_neither_appended_nor_published() {
    let started = Started::new(LONG_MS);
    let appends = started.log.0.lock().unwrap().appends;
    started.published.try_iter().for_each(drop);
    let results = started.handle.create_topics_blocking(vec![topic("a")], Mode::ValidateOnly);
    assert!(results.unwrap()[0].1.is_ok());
    assert_eq!(started.log.0.lock().unwrap().appends, appends);
    assert_eq!(started.published.try_iter().count(), 0);
}

#[test]
fn a_silent_broker_is_fenced_without_anyone_asking() {
    let started = Started::new(20);
    let fenced = |image: &MetadataImage| image.cluster.broker(NodeId(1)).is_some_and(|b| b.fenced);
    // Registered fenced, then unfenced, then fenced by its silence.
    let states: Vec<bool> =
        started.published.iter().skip(1).map(|(_, i)| fenced(&i)).take(3).collect();
    assert_eq!(states, [true, false, true]);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let Started { handle, thread, .. } = Started::new(LONG_MS);
    drop(handle);
    thread.join().unwrap();
}
