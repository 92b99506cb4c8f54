//! Incremental fetch sessions (KIP-227): a client names its partitions once and then only what
//! changed, and is told only what changed.
//!
//! ```text
//!   full request, epoch 0 ──▶ session with epoch 1 ──▶ request with epoch 1, 2, 3 …
//!                                     │ request with epoch -1, eviction
//!                                     ▼
//!                                   gone: the next request gets FETCH_SESSION_ID_NOT_FOUND
//! ```
//! A pure core: knows no partition, no request type and no clock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use klamm_env::Moment;
use klamm_model::{LeaderEpoch, Offset};

/// A session that was not used for this long may give its place to any other.
const IDLE_BEFORE_EVICTION_MS: u64 = 120_000;

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

#[derive(Debug)]
struct Session<K> {
    next_epoch: i32,
    by_topic_id: bool,
    used_at: Moment,
    /// Partitions in the order in which they are served: who had data goes to the end.
    order: BTreeMap<u64, K>,
    entries: HashMap<K, Entry>,
    next_turn: u64,
}

/// The sessions of a broker, at most `sessions_max`.
#[derive(Debug)]
pub struct FetchSessions<K> {
    sessions: HashMap<i32, Session<K>>,
    sessions_max: usize,
    evictions: u64,
}

impl<K: Clone + Eq + Hash> Session<K> {
    fn put(&mut self, key: K, wanted: Wanted) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = wanted;
            return;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.order.insert(turn, key.clone());
        self.entries.insert(key, Entry { turn, wanted, told: Told::default() });
    }

    fn remove(&mut self, key: &K) {
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

    fn wanted(&self) -> Vec<(K, Wanted)> {
        self.order.values().map(|key| (key.clone(), self.entries[key].wanted)).collect()
    }
}

impl<K: Clone + Eq + Hash> FetchSessions<K> {
    /// Room for `sessions_max` sessions (`max.incremental.fetch.session.cache.slots`).
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self { sessions: HashMap::new(), sessions_max, evictions: 0 }
    }

    /// A request arrived: what it wants in all, in serving order, and how to answer it.
    /// `fresh_id` is a random number for a session that may begin.
    ///
    /// # Errors
    /// The request does not fit its session.
    pub fn on_request(
        &mut self,
        now: Moment,
        fresh_id: i32,
        request: SessionRequest<K>,
    ) -> Result<(Answer, Vec<(K, Wanted)>), SessionError> {
        let SessionRef { id, epoch } = request.session;
        if epoch <= 0 {
            self.sessions.remove(&id);
            if epoch < 0
                || request.partitions.is_empty()
                || !self.make_room(now, request.partitions.len())
            {
                return Ok((Answer::Whole, request.partitions));
            }
            return Ok(self.begin(now, fresh_id, request));
        }
        let session = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.next_epoch != epoch {
            return Err(SessionError::Epoch);
        }
        if session.by_topic_id != request.by_topic_id {
            return Err(SessionError::TopicNaming);
        }
        session.next_epoch = following(epoch);
        session.used_at = now;
        for (key, wanted) in request.partitions {
            session.put(key, wanted);
        }
        for key in &request.forgotten {
            session.remove(key);
        }
        let wanted = session.wanted();
        if wanted.is_empty() {
            self.sessions.remove(&id);
            return Ok((Answer::Whole, wanted));
        }
        Ok((Answer::Changed(id), wanted))
    }

    fn begin(
        &mut self,
        now: Moment,
        fresh_id: i32,
        request: SessionRequest<K>,
    ) -> (Answer, Vec<(K, Wanted)>) {
        let mut id = fresh_id.checked_abs().unwrap_or(1).max(1);
        while self.sessions.contains_key(&id) {
            id = following(id);
        }
        let mut session = Session {
            next_epoch: 1,
            by_topic_id: request.by_topic_id,
            used_at: now,
            order: BTreeMap::new(),
            entries: HashMap::new(),
            next_turn: 0,
        };
        for (key, wanted) in &request.partitions {
            session.put(key.clone(), *wanted);
        }
        self.sessions.insert(id, session);
        (Answer::Started(id), request.partitions)
    }

    /// Whether there is, or could be made, room for a session of `n_partitions`: a session that
    /// is idle, or has fewer partitions and thus gains less, gives way.
    fn make_room(&mut self, now: Moment, n_partitions: usize) -> bool {
        if self.sessions_max == 0 {
            return false;
        }
        if self.sessions.len() < self.sessions_max {
            return true;
        }
        let worst = self.sessions.iter().min_by_key(|(_, s)| {
            let is_idle = s.used_at.plus_ms(IDLE_BEFORE_EVICTION_MS) <= now;
            (!is_idle, if is_idle { 0 } else { s.entries.len() }, s.used_at)
        });
        let Some((&id, session)) = worst else { return false };
        let is_idle = session.used_at.plus_ms(IDLE_BEFORE_EVICTION_MS) <= now;
        if !is_idle && session.entries.len() >= n_partitions {
            return false;
        }
        self.sessions.remove(&id);
        self.evictions += 1;
        true
    }

    /// An answer is about to leave: which of its partitions the client must be told. `lines` has,
    /// for each partition, what it would be told and whether that alone is worth telling (records,
    /// an error, a divergence).
    #[must_use]
    pub fn on_answer(&mut self, answer: Answer, lines: &[(K, Told, Worth)]) -> Vec<bool> {
        let session = self.sessions.get_mut(&answer.session_id());
        let Some(session) = session else { return vec![true; lines.len()] };
        let mut tell = Vec::with_capacity(lines.len());
        for (key, told, worth) in lines {
            let Some(entry) = session.entries.get_mut(key) else {
                tell.push(true);
                continue;
            };
            let has_changed = entry.told != *told;
            entry.told = if *worth == Worth::Error { Told::default() } else { *told };
            tell.push(
                matches!(answer, Answer::Started(_)) || has_changed || *worth != Worth::Nothing,
            );
            if *worth == Worth::Records {
                session.serve_last(key);
            }
        }
        tell
    }

    /// Sessions now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions that had to give way since the start.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
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

fn following(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(fetch_offset: i64) -> Wanted {
        Wanted {
            fetch_offset: Offset(fetch_offset),
            bytes_max: 1_000,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        }
    }

    fn request(
        id: i32,
        epoch: i32,
        partitions: &[(&'static str, i64)],
    ) -> SessionRequest<&'static str> {
        SessionRequest {
            session: SessionRef { id, epoch },
            by_topic_id: true,
            partitions: partitions.iter().map(|(key, offset)| (*key, wanted(*offset))).collect(),
            forgotten: Vec::new(),
        }
    }

    fn told(high_watermark: i64) -> Told {
        Told { high_watermark: Some(Offset(high_watermark)), log_start_offset: Some(Offset(0)) }
    }

    fn started() -> FetchSessions<&'static str> {
        let mut sessions = FetchSessions::new(2);
        let begun =
            sessions.on_request(Moment(0), 7, request(0, 0, &[("a", 0), ("b", 0)])).unwrap();
        assert_eq!(begun.0, Answer::Started(7));
        let lines = [("a", told(0), Worth::Nothing), ("b", told(0), Worth::Nothing)];
        assert_eq!(sessions.on_answer(begun.0, &lines), [true, true]);
        sessions
    }

    #[test]
    fn a_session_remembers_what_the_client_wants_and_takes_changes() {
        let mut sessions = started();
        let (answer, all) = sessions.on_request(Moment(1), 0, request(7, 1, &[("b", 5)])).unwrap();
        assert_eq!(answer, Answer::Changed(7));
        assert_eq!(all, [("a", wanted(0)), ("b", wanted(5))]);
        let mut third = request(7, 2, &[]);
        third.forgotten = vec!["a"];
        assert_eq!(sessions.on_request(Moment(2), 0, third).unwrap().1, [("b", wanted(5))]);
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut sessions = started();
        let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
        let lines = [("a", told(0), Worth::Nothing), ("b", told(4), Worth::Nothing)];
        assert_eq!(sessions.on_answer(answer, &lines), [false, true]);
        let lines = [("a", told(0), Worth::Records), ("b", told(4), Worth::Nothing)];
        assert_eq!(sessions.on_answer(answer, &lines), [true, false]);
    }

    #[test]
    fn who_had_records_is_served_last_the_next_time() {
        let mut sessions = started();
        let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
        let _ = sessions.on_answer(answer, &[("a", told(1), Worth::Records)]);
        let (_, all) = sessions.on_request(Moment(2), 0, request(7, 2, &[])).unwrap();
        assert_eq!(all.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn an_error_is_told_again_when_it_is_over() {
        let mut sessions = started();
        let (answer, _) = sessions.on_request(Moment(1), 0, request(7, 1, &[])).unwrap();
        assert_eq!(sessions.on_answer(answer, &[("a", Told::default(), Worth::Error)]), [true]);
        assert_eq!(sessions.on_answer(answer, &[("a", told(0), Worth::Nothing)]), [true]);
        assert_eq!(sessions.on_answer(answer, &[("a", told(0), Worth::Nothing)]), [false]);
    }

    #[test]
    fn a_request_out_of_turn_or_of_a_lost_session_is_refused() {
        let mut sessions = started();
        assert_eq!(
            sessions.on_request(Moment(1), 0, request(8, 1, &[])),
            Err(SessionError::NotFound)
        );
        assert_eq!(sessions.on_request(Moment(1), 0, request(7, 2, &[])), Err(SessionError::Epoch));
        let mut by_name = request(7, 1, &[]);
        by_name.by_topic_id = false;
        assert_eq!(sessions.on_request(Moment(1), 0, by_name), Err(SessionError::TopicNaming));
    }

    #[test]
    fn the_final_epoch_ends_the_session() {
        let mut sessions = started();
        let (answer, _) = sessions.on_request(Moment(1), 0, request(7, -1, &[("a", 0)])).unwrap();
        assert_eq!(answer, Answer::Whole);
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_full_house_takes_a_new_session_only_in_place_of_an_idle_or_smaller_one() {
        let mut sessions = started();
        sessions.on_request(Moment(0), 9, request(0, 0, &[("x", 0)])).unwrap();
        let small = sessions.on_request(Moment(1), 11, request(0, 0, &[("y", 0)])).unwrap();
        assert_eq!(small.0, Answer::Whole);
        let larger =
            sessions.on_request(Moment(1), 11, request(0, 0, &[("y", 0), ("z", 0)])).unwrap();
        assert_eq!(larger.0, Answer::Started(11));
        assert_eq!(sessions.evictions(), 1);
        let later = Moment(0).plus_ms(IDLE_BEFORE_EVICTION_MS + 1);
        let idle = sessions.on_request(later, 13, request(0, 0, &[("q", 0)])).unwrap();
        assert_eq!(idle.0, Answer::Started(13));
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!(following(i32::MAX), 1);
    }
}
