//! Pops and notifications that wait for a message. Source: broker/longpolling/PopLongPollingService.java.
//!
//! As with held pulls, whoever waits is put in first and then looks once more. Other than there, a message wakes one of
//! those who wait, not all: only one gets it.

use foldhash::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use store::{ArrivedProperties, MessageFilter};
use tokio::sync::Notify;

/// Who waits is answered so long before its time is over. Source: PopRequest.isTimeout.
const MARGIN_MS: i64 = 50;

/// Why a waiting request, or one that wants to wait, is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Woken {
    /// There may be something for it, or its time is over: it looks again.
    Look,
    /// It cannot wait: too many do.
    Full,
    /// It cannot wait: its time is over.
    TimedOut,
    /// The broker stops, or its connection is closed: it is not to be answered.
    LetGo,
}

/// A request that waits.
pub struct WaitingPop {
    /// When its time is over, ms.
    pub expires_ms: i64,
    /// What it wants; none for everything.
    pub filter: Option<Box<dyn MessageFilter + Send>>,
    /// True once its connection is closed.
    pub is_gone: Box<dyn Fn() -> bool + Send>,
    /// Goes on with it, once.
    pub resume: Box<dyn FnOnce(Woken) + Send>,
}

/// By time at which they expire, then by arrival.
type Waiting = BTreeMap<(i64, u64), WaitingPop>;
/// By queue; −1 stands for those who want any.
type Queues = HashMap<i32, Waiting>;

#[derive(Default)]
struct State {
    /// By topic, then group.
    topics: HashMap<String, HashMap<String, Queues>>,
    next: u64,
}

/// Requests that wait, by topic, group and queue.
pub struct PopPolling {
    state: Mutex<State>,
    waiting: AtomicUsize,
    /// When the next one's time is over, ms.
    next_ms: AtomicI64,
    earlier: Notify,
    /// Wakes the one that expires last instead of first: notifications, which take nothing.
    last_first: bool,
}

impl PopPolling {
    /// Nobody waits.
    pub fn new(last_first: bool) -> PopPolling {
        PopPolling {
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            next_ms: AtomicI64::new(i64::MAX),
            earlier: Notify::new(),
            last_first,
        }
    }

    /// How many wait for a queue of a topic in a group.
    pub fn len(&self, topic: &str, group: &str, queue_id: i32) -> usize {
        let state = self.state.lock();
        let queues = state.topics.get(topic).and_then(|groups| groups.get(group));
        queues.and_then(|queues| queues.get(&queue_id)).map_or(0, BTreeMap::len)
    }

    /// Has a request wait; true when it does. `max_total` and `max_queue` bound how many may (`maxPopPollingSize`,
    /// `popPollingSize`); who may not goes on at once and is told why.
    pub fn wait(
        &self,
        topic: &str,
        group: &str,
        queue_id: i32,
        waiting: WaitingPop,
        (max_total, max_queue): (usize, usize),
        now_ms: i64,
    ) -> bool {
        let refuse = |waiting: WaitingPop, why| {
            (waiting.resume)(why);
            false
        };
        if self.waiting.load(Ordering::SeqCst) >= max_total {
            return refuse(waiting, Woken::Full);
        }
        if now_ms > waiting.expires_ms.saturating_sub(MARGIN_MS) {
            return refuse(waiting, Woken::TimedOut);
        }
        let mut state = self.state.lock();
        state.next += 1;
        let place = (waiting.expires_ms, state.next);
        let groups = match state.topics.get_mut(topic) {
            Some(groups) => groups,
            None => state.topics.entry(topic.to_owned()).or_default(),
        };
        let queues = match groups.get_mut(group) {
            Some(queues) => queues,
            None => groups.entry(group.to_owned()).or_default(),
        };
        let queue = queues.entry(queue_id).or_default();
        if queue.len() > max_queue {
            drop(state);
            return refuse(waiting, Woken::Full);
        }
        queue.insert(place, waiting);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(state);
        let at_ms = place.0.saturating_sub(MARGIN_MS) + 1;
        if self.next_ms.fetch_min(at_ms, Ordering::SeqCst) > at_ms {
            self.earlier.notify_one();
        }
        true
    }

    /// A message arrived: in every group wakes one of those who want any queue, and one of those who want this. `force`
    /// wakes those, too, who do not want its tag.
    pub fn arrived(
        &self,
        topic: &str,
        queue_id: i32,
        (tags_code, properties): (i64, ArrivedProperties<'_>),
        force: bool,
    ) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let wanted = |waiting: &WaitingPop| {
            let filter = waiting.filter.as_ref();
            force
                || filter.is_none_or(|filter| {
                    filter.by_queue_unit(tags_code) && properties.with(|properties| filter.by_properties(properties))
                })
        };
        let mut woken = Vec::new();
        {
            let mut state = self.state.lock();
            for queues in state.topics.get_mut(topic).into_iter().flat_map(HashMap::values_mut) {
                woken.extend(self.take(queues, -1, wanted));
                if queue_id >= 0 {
                    woken.extend(self.take(queues, queue_id, wanted));
                }
            }
        }
        self.go_on(woken, Woken::Look);
    }

    /// There may be something for a group: wakes one of those who wait for the queue.
    pub fn wake(&self, topic: &str, group: &str, queue_id: i32) -> bool {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let woken = {
            let mut state = self.state.lock();
            let queues = state.topics.get_mut(topic).and_then(|groups| groups.get_mut(group));
            queues.and_then(|queues| self.take(queues, queue_id, |_| true))
        };
        let found = woken.is_some();
        self.go_on(woken.into_iter().collect(), Woken::Look);
        found
    }

    fn take(&self, queues: &mut Queues, queue_id: i32, wanted: impl Fn(&WaitingPop) -> bool) -> Option<WaitingPop> {
        let queue = queues.get_mut(&queue_id)?;
        // One whose connection is closed would take messages to nowhere.
        let fits =
            |(place, waiting): (&(i64, u64), &WaitingPop)| (wanted(waiting) && !(waiting.is_gone)()).then_some(*place);
        let place = if self.last_first { queue.iter().rev().find_map(fits) } else { queue.iter().find_map(fits) }?;
        queue.remove(&place)
    }

    fn go_on(&self, woken: Vec<WaitingPop>, why: Woken) {
        self.waiting.fetch_sub(woken.len(), Ordering::SeqCst);
        for waiting in woken {
            (waiting.resume)(why);
        }
    }

    /// Wakes those whose time is over, for as long as the broker runs.
    pub async fn run(&self, now_ms: impl Fn() -> i64) {
        loop {
            let wait_ms = self.next_ms.load(Ordering::SeqCst).saturating_sub(now_ms());
            if wait_ms > 0 {
                // Sleeping at most a while, so that requests of closed connections do not stay for ever.
                let pause = std::time::Duration::from_millis(wait_ms.min(30_000).unsigned_abs());
                tokio::select! {
                    () = tokio::time::sleep(pause), if self.waiting.load(Ordering::SeqCst) > 0 => {}
                    () = self.earlier.notified() => continue,
                }
            }
            self.sweep(now_ms());
        }
    }

    /// Wakes those whose time is over.
    fn sweep(&self, now_ms: i64) {
        self.next_ms.store(i64::MAX, Ordering::SeqCst);
        let (mut due, mut gone, mut next_ms) = (Vec::new(), Vec::new(), i64::MAX);
        self.state.lock().topics.retain(|_, groups| {
            groups.retain(|_, queues| {
                queues.retain(|_, waiting| {
                    let left = waiting.iter().filter(|(_, one)| (one.is_gone)()).map(|(place, _)| *place);
                    let left: Vec<_> = left.collect();
                    gone.extend(left.into_iter().filter_map(|place| waiting.remove(&place)));
                    // Strictly behind the margin: then waiting again is refused.
                    while let Some(first) = waiting.first_entry()
                        && first.key().0.saturating_sub(MARGIN_MS) < now_ms
                    {
                        due.push(first.remove());
                    }
                    if let Some(((expires_ms, _), _)) = waiting.first_key_value() {
                        next_ms = next_ms.min(expires_ms.saturating_sub(MARGIN_MS) + 1);
                    }
                    !waiting.is_empty()
                });
                !queues.is_empty()
            });
            !groups.is_empty()
        });
        self.go_on(gone, Woken::LetGo);
        self.next_ms.fetch_min(next_ms, Ordering::SeqCst);
        self.go_on(due, Woken::Look);
    }

    /// Lets go of everything without answer.
    pub fn shutdown(&self) {
        let topics = std::mem::take(&mut self.state.lock().topics);
        let queues = topics.into_values().flat_map(HashMap::into_values).flat_map(HashMap::into_values);
        self.go_on(queues.flat_map(BTreeMap::into_values).collect(), Woken::LetGo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::TagFilter;
    use std::sync::Arc;

    type Log = Arc<Mutex<Vec<(&'static str, Woken)>>>;

    fn waiting(name: &'static str, expires_ms: i64, tag: Option<i64>, woken: &Log) -> WaitingPop {
        let woken = woken.clone();
        WaitingPop {
            expires_ms,
            filter: tag.map(|tag| Box::new(TagFilter::Codes([tag].into())) as _),
            is_gone: Box::new(move || name == "gone"),
            resume: Box::new(move |why| woken.lock().push((name, why))),
        }
    }

    const MANY: (usize, usize) = (9, 9);

    #[test]
    fn a_message_wakes_one_of_each_group() {
        let (polling, woken) = (PopPolling::new(false), Log::default());
        for (name, group, queue, expires) in
            [("late", "g", -1, 900), ("soon", "g", -1, 800), ("own", "g", 3, 700), ("other", "h", -1, 700)]
        {
            assert!(polling.wait("T", group, queue, waiting(name, expires, None, &woken), MANY, 0));
        }
        polling.arrived("U", 3, (0, "".into()), false);
        assert!(woken.lock().is_empty());
        polling.arrived("T", 4, (0, "".into()), false);
        woken.lock().sort_unstable();
        assert_eq!(*woken.lock(), [("other", Woken::Look), ("soon", Woken::Look)]);
        polling.arrived("T", 3, (0, "".into()), false);
        assert_eq!(woken.lock().len(), 4);
        assert_eq!(polling.waiting.load(Ordering::SeqCst), 0);
        let last = PopPolling::new(true);
        for (name, expires) in [("late", 900), ("soon", 800)] {
            assert!(last.wait("T", "g", 0, waiting(name, expires, None, &woken), MANY, 0));
        }
        assert!(last.wake("T", "g", 0));
        assert_eq!(woken.lock().last(), Some(&("late", Woken::Look)));
        assert!(!last.wake("T", "g", -1));
    }

    #[test]
    fn who_wants_another_tag_sleeps_on() {
        let (polling, woken) = (PopPolling::new(false), Log::default());
        assert!(polling.wait("T", "g", -1, waiting("a", 800, Some(1), &woken), MANY, 0));
        assert!(polling.wait("T", "g", -1, waiting("b", 900, Some(2), &woken), MANY, 0));
        polling.arrived("T", 0, (3, "".into()), false);
        assert!(woken.lock().is_empty());
        polling.arrived("T", 0, (2, "".into()), false);
        assert_eq!(*woken.lock(), [("b", Woken::Look)]);
        polling.arrived("T", 0, (3, "".into()), true);
        assert_eq!(woken.lock().len(), 2);
    }

    #[test]
    fn limits_and_times() {
        let (polling, woken) = (PopPolling::new(false), Log::default());
        let wait = |queue, expires, limits| {
            let waits = polling.wait("T", "g", queue, waiting("w", expires, None, &woken), limits, 100);
            if waits { None } else { woken.lock().pop().map(|(_, why)| why) }
        };
        assert_eq!(wait(0, 149, MANY), Some(Woken::TimedOut));
        assert_eq!(wait(0, 150, MANY), None);
        assert_eq!(wait(0, 300, (1, 9)), Some(Woken::Full));
        // As many as the limit besides the first, as in Java.
        assert_eq!(wait(0, 300, (9, 1)), None);
        assert_eq!(wait(0, 300, (9, 1)), Some(Woken::Full));
        assert_eq!(polling.len("T", "g", 0), 2);
        assert_eq!(polling.next_ms.load(Ordering::SeqCst), 101);
        polling.sweep(100);
        assert_eq!(polling.next_ms.load(Ordering::SeqCst), 101);
        polling.sweep(101);
        assert_eq!(polling.next_ms.load(Ordering::SeqCst), 251);
        assert_eq!(*woken.lock(), [("w", Woken::Look)]);
        assert!(polling.wait("T", "g", 1, waiting("gone", 900, None, &woken), MANY, 100));
        assert!(!polling.wake("T", "g", 1));
        polling.sweep(102);
        assert_eq!(woken.lock()[1], ("gone", Woken::LetGo));
        polling.shutdown();
        assert_eq!(woken.lock()[2], ("w", Woken::LetGo));
        assert_eq!(polling.waiting.load(Ordering::SeqCst), 0);
    }
}
