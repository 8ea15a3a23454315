//! Consumption in order: one listener per queue, only while the queue is locked by us.

use super::process_queue::ProcessQueue;
use super::{ConsumeStatus, Inner, take_back};
use crate::message::MessageExt;
use std::sync::Arc;
use std::time::Duration;

/// Consumes the messages of one queue until it is dropped. `thread` numbers the queue in thread names.
pub(crate) async fn run(inner: Arc<Inner>, queue: Arc<ProcessQueue>, thread: usize) {
    loop {
        if inner.stop.is_cancelled() || queue.is_dropped() {
            return;
        }
        if inner.needs_locks() && !queue.is_locked() {
            wait(&inner, &queue, Duration::from_millis(500)).await;
            continue;
        }
        let Ok(permit) = inner.permits.clone().acquire_owned().await else { return };
        let again = consume_once(&inner, &queue, thread).await;
        drop(permit);
        match again {
            Next::Now => {}
            Next::WhenChanged => wait(&inner, &queue, Duration::from_millis(500)).await,
            Next::After(pause) => {
                tokio::select! {
                    () = inner.stop.cancelled() => return,
                    () = queue.dropped.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

enum Next {
    Now,
    WhenChanged,
    After(Duration),
}

async fn wait(inner: &Inner, queue: &ProcessQueue, at_most: Duration) {
    tokio::select! {
        () = inner.stop.cancelled() => {}
        () = queue.dropped.cancelled() => {}
        // The pull of this queue waits on the same notice and may take it, hence the limit.
        _ = tokio::time::timeout(at_most, queue.changed.notified()) => {}
    }
}

async fn consume_once(inner: &Arc<Inner>, queue: &ProcessQueue, thread: usize) -> Next {
    // Whoever takes the queue from us waits for this.
    let _consuming = queue.consuming.lock().await;
    if queue.is_dropped() {
        return Next::Now;
    }
    let mut messages = queue.take(inner.config.consume_message_batch_max_size);
    if messages.is_empty() {
        return Next::WhenChanged;
    }
    inner.prepare(&mut messages);
    let messages = Arc::new(messages);
    // Without a result the runtime ends; the messages are not committed then.
    let (status, _) = inner.listen(messages.clone(), &queue.queue, thread).await.unwrap_or((ConsumeStatus::Later, 0));
    let messages = take_back(messages);
    let (done, again) = match status {
        ConsumeStatus::Success => (messages, Vec::new()),
        ConsumeStatus::Later => give_up_or_try_again(inner, messages).await,
    };
    let pause = !again.is_empty();
    queue.put_back(again);
    if let Some(offset) = queue.remove(done.iter().map(|message| message.queue_offset))
        && !queue.is_dropped()
    {
        inner.offsets.update(&queue.queue, offset, false);
    }
    if pause { Next::After(inner.config.suspend_current_queue_time) } else { Next::Now }
}

/// Messages tried too often go to the broker, which delivers them later or never; the others are tried again here.
async fn give_up_or_try_again(inner: &Inner, messages: Vec<MessageExt>) -> (Vec<MessageExt>, Vec<MessageExt>) {
    let max = if inner.config.max_reconsume_times < 0 { i32::MAX } else { inner.config.max_reconsume_times };
    let (mut done, mut again) = (Vec::new(), Vec::new());
    for mut message in messages {
        if message.reconsume_times >= max && inner.is_cluster() {
            match inner.send_back(&message, 3 + message.reconsume_times.min(15)).await {
                Ok(()) => done.push(message),
                Err(error) => {
                    tracing::error!(queue_offset = message.queue_offset, %error, "cannot send back, tried again");
                    again.push(message);
                }
            }
        } else {
            message.reconsume_times = message.reconsume_times.saturating_add(1);
            again.push(message);
        }
    }
    (done, again)
}
