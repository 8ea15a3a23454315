//! What brokers ask of a push consumer for administrators.

use super::{Inner, rebalance};
use crate::notices::ConsumerControl;
use protocol::body::client::ConsumeType;
use protocol::body::{MessageQueue, MessageQueueKey, QueueTable};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

impl ConsumerControl for Inner {
    fn group(&self) -> &str {
        &self.config.group
    }

    /// Drops the queues, commits the new offsets and has the queues begin anew.
    fn reset_offsets(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>) {
        let held: Vec<_> = {
            let queues = self.queues.lock();
            queues.values().filter(|queue| queue.queue.topic == topic).cloned().collect()
        };
        let notices = self.instance.notices.clone();
        let mut waiting = Vec::new();
        for queue in held {
            if let Some(offset) = offsets.get(&queue.queue) {
                tracing::info!(group = self.config.group, queue = ?queue.queue, offset, "offset reset by the broker");
                // Dropped first: what is being consumed must not commit over the new offset.
                queue.dropped.cancel();
                self.offsets.update(&queue.queue, *offset, false);
                waiting.push(queue);
            }
        }
        let Some(inner) = self.this.upgrade() else { return };
        self.tasks.spawn(async move {
            for queue in waiting {
                while !rebalance::give_up(&inner, &queue).await {}
            }
            notices.rebalance.notify_one();
        });
    }

    fn offsets(&self, topic: &str) -> BTreeMap<MessageQueue, i64> {
        self.offsets.all_of(topic)
    }

    fn running_info(&self) -> Vec<u8> {
        let queues: Vec<_> = self.queues.lock().values().cloned().collect();
        let table: QueueTable<Value> =
            queues.iter().map(|queue| (MessageQueueKey(queue.queue.clone()), self.queue_info(queue))).collect();
        let config = self.instance.config();
        let subscriptions: Vec<_> = self.subscriptions.lock().values().cloned().collect();
        let info = RunningInfo {
            mq_pop_table: BTreeMap::new(),
            mq_table: table,
            properties: json!({
                "PROP_NAMESERVER_ADDR": config.namesrv_addrs.join(";"),
                "PROP_CONSUME_TYPE": serde_json::to_value(ConsumeType::ConsumePassively).unwrap_or_default(),
                "PROP_CLIENT_VERSION": protocol::version::describe(protocol::CURRENT_VERSION),
                "PROP_CONSUMEORDERLY": self.config.orderly.to_string(),
                "PROP_THREADPOOL_CORE_SIZE": self.config.consume_threads.to_string(),
                "PROP_CONSUMER_START_TIMESTAMP": self.started_ms.to_string(),
            }),
            status_table: BTreeMap::new(),
            subscription_set: subscriptions,
            user_consumer_info: BTreeMap::new(),
        };
        protocol::body::encode(&info)
    }
}

/// ConsumerRunningInfo, in fastjson's order.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct RunningInfo {
    mq_pop_table: BTreeMap<String, Value>,
    mq_table: QueueTable<Value>,
    properties: Value,
    status_table: BTreeMap<String, Value>,
    subscription_set: Vec<protocol::body::client::SubscriptionData>,
    user_consumer_info: BTreeMap<String, String>,
}

impl Inner {
    fn queue_info(&self, queue: &Arc<super::process_queue::ProcessQueue>) -> Value {
        let figures = queue.figures();
        json!({
            "cachedMsgCount": figures.count,
            "cachedMsgMaxOffset": figures.max_offset,
            "cachedMsgMinOffset": figures.min_offset,
            "cachedMsgSizeInMiB": figures.bytes / (1024 * 1024),
            "commitOffset": self.offsets.get(&queue.queue).unwrap_or(-1),
            "droped": queue.is_dropped(),
            "lastConsumeTimestamp": figures.last_consume_ms,
            "lastLockTimestamp": 0,
            "lastPullTimestamp": figures.last_pull_ms,
            "locked": figures.locked,
            "transactionMsgCount": 0,
            "transactionMsgMaxOffset": 0,
            "transactionMsgMinOffset": 0,
            "tryUnlockTimes": 0,
        })
    }
}
