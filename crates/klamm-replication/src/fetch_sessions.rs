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

use std::collections::HashMap;
use std::hash::Hash;

use klamm_env::Moment;

use crate::fetch_session::{
    Answer, Session, SessionError, SessionRef, SessionRequest, Told, Wanted, Worth,
};

/// A session that was not used for this long may give its place to any other.
const IDLE_BEFORE_EVICTION_MS: u64 = 120_000;

/// The sessions of a broker, at most `sessions_max`.
#[derive(Debug)]
pub struct FetchSessions<K> {
    sessions: HashMap<i32, Session<K>>,
    sessions_max: usize,
    evictions: u64,
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
        let mut session = Session::new(request.by_topic_id, now);
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
            (!is_idle, if is_idle { 0 } else { s.len() }, s.used_at)
        });
        let Some((&id, session)) = worst else { return false };
        let is_idle = session.used_at.plus_ms(IDLE_BEFORE_EVICTION_MS) <= now;
        if !is_idle && session.len() >= n_partitions {
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
        let is_first = matches!(answer, Answer::Started(_));
        let tell = |(key, told, worth): &(K, Told, Worth)| {
            let is_news = session.tell(key, *told, *worth);
            is_first || is_news
        };
        lines.iter().map(tell).collect()
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

fn following(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests;
