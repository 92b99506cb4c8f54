//! What a process used, from `/proc`: nanoseconds of CPU over all its threads, and memory.
//!
//! CPU time of the broker bears a noisy machine far better than the wall clock does, because
//! the broker shares the machine with its load.

use std::time::Duration;

use crate::LoadError;

/// CPU time that the threads of a process used so far. Threads that ended are not counted, so a
/// window must not span the end of a busy one; brokers keep theirs.
///
/// # Errors
/// The process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration, LoadError> {
    cpu_time_of(pid, "")
}

/// The same of the threads whose names begin so. The kernel keeps 15 bytes of a name.
///
/// # Errors
/// The process is gone.
pub fn cpu_time_of(pid: u32, threads_named: &str) -> Result<Duration, LoadError> {
    let dir = format!("/proc/{pid}/task");
    let threads =
        std::fs::read_dir(&dir).map_err(|error| LoadError::system(format!("read {dir}"), error))?;
    let mut total = Duration::ZERO;
    for thread in threads.map_while(Result::ok) {
        // A thread may end between the listing and this.
        let Ok(name) = std::fs::read_to_string(thread.path().join("comm")) else { continue };
        if !name.starts_with(threads_named) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
        total += Duration::from_nanos(first_number(&text).unwrap_or(0));
    }
    Ok(total)
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// The process is gone.
pub fn resident_bytes(pid: u32) -> Result<u64, LoadError> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| LoadError::system(format!("read {path}"), error))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(first_number)
        .map(|kib| kib * 1024)
        .ok_or_else(|| LoadError::unexpected(format!("{path} has no VmRSS")))
}

/// Files, sockets and the like that a process has open.
///
/// # Errors
/// The process is gone.
pub fn open_file_count(pid: u32) -> Result<usize, LoadError> {
    let dir = format!("/proc/{pid}/fd");
    let entries =
        std::fs::read_dir(&dir).map_err(|error| LoadError::system(format!("read {dir}"), error))?;
    Ok(entries.count())
}

/// Bytes that a process has read, from wherever.
///
/// # Errors
/// The process is gone.
pub fn read_bytes(pid: u32) -> Result<u64, LoadError> {
    io_count(pid, "rchar:")
}

/// Bytes that a process has had read from a device.
///
/// # Errors
/// The process is gone.
pub fn device_read_bytes(pid: u32) -> Result<u64, LoadError> {
    io_count(pid, "read_bytes:")
}

fn io_count(pid: u32, name: &str) -> Result<u64, LoadError> {
    let path = format!("/proc/{pid}/io");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| LoadError::system(format!("read {path}"), error))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(first_number)
        .ok_or_else(|| LoadError::unexpected(format!("{path} has no {name}")))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let before = cpu_time(std::process::id()).unwrap();
        let sum = (0..3_000_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum ^ n));
        assert!(cpu_time(std::process::id()).unwrap() >= before, "{sum}");
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(read_bytes(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn threads_are_told_apart_by_the_beginning_of_their_names() {
        let me = std::process::id();
        assert_eq!(cpu_time_of(me, "no thread has this name").unwrap(), Duration::ZERO);
    }

    #[test]
    fn a_file_counts_while_it_is_open() {
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/proc/self/status")).collect();
        assert!(open_file_count(std::process::id()).unwrap() > files.len());
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(cpu_time(u32::MAX).is_err());
        assert!(resident_bytes(u32::MAX).is_err());
        assert!(open_file_count(u32::MAX).is_err());
        assert!(read_bytes(u32::MAX).is_err());
        assert!(device_read_bytes(u32::MAX).is_err());
    }
}
