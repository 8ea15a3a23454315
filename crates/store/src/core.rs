//! What all parts of a store share: settings, seams, health, signals, counters.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::StoreConfig;
use crate::error::{FlushError, PutError};
use crate::fs::FileSystem;
use crate::retention::Retention;
use crate::watermark::Watermark;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: StoreConfig,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watermark: Arc<Watermark>,
    pub(crate) counters: Counters,
    pub(crate) dispatch: Signal,
    pub(crate) flush: Arc<Signal>,
    pub(crate) allocate: Signal,
    pub(crate) checkpoint: Signal,
    pub(crate) clean: Signal,
    /// Held while the log is brought to the disk.
    pub(crate) flush_lock: Mutex<()>,
    poisoned: OnceLock<Arc<str>>,
    disk_full: RwLock<DiskFull>,
    retention: ArcSwap<Retention>,
    /// Something was dispatched since the last checkpoint.
    checkpoint_due: AtomicBool,
    /// Something was appended since the last flush.
    flush_due: AtomicBool,
    /// The store is being closed; each thread looks after it has been signalled.
    stopping: AtomicBool,
    /// Threads are to end at once, leaving everything as a kill would.
    abandoned: AtomicBool,
}

/// Why puts are refused for want of space, by who found it.
#[derive(Debug, Default)]
struct DiskFull {
    level: Option<PutError>,
    no_room: Option<PutError>,
}

impl DiskFull {
    fn reason(&self) -> Option<&PutError> {
        self.level.as_ref().or(self.no_room.as_ref())
    }
}

/// Who finds that a disk is full: each heals on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The cleaner, by the limits.
    Level,
    /// The dispatcher, when the system had no room.
    NoRoom,
}

/// Figures for [`crate::StoreStatus`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) puts: AtomicU64,
    pub(crate) put_bytes: AtomicU64,
    pub(crate) put_failures: AtomicU64,
    pub(crate) gets_found: AtomicU64,
    pub(crate) gets_missed: AtomicU64,
    pub(crate) got_messages: AtomicU64,
    pub(crate) got_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, value: usize) {
        counter.fetch_add(value as u64, Ordering::Relaxed);
    }
}

impl Core {
    pub(crate) fn new(config: StoreConfig, fs: Arc<dyn FileSystem>, clock: Arc<dyn Clock>) -> Core {
        let flush = Arc::new(Signal::default());
        let retention = Retention::of(&config);
        Core {
            config,
            fs,
            clock,
            watermark: Arc::new(Watermark::new(Arc::clone(&flush))),
            counters: Counters::default(),
            dispatch: Signal::default(),
            flush,
            allocate: Signal::default(),
            checkpoint: Signal::default(),
            clean: Signal::default(),
            flush_lock: Mutex::new(()),
            poisoned: OnceLock::new(),
            disk_full: RwLock::default(),
            retention: ArcSwap::from_pointee(retention),
            checkpoint_due: AtomicBool::new(false),
            flush_due: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Makes the store read-only for good and tells everyone who waits. The first reason stays.
    pub(crate) fn poison(&self, reason: String) {
        let reason: Arc<str> = reason.into();
        if self.poisoned.set(Arc::clone(&reason)).is_ok() {
            error!(%reason, "store failed and is read-only from now on; mend the cause and restart");
            self.watermark.fail(FlushError::Poisoned { reason });
        }
    }

    pub(crate) fn poisoned(&self) -> Option<&Arc<str>> {
        self.poisoned.get()
    }

    /// Whether puts are to be accepted.
    pub(crate) fn check_writable(&self) -> Result<(), PutError> {
        if let Some(reason) = self.poisoned() {
            return Err(PutError::Poisoned { reason: Arc::clone(reason) });
        }
        if self.stopping() {
            return Err(PutError::Shutdown);
        }
        self.disk_full().map_or(Ok(()), Err)
    }

    /// Why puts are refused for want of space, if they are.
    pub(crate) fn disk_full(&self) -> Option<PutError> {
        self.disk_full.read().reason().cloned()
    }

    /// Who looks for room found none, and puts are refused with `error` from now on; or there is some again.
    pub(crate) fn set_disk_full(&self, finding: Finding, error: Option<PutError>) {
        let mut disk_full = self.disk_full.write();
        let before = disk_full.reason().is_some();
        match finding {
            Finding::Level => disk_full.level = error,
            Finding::NoRoom => disk_full.no_room = error,
        }
        match disk_full.reason() {
            Some(error) if !before => warn!(%error, "disk full, puts are refused"),
            None if before => info!("disk has room again, puts are accepted"),
            _ => {}
        }
    }

    /// The settings of retention as they are now.
    pub(crate) fn retention(&self) -> Arc<Retention> {
        self.retention.load_full()
    }

    pub(crate) fn set_retention(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }

    /// Wakes the checkpoint thread if it has nothing to do yet.
    pub(crate) fn note_dispatched(&self) {
        if !self.checkpoint_due.swap(true, Ordering::AcqRel) {
            self.checkpoint.notify();
        }
    }

    pub(crate) fn checkpoint_due(&self) -> bool {
        self.checkpoint_due.load(Ordering::Acquire)
    }

    /// What is dispatched from here on makes another checkpoint due.
    pub(crate) fn begin_checkpoint(&self) {
        // Not a mere store: it must see what was done before the flag was set, or set again.
        self.checkpoint_due.swap(false, Ordering::AcqRel);
    }

    /// Wakes the flush thread if it has nothing to do yet.
    pub(crate) fn note_appended(&self) {
        if !self.flush_due.swap(true, Ordering::AcqRel) {
            self.flush.notify();
        }
    }

    pub(crate) fn flush_due(&self) -> bool {
        self.flush_due.load(Ordering::Acquire)
    }

    /// What is appended from here on makes another flush due.
    pub(crate) fn begin_flush(&self) {
        self.flush_due.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Returns whether this call was the first.
    pub(crate) fn stop(&self, abandon: bool) -> bool {
        self.abandoned.fetch_or(abandon, Ordering::AcqRel);
        !self.stopping.swap(true, Ordering::AcqRel)
    }

    /// Runs `body` on a thread of this name; when it panics the store is poisoned.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let core = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                core.poison(format!("thread {name} panicked: {text}"));
            }
        })
    }
}

/// Whether an error says that there is no room, which may pass, unlike any other.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Wakes one thread. A notification that comes while the thread works is kept, so it looks once more before it sleeps.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    thread: OnceLock<Thread>,
}

impl Signal {
    /// To be called by the thread before it looks for work for the first time.
    pub(crate) fn attach(&self) {
        self.thread.get_or_init(thread::current);
    }

    pub(crate) fn notify(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Sleeps for `time`, whatever is notified meanwhile, unless `stop` says otherwise. A notification is kept for the wait
    /// after it.
    pub(crate) fn pause(&self, time: Duration, stop: impl Fn() -> bool) {
        let deadline = crate::clock::instant() + time;
        let mut notified = false;
        while !stop() {
            let left = deadline.saturating_duration_since(crate::clock::instant());
            if left.is_zero() {
                break;
            }
            self.wait(Some(left));
            notified |= crate::clock::instant() < deadline;
        }
        if notified {
            self.notify();
        }
    }

    /// Sleeps until notified, or for `timeout`; may wake without cause.
    #[expect(clippy::unused_self, reason = "only the attached thread waits")]
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        match timeout {
            Some(timeout) => thread::park_timeout(timeout),
            None => thread::park(),
        }
    }
}
