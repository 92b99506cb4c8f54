//! One incremental fetch session (KIP-227): what a client wants, in the order in which it is
//! served, and what it was told last.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use klamm_env::Moment;
use klamm_model::{LeaderEpoch, Offset};

/// What a client wants of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first record it does not have.
    pub fetch_offset: Offset,
    /// At most this many bytes.
    pub bytes_max: u32,
    /// The leader epoch it believes in.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record it has.
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// What a client was last told of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// The high watermark; `None` before the first answer or after an error.
    pub high_watermark: Option<Offset>,
    /// The log start offset.
    pub log_start_offset: Option<Offset>,
}

/// Which session a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRef {
    /// Its id; 0 for none.
    pub id: i32,
    /// The request's number in it; 0 begins a session, -1 ends it.
    pub epoch: i32,
}

/// Why a request does not fit its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    /// The session was evicted or never was.
    NotFound,
    /// The request is not the next one.
    Epoch,
    /// The session names topics by id and the request by name, or the other way round.
    TopicNaming,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With everything, and no session.
    Whole,
    /// With everything, and this new session.
    Started(i32),
    /// With what changed, in this session.
    Changed(i32),
}

impl Answer {
    /// The session id of the response.
    #[must_use]
    pub fn session_id(self) -> i32 {
        match self {
            Self::Whole => 0,
            Self::Started(id) | Self::Changed(id) => id,
        }
    }
}

/// A request as the sessions see it.
#[derive(Debug, Clone)]
pub struct SessionRequest<K> {
    /// Its session.
    pub session: SessionRef,
    /// Whether topics are named by id.
    pub by_topic_id: bool,
    /// New or changed partitions.
    pub partitions: Vec<(K, Wanted)>,
    /// Partitions that the client no longer wants.
    pub forgotten: Vec<K>,
}

#[derive(Debug)]
struct Entry {
    turn: u64,
    wanted: Wanted,
    told: Told,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session<K> {
    pub(crate) next_epoch: i32,
    pub(crate) by_topic_id: bool,
    pub(crate) used_at: Moment,
    /// Partitions in the order in which they are served: who had data goes to the end.
    order: BTreeMap<u64, K>,
    entries: HashMap<K, Entry>,
    next_turn: u64,
}

impl<K: Clone + Eq + Hash> Session<K> {
    /// A session that begins now, with nothing wanted yet.
    pub(crate) fn new(by_topic_id: bool, now: Moment) -> Self {
        Self {
            next_epoch: 1,
            by_topic_id,
            used_at: now,
            order: BTreeMap::new(),
            entries: HashMap::new(),
            next_turn: 0,
        }
    }

    /// How many partitions are wanted.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn put(&mut self, key: K, wanted: Wanted) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = wanted;
            return;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.order.insert(turn, key.clone());
        self.entries.insert(key, Entry { turn, wanted, told: Told::default() });
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.turn);
        }
    }

    fn serve_last(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.order.remove(&entry.turn);
        entry.turn = self.next_turn;
        self.next_turn += 1;
        self.order.insert(entry.turn, key.clone());
    }

    /// A partition's line is about to leave; whether the client must be told of it.
    pub(crate) fn tell(&mut self, key: &K, told: Told, worth: Worth) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        let has_changed = entry.told != told;
        entry.told = if worth == Worth::Error { Told::default() } else { told };
        if worth == Worth::Records {
            self.serve_last(key);
        }
        has_changed || worth != Worth::Nothing
    }

    /// All that is wanted, in the order in which it is served.
    pub(crate) fn wanted(&self) -> Vec<(K, Wanted)> {
        self.order.values().map(|key| (key.clone(), self.entries[key].wanted)).collect()
    }
}

/// Why a partition is in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Only if its offsets changed.
    Nothing,
    /// It has records.
    Records,
    /// It has an error, or the client's log diverges.
    Error,
}
