//! Pulls that wait for a message: long polling.
//!
//! Whoever holds a pull parks it first and then looks at the queue once more ([`PullRequestHold::park`] takes the
//! check), so that a message that arrives in between is not missed. The dispatch thread wakes held pulls; each carries
//! what to do then, so this part knows neither handler nor store.

use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use store::{Arrival, MessageFilter};
use tokio::sync::Notify;

const SHARDS: usize = 16;

/// Why a held pull goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A message arrived that it may want.
    Arrived,
    /// Its time is over.
    TimedOut,
    /// The broker stops: it is not to be answered.
    Shutdown,
}

/// A pull that waits.
pub struct HeldPull {
    /// First offset wanted.
    pub queue_offset: i64,
    /// When it must be answered, ms.
    pub deadline_ms: i64,
    /// What it wants.
    pub filter: Box<dyn MessageFilter + Send>,
    /// True once its connection is closed.
    pub is_gone: Box<dyn Fn() -> bool + Send>,
    /// Goes on with it, once.
    pub resume: Box<dyn FnOnce(Wake) + Send>,
}

type Queues = HashMap<i32, Vec<HeldPull>>;

/// Held pulls by topic and queue.
pub struct PullRequestHold {
    shards: Vec<Mutex<HashMap<String, Queues>>>,
    held: AtomicUsize,
    next_deadline_ms: AtomicI64,
    earlier: Notify,
}

impl Default for PullRequestHold {
    fn default() -> PullRequestHold {
        PullRequestHold::new()
    }
}

impl PullRequestHold {
    /// Nothing held.
    pub fn new() -> PullRequestHold {
        PullRequestHold {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            held: AtomicUsize::new(0),
            next_deadline_ms: AtomicI64::new(i64::MAX),
            earlier: Notify::new(),
        }
    }

    /// Number of held pulls.
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// True without held pulls.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds a pull; then, when `max_offset` says that there is a message by now, goes on with it at once.
    pub fn park(&self, topic: &str, queue_id: i32, pull: HeldPull, max_offset: impl FnOnce() -> i64) {
        let (queue_offset, deadline_ms) = (pull.queue_offset, pull.deadline_ms);
        {
            let mut topics = self.shard(topic, queue_id).lock();
            let queues = match topics.get_mut(topic) {
                Some(queues) => queues,
                None => topics.entry(topic.to_owned()).or_default(),
            };
            queues.entry(queue_id).or_default().push(pull);
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        if self.next_deadline_ms.fetch_min(deadline_ms, Ordering::SeqCst) > deadline_ms {
            self.earlier.notify_one();
        }
        let max_offset = max_offset();
        if max_offset > queue_offset {
            // The tag of what arrived is not known here; going on without a match costs one empty answer at most.
            self.wake(topic, queue_id, Wake::Arrived, |pull| pull.queue_offset < max_offset);
        }
    }

    /// A message arrived: wakes the pulls that want it.
    pub fn arrived(&self, arrival: &Arrival<'_>) {
        if self.held.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.wake(arrival.topic, arrival.queue_id, Wake::Arrived, |pull| {
            pull.queue_offset <= arrival.queue_offset
                && pull.filter.by_queue_unit(arrival.tags_code)
                && arrival.properties.with(|properties| pull.filter.by_properties(properties))
        });
    }

    fn wake(&self, topic: &str, queue_id: i32, why: Wake, due: impl Fn(&HeldPull) -> bool) {
        let woken: Vec<HeldPull> = {
            let mut topics = self.shard(topic, queue_id).lock();
            let Some(pulls) = topics.get_mut(topic).and_then(|queues| queues.get_mut(&queue_id)) else { return };
            pulls.extract_if(.., |pull| due(pull)).collect()
        };
        self.go_on(woken, why);
    }

    /// Goes on with all pulls of a topic.
    pub fn wake_topic(&self, topic: &str, why: Wake) {
        let take = |shard: &Mutex<HashMap<String, Queues>>| shard.lock().remove(topic);
        let queues = self.shards.iter().filter_map(take);
        let woken = queues.flat_map(HashMap::into_values).flatten().collect();
        self.go_on(woken, why);
    }

    fn go_on(&self, woken: Vec<HeldPull>, why: Wake) {
        self.held.fetch_sub(woken.len(), Ordering::SeqCst);
        for pull in woken {
            (pull.resume)(why);
        }
    }

    /// Answers the pulls whose time is over, for as long as the broker runs.
    pub async fn run(&self, now_ms: impl Fn() -> i64) {
        loop {
            let wait_ms = self.next_deadline_ms.load(Ordering::SeqCst).saturating_sub(now_ms());
            if wait_ms > 0 {
                // Sleeping at most a while, so that pulls of closed connections do not stay for ever.
                let pause = std::time::Duration::from_millis(u64::try_from(wait_ms.min(30_000)).unwrap_or(0));
                tokio::select! {
                    () = tokio::time::sleep(pause), if !self.is_empty() => {}
                    () = self.earlier.notified() => continue,
                }
            }
            self.sweep(now_ms());
        }
    }

    fn sweep(&self, now_ms: i64) {
        self.next_deadline_ms.store(i64::MAX, Ordering::SeqCst);
        let mut next = i64::MAX;
        for shard in &self.shards {
            let mut due = Vec::new();
            shard.lock().retain(|_, queues| {
                queues.retain(|_, pulls| {
                    due.extend(pulls.extract_if(.., |pull| pull.deadline_ms <= now_ms || (pull.is_gone)()));
                    next = pulls.iter().map(|pull| pull.deadline_ms).fold(next, i64::min);
                    !pulls.is_empty()
                });
                !queues.is_empty()
            });
            self.go_on(due, Wake::TimedOut);
        }
        self.next_deadline_ms.fetch_min(next, Ordering::SeqCst);
    }

    /// Lets go of everything without answer.
    pub fn shutdown(&self) {
        for shard in &self.shards {
            let all: Vec<HeldPull> =
                shard.lock().drain().flat_map(|(_, queues)| queues.into_values().flatten()).collect();
            self.go_on(all, Wake::Shutdown);
        }
    }

    fn shard(&self, topic: &str, queue_id: i32) -> &Mutex<HashMap<String, Queues>> {
        let hash = topic
            .bytes()
            .fold(queue_id.unsigned_abs() as usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.shards[hash % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::TagFilter;
    use std::sync::Arc;

    fn pull(offset: i64, deadline_ms: i64, woken: &Arc<Mutex<Vec<(i64, Wake)>>>) -> HeldPull {
        let woken = woken.clone();
        HeldPull {
            queue_offset: offset,
            deadline_ms,
            filter: Box::new(TagFilter::Codes([7].into())),
            is_gone: Box::new(|| false),
            resume: Box::new(move |why| woken.lock().push((offset, why))),
        }
    }

    fn arrival(queue_id: i32, queue_offset: i64, tags_code: i64) -> Arrival<'static> {
        let (topic, properties) = ("T", "");
        Arrival {
            topic,
            queue_id,
            queue_offset,
            tags_code,
            properties: properties.into(),
            store_timestamp: 0,
            physical_offset: 0,
        }
    }

    #[test]
    fn only_matching_messages_wake() {
        let (hold, woken) = (PullRequestHold::new(), Arc::default());
        hold.park("T", 0, pull(5, 100, &woken), || 5);
        hold.arrived(&arrival(0, 4, 7));
        hold.arrived(&arrival(1, 5, 7));
        hold.arrived(&arrival(0, 5, 8));
        assert!(woken.lock().is_empty());
        hold.arrived(&arrival(0, 5, 7));
        assert_eq!(*woken.lock(), [(5, Wake::Arrived)]);
        assert!(hold.is_empty());
    }

    #[test]
    fn a_message_that_came_before_parking_is_not_missed() {
        let (hold, woken) = (PullRequestHold::new(), Arc::default());
        hold.park("T", 0, pull(5, 100, &woken), || 6);
        assert_eq!(*woken.lock(), [(5, Wake::Arrived)]);
    }

    #[test]
    fn time_runs_out() {
        let (hold, woken) = (PullRequestHold::new(), Arc::default());
        hold.park("T", 0, pull(1, 100, &woken), || 0);
        hold.park("T", 0, pull(2, 50, &woken), || 0);
        hold.sweep(60);
        assert_eq!(*woken.lock(), [(2, Wake::TimedOut)]);
        assert_eq!(hold.next_deadline_ms.load(Ordering::SeqCst), 100);
        hold.shutdown();
        assert_eq!(woken.lock()[1], (1, Wake::Shutdown));
    }
}
