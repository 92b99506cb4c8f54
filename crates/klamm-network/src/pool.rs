//! Recycled buffers for large frames. Fresh memory is the most expensive thing on a small
//! machine: a page costs more to touch for the first time than to fill.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// Buffers kept at most; more are freed. With [`BUFFER_BYTES_KEPT_MAX`] it bounds what an idle
/// node holds on to.
const BUFFERS_KEPT_MAX: usize = 16;
/// A larger buffer is freed after use.
const BUFFER_BYTES_KEPT_MAX: usize = 2 * 1024 * 1024;
/// Sizes are rounded up to a multiple of this, so that frames of one kind share buffers.
const GRAIN_BYTES: usize = 64 * 1024;

/// The buffers that are free now.
#[derive(Debug, Clone, Default)]
pub(crate) struct FramePool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer on loan; readable up to `len`.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    // Always initialised to its whole length, so that reuse needs no zeroing.
    memory: Vec<u8>,
    len: usize,
    pool: FramePool,
}

impl FramePool {
    /// A buffer of `len` bytes; what is in it is what the last user left.
    pub(crate) fn take(&self, len: usize) -> FrameBuffer {
        let mut free = self.0.lock().expect("no holder of this lock can panic");
        let fits = free.iter().position(|memory| memory.len() >= len);
        let memory = fits.map(|i| free.swap_remove(i));
        drop(free);
        let memory = memory.unwrap_or_else(|| vec![0; len.next_multiple_of(GRAIN_BYTES)]);
        FrameBuffer { memory, len, pool: self.clone() }
    }

    fn give(&self, memory: Vec<u8>) {
        if memory.len() > BUFFER_BYTES_KEPT_MAX {
            return;
        }
        let mut free = self.0.lock().expect("no holder of this lock can panic");
        if free.len() < BUFFERS_KEPT_MAX {
            free.push(memory);
        }
    }
}

impl FrameBuffer {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }

    /// The buffer as shared bytes; it goes back to the pool with the last of them.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for FrameBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for FrameBuffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_slice_of_it_is_gone() {
        let pool = FramePool::default();
        let mut buffer = pool.take(100_000);
        buffer.bytes_mut()[99_999] = 7;
        let slice = buffer.freeze().slice(99_999..);
        assert_eq!(pool.0.lock().unwrap().len(), 0);
        assert_eq!(slice[0], 7);
        drop(slice);
        assert_eq!(pool.0.lock().unwrap().len(), 1);
        assert_eq!(pool.take(90_000).as_ref().len(), 90_000);
    }

    #[test]
    fn huge_buffers_are_not_kept() {
        let pool = FramePool::default();
        drop(pool.take(BUFFER_BYTES_KEPT_MAX + 1));
        assert_eq!(pool.0.lock().unwrap().len(), 0);
    }
}
