//! The memory budget of connections: past it sockets are not read, which slows senders down before any request is
//! rejected. Bodies of replies lie in mapped files and do not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Frames up to this length need no reservation: a connection may always finish one.
pub(crate) const SMALL_FRAME: usize = 64 * 1024;
const KIB: usize = 1024;

/// Bytes that the buffers of all connections may take together.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    room: Notify,
    large_frames: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `limit` bytes; half of it may be held by incoming frames larger than 64 KiB. At least one frame of
    /// `max_frame_len` always fits, or it could never be received.
    pub fn new(limit: usize, max_frame_len: usize) -> Arc<Budget> {
        let large = (limit / 2).max(max_frame_len) / KIB + 1;
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
            room: Notify::new(),
            large_frames: Arc::new(Semaphore::new(large.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Bytes in use now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used() < self.limit
    }

    /// Waits until there may be room again.
    pub(crate) async fn room(&self) {
        let notified = self.room.notified();
        if !self.has_room() {
            notified.await;
        }
    }

    /// Reserves the memory of one large incoming frame.
    pub(crate) async fn reserve(&self, frame_len: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(frame_len / KIB + 1).unwrap_or(u32::MAX);
        self.large_frames.clone().acquire_many_owned(kib).await.ok()
    }
}

/// What one connection has charged; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(budget: Arc<Budget>) -> Charge {
        Charge { budget, bytes: 0 }
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            let was = self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            if was >= self.budget.limit {
                self.budget.room.notify_waiters();
            }
        }
        self.bytes = bytes;
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_charge_given_back_makes_room() {
        let budget = Budget::new(100, 10);
        let mut first = Charge::new(budget.clone());
        first.set(100);
        assert!(!budget.has_room());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap();
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn the_largest_frame_can_always_be_reserved() {
        let budget = Budget::new(1, 1 << 20);
        assert!(budget.reserve(1 << 20).await.is_some());
    }
}
