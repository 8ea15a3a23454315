//! How far the log is on the disk, and waiting for it without a thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::core::Signal;
use crate::error::FlushError;

/// The flushed offset. It only grows.
#[derive(Debug)]
pub(crate) struct Watermark {
    flushed: AtomicU64,
    waiters: Mutex<Waiters>,
    /// The thread that moves it on.
    flush: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Waiters {
    next_id: u64,
    waiting: Vec<Waiter>,
    failed: Option<FlushError>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    end: u64,
    waker: Waker,
}

impl Watermark {
    pub(crate) fn new(flush: Arc<Signal>) -> Self {
        Watermark { flushed: AtomicU64::new(0), waiters: Mutex::default(), flush }
    }

    pub(crate) fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Everything before `offset` is on the disk.
    pub(crate) fn advance(&self, offset: u64) {
        self.flushed.fetch_max(offset, Ordering::AcqRel);
        let mut ready = Vec::new();
        self.waiters.lock().waiting.retain_mut(|waiter| {
            let wait = waiter.end > offset;
            if !wait {
                ready.push(std::mem::replace(&mut waiter.waker, Waker::noop().clone()));
            }
            wait
        });
        ready.into_iter().for_each(Waker::wake);
    }

    /// No more will be flushed: whoever waits, now or later, is told why. The first reason stays.
    pub(crate) fn fail(&self, error: FlushError) {
        let mut waiters = self.waiters.lock();
        waiters.failed.get_or_insert(error);
        let waiting = std::mem::take(&mut waiters.waiting);
        drop(waiters);
        waiting.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// A wait for everything before `end`.
    pub(crate) fn wait(self: &Arc<Self>, end: u64) -> FlushWait {
        FlushWait { watermark: Some(Arc::clone(self)), end, id: None }
    }
}

/// Resolves when the log is confirmed up to the offset asked for. Holds no thread and no lock meanwhile.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is polled"]
pub struct FlushWait {
    /// `None`: nothing to wait for.
    watermark: Option<Arc<Watermark>>,
    end: u64,
    id: Option<u64>,
}

impl FlushWait {
    pub(crate) fn done() -> FlushWait {
        FlushWait { watermark: None, end: 0, id: None }
    }

    /// Whether there is nothing left to wait for; an error counts as something.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.watermark.as_ref().is_none_or(|watermark| watermark.flushed() >= self.end)
    }
}

impl Future for FlushWait {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_done() {
            return Poll::Ready(Ok(()));
        }
        let Some(watermark) = self.watermark.clone() else { return Poll::Ready(Ok(())) };
        let mut waiters = watermark.waiters.lock();
        // Again under the lock: an advance between the look above and now has seen no waiter of ours.
        if watermark.flushed() >= self.end {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &waiters.failed {
            return Poll::Ready(Err(error.clone()));
        }
        let known = self.id.and_then(|id| waiters.waiting.iter_mut().find(|waiter| waiter.id == id));
        if let Some(waiter) = known {
            waiter.waker.clone_from(context.waker());
        } else {
            let id = waiters.next_id;
            waiters.next_id += 1;
            waiters.waiting.push(Waiter { id, end: self.end, waker: context.waker().clone() });
            self.id = Some(id);
        }
        drop(waiters);
        watermark.flush.notify();
        Poll::Pending
    }
}

impl Drop for FlushWait {
    fn drop(&mut self) {
        if let (Some(watermark), Some(id)) = (&self.watermark, self.id) {
            watermark.waiters.lock().waiting.retain(|waiter| waiter.id != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn waiters_are_woken_by_their_offset_only() {
        let watermark = Arc::new(Watermark::new(Arc::default()));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let mut near = watermark.wait(10);
        let mut far = watermark.wait(20);
        assert!(Pin::new(&mut near).poll(&mut context).is_pending());
        assert!(Pin::new(&mut far).poll(&mut context).is_pending());
        assert!(Pin::new(&mut far).poll(&mut context).is_pending());
        watermark.advance(10);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(Pin::new(&mut near).poll(&mut context), Poll::Ready(Ok(())));
        watermark.fail(FlushError::Shutdown);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(Pin::new(&mut far).poll(&mut context), Poll::Ready(Err(FlushError::Shutdown)));
        watermark.advance(20);
        assert_eq!(Pin::new(&mut far).poll(&mut context), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_dropped_wait_leaves_nothing() {
        let watermark = Arc::new(Watermark::new(Arc::default()));
        let mut wait = watermark.wait(10);
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(wait);
        assert!(watermark.waiters.lock().waiting.is_empty());
    }
}
