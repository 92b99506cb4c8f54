//! The runtime for replicated state machines on internal topics.
