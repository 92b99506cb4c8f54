//! One connection: frames in, replies out, in the order of the requests.
//!
//! The task is one `poll` that moves bytes as long as anything moves: finished requests to the
//! outbox, the outbox to the socket, the socket to frames, frames to the session. While a reply
//! waits for room in the socket or a request may not start yet, nothing is read: a client that
//! does not read its answers stops itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use klamm_env::net::Socket;
use klamm_env::{FileSlice, task};

use crate::frames::{Front, LargeFrame, SMALL_FRAME_BYTES_MAX, front};
use crate::in_flight::{InFlight, Kept, State};
use crate::outbox::Outbox;
use crate::permits::MemoryPermit;
use crate::reply::{Call, FRAME_LEN_BYTES, Reply};
use crate::tag::{Closing, End, Tag};
use crate::worker_shared::WorkerShared;
use crate::{NetworkStats, Session};

/// After a large frame, the first read asks for little more than a length: the body is then read
/// straight into its own buffer instead of through the scratch buffer.
const PROBE_BYTES: usize = 512;

pub(crate) struct Connection {
    socket: Socket,
    session: Box<dyn Session>,
    worker: Rc<WorkerShared>,
    tag: Rc<Tag>,
    /// Bytes that were read but are no whole frame yet, or whose frame may not start yet.
    carried: Vec<u8>,
    large: Option<LargeFrame>,
    large_permit: Option<MemoryPermit>,
    expects_large: bool,
    in_flight: InFlight,
    outbox: Outbox,
    warming: Option<Pin<Box<dyn Future<Output = ()>>>>,
    peer_closed: bool,
}

impl Connection {
    pub(crate) fn new(
        socket: Socket,
        session: Box<dyn Session>,
        worker: Rc<WorkerShared>,
        tag: Rc<Tag>,
    ) -> Self {
        Self {
            socket,
            session,
            worker,
            tag,
            carried: Vec::new(),
            large: None,
            large_permit: None,
            expects_large: false,
            in_flight: InFlight::default(),
            outbox: Outbox::default(),
            warming: None,
            peer_closed: false,
        }
    }

    /// Moves bytes until nothing moves.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.tag.closing() == Closing::Now {
                return Poll::Ready(End::Told);
            }
            if let Err(end) = self.collect_replies(cx) {
                return self.last_words(cx, end);
            }
            match self.flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(End::Io(e)),
                Poll::Pending => return self.park(cx),
            }
            if self.in_flight.is_empty() && self.tag.closing() == Closing::AfterWork {
                return Poll::Ready(End::Told);
            }
            match self.start_carried(cx) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(end) => return self.last_words(cx, end),
            }
            if self.in_flight.is_empty() && self.peer_closed {
                return Poll::Ready(End::Peer);
            }
            if !self.may_read() {
                return self.park(cx);
            }
            match self.read(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return self.last_words(cx, end),
                Poll::Pending => return self.park(cx),
            }
        }
    }

    /// Sends what was answered before the end, as far as it goes at once.
    fn last_words(&mut self, cx: &mut Context<'_>, end: End) -> Poll<End> {
        if let (End::Session(_) | End::Frame(_), Poll::Ready(Err(error))) = (&end, self.flush(cx)) {
            tracing::debug!(%error, "answers before the end were not delivered");
        }
        Poll::Ready(end)
    }

    fn park(&self, cx: &Context<'_>) -> Poll<End> {
        self.tag.requests_in_flight.set(self.in_flight.len());
        self.tag.wake_by(cx);
        Poll::Pending
    }

    /// Asks every waiting request and moves the finished ones at the front to the outbox.
    fn collect_replies(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.in_flight.poll(cx);
        while let Some(reply) = self.in_flight.pop_done() {
            self.answer(reply)?;
        }
        Ok(())
    }

    fn answer(&mut self, reply: Reply) -> Result<(), End> {
        match reply {
            Reply::Send(response) => {
                self.outbox.push(response)?;
                if self.outbox.has_files() {
                    self.warm_files();
                }
                Ok(())
            }
            Reply::Silent => Ok(()),
            Reply::Close(reason) => Err(End::Session(reason)),
        }
    }

    /// Ranges that are not in memory are read by another thread first: a worker never waits for
    /// a device.
    fn warm_files(&mut self) {
        let cold = self.outbox.cold_files();
        if cold.is_empty() {
            return;
        }
        self.warming = Some(Box::pin(async move {
            // A failure is met again when the range is sent, and ends the connection.
            if task::blocking(move || cold.iter().for_each(FileSlice::warm)).await.is_err() {
                tracing::warn!("the thread that reads cold ranges ended early");
            }
        }));
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(warming) = &mut self.warming {
            if warming.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.warming = None;
        }
        if self.outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let result = self.outbox.poll_flush(&self.socket, cx);
        let stats = &self.worker.stats;
        NetworkStats::add(&stats.bytes_out, self.outbox.take_bytes_sent());
        result
    }

    fn may_read(&self) -> bool {
        !self.peer_closed
            && self.tag.closing() == Closing::No
            && self.in_flight.len() < self.worker.options.requests_in_flight_max
            && self.in_flight.are_pipelined()
    }

    fn may_start(&self, frame: &[u8]) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() < self.worker.options.requests_in_flight_max
                && self.in_flight.are_pipelined()
                && self.session.is_pipelined(frame))
    }

    /// Reads once. Ready when bytes came (or the peer closed).
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.large.is_some() {
            return self.read_large(cx);
        }
        if self.carried.len() >= SMALL_FRAME_BYTES_MAX + FRAME_LEN_BYTES {
            // A whole frame waits for its turn; the socket can wait too.
            return Poll::Pending;
        }
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let len = if self.expects_large { PROBE_BYTES } else { scratch.len() };
        let n = match self.socket.poll_read(cx, &mut scratch[..len]) {
            Poll::Ready(Ok(0)) => {
                self.peer_closed = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(End::Io(e))),
            Poll::Pending => return Poll::Pending,
        };
        self.touch(n);
        if !self.carried.is_empty() {
            self.carried.extend_from_slice(&scratch[..n]);
            return Poll::Ready(Ok(()));
        }
        let used = match self.start_frames(cx, &scratch[..n]) {
            Ok(used) => used,
            Err(end) => return Poll::Ready(Err(end)),
        };
        self.carried.extend_from_slice(&scratch[used..n]);
        Poll::Ready(Ok(()))
    }

    fn touch(&self, n: usize) {
        NetworkStats::add(&self.worker.stats.bytes_in, n as u64);
        self.tag.active_at.set(self.worker.clock.now());
    }

    /// Starts the frames that were carried over, if they may start now; says whether any did.
    fn start_carried(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.carried.is_empty() || self.large.is_some() {
            return Ok(false);
        }
        let mut carried = std::mem::take(&mut self.carried);
        let used = self.start_frames(cx, &carried)?;
        if used == carried.len() {
            return Ok(true);
        }
        carried.drain(..used);
        self.carried = carried;
        Ok(used > 0)
    }

    /// Starts as many frames as stand whole at the front of `bytes` and may start; gives how many
    /// bytes were used.
    fn start_frames(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<usize, End> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let len_max = self.worker.options.frame_bytes_max;
            let Front::Frame { len } = front(rest, len_max).map_err(End::Frame)? else { break };
            let body = &rest[FRAME_LEN_BYTES..];
            if len > SMALL_FRAME_BYTES_MAX && body.len() < len {
                if !self.start_large(cx, len, body) {
                    break;
                }
                return Ok(bytes.len());
            }
            if body.len() < len || !self.may_start(&body[..len]) {
                break;
            }
            let permits = &self.worker.whole_permits;
            let Poll::Ready(permit) = permits.poll_acquire(cx, len) else { break };
            self.expects_large = len > SMALL_FRAME_BYTES_MAX;
            self.start_request(cx, Bytes::copy_from_slice(&body[..len]), permit)?;
            used += FRAME_LEN_BYTES + len;
        }
        Ok(used)
    }

    /// Takes room for a large frame before its body is read; says whether there was any.
    fn start_large(&mut self, cx: &mut Context<'_>, len: usize, head: &[u8]) -> bool {
        let Poll::Ready(permit) = self.worker.permits.poll_acquire(cx, len) else { return false };
        self.large = Some(LargeFrame::start(&self.worker.pool, len, head));
        self.large_permit = Some(permit);
        self.expects_large = true;
        true
    }

    fn read_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(large) = &mut self.large else { unreachable!("the caller saw a large frame") };
        while !large.is_whole() {
            match self.socket.poll_read(cx, large.rest()) {
                Poll::Ready(Ok(0)) => {
                    self.peer_closed = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(n)) => {
                    large.advance(n);
                    NetworkStats::add(&self.worker.stats.bytes_in, n as u64);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(End::Io(e))),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.tag.active_at.set(self.worker.clock.now());
        let (Some(large), Some(permit)) = (self.large.take(), self.large_permit.take()) else {
            unreachable!("a large frame holds a permit");
        };
        let frame = large.into_bytes();
        if !self.may_start(&frame) {
            // Rare: a request of another kind behind pipelined ones. It is carried as bytes.
            drop(permit);
            let len = i32::try_from(frame.len()).expect("frames are bounded by an i32");
            self.carried.extend_from_slice(&len.to_be_bytes());
            self.carried.extend_from_slice(&frame);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.start_request(cx, frame, permit))
    }

    fn start_request(
        &mut self,
        cx: &mut Context<'_>,
        frame: Bytes,
        permit: MemoryPermit,
    ) -> Result<(), End> {
        let kept = Kept { pipelined: self.session.is_pipelined(&frame), permit };
        let reply = match self.session.call(frame) {
            Call::Now(reply) => reply,
            Call::Later(mut future) => match future.as_mut().poll(cx) {
                Poll::Ready(reply) => reply,
                Poll::Pending => {
                    self.in_flight.push(State::Waiting(future), kept);
                    return Ok(());
                }
            },
        };
        if self.in_flight.is_empty() {
            return self.answer(reply);
        }
        self.in_flight.push(State::Done(reply), kept);
        Ok(())
    }
}
