//! Pulls one queue until it is dropped.

use super::Inner;
use super::concurrent::Chunk;
use super::process_queue::ProcessQueue;
use super::rebalance;
use crate::pull_consumer::{PullRequest, PullResult, PullStatus, SUSPEND};
use crate::route::MASTER_ID;
use protocol::names::RETRY_PREFIX;
use protocol::response_code;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After an error (pullTimeDelayMillsWhenException).
const AFTER_ERROR: Duration = Duration::from_secs(3);
/// When the broker asks to slow down.
const AFTER_FLOW_CONTROL: Duration = Duration::from_millis(20);
/// While this consumer is suspended.
const WHILE_PAUSED: Duration = Duration::from_millis(200);

/// Pulls from `next_offset` on.
pub(crate) async fn run(inner: Arc<Inner>, queue: Arc<ProcessQueue>, next_offset: i64) {
    tokio::select! {
        () = inner.stop.cancelled() => {}
        () = queue.dropped.cancelled() => {}
        () = pull_on(&inner, &queue, next_offset) => {}
    }
}

async fn pull_on(inner: &Arc<Inner>, queue: &Arc<ProcessQueue>, mut next_offset: i64) {
    let mut broker_id = MASTER_ID;
    let mut was_locked = !inner.needs_locks();
    loop {
        wait_until_allowed(inner, queue).await;
        if !was_locked {
            // Whoever held the lock before may have committed meanwhile.
            match rebalance::first_offset(inner, &queue.queue).await {
                Ok(offset) => (next_offset, was_locked) = (offset, true),
                Err(error) => {
                    tracing::warn!(queue = ?queue.queue, %error, "no offset to begin at");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            }
        }
        let Some(subscription) = inner.subscriptions.lock().get(&queue.queue.topic).cloned() else {
            tokio::time::sleep(AFTER_ERROR).await;
            continue;
        };
        let commit_offset = inner.offsets.get(&queue.queue).filter(|offset| *offset > 0 && inner.is_cluster());
        let request = PullRequest {
            group: &inner.config.group,
            queue: &queue.queue,
            subscription: &subscription,
            queue_offset: next_offset,
            max_msg_nums: inner.config.pull_batch_size,
            commit_offset,
            suspend: Some(SUSPEND),
            broker_id,
        };
        match inner.instance.pull(&request).await {
            Ok(result) if result.pull_status == PullStatus::OffsetIllegal => {
                // In a task of its own, since dropping the queue ends this one.
                let (inner, queue) = (inner.clone(), queue.clone());
                let tasks = inner.tasks.clone();
                tasks.spawn(async move { correct_offset(&inner, &queue, next_offset, result.next_begin_offset).await });
                return;
            }
            Ok(result) => {
                next_offset = result.next_begin_offset;
                broker_id = result.suggest_which_broker_id;
                take(inner, queue, result).await;
                if !inner.config.pull_interval.is_zero() {
                    tokio::time::sleep(inner.config.pull_interval).await;
                }
            }
            Err(error) => {
                broker_id = MASTER_ID;
                if !queue.queue.topic.starts_with(RETRY_PREFIX) {
                    tracing::warn!(group = inner.config.group, queue = ?queue.queue, %error, "pull failed");
                }
                let busy = error.code() == Some(response_code::FLOW_CONTROL);
                tokio::time::sleep(if busy { AFTER_FLOW_CONTROL } else { AFTER_ERROR }).await;
            }
        }
    }
}

/// Waits while the consumer is suspended, the queue is full, or not locked by us.
async fn wait_until_allowed(inner: &Inner, queue: &ProcessQueue) {
    let limits = inner.config.thresholds();
    loop {
        if inner.paused.load(Ordering::Acquire) {
            tokio::time::sleep(WHILE_PAUSED).await;
        } else if !queue.has_room(&limits) {
            // Woken by consumption; the orderly consumer waits on the same notice and may take it, hence the limit.
            let _ = tokio::time::timeout(Duration::from_millis(50), queue.changed.notified()).await;
        } else if inner.needs_locks() && !queue.is_locked() {
            let _ = tokio::time::timeout(Duration::from_millis(500), queue.changed.notified()).await;
        } else {
            return;
        }
    }
}

async fn take(inner: &Inner, queue: &Arc<ProcessQueue>, result: PullResult) {
    if result.messages.is_empty() {
        // Messages that nobody wants are done with, unless wanted ones before them are not.
        if queue.is_empty() {
            inner.offsets.update(&queue.queue, result.next_begin_offset, true);
        }
        return;
    }
    let mut rest = queue.put(result.messages, inner.config.orderly).into_iter();
    loop {
        let messages: Vec<_> = rest.by_ref().take(inner.config.consume_message_batch_max_size).collect();
        if messages.is_empty() || inner.chunks.send(Chunk { queue: queue.clone(), messages }).await.is_err() {
            return;
        }
    }
}

/// The offset lies outside of the queue: commits the one that the broker names and has the queue begin anew there.
async fn correct_offset(inner: &Arc<Inner>, queue: &ProcessQueue, wrong: i64, right: i64) {
    tracing::warn!(group = inner.config.group, queue = ?queue.queue, wrong, right, "offset outside of the queue");
    queue.dropped.cancel();
    inner.offsets.update(&queue.queue, right, false);
    if let Ok(addr) = inner.instance.queue_master(&queue.queue).await
        && inner.is_cluster()
    {
        let saved = inner.instance.brokers().update_offset(&addr, &inner.config.group, &queue.queue, right, false);
        if let Err(error) = saved.await {
            tracing::warn!(queue = ?queue.queue, %error, "corrected offset not saved");
        }
    } else {
        inner.offsets.save(&inner.instance, std::slice::from_ref(&queue.queue)).await;
    }
    inner.offsets.forget(&queue.queue);
    inner.queues.lock().remove(&queue.queue);
    inner.instance.notices.rebalance.notify_one();
}
