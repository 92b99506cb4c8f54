//! Who sent a request.

use std::net::SocketAddr;
use std::rc::Rc;

use klamm_protocol::Listener;
use klamm_stdx::Str;

/// The sender of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// What the client calls itself; empty if it does not.
    pub(crate) client_id: Str,
    /// Where it connects from.
    pub(crate) address: SocketAddr,
    /// The name of the listener that it used.
    pub(crate) listener_name: Rc<str>,
    /// What that listener is for.
    pub(crate) listener: Listener,
}

impl Caller {
    /// The client's host as Kafka writes it in group metadata: a slash and the address.
    pub(crate) fn host(&self) -> Str {
        Str::from(format!("/{}", self.address.ip()))
    }
}
