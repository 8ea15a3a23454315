//! POP consumption: the broker hands messages out one by one and gives each again that is not acknowledged in time.
//!
//! A pop moves the group's offset on and leaves a *check point* behind in the revive topic ([`revive_log`]). Whoever reads
//! that topic (`services/revive.rs`) keeps in [`revive_table`] what is pending, and when its time comes puts what was not
//! acknowledged into the group's POP retry topic. Nothing else is persistent: check points are messages, and how far
//! the revive topic is done with is an offset of a group. Ordered pops have no check point: they stay where they are in
//! their queue, which [`order_info`] blocks.

pub mod in_flight;
pub mod order_info;
pub mod polling;
pub mod queue_locks;
pub mod receipt;
pub mod request_mode;
pub mod revive_log;
pub mod revive_table;

use crate::consumer_offset_manager::ConsumerOffsetManager;
use codec::properties::{get, names as property};
use in_flight::InFlight;
use order_info::{OrderInfoManager, OrderKey};
use polling::PopPolling;
use protocol::names::RETRY_PREFIX;
use queue_locks::QueueLocks;
use revive_log::{ReviveArrivals, ReviveLog};
use std::sync::Arc;
use store::{Arrival, MessageStore};

/// Who waits for messages, and is told when they arrive.
pub struct PopArrivals {
    /// Pops.
    pub pops: PopPolling,
    /// Notifications.
    pub notifications: PopPolling,
    /// Readers of the revive topic.
    pub revive: Arc<ReviveArrivals>,
    /// Every so many messages of a queue, those are woken, too, who do not want its tag: so their offset moves on.
    pub force_interval: i64,
}

impl PopArrivals {
    /// A message arrived.
    pub fn arriving(&self, arrival: &Arrival<'_>) {
        self.revive.arrived(arrival.topic, arrival.queue_id);
        let Some(rest) = arrival.topic.strip_prefix(RETRY_PREFIX) else {
            let force = self.force_interval > 0 && arrival.queue_offset % self.force_interval == 0;
            for polling in [&self.pops, &self.notifications] {
                polling.arrived(arrival.topic, arrival.queue_id, (arrival.tags_code, arrival.properties), force);
            }
            return;
        };
        // Nobody waits for a retry topic, but for the topic that it is of.
        let group = |text: &str| get(text, property::ORIGIN_GROUP).unwrap_or_default().to_owned();
        let group = &*arrival.properties.with(group);
        let topic = rest.strip_prefix(group).and_then(|rest| rest.get(1..)).unwrap_or_default();
        if !group.is_empty() && !topic.is_empty() {
            for polling in [&self.pops, &self.notifications] {
                polling.wake(topic, group, -1);
                polling.wake(topic, group, arrival.queue_id);
            }
        }
    }
}

/// State of POP that its handlers share.
pub struct Pop {
    /// Who waits.
    pub arrivals: Arc<PopArrivals>,
    /// Check points and acknowledgements.
    pub log: ReviveLog,
    /// One pop at a time.
    pub locks: QueueLocks,
    /// Ordered pops.
    pub orders: OrderInfoManager,
    /// Counts of what is popped and not acknowledged.
    pub in_flight: InFlight,
    /// How far groups are.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Messages.
    pub store: Arc<MessageStore>,
}

impl Pop {
    /// A queue has become free: wakes one who waits for any queue or this one, when there are messages.
    pub fn freed(&self, key: &OrderKey) {
        let offset = self.offsets.query(&key.group, &key.topic, key.queue_id).unwrap_or(-1);
        if self.store.max_offset(&key.topic, key.queue_id) > offset {
            for polling in [&self.arrivals.pops, &self.arrivals.notifications] {
                let _ = polling.wake(&key.topic, &key.group, -1) || polling.wake(&key.topic, &key.group, key.queue_id);
            }
        }
    }

    /// Where the next pop of a group begins, as notifications and peeks see it.
    pub fn next_offset(&self, topic: &str, group: &str, queue_id: i32) -> i64 {
        self.offsets.query(group, topic, queue_id).unwrap_or_else(|| self.store.min_offset(topic, queue_id))
    }
}
