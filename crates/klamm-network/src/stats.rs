//! Counters of the network layer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters; read them with [`NetworkStats::snapshot`].
        #[derive(Debug, Default)]
        pub struct NetworkStats {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        /// A reading of [`NetworkStats`].
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct NetworkStatsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl NetworkStats {
            /// All counters as they are now.
            #[must_use]
            pub fn snapshot(&self) -> NetworkStatsSnapshot {
                NetworkStatsSnapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

stats! {
    /// Connections that are open.
    connections_open,
    /// Connections accepted since the start.
    connections_accepted,
    /// Connections refused because a cap was reached.
    connections_refused,
    /// Connections closed because they were idle.
    connections_expired,
    /// Connections closed because a frame was malformed or too large.
    connections_faulty,
    /// Bytes of frames received.
    bytes_in,
    /// Bytes of frames sent.
    bytes_out,
}

impl NetworkStats {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }
}
