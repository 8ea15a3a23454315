//! How many messages a group has popped and not acknowledged, for `enablePopMessageThreshold`. Kept in memory only, as in
//! Java: after a start it counts from zero, and what was popped before is not counted down.

use foldhash::HashMap;
use parking_lot::Mutex;

/// By topic and queue.
type Queues = HashMap<(String, i32), i64>;

/// By group, topic and queue.
#[derive(Debug)]
pub struct InFlight {
    boot_ms: i64,
    counts: Mutex<HashMap<String, Queues>>,
}

impl InFlight {
    /// Nothing is in flight.
    pub fn new(boot_ms: i64) -> InFlight {
        InFlight { boot_ms, counts: Mutex::default() }
    }

    /// The count of a queue.
    pub fn get(&self, topic: &str, group: &str, queue_id: i32) -> i64 {
        let counts = self.counts.lock();
        counts.get(group).and_then(|queues| queues.get(&(topic.to_owned(), queue_id))).copied().unwrap_or(0)
    }

    /// So many messages were popped.
    pub fn popped(&self, topic: &str, group: &str, queue_id: i32, count: i64) {
        if count > 0 {
            let mut counts = self.counts.lock();
            let queues = counts.entry(group.to_owned()).or_default();
            *queues.entry((topic.to_owned(), queue_id)).or_default() += count;
        }
    }

    /// So many messages that were popped at `pop_time` are acknowledged, or will come again.
    pub fn settled(&self, topic: &str, group: &str, queue_id: i32, pop_time: i64, count: i64) {
        if pop_time < self.boot_ms {
            return;
        }
        let mut counts = self.counts.lock();
        let Some(queues) = counts.get_mut(group) else { return };
        let key = (topic.to_owned(), queue_id);
        if let Some(in_flight) = queues.get_mut(&key) {
            *in_flight -= count;
            if *in_flight <= 0 {
                queues.remove(&key);
            }
        }
        if queues.is_empty() {
            counts.remove(group);
        }
    }

    /// Nothing of a queue is in flight.
    pub fn clear(&self, topic: &str, group: &str, queue_id: i32) {
        if let Some(queues) = self.counts.lock().get_mut(group) {
            queues.remove(&(topic.to_owned(), queue_id));
        }
    }

    /// Forgets a topic.
    pub fn remove_topic(&self, topic: &str) {
        self.counts.lock().retain(|_, queues| {
            queues.retain(|(name, _), _| name != topic);
            !queues.is_empty()
        });
    }

    /// Forgets a group.
    pub fn remove_group(&self, group: &str) {
        self.counts.lock().remove(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_popped_before_the_start_is_not_counted_down() {
        let in_flight = InFlight::new(100);
        in_flight.popped("T", "g", 0, 3);
        in_flight.settled("T", "g", 0, 99, 1);
        assert_eq!(in_flight.get("T", "g", 0), 3);
        in_flight.settled("T", "g", 0, 100, 2);
        assert_eq!(in_flight.get("T", "g", 0), 1);
        in_flight.settled("T", "g", 0, 100, 2);
        assert_eq!(in_flight.get("T", "g", 0), 0);
        in_flight.popped("T", "g", 0, 1);
        in_flight.remove_topic("T");
        assert_eq!(in_flight.get("T", "g", 0), 0);
    }
}
