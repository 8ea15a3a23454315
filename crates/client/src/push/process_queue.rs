//! The messages of one assigned queue between pull and commit.

use crate::clock;
use crate::message::MessageExt;
use parking_lot::Mutex;
use protocol::body::MessageQueue;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A lock on a queue counts this long after it was last confirmed (rebalanceLockMaxLiveTime).
const LOCK_LIFE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    /// Bytes of each message that was pulled and is not done with, by queue offset.
    pending: BTreeMap<i64, usize>,
    bytes: usize,
    /// Behind the last message ever put in; -1 before the first.
    end: i64,
    /// Messages that wait for their turn; used by orderly consumers only.
    waiting: BTreeMap<i64, MessageExt>,
    locked_at: Option<Instant>,
    last_pull_ms: i64,
    last_consume_ms: i64,
}

/// See the module. It belongs to this client until [`ProcessQueue::dropped`] is cancelled.
pub(crate) struct ProcessQueue {
    pub(crate) queue: MessageQueue,
    /// Cancelled when the queue went to another client; what is consumed afterwards is not committed.
    pub(crate) dropped: CancellationToken,
    /// Woken when messages came or went, or the queue was locked.
    pub(crate) changed: Notify,
    /// Held while an orderly consumer is in its listener.
    pub(crate) consuming: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// Limits of one queue; see [`super::PushConsumerConfig`].
pub(crate) struct Thresholds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Largest distance between the first and the last pending offset.
    pub(crate) span: Option<i64>,
}

/// Figures for administrators.
pub(crate) struct Figures {
    pub(crate) min_offset: i64,
    pub(crate) max_offset: i64,
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    pub(crate) locked: bool,
    pub(crate) last_pull_ms: i64,
    pub(crate) last_consume_ms: i64,
}

impl ProcessQueue {
    pub(crate) fn new(queue: MessageQueue, locked: bool) -> ProcessQueue {
        let locked_at = locked.then(clock::instant);
        let state = State { end: -1, locked_at, ..State::default() };
        ProcessQueue {
            queue,
            dropped: CancellationToken::new(),
            changed: Notify::new(),
            consuming: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.is_cancelled()
    }

    /// Whether more may be pulled.
    pub(crate) fn has_room(&self, limits: &Thresholds) -> bool {
        let state = self.state.lock();
        let span = match (state.pending.first_key_value(), state.pending.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        };
        state.pending.len() <= limits.messages
            && state.bytes <= limits.bytes
            && limits.span.is_none_or(|limit| span <= limit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().pending.is_empty()
    }

    /// Notes pulled messages; `keep` also keeps them here for an orderly consumer.
    pub(crate) fn put(&self, messages: Vec<MessageExt>, keep: bool) -> Vec<MessageExt> {
        let mut state = self.state.lock();
        state.last_pull_ms = clock::now_ms();
        for message in &messages {
            let len = message.body().len();
            if state.pending.insert(message.queue_offset, len).is_none() {
                state.bytes += len;
            }
            state.end = state.end.max(message.queue_offset + 1);
        }
        if !keep {
            return messages;
        }
        state.waiting.extend(messages.into_iter().map(|message| (message.queue_offset, message)));
        drop(state);
        self.changed.notify_one();
        Vec::new()
    }

    /// Notes that messages are done with. Returns the offset up to which all are: what may be committed.
    pub(crate) fn remove(&self, queue_offsets: impl Iterator<Item = i64>) -> Option<i64> {
        let mut state = self.state.lock();
        state.last_consume_ms = clock::now_ms();
        for offset in queue_offsets {
            if let Some(len) = state.pending.remove(&offset) {
                state.bytes -= len;
            }
        }
        let first = state.pending.first_key_value().map(|(offset, _)| *offset);
        let commit = first.unwrap_or(state.end);
        drop(state);
        self.changed.notify_one();
        (commit >= 0).then_some(commit)
    }

    /// Takes the next messages in order.
    pub(crate) fn take(&self, max: usize) -> Vec<MessageExt> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((_, message)) = state.waiting.pop_first()
        {
            taken.push(message);
        }
        taken
    }

    /// Puts taken messages back to be consumed again.
    pub(crate) fn put_back(&self, messages: Vec<MessageExt>) {
        let mut state = self.state.lock();
        state.waiting.extend(messages.into_iter().map(|message| (message.queue_offset, message)));
    }

    /// Notes whether the broker gave us the lock.
    pub(crate) fn set_locked(&self, locked: bool) {
        self.state.lock().locked_at = locked.then(clock::instant);
        if locked {
            self.changed.notify_one();
        }
    }

    /// True while the lock can be relied on.
    pub(crate) fn is_locked(&self) -> bool {
        self.state.lock().locked_at.is_some_and(|at| clock::instant().duration_since(at) < LOCK_LIFE)
    }

    pub(crate) fn figures(&self) -> Figures {
        let locked = self.is_locked();
        let state = self.state.lock();
        Figures {
            min_offset: state.pending.first_key_value().map_or(0, |(offset, _)| *offset),
            max_offset: state.pending.last_key_value().map_or(0, |(offset, _)| *offset),
            count: state.pending.len(),
            bytes: state.bytes,
            locked,
            last_pull_ms: state.last_pull_ms,
            last_consume_ms: state.last_consume_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::message::RecordParts;

    fn message(queue_offset: i64, len: usize) -> MessageExt {
        let host = "127.0.0.1:1".parse().unwrap();
        let record = RecordParts {
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &vec![0; len],
            topic: "T",
            properties: "",
        };
        let mut message = crate::message::decode_all(&record.encode().unwrap()).unwrap().remove(0);
        message.queue_offset = queue_offset;
        message
    }

    fn queue() -> ProcessQueue {
        ProcessQueue::new(MessageQueue::default(), false)
    }

    #[test]
    fn commits_only_what_is_done_up_to_the_first_gap() {
        let queue = queue();
        queue.put((5..9).map(|n| message(n, 1)).collect(), false);
        assert_eq!(queue.remove([6, 8].into_iter()), Some(5));
        assert_eq!(queue.remove([5].into_iter()), Some(7));
        assert_eq!(queue.remove([7].into_iter()), Some(9));
        assert_eq!(super::ProcessQueue::new(MessageQueue::default(), false).remove([1].into_iter()), None);
    }

    #[test]
    fn limits_stop_pulling() {
        let limits = Thresholds { messages: 2, bytes: 100, span: Some(10) };
        let check = |offsets: &[(i64, usize)], room: bool| {
            let queue = queue();
            queue.put(offsets.iter().map(|(offset, len)| message(*offset, *len)).collect(), false);
            assert_eq!(queue.has_room(&limits), room, "{offsets:?}");
        };
        check(&[], true);
        check(&[(0, 1), (1, 1)], true);
        check(&[(0, 1), (1, 1), (2, 1)], false);
        check(&[(0, 101)], false);
        check(&[(0, 1), (11, 1)], false);
    }

    #[test]
    fn orderly_messages_come_back_in_order() {
        let queue = queue();
        queue.put((0..3).map(|n| message(n, 1)).collect(), true);
        let taken = queue.take(2);
        queue.put_back(taken);
        assert_eq!(queue.take(9).iter().map(|m| m.queue_offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(!queue.is_empty());
    }
}
