//! KRaft consensus over one log.
