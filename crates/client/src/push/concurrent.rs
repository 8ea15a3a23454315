//! Consumption without order: a fixed number of listeners at once.

use super::process_queue::ProcessQueue;
use super::{ConsumeStatus, Inner, take_back};
use crate::message::MessageExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// Messages that neither could be consumed nor sent back are tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Delay level of messages whose listener takes too long, as in Java.
const EXPIRED_DELAY_LEVEL: i32 = 3;

/// Messages of one queue for one call of the listener.
pub(crate) struct Chunk {
    pub(crate) queue: Arc<ProcessQueue>,
    pub(crate) messages: Vec<MessageExt>,
}

/// Starts the workers.
pub(crate) fn start(inner: &Arc<Inner>, waiting: mpsc::Receiver<Chunk>) {
    let waiting = Arc::new(Mutex::new(waiting));
    for thread in 1..=inner.config.consume_threads {
        inner.tasks.spawn(work(inner.clone(), waiting.clone(), thread));
    }
}

async fn work(inner: Arc<Inner>, waiting: Arc<Mutex<mpsc::Receiver<Chunk>>>, thread: usize) {
    loop {
        let next = async { waiting.lock().await.recv().await };
        let chunk = tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            chunk = next => chunk,
        };
        let Some(chunk) = chunk else { return };
        consume(&inner, chunk, thread).await;
    }
}

async fn consume(inner: &Arc<Inner>, chunk: Chunk, thread: usize) {
    let Chunk { queue, mut messages } = chunk;
    if queue.is_dropped() {
        return;
    }
    inner.prepare(&mut messages);
    let messages = Arc::new(messages);
    let mut listening = inner.listen(messages.clone(), &queue.queue, thread);
    match tokio::time::timeout(inner.config.consume_timeout, &mut listening).await {
        Ok(Ok((status, delay_level))) => settle(inner, &queue, take_back(messages), status, delay_level).await,
        // Only when the runtime ends.
        Ok(Err(_)) => {}
        Err(_) => {
            tracing::warn!(queue = ?queue.queue, thread, "listener takes too long; its messages go back to the broker");
            settle(inner, &queue, take_back(messages), ConsumeStatus::Later, EXPIRED_DELAY_LEVEL).await;
            // Its thread is still in use: no other listener may take the place.
            let _ = listening.await;
        }
    }
}

/// Does what the listener said: commits, or has messages delivered again.
async fn settle(
    inner: &Arc<Inner>,
    queue: &Arc<ProcessQueue>,
    messages: Vec<MessageExt>,
    status: ConsumeStatus,
    delay_level: i32,
) {
    let (mut done, mut failed) = (Vec::with_capacity(messages.len()), Vec::new());
    for message in messages {
        if status == ConsumeStatus::Success {
            done.push(message.queue_offset);
        } else if !inner.is_cluster() {
            tracing::warn!(queue = ?queue.queue, queue_offset = message.queue_offset, "broadcast message failed, dropped");
            done.push(message.queue_offset);
        } else if queue.is_dropped() {
            // The queue's next owner gets it from the queue itself.
        } else {
            match inner.send_back(&message, delay_level).await {
                Ok(()) => done.push(message.queue_offset),
                Err(error) => {
                    tracing::error!(queue_offset = message.queue_offset, %error, "cannot send back, tried again soon");
                    failed.push(MessageExt { reconsume_times: message.reconsume_times + 1, ..message });
                }
            }
        }
    }
    if !failed.is_empty() {
        try_again(inner, Chunk { queue: queue.clone(), messages: failed });
    }
    if let Some(offset) = queue.remove(done.into_iter())
        && !queue.is_dropped()
    {
        inner.offsets.update(&queue.queue, offset, true);
    }
}

/// Bounded by what the queue may hold, since these messages still count as pending.
fn try_again(inner: &Arc<Inner>, chunk: Chunk) {
    let (inner, tasks) = (inner.clone(), inner.tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = chunk.queue.dropped.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
        tokio::select! {
            () = inner.stop.cancelled() => {}
            _ = inner.chunks.send(chunk) => {}
        }
    });
}
