//! Reads a topic that is not in memory, from within a loop that has other things to do. Never
//! waits, and never checks a checksum: the loop's own clock would feel it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use klamm_protocol::FetchRequest;
use klamm_protocol::fetch_response::FetchResponse;
use klamm_records::batches;
use rustix::fs::{Advice, fadvise};

use crate::LoadError;
use crate::read_back::{FETCH_VERSION, partition_frame};
use crate::topic::Topic;
use crate::wire::{Connection, decode_answer};

/// Bytes that are taken from the socket at once.
const STEP_BYTES: usize = 64 * 1024;

/// The largest answer that is taken: a fetch asks for one megabyte.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Writes back what is dirty of the files in a directory and drops them from the page cache.
///
/// # Errors
/// Those of the system.
pub fn forget_pages(dir: &Path) -> Result<(), LoadError> {
    let doing = |error| LoadError::system(format!("drop pages of {}", dir.display()), error);
    for entry in std::fs::read_dir(dir).map_err(doing)? {
        let file = match std::fs::File::open(entry.map_err(doing)?.path()) {
            Ok(file) => file,
            // Whoever writes there may have replaced it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(doing(error)),
        };
        file.sync_all().map_err(doing)?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| doing(error.into()))?;
    }
    Ok(())
}

/// A reader that goes on whenever it is asked to.
#[derive(Debug)]
pub struct ColdReader {
    stream: TcpStream,
    topic: String,
    partition_count: i32,
    bytes_per_second: u64,
    /// Where it reads.
    partition: i32,
    next_offset: i64,
    bytes: u64,
    correlation_id: i32,
    is_waiting: bool,
    received: Vec<u8>,
}

impl ColdReader {
    /// A reader that takes no more than so many bytes a second.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(
        address: SocketAddr,
        topic: Topic<'_>,
        bytes_per_second: u64,
    ) -> Result<Self, LoadError> {
        let stream = Connection::open(address)?.into_stream();
        stream
            .set_nonblocking(true)
            .map_err(|error| LoadError::system("make a socket non-blocking", error))?;
        Ok(Self {
            stream,
            topic: topic.name.to_owned(),
            partition_count: topic.partition_count,
            bytes_per_second,
            partition: 0,
            next_offset: 0,
            bytes: 0,
            correlation_id: 0,
            is_waiting: false,
            received: Vec::new(),
        })
    }

    /// Bytes of batches that were read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Asks for more, or takes a little of what is there; at the topic's end nothing.
    ///
    /// # Errors
    /// Those of the socket, or the broker refuses.
    pub fn step(&mut self, since_start: Duration) -> Result<(), LoadError> {
        if self.is_waiting {
            return self.receive();
        }
        let allowed = since_start.as_secs_f64() * self.bytes_per_second as f64;
        if self.partition < self.partition_count && self.bytes as f64 <= allowed {
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), LoadError> {
        self.correlation_id += 1;
        let mut frame = partition_frame(&self.topic, self.partition, self.next_offset)?;
        // It is far smaller than the socket's buffer, which is empty.
        self.stream
            .write_all(frame.stamped(self.correlation_id))
            .map_err(|error| LoadError::system("send a request", error))?;
        self.is_waiting = true;
        Ok(())
    }

    fn receive(&mut self) -> Result<(), LoadError> {
        let mut buffer = [0; STEP_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(LoadError::unexpected("the broker closed a connection")),
            Ok(n) => self.received.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(LoadError::system("receive an answer", error)),
        }
        let Some((length, rest)) = self.received.split_first_chunk::<4>() else { return Ok(()) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(LoadError::unexpected(format!("an answer of {length} bytes")));
        }
        if rest.len() < length {
            return Ok(());
        }
        let mut answer = Bytes::from(std::mem::take(&mut self.received));
        let answer = answer.split_off(4);
        self.is_waiting = false;
        self.take(&decode_answer::<FetchRequest>(answer, self.correlation_id, FETCH_VERSION)?)
    }

    fn take(&mut self, answer: &FetchResponse) -> Result<(), LoadError> {
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
        let partition = partition.ok_or_else(|| LoadError::unexpected("an answer without data"))?;
        if partition.error_code != 0 {
            return Err(LoadError::Refused { what: "a fetch", code: partition.error_code });
        }
        let records = partition.records.as_bytes().map_or(&[][..], |bytes| bytes);
        for batch in batches(records).map_while(Result::ok) {
            self.next_offset = batch.header().next_offset().0;
            self.bytes += batch.bytes().len() as u64;
        }
        if self.next_offset >= partition.high_watermark {
            (self.partition, self.next_offset) = (self.partition + 1, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_directory_that_is_not_there_cannot_be_dropped() {
        assert!(forget_pages(Path::new("/nowhere/at/all")).is_err());
    }
}
