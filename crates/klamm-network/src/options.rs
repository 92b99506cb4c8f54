//! Bounds and sizes of the network layer.

use std::time::Duration;

/// How long connections may take to end when the node stops.
#[derive(Debug, Clone, Copy)]
pub struct StopGrace(pub Duration);

/// Bounds and sizes of the network layer.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Names of the listeners, in the order in which they are given to
    /// [`Network::start`](crate::Network::start).
    pub listeners: Vec<String>,
    /// Worker threads (`num.network.threads`), at least 1.
    pub workers: usize,
    /// Largest frame (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Bytes of all requests that are read or handled at once (`queued.max.request.bytes`).
    pub request_bytes_max: usize,
    /// Pipelined requests of one connection that may be unanswered.
    pub requests_in_flight_max: usize,
    /// Connections at once (`max.connections`).
    pub connections_max: usize,
    /// Connections at once from one address (`max.connections.per.ip`).
    pub connections_per_ip_max: usize,
    /// A connection without requests for this long is closed (`connections.max.idle.ms`).
    pub idle_max: Duration,
    /// Patience at the stop.
    pub stop_grace: StopGrace,
}
