//! The places of connections: so many may be open, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::options::NetworkOptions;

/// A place among the connections that may be open; freed when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    pub(crate) ip: IpAddr,
}

/// Counts connections, in all and by address.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Slots {
    /// A place for `ip`; `None` if a cap is reached.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr, options: &NetworkOptions) -> Option<Slot> {
        let mut open = self.open.lock().expect("no holder of this lock can panic");
        let total: usize = open.values().sum();
        let of_ip = open.get(&ip).copied().unwrap_or(0);
        if total >= options.connections_max || of_ip >= options.connections_per_ip_max {
            return None;
        }
        *open.entry(ip).or_default() += 1;
        Some(Slot { slots: Arc::clone(self), ip })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().expect("no holder of this lock can panic");
        if let Some(n) = open.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                open.remove(&self.ip);
            }
        }
    }
}
