//! What a session answers.

use std::future::Future;
use std::pin::Pin;

use klamm_env::FileSlice;

/// Bytes of the length in front of each frame.
pub const FRAME_LEN_BYTES: usize = 4;

/// A request that was started.
pub enum Call {
    /// It is done.
    Now(Reply),
    /// It waits for something. Dropped if the connection closes first.
    Later(Pin<Box<dyn Future<Output = Reply>>>),
}

/// What to do with a finished request.
#[derive(Debug)]
pub enum Reply {
    /// Send this.
    Send(Response),
    /// Send nothing (a produce with acks=0).
    Silent,
    /// Close the connection; the reason is for the log.
    Close(String),
}

/// A whole frame, with its length in front, and ranges of files that belong inside it.
#[derive(Debug, Default)]
pub struct Response {
    /// The frame's bytes without the ranges; the length in front counts them.
    pub bytes: Vec<u8>,
    /// Where each of `files` goes: positions in `bytes`, ascending.
    pub cuts: Vec<usize>,
    /// The ranges, as many as `cuts`.
    pub files: Vec<FileSlice>,
}

impl Response {
    /// A frame without file ranges.
    #[must_use]
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, cuts: Vec::new(), files: Vec::new() }
    }
}
