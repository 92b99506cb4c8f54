//! Listeners, connections and memory permits.
