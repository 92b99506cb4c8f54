//! Who waits for a partition: fetches for records, produces for their commit.
//!
//! An append that nobody waits for costs one atomic load here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use klamm_log::Urgency;
use klamm_model::Offset;
use tokio::sync::Notify;

/// Tells one waiting fetch which of its partitions have moved.
#[derive(Debug, Default)]
pub struct FetchSignal(Mutex<Moved>);

#[derive(Debug, Default)]
struct Moved {
    places: BTreeSet<usize>,
    waker: Option<Waker>,
}

impl FetchSignal {
    fn flag(&self, place: usize) {
        let mut moved = lock(&self.0);
        moved.places.insert(place);
        if let Some(waker) = moved.waker.take() {
            waker.wake();
        }
    }

    /// The places in the fetch whose partitions have moved since the last question; pending
    /// while there is none.
    pub fn poll_moved(&self, cx: &mut Context<'_>) -> Poll<Vec<usize>> {
        let mut moved = lock(&self.0);
        if moved.places.is_empty() {
            moved.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut moved.places).into_iter().collect())
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_key: u64,
    fetches: HashMap<u64, (Arc<FetchSignal>, usize)>,
    /// By the offset that must be committed.
    commits: BTreeMap<(Offset, u64), Waker>,
    watchers: Vec<Arc<Notify>>,
}

/// A registration that ends when it is dropped.
#[derive(Debug)]
pub(crate) enum WaiterKey {
    Fetch(u64),
    Commit(Offset, u64),
}

impl Waiters {
    pub(crate) fn add_fetch(&self, signal: &Arc<FetchSignal>, place: usize) -> WaiterKey {
        let mut inner = lock(&self.inner);
        let key = inner.take_key();
        inner.fetches.insert(key, (Arc::clone(signal), place));
        self.count.fetch_add(1, Ordering::SeqCst);
        WaiterKey::Fetch(key)
    }

    pub(crate) fn add_commit(&self, last_offset: Offset, waker: &Waker) -> WaiterKey {
        let mut inner = lock(&self.inner);
        let key = inner.take_key();
        inner.commits.insert((last_offset, key), waker.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        WaiterKey::Commit(last_offset, key)
    }

    /// The same commit is waited for by another waker.
    pub(crate) fn renew_commit(&self, key: &WaiterKey, waker: &Waker) {
        if let WaiterKey::Commit(offset, key) = key
            && let Some(known) = lock(&self.inner).commits.get_mut(&(*offset, *key))
            && !known.will_wake(waker)
        {
            *known = waker.clone();
        }
    }

    pub(crate) fn remove(&self, key: &WaiterKey) {
        let mut inner = lock(&self.inner);
        let was_there = match key {
            WaiterKey::Fetch(key) => inner.fetches.remove(key).is_some(),
            WaiterKey::Commit(offset, key) => inner.commits.remove(&(*offset, *key)).is_some(),
        };
        if was_there {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Is told of every move, for good.
    pub(crate) fn add_watcher(&self, notify: Arc<Notify>) {
        lock(&self.inner).watchers.push(notify);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether anybody waits for what is appended now.
    pub(crate) fn urgency(&self) -> Urgency {
        if self.count.load(Ordering::SeqCst) == 0 { Urgency::Soon } else { Urgency::Now }
    }

    /// The high watermark or the last stable offset moved.
    pub(crate) fn on_advance(&self, high_watermark: Offset) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let inner = lock(&self.inner);
        inner.fetches.values().for_each(|(signal, place)| signal.flag(*place));
        let committed = inner.commits.range(..(high_watermark, 0));
        committed.for_each(|(_, waker)| waker.wake_by_ref());
        inner.watchers.iter().for_each(|watcher| watcher.notify_one());
    }

    /// The partition is no longer led here: whoever waits has to look again.
    pub(crate) fn wake_all(&self) {
        let inner = lock(&self.inner);
        inner.fetches.values().for_each(|(signal, place)| signal.flag(*place));
        inner.commits.values().for_each(Waker::wake_by_ref);
        inner.watchers.iter().for_each(|watcher| watcher.notify_one());
    }
}

impl Inner {
    fn take_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_commit_is_woken_when_the_high_watermark_passes_its_last_record() {
        let waiters = Waiters::default();
        let flag = Arc::new(Flag::default());
        let key = waiters.add_commit(Offset(5), &Waker::from(Arc::clone(&flag)));
        waiters.on_advance(Offset(5));
        assert!(!flag.0.load(Ordering::SeqCst));
        waiters.on_advance(Offset(6));
        assert!(flag.0.load(Ordering::SeqCst));
        waiters.remove(&key);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_fetch_learns_which_of_its_partitions_moved() {
        let signal = Arc::new(FetchSignal::default());
        let (first, second) = (Waiters::default(), Waiters::default());
        let _a = first.add_fetch(&signal, 0);
        let _b = second.add_fetch(&signal, 1);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(signal.poll_moved(&mut cx), Poll::Pending);
        second.on_advance(Offset(1));
        second.on_advance(Offset(2));
        assert_eq!(signal.poll_moved(&mut cx), Poll::Ready(vec![1]));
        assert_eq!(signal.poll_moved(&mut cx), Poll::Pending);
    }
}
