//! Which client consumes a queue in order: locks that expire.

use foldhash::HashMap;
use parking_lot::Mutex;
use protocol::body::MessageQueue;

/// Default of `rocketmq.broker.rebalance.lockMaxLiveTime`, ms.
pub const LOCK_MAX_LIVE_MS: i64 = 60_000;

#[derive(Clone, Debug)]
struct Lock {
    client_id: String,
    since_ms: i64,
}

/// Locks by group and queue.
#[derive(Debug)]
pub struct RebalanceLockManager {
    max_live_ms: i64,
    groups: Mutex<HashMap<String, HashMap<MessageQueue, Lock>>>,
}

impl RebalanceLockManager {
    /// No locks; each will live `max_live_ms` unless it is renewed.
    pub fn new(max_live_ms: i64) -> RebalanceLockManager {
        RebalanceLockManager { max_live_ms, groups: Mutex::default() }
    }

    fn is_expired(&self, lock: &Lock, now_ms: i64) -> bool {
        now_ms - lock.since_ms > self.max_live_ms
    }

    /// Locks or renews what is free, expired or already the client's; returns the queues it now holds.
    pub fn lock(&self, group: &str, client_id: &str, queues: Vec<MessageQueue>, now_ms: i64) -> Vec<MessageQueue> {
        let mut groups = self.groups.lock();
        let locks = groups.entry(group.to_owned()).or_default();
        let take = |queue: &MessageQueue| {
            let free = locks.get(queue).is_none_or(|lock| lock.client_id == client_id || self.is_expired(lock, now_ms));
            if free {
                locks.insert(queue.clone(), Lock { client_id: client_id.to_owned(), since_ms: now_ms });
            }
            free
        };
        let mut held = queues;
        let mut take = take;
        held.retain(|queue| take(queue));
        held
    }

    /// Gives up the queues that the client holds.
    pub fn unlock(&self, group: &str, client_id: &str, queues: &[MessageQueue]) {
        let mut groups = self.groups.lock();
        let Some(locks) = groups.get_mut(group) else { return };
        for queue in queues {
            if locks.get(queue).is_some_and(|lock| lock.client_id == client_id) {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            groups.remove(group);
        }
    }

    /// True when no lock of the group is alive.
    pub fn is_all_expired(&self, group: &str, now_ms: i64) -> bool {
        let groups = self.groups.lock();
        groups.get(group).is_none_or(|locks| locks.values().all(|lock| self.is_expired(lock, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_others_until_it_is_given_up_or_expires() {
        let locks = RebalanceLockManager::new(LOCK_MAX_LIVE_MS);
        let queue = |queue_id| MessageQueue { broker_name: "b".into(), queue_id, topic: "T".into() };
        let both = vec![queue(0), queue(1)];
        assert_eq!(locks.lock("g", "a", vec![queue(0)], 0), [queue(0)]);
        assert_eq!(locks.lock("g", "b", both.clone(), 1), [queue(1)]);
        assert!(!locks.is_all_expired("g", 1));
        locks.unlock("g", "b", &[queue(0)]);
        assert_eq!(locks.lock("g", "b", both.clone(), 2), [queue(1)]);
        locks.unlock("g", "a", &[queue(0)]);
        assert_eq!(locks.lock("g", "b", both.clone(), 3), both);
        assert_eq!(locks.lock("g", "a", both.clone(), LOCK_MAX_LIVE_MS + 4), both);
        assert!(locks.is_all_expired("g", 3 * LOCK_MAX_LIVE_MS));
        assert!(locks.is_all_expired("other", 0));
    }
}
