//! Delivers delayed messages of one level when their time comes. Sleeps until the next one is due or arrives.

use crate::schedule::{DelayLevels, ScheduleOffsets};
use codec::message::MessageRecord;
use codec::properties::{Properties, names as property};
use protocol::names::{SCHEDULE_TOPIC, TRANS_HALF_TOPIC};
use remoting::clock;
use std::sync::Arc;
use std::time::Duration;
use store::{Message, MessageStore, QueueUnit};

const BATCH: usize = 64;
/// After a put that failed: the store is full or shut down, and may recover.
const RETRY: Duration = Duration::from_secs(1);

/// One level.
pub(super) struct Delivery {
    pub(super) store: Arc<MessageStore>,
    pub(super) schedule: Arc<ScheduleOffsets>,
    pub(super) levels: Arc<DelayLevels>,
    pub(super) level: i32,
}

impl Delivery {
    pub(super) async fn run(&self) {
        let queue_id = self.level - 1;
        let mut offset = self.first_offset(queue_id);
        loop {
            let units = self.store.queue_units(SCHEDULE_TOPIC, queue_id, offset, BATCH);
            if units.is_empty() {
                self.schedule.arrival(self.level).await;
                // The queue may have lost its beginning to retention meanwhile.
                offset = offset.max(self.store.min_offset(SCHEDULE_TOPIC, queue_id));
                continue;
            }
            for unit in units {
                self.wait_until_due(&unit).await;
                while !self.deliver(&unit) {
                    tokio::time::sleep(RETRY).await;
                }
                offset = unit.queue_offset + 1;
                self.schedule.set(self.level, offset, clock::now_ms());
            }
        }
    }

    /// Where delivery goes on: what the file says, within what the queue holds.
    fn first_offset(&self, queue_id: i32) -> i64 {
        let known = self.schedule.get(self.level).unwrap_or(0);
        let (min, max) =
            (self.store.min_offset(SCHEDULE_TOPIC, queue_id), self.store.max_offset(SCHEDULE_TOPIC, queue_id));
        let offset = known.clamp(min, max.max(min));
        if offset != known {
            tracing::warn!(level = self.level, known, min, max, "delay offset outside the queue, corrected");
        }
        offset
    }

    async fn wait_until_due(&self, unit: &QueueUnit) {
        let now = clock::now_ms();
        let delay = self.levels.delay_ms(self.level).unwrap_or(0);
        // A time further off than the level's delay comes from a changed clock or setting: deliver at once.
        let wait = unit.tags_code.saturating_sub(now);
        if wait > 0 && wait <= delay {
            tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        }
    }

    /// Puts the message where it was meant to go; true when that is done or will never be possible.
    fn deliver(&self, unit: &QueueUnit) -> bool {
        let Some(bytes) = self.store.record_at(unit.physical_offset) else { return true };
        let record = match MessageRecord::parse(&bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(offset = unit.physical_offset, %error, "delayed message cannot be read, skipped");
                return true;
            }
        };
        let mut properties = Properties::parse(&record.properties_str());
        let topic = properties.get(property::REAL_TOPIC).map(str::to_owned);
        let queue_id = properties.get(property::REAL_QID).and_then(|id| id.parse().ok());
        let (Some(topic), Some(queue_id)) = (topic, queue_id) else {
            tracing::error!(offset = unit.physical_offset, "delayed message without destination, skipped");
            return true;
        };
        if topic == TRANS_HALF_TOPIC {
            tracing::error!(offset = unit.physical_offset, "delayed message for a half topic, skipped");
            return true;
        }
        // As in Java the destination stays in the properties, the delay does not. The CRC is that of another record.
        for name in [property::DELAY, property::TIMER_DELIVER_MS, property::TIMER_DELAY_SEC, property::CRC32] {
            properties.remove(name);
        }
        properties.set(property::WAIT, "false");
        let message = Message {
            topic: &topic,
            queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: 0,
            body: record.body,
            properties: properties.as_str(),
        };
        match self.store.put(&message) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(topic, %error, "delayed message not delivered, trying again");
                false
            }
        }
    }
}
