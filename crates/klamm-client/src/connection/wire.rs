//! The frames of a connection: requests out, answers in, each to who waits for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use klamm_env::net::Socket;
use tokio::sync::{mpsc, oneshot};

/// Largest answer that is taken.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes read at once before a frame's length is known.
const READ_BYTES: usize = 64 * 1024;

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Vec<u8>,
    pub(super) correlation_id: i32,
    /// Who waits for the answer; `None` for a request that has none (a produce with acks=0).
    pub(super) answer: Option<oneshot::Sender<Bytes>>,
}

/// Who waits, in the order of the requests.
pub(super) type Waiting = RefCell<VecDeque<(i32, oneshot::Sender<Bytes>)>>;

/// Writes what comes, until nobody holds the connection or the socket fails.
pub(super) async fn write(
    socket: &Socket,
    waiting: &Waiting,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> io::Error {
    while let Some(request) = outgoing.recv().await {
        if let Some(answer) = request.answer {
            waiting.borrow_mut().push_back((request.correlation_id, answer));
        }
        if let Err(error) = socket.write_all(&request.frame).await {
            return error;
        }
    }
    io::ErrorKind::ConnectionAborted.into()
}

/// Reads answers until the socket fails or something else comes.
pub(super) async fn read(socket: &Socket, waiting: &Waiting) -> io::Error {
    let mut received = Vec::new();
    loop {
        let frame = match read_frame(socket, &mut received).await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let told = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        match waiting.borrow_mut().pop_front() {
            // Who no longer waits has dropped the other half, which is no error here.
            Some((due, answer)) if told == Some(due) => drop(answer.send(frame)),
            _ => {
                let text = "the broker answers another request than the one that is due";
                return io::Error::new(io::ErrorKind::InvalidData, text);
            }
        }
    }
}

async fn read_frame(socket: &Socket, received: &mut Vec<u8>) -> io::Result<Bytes> {
    while received.len() < 4 {
        read_some(socket, received, READ_BYTES).await?;
    }
    let prefix = received.first_chunk::<4>().expect("four bytes are there");
    let len =
        usize::try_from(i32::from_be_bytes(*prefix)).ok().filter(|len| *len <= FRAME_BYTES_MAX);
    let Some(len) = len else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer's length is impossible",
        ));
    };
    while received.len() < 4 + len {
        let missing = 4 + len - received.len();
        read_some(socket, received, missing.clamp(READ_BYTES, 1024 * 1024)).await?;
    }
    let rest = received.split_off(4 + len);
    let frame = std::mem::replace(received, rest);
    Ok(Bytes::from(frame).slice(4..))
}

async fn read_some(socket: &Socket, received: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let filled = received.len();
    loop {
        socket.readable().await?;
        received.resize(filled + bytes_max, 0);
        let result = socket.try_read(&mut received[filled..]);
        received.truncate(filled + result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map(drop),
        }
    }
}
