//! A worker: one thread, its connections, and the sweep that closes idle ones.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use klamm_env::net::AcceptedSocket;
use klamm_env::{Moment, task};
use tokio::sync::{mpsc, watch};

use crate::connection::Connection;
use crate::slots::Slot;
use crate::tag::{Closing, End, Tag};
use crate::worker_shared::WorkerShared;
use crate::{NetworkStats, Peer, Service};

/// Shortest pause between two looks for idle connections.
const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(500);

/// A connection on its way to its worker.
pub(crate) struct Delivery {
    pub(crate) socket: AcceptedSocket,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) listener_index: usize,
    pub(crate) connection_id: u64,
    pub(crate) slot: Slot,
}

type Tags = Rc<RefCell<HashMap<u64, Rc<Tag>>>>;

/// Serves connections until told to stop and the last one has ended.
pub(crate) async fn run(
    shared: Rc<WorkerShared>,
    service: Box<dyn Service>,
    mut deliveries: mpsc::Receiver<Delivery>,
    mut stop: watch::Receiver<bool>,
) {
    let tags: Tags = Rc::default();
    let wake_sweep = Rc::new(tokio::sync::Notify::new());
    let sweep =
        task::spawn_local(sweep(Rc::clone(&shared), Rc::clone(&tags), Rc::clone(&wake_sweep)));
    let listeners: Vec<Rc<str>> =
        shared.options.listeners.iter().map(|name| Rc::from(name.as_str())).collect();
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            delivery = deliveries.recv() => match delivery {
                Some(delivery) => {
                    let listener = Rc::clone(&listeners[delivery.listener_index]);
                    open(&shared, service.as_ref(), &tags, delivery, listener);
                    wake_sweep.notify_one();
                }
                None => break,
            },
        }
    }
    sweep.abort();
    let left: Vec<_> = tags.borrow().values().cloned().collect();
    left.iter().for_each(|tag| tag.close(Closing::AfterWork));
    let grace = shared.options.stop_grace.0;
    let ended = poll_fn(|cx| {
        if tags.borrow().is_empty() {
            return std::task::Poll::Ready(());
        }
        shared.last_closed_waker(cx);
        std::task::Poll::Pending
    });
    if task::timeout(grace, ended).await.is_none() {
        tracing::info!(connections = tags.borrow().len(), "connections were cut at the stop");
    }
}

fn open(
    shared: &Rc<WorkerShared>,
    service: &dyn Service,
    tags: &Tags,
    delivery: Delivery,
    listener: Rc<str>,
) {
    let Delivery { socket, address, listener_index, connection_id, slot } = delivery;
    let socket = match socket.into_socket() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%address, %error, "a connection could not be set up");
            return;
        }
    };
    let peer = Peer { address, listener, listener_index, connection_id };
    let tag = Tag::new(shared.clock.now());
    tags.borrow_mut().insert(connection_id, Rc::clone(&tag));
    let session = service.open(&peer);
    let mut connection = Connection::new(socket, session, Rc::clone(shared), tag);
    let (shared, tags) = (Rc::clone(shared), Rc::clone(tags));
    NetworkStats::add(&shared.stats.connections_open, 1);
    task::spawn_local(async move {
        let end = poll_fn(|cx| connection.poll(cx)).await;
        drop(connection);
        drop(slot);
        shared.stats.connections_open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        report(&shared, &peer, &end);
        tags.borrow_mut().remove(&connection_id);
        LAST_CLOSED.with(|waker| {
            if let Some(waker) = waker.take() {
                std::task::Waker::wake(waker);
            }
        });
    });
}

thread_local! {
    /// Who waits, at the stop, for connections to end.
    static LAST_CLOSED: Cell<Option<std::task::Waker>> = const { Cell::new(None) };
}

impl WorkerShared {
    fn last_closed_waker(&self, cx: &std::task::Context<'_>) {
        LAST_CLOSED.with(|waker| waker.set(Some(cx.waker().clone())));
    }
}

fn report(shared: &WorkerShared, peer: &Peer, end: &End) {
    let (address, listener) = (peer.address, &peer.listener);
    match end {
        End::Peer | End::Told => tracing::debug!(%address, %listener, "connection closed"),
        End::Session(reason) => {
            NetworkStats::add(&shared.stats.connections_faulty, 1);
            tracing::info!(%address, %listener, %reason, "connection closed: unusable request");
        }
        End::Frame(error) => {
            NetworkStats::add(&shared.stats.connections_faulty, 1);
            tracing::info!(%address, %listener, %error, "connection closed: not a frame");
        }
        End::Io(error) => tracing::debug!(%address, %listener, %error, "connection lost"),
    }
}

/// Closes connections that were idle for too long. Sleeps until the earliest can be due; with no
/// connections it does not wake at all.
async fn sweep(shared: Rc<WorkerShared>, tags: Tags, opened: Rc<tokio::sync::Notify>) {
    loop {
        let now = shared.clock.now();
        match close_idle(&shared, &tags, now) {
            Some(next) => task::sleep(next.since(now).max(SWEEP_PAUSE_MIN)).await,
            None => opened.notified().await,
        }
    }
}

/// Closes what is due now and says when the next may be.
fn close_idle(shared: &WorkerShared, tags: &Tags, now: Moment) -> Option<Moment> {
    let idle = shared.options.idle_max;
    let mut next = None;
    for tag in tags.borrow().values() {
        let due = tag.active_at.get() + idle;
        if due > now {
            next = Some(next.map_or(due, |earlier: Moment| earlier.min(due)));
        } else if tag.requests_in_flight.get() == 0 {
            NetworkStats::add(&shared.stats.connections_expired, 1);
            tag.close(Closing::Now);
        } else {
            let later = now + idle;
            next = Some(next.map_or(later, |earlier: Moment| earlier.min(later)));
        }
    }
    next
}
