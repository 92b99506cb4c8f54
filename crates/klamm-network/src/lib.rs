//! Listeners, connections and memory permits. Knows frames (a length and bytes), nothing of what
//! is in them.
//!
//! An accepted connection is dealt to one worker and stays there. Its task reads frames, hands
//! each to the connection's [`Session`], and writes the replies in the order of the requests.
//! There is no hand-off: a request runs to its end, or to its first wait, in the task that read it.

mod connection;
mod frames;
mod in_flight;
mod options;
mod outbox;
mod permits;
mod pool;
mod reply;
mod server;
mod slots;
mod stats;
mod tag;
mod worker;
mod worker_shared;

pub use options::{NetworkOptions, StopGrace};
pub use permits::{MemoryPermit, MemoryPermits};
pub use reply::{Call, FRAME_LEN_BYTES, Reply, Response};
pub use server::{Network, ServiceFactory};
pub use stats::{NetworkStats, NetworkStatsSnapshot};

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

/// Makes the sessions of one worker's connections. It is made on the worker and stays there.
pub trait Service {
    /// A connection was accepted.
    fn open(&self, peer: &Peer) -> Box<dyn Session>;
}

/// One connection's half of the conversation.
pub trait Session {
    /// Whether the frame may start while earlier ones of its kind are unanswered. All others
    /// start only when everything before them is answered, as Kafka does with every request.
    fn is_pipelined(&self, frame: &[u8]) -> bool;

    /// Handles a frame, without its length.
    fn call(&mut self, frame: Bytes) -> Call;
}

/// Where a connection comes from and which door it used.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other side.
    pub address: SocketAddr,
    /// The listener's name, such as `PLAINTEXT`.
    pub listener: Rc<str>,
    /// Position of the listener in [`NetworkOptions`].
    pub listener_index: usize,
    /// A number that no other connection of this process has.
    pub connection_id: u64,
}
