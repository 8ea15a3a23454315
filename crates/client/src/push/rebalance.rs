//! Which queues are ours.

use super::process_queue::ProcessQueue;
use super::{Inner, orderly, pull_loop};
use crate::allocate;
use crate::clock;
use crate::error::ClientError;
use protocol::body::MessageQueue;
use protocol::body::client::{ConsumeFromWhere, LockBatchRequestBody};
use protocol::names::RETRY_PREFIX;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Queues are shared out anew, and locks confirmed, at least this often.
const INTERVAL: Duration = Duration::from_secs(20);
/// The same when the last time left something undone.
const SOON: Duration = Duration::from_secs(1);
/// Half an hour: where ConsumeFromTimestamp begins by default.
const DEFAULT_TIMESTAMP_AGO_MS: i64 = 30 * 60 * 1000;

/// Shares out until the consumer stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        let done = tokio::select! {
            () = inner.stop.cancelled() => return,
            done = share_out(&inner) => done,
        };
        let pause = if done { INTERVAL } else { SOON };
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.instance.notices.rebalance.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// False when something must be done again soon.
async fn share_out(inner: &Arc<Inner>) -> bool {
    let topics: BTreeSet<String> = inner.subscriptions.lock().keys().cloned().collect();
    let mut done = true;
    for topic in &topics {
        match wanted_queues(inner, topic).await {
            Ok(Some(wanted)) => done &= apply(inner, topic, &wanted).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(group = inner.config.group, topic, %error, "queues not shared out");
                done = false;
            }
        }
    }
    let unsubscribed: BTreeSet<String> = {
        let queues = inner.queues.lock();
        queues.keys().map(|queue| queue.topic.clone()).filter(|topic| !topics.contains(topic)).collect()
    };
    for topic in unsubscribed {
        done &= apply(inner, &topic, &[]).await;
    }
    if inner.needs_locks() {
        confirm_locks(inner).await;
    }
    done
}

/// The queues of a topic that are to be ours; `None` while the topic has no route.
async fn wanted_queues(inner: &Inner, topic: &str) -> Result<Option<Vec<MessageQueue>>, ClientError> {
    let route = match inner.instance.cached_route(topic) {
        Some(route) => route,
        None => {
            let Some(route) = inner.instance.update_route(topic).await? else { return Ok(None) };
            // Perhaps these brokers have not heard of us, and would not list us.
            inner.instance.send_heartbeats().await;
            route
        }
    };
    if !inner.is_cluster() {
        return Ok(Some(route.subscribe.clone()));
    }
    let Some(addr) = inner.instance.any_broker_of(topic) else { return Ok(None) };
    let mut clients = match inner.instance.brokers().consumer_ids(&addr, &inner.config.group).await {
        Ok(clients) => clients,
        Err(error) => {
            // A broker that is gone may still be in the route; ask for a new one.
            inner.instance.update_route(topic).await?;
            return Err(error);
        }
    };
    clients.sort();
    clients.dedup();
    Ok(Some(allocate::averagely(inner.instance.client_id(), &route.subscribe, &clients)))
}

/// Gives up queues that are not wanted and begins those that are new. False when something must be done again.
async fn apply(inner: &Arc<Inner>, topic: &str, wanted: &[MessageQueue]) -> bool {
    let (lost, mut new) = {
        let queues = inner.queues.lock();
        let lost: Vec<_> = queues
            .values()
            .filter(|queue| queue.queue.topic == topic && !wanted.contains(&queue.queue))
            .cloned()
            .collect();
        let new: Vec<_> = wanted.iter().filter(|queue| !queues.contains_key(*queue)).cloned().collect();
        (lost, new)
    };
    let mut done = true;
    for queue in lost {
        done &= give_up(inner, &queue).await;
    }
    if inner.needs_locks() && !new.is_empty() {
        let locked = lock(inner, &new).await;
        done &= locked.len() == new.len();
        new.retain(|queue| locked.contains(queue));
    }
    for queue in new {
        inner.offsets.forget(&queue);
        match first_offset(inner, &queue).await {
            Ok(offset) => begin(inner, queue, offset),
            Err(error) => {
                tracing::warn!(group = inner.config.group, ?queue, %error, "no offset to begin at");
                done = false;
            }
        }
    }
    done
}

fn begin(inner: &Arc<Inner>, queue: MessageQueue, offset: i64) {
    tracing::info!(group = inner.config.group, ?queue, offset, "queue assigned");
    let process = Arc::new(ProcessQueue::new(queue.clone(), inner.needs_locks()));
    let number = {
        let mut queues = inner.queues.lock();
        queues.insert(queue, process.clone());
        queues.len()
    };
    inner.tasks.spawn(pull_loop::run(inner.clone(), process.clone(), offset));
    if inner.config.orderly {
        inner.tasks.spawn(orderly::run(inner.clone(), process, number));
    }
}

/// Commits and lets go of a queue. False when an orderly listener still runs; it is tried again then.
pub(crate) async fn give_up(inner: &Arc<Inner>, queue: &Arc<ProcessQueue>) -> bool {
    queue.dropped.cancel();
    if inner.config.orderly {
        let idle = tokio::time::timeout(Duration::from_secs(1), queue.consuming.lock()).await;
        if idle.is_err() {
            return false;
        }
    }
    tracing::info!(group = inner.config.group, queue = ?queue.queue, "queue given up");
    let one = std::slice::from_ref(&queue.queue);
    inner.offsets.save(&inner.instance, one).await;
    inner.queues.lock().remove(&queue.queue);
    inner.offsets.forget(&queue.queue);
    if inner.needs_locks() {
        inner.unlock(one).await;
    }
    true
}

/// Where to begin in a queue: at the committed offset, else where the settings say.
pub(crate) async fn first_offset(inner: &Inner, queue: &MessageQueue) -> Result<i64, ClientError> {
    if let Some(offset) = inner.offsets.load(&inner.instance, queue).await? {
        return Ok(offset);
    }
    let retry = queue.topic.starts_with(RETRY_PREFIX);
    match inner.config.consume_from_where {
        ConsumeFromWhere::ConsumeFromFirstOffset => Ok(0),
        ConsumeFromWhere::ConsumeFromTimestamp if retry => inner.instance.max_offset(queue).await,
        ConsumeFromWhere::ConsumeFromTimestamp => {
            let ago = || clock::now_ms() - DEFAULT_TIMESTAMP_AGO_MS;
            let from = inner.config.consume_timestamp_ms.unwrap_or_else(ago);
            inner.instance.search_offset(queue, from).await
        }
        _ if retry => Ok(0),
        _ => inner.instance.max_offset(queue).await,
    }
}

/// Locks new queues; returns those that are ours.
async fn lock(inner: &Inner, queues: &[MessageQueue]) -> Vec<MessageQueue> {
    let mut locked = Vec::new();
    for (broker_name, queues) in by_broker(queues) {
        let body = inner.lock_body(queues);
        let answer = match inner.instance.master_addr(&broker_name) {
            Ok(addr) => inner.instance.brokers().lock(&addr, &body).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ours) => locked.extend(ours),
            Err(error) => tracing::warn!(group = inner.config.group, broker_name, %error, "queues not locked"),
        }
    }
    locked
}

async fn confirm_locks(inner: &Inner) {
    let held: Vec<Arc<ProcessQueue>> = inner.queues.lock().values().cloned().collect();
    let names: Vec<MessageQueue> = held.iter().map(|queue| queue.queue.clone()).collect();
    if names.is_empty() {
        return;
    }
    let locked = lock(inner, &names).await;
    for queue in held {
        queue.set_locked(locked.contains(&queue.queue));
    }
}

fn by_broker(queues: &[MessageQueue]) -> BTreeMap<String, Vec<MessageQueue>> {
    let mut brokers = BTreeMap::<String, Vec<MessageQueue>>::new();
    for queue in queues {
        brokers.entry(queue.broker_name.clone()).or_default().push(queue.clone());
    }
    brokers
}

impl Inner {
    fn lock_body(&self, queues: Vec<MessageQueue>) -> LockBatchRequestBody {
        LockBatchRequestBody {
            client_id: self.instance.client_id().to_owned(),
            consumer_group: self.config.group.clone(),
            mq_set: queues,
            only_this_broker: false,
        }
    }

    /// Gives locks back.
    pub(crate) async fn unlock(&self, queues: &[MessageQueue]) {
        for (broker_name, queues) in by_broker(queues) {
            let body = self.lock_body(queues);
            let answer = match self.instance.master_addr(&broker_name) {
                Ok(addr) => self.instance.brokers().unlock(&addr, &body).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answer {
                tracing::warn!(group = self.config.group, broker_name, %error, "queues not unlocked");
            }
        }
    }
}
