//! Starts the workers and the listeners, and stops them.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_env::net::{BoundListener, Listener};
use klamm_env::{Clock, task};
use tokio::sync::{mpsc, watch};

use crate::options::NetworkOptions;
use crate::permits::MemoryPermits;
use crate::pool::FramePool;
use crate::slots::Slots;
use crate::worker::{self, Delivery};
use crate::worker_shared::{WorkerShared, new_scratch};
use crate::{NetworkStats, Service};

/// Accepted connections that may wait for their worker; more are refused.
const DELIVERIES_MAX: usize = 1024;
/// Of the bytes of requests, one part in so many is kept for frames that came whole. Those are
/// small: this many are hundreds of thousands of them.
const WHOLE_FRAMES_SHARE: usize = 4;
/// Pause of a listener after `accept` failed, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes a worker's service, on the worker's thread.
pub type ServiceFactory = Arc<dyn Fn(usize) -> Box<dyn Service> + Send + Sync>;

/// The running workers and listeners.
#[derive(Debug)]
pub struct Network {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    stats: Arc<NetworkStats>,
    permits: MemoryPermits,
    whole_permits: MemoryPermits,
    addresses: Vec<SocketAddr>,
}

impl Network {
    /// Starts `options.workers` threads and serves `listeners` with them.
    ///
    /// # Errors
    /// A thread could not be started, or a listener is unusable.
    pub fn start(
        options: NetworkOptions,
        listeners: Vec<BoundListener>,
        clock: &Arc<dyn Clock>,
        service: &ServiceFactory,
    ) -> io::Result<Self> {
        assert_eq!(options.listeners.len(), listeners.len(), "each listener has a name");
        let options = Arc::new(options);
        let stats = Arc::new(NetworkStats::default());
        let whole_bytes_max = options.request_bytes_max / WHOLE_FRAMES_SHARE;
        let whole_permits = MemoryPermits::new(whole_bytes_max);
        let permits = MemoryPermits::new(options.request_bytes_max - whole_bytes_max);
        let pool = FramePool::default();
        let addresses =
            listeners.iter().map(BoundListener::local_address).collect::<Result<_, _>>()?;
        let (stop, stopped) = watch::channel(false);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..options.workers).map(|_| mpsc::channel(DELIVERIES_MAX)).unzip();
        let mut door = Some(Door {
            listeners,
            workers: senders,
            slots: Arc::default(),
            options: Arc::clone(&options),
            stats: Arc::clone(&stats),
        });
        let mut threads = Vec::new();
        for (index, deliveries) in receivers.into_iter().enumerate() {
            let (options, stats, clock) =
                (Arc::clone(&options), Arc::clone(&stats), Arc::clone(clock));
            let (permits, whole_permits) = (permits.clone(), whole_permits.clone());
            let (pool, stopped) = (pool.clone(), stopped.clone());
            let service = Arc::clone(service);
            let door = door.take();
            threads.push(task::spawn_thread(&format!("worker-{index}"), move || {
                let shared = Rc::new(WorkerShared {
                    options,
                    stats,
                    permits,
                    whole_permits,
                    pool,
                    clock,
                    scratch: new_scratch(),
                });
                let main = async move {
                    if let Some(door) = door {
                        door.open(&stopped);
                    }
                    worker::run(shared, service(index), deliveries, stopped).await;
                };
                if let Err(error) = task::run_worker(main) {
                    tracing::error!(%error, "a worker could not start");
                }
            })?);
        }
        Ok(Self { stop, threads, stats, permits, whole_permits, addresses })
    }

    /// Where each listener listens, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Arc<NetworkStats> {
        &self.stats
    }

    /// Bytes of requests that are read or handled now.
    #[must_use]
    pub fn request_bytes_used(&self) -> usize {
        self.permits.bytes_used() + self.whole_permits.bytes_used()
    }

    /// Stops: no new connections, requests that were started are answered, then all is closed.
    pub fn stop(self) {
        // No receiver left means that every worker has ended already.
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// The listeners, and whom they give connections to.
struct Door {
    listeners: Vec<BoundListener>,
    workers: Vec<mpsc::Sender<Delivery>>,
    slots: Arc<Slots>,
    options: Arc<NetworkOptions>,
    stats: Arc<NetworkStats>,
}

impl Door {
    fn open(self, stopped: &watch::Receiver<bool>) {
        let turn = Rc::new(std::cell::Cell::new(0_u64));
        let Self { listeners, workers, slots, options, stats } = self;
        for (listener_index, listener) in listeners.into_iter().enumerate() {
            let listener = match listener.into_listener() {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "a listener could not be opened");
                    continue;
                }
            };
            let dealer = Dealer {
                listener,
                listener_index,
                workers: workers.clone(),
                slots: Arc::clone(&slots),
                options: Arc::clone(&options),
                stats: Arc::clone(&stats),
                turn: Rc::clone(&turn),
            };
            let mut stopped = stopped.clone();
            task::spawn_local(async move {
                tokio::select! {
                    biased;
                    _ = stopped.changed() => {}
                    () = dealer.run() => {}
                }
            });
        }
    }
}

/// Deals the connections of one listener to the workers in turn.
struct Dealer {
    listener: Listener,
    listener_index: usize,
    workers: Vec<mpsc::Sender<Delivery>>,
    slots: Arc<Slots>,
    options: Arc<NetworkOptions>,
    stats: Arc<NetworkStats>,
    turn: Rc<std::cell::Cell<u64>>,
}

impl Dealer {
    async fn run(&self) {
        loop {
            match self.listener.accept().await {
                Ok((socket, address)) => self.deal(socket, address),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    task::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn deal(&self, socket: klamm_env::net::AcceptedSocket, address: SocketAddr) {
        let Some(slot) = self.slots.take(address.ip(), &self.options) else {
            NetworkStats::add(&self.stats.connections_refused, 1);
            tracing::debug!(%address, "connection refused: a cap is reached");
            return;
        };
        let connection_id = self.turn.get();
        self.turn.set(connection_id + 1);
        let worker = usize::try_from(connection_id).unwrap_or(0) % self.workers.len();
        let listener_index = self.listener_index;
        let delivery = Delivery { socket, address, listener_index, connection_id, slot };
        match self.workers[worker].try_send(delivery) {
            Ok(()) => NetworkStats::add(&self.stats.connections_accepted, 1),
            Err(_) => {
                NetworkStats::add(&self.stats.connections_refused, 1);
                tracing::warn!(%address, "connection refused: its worker has too many waiting");
            }
        }
    }
}
