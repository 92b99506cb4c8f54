//! Many connections with small answers in one thread, so that the load wakes no threads of its
//! own between the broker's answer and the next request.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use bytes::Bytes;
use klamm_protocol::ProduceRequest;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::LoadError;
use crate::payload::PRODUCE_VERSION;
use crate::topic::check_produced;
use crate::wire::{Connection, Frame, decode_answer};

/// Bytes of an answer to a produce request, at most: it has one partition and no text.
const ANSWER_BYTES_MAX: usize = 4096;

/// Requests of one connection that wait for an answer, at most: a broker that stalls for longer
/// than this at 300 requests a second has failed the window.
const WAITING_MAX: usize = 4096;

/// A connection that produces to one partition.
#[derive(Debug)]
pub struct Lane {
    stream: TcpStream,
    frame: Frame,
    received: Vec<u8>,
    next_correlation_id: i32,
    /// What was sent and not answered: when it was due.
    waiting: VecDeque<(i32, Instant)>,
}

impl Lane {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(address: SocketAddr, frame: Frame) -> Result<Self, LoadError> {
        let stream = Connection::open(address)?.into_stream();
        stream
            .set_nonblocking(true)
            .map_err(|error| LoadError::system("make a socket non-blocking", error))?;
        Ok(Self {
            stream,
            frame,
            received: Vec::with_capacity(ANSWER_BYTES_MAX),
            next_correlation_id: 0,
            waiting: VecDeque::new(),
        })
    }

    /// How many requests wait for an answer.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Sends a request that was due at this moment.
    ///
    /// # Errors
    /// Those of the socket; too many wait.
    pub fn send(&mut self, due: Instant) -> Result<(), LoadError> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(LoadError::TimedOut { what: "answers of a broker that has stalled" });
        }
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let mut left = self.frame.stamped(self.next_correlation_id);
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait_writable(&self.stream)?;
                }
                Err(error) => return Err(LoadError::system("send a request", error)),
            }
        }
        self.waiting.push_back((self.next_correlation_id, due));
        Ok(())
    }

    /// Takes the answers that are there; `answered` learns when each request was due.
    ///
    /// # Errors
    /// Those of the socket; an answer is not what was asked for.
    pub fn receive(&mut self, mut answered: impl FnMut(Instant)) -> Result<(), LoadError> {
        let mut buffer = [0; ANSWER_BYTES_MAX];
        let n = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(LoadError::unexpected("the broker closed a connection")),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(LoadError::system("receive an answer", error)),
        };
        self.received.extend_from_slice(&buffer[..n]);
        while let Some(answer) = self.next_answer()? {
            let (correlation_id, due) = self
                .waiting
                .pop_front()
                .ok_or_else(|| LoadError::unexpected("an answer that nobody waits for"))?;
            let answer = decode_answer::<ProduceRequest>(answer, correlation_id, PRODUCE_VERSION)?;
            check_produced(&answer)?;
            answered(due);
        }
        Ok(())
    }

    fn next_answer(&mut self) -> Result<Option<Bytes>, LoadError> {
        let Some((length, rest)) = self.received.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(LoadError::unexpected(format!("an answer of {length} bytes")));
        }
        let Some(answer) = rest.get(..length) else { return Ok(None) };
        let answer = Bytes::copy_from_slice(answer);
        self.received.drain(..4 + length);
        Ok(Some(answer))
    }
}

/// Waits until one of the lanes has something to read; gives their indexes in `ready`.
///
/// # Errors
/// The system refuses, or nothing comes in time.
pub fn wait_readable(lanes: &[Lane], ready: &mut Vec<usize>) -> Result<(), LoadError> {
    ready_within(lanes, ready, Timespec { tv_sec: 30, tv_nsec: 0 })?;
    if ready.is_empty() {
        return Err(LoadError::TimedOut { what: "an answer" });
    }
    Ok(())
}

/// The lanes that have something to read now.
///
/// # Errors
/// The system refuses.
pub fn readable_now(lanes: &[Lane], ready: &mut Vec<usize>) -> Result<(), LoadError> {
    ready_within(lanes, ready, Timespec { tv_sec: 0, tv_nsec: 0 })
}

fn ready_within(lanes: &[Lane], ready: &mut Vec<usize>, limit: Timespec) -> Result<(), LoadError> {
    let mut fds: Vec<PollFd<'_>> =
        lanes.iter().map(|lane| PollFd::new(&lane.stream, PollFlags::IN)).collect();
    ready.clear();
    match rustix::event::poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(LoadError::system("poll", error)),
    }
    ready.extend(fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(n, _)| n));
    Ok(())
}

fn wait_writable(stream: &TcpStream) -> Result<(), LoadError> {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&limit)) {
        Ok(0) => Err(LoadError::TimedOut { what: "room in a socket" }),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(LoadError::system("poll", error)),
    }
}
