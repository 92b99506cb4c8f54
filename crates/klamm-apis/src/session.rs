//! One connection's conversation: header, dispatch, answer.

use std::rc::Rc;

use bytes::Bytes;
use klamm_codec::Reader;
use klamm_network::{Call, Peer, Reply, Service, Session};
use klamm_protocol::{ApiKey, Listener, RequestHead};

use crate::Context;
use crate::caller::Caller;
use crate::registry;

/// The APIs behind a worker's connections.
#[derive(Debug)]
pub struct ApiService {
    ctx: Rc<Context>,
    /// What each listener is for, in the network's order.
    listeners: Vec<Listener>,
}

impl ApiService {
    /// Serves `ctx` at listeners of these kinds.
    #[must_use]
    pub fn new(ctx: Rc<Context>, listeners: Vec<Listener>) -> Self {
        Self { ctx, listeners }
    }
}

impl Service for ApiService {
    fn open(&self, peer: &Peer) -> Box<dyn Session> {
        Box::new(ApiSession {
            ctx: Rc::clone(&self.ctx),
            peer: peer.clone(),
            listener: self.listeners[peer.listener_index],
            last_caller: None,
        })
    }
}

struct ApiSession {
    ctx: Rc<Context>,
    peer: Peer,
    listener: Listener,
    /// Clients do not change their name: one caller serves all requests of a connection.
    last_caller: Option<Rc<Caller>>,
}

impl ApiSession {
    fn caller(&mut self, head: &RequestHead) -> Rc<Caller> {
        let client_id = head.client_id.as_ref();
        match &self.last_caller {
            Some(caller) if Some(&caller.client_id) == client_id => Rc::clone(caller),
            _ => {
                let caller = Rc::new(Caller {
                    client_id: client_id.map(klamm_stdx::Str::detached).unwrap_or_default(),
                    address: self.peer.address,
                    listener_name: Rc::clone(&self.peer.listener),
                    listener: self.listener,
                });
                self.last_caller = Some(Rc::clone(&caller));
                caller
            }
        }
    }
}

impl Session for ApiSession {
    fn is_pipelined(&self, frame: &[u8]) -> bool {
        let key = frame.first_chunk::<2>().map(|code| i16::from_be_bytes(*code));
        key.and_then(ApiKey::from_code).is_some_and(registry::is_pipelined)
    }

    fn call(&mut self, frame: Bytes) -> Call {
        let mut reader = Reader::new(frame);
        let head = match RequestHead::decode(&mut reader) {
            Ok(head) => head,
            Err(error) => return Call::Now(Reply::Close(error.to_string())),
        };
        let caller = self.caller(&head);
        registry::dispatch(&self.ctx, caller, head, reader)
    }
}
