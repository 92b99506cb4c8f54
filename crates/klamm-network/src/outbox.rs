//! What a connection still has to send, in order.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use klamm_env::FileSlice;
use klamm_env::net::Socket;

use crate::reply::Response;

/// File ranges up to this size are read and sent with the bytes before them: one system call
/// less, and the receiver copies from warm memory.
const INLINE_FILE_BYTES_MAX: u32 = 32 * 1024;

/// Replies are joined in one buffer up to this size, so that pipelined small answers leave in
/// one write.
const JOIN_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
enum Part {
    Bytes { bytes: Vec<u8>, sent: usize },
    File(FileSlice),
}

/// Parts that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    bytes_sent: u64,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Adds a reply.
    ///
    /// # Errors
    /// A small file range could not be read.
    pub(crate) fn push(&mut self, response: Response) -> io::Result<()> {
        let Response { mut bytes, cuts, files } = response;
        debug_assert_eq!(cuts.len(), files.len());
        let mut behind: Vec<Part> = Vec::new();
        // From the last cut to the first, so that positions stay true while bytes are split off.
        for (cut, file) in cuts.into_iter().zip(files).rev() {
            if file.len <= INLINE_FILE_BYTES_MAX {
                match file.read_cached() {
                    Ok(small) => {
                        bytes.splice(cut..cut, small);
                        continue;
                    }
                    // Sent as large ones are, when another thread has waited for the device.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            let tail = bytes.split_off(cut);
            if !tail.is_empty() {
                behind.push(Part::Bytes { bytes: tail, sent: 0 });
            }
            behind.push(Part::File(file));
        }
        self.push_bytes(bytes);
        self.parts.extend(behind.into_iter().rev());
        Ok(())
    }

    fn push_bytes(&mut self, bytes: Vec<u8>) {
        if let Some(Part::Bytes { bytes: last, .. }) = self.parts.back_mut()
            && last.len() + bytes.len() <= JOIN_BYTES_MAX
        {
            last.extend_from_slice(&bytes);
        } else {
            self.parts.push_back(Part::Bytes { bytes, sent: 0 });
        }
    }

    /// Sends until all is sent or the socket is full.
    pub(crate) fn poll_flush(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.parts.is_empty() {
            match self.send_front(socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => match socket.poll_writable(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => return Poll::Pending,
                },
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_front(&self, socket: &Socket) -> io::Result<usize> {
        match &self.parts[0] {
            Part::Bytes { bytes, sent } if self.parts.len() > 1 => {
                socket.try_write_more(&bytes[*sent..])
            }
            Part::Bytes { bytes, sent } => socket.try_write(&bytes[*sent..]),
            Part::File(slice) => {
                let len = NonZeroUsize::new(slice.len as usize).expect("empty ranges are removed");
                match slice.file.descriptor() {
                    Some(file) => socket.try_send_file(file, slice.position, len),
                    None => socket.try_write(&slice.read()?),
                }
            }
        }
    }

    fn advance(&mut self, n: usize) {
        self.bytes_sent += n as u64;
        let done = match &mut self.parts[0] {
            Part::Bytes { bytes, sent } => {
                *sent += n;
                *sent == bytes.len()
            }
            Part::File(slice) => {
                slice.position += n as u64;
                slice.len -= u32::try_from(n).expect("no more is sent than asked for");
                slice.len == 0
            }
        };
        if done {
            self.parts.pop_front();
        }
    }

    /// Bytes sent since the last question.
    pub(crate) fn take_bytes_sent(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_sent)
    }

    /// The file ranges that would wait for a device if sent now.
    pub(crate) fn cold_files(&self) -> Vec<FileSlice> {
        let files = self.parts.iter().filter_map(|part| match part {
            Part::File(slice) => Some(slice),
            Part::Bytes { .. } => None,
        });
        files.filter(|slice| !slice.is_resident()).cloned().collect()
    }

    pub(crate) fn has_files(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::File(_)))
    }
}
