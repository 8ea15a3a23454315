//! Decisions over half messages: a message with the tag `d` in the op topic carries the half queue's offsets of many, each
//! followed by a comma (since 5.0), or of one, without (4.x, which reads nothing else).

use crate::config::BrokerOptions;
use codec::properties::{Properties, names as property};
use parking_lot::Mutex;
use protocol::names::TRANS_OP_HALF_TOPIC;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::SocketAddr;
use store::{Message, MessageStore, PutError};
use tokio::sync::Notify;

const REMOVE_TAG: &str = "d";
/// Decisions that are held back at most, where Java has the same bound. More come together only while the store takes
/// nothing.
const PENDING_MAX: usize = 20_000;

/// The offsets in the body of an op message. What is no number is passed over.
pub fn offsets(body: &[u8]) -> impl Iterator<Item = i64> {
    body.split(|byte| *byte == b',').filter_map(|item| std::str::from_utf8(item).ok()?.trim().parse().ok())
}

/// Whether a message of the op topic is a decision.
pub fn is_op(properties: &Properties) -> bool {
    properties.get(property::TAGS) == Some(REMOVE_TAG)
}

/// Where op messages come from, and how long they may become.
#[derive(Clone, Copy, Debug)]
pub struct OpStyle {
    /// This broker.
    pub host: SocketAddr,
    /// Bytes of a body from which nothing is added to it (`transactionOpMsgMaxSize`).
    pub max_size: usize,
}

impl OpStyle {
    /// That of the settings.
    pub fn of(options: &BrokerOptions, host: SocketAddr) -> OpStyle {
        // A body holds one item more than this at most.
        let most = options.store.max_message_size.saturating_sub(64);
        let max_size = options.broker.transaction_op_msg_max_size.min(most);
        OpStyle { host, max_size: usize::try_from(max_size).unwrap_or(0) }
    }
}

/// Decisions that were taken and are not written yet: they are gathered for `transactionOpBatchInterval`. Those that a
/// killed broker had not written are asked about again, as with Java.
#[derive(Debug, Default)]
pub struct OpBuffer {
    state: Mutex<Pending>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    /// By queue of the half topic.
    queues: BTreeMap<i32, Vec<i64>>,
    count: usize,
    bytes: usize,
    /// By queue: the offset behind the last op message written.
    ends: BTreeMap<i32, i64>,
}

impl OpBuffer {
    /// Takes in a decision; writes when there is a message full. False when too many wait already.
    pub fn add(&self, store: &MessageStore, style: OpStyle, queue_id: i32, half_offset: i64, now_ms: i64) -> bool {
        let mut state = self.state.lock();
        if state.count >= PENDING_MAX {
            return false;
        }
        state.queues.entry(queue_id).or_default().push(half_offset);
        state.count += 1;
        state.bytes += item_len(half_offset);
        if state.bytes <= style.max_size {
            drop(state);
            self.added.notify_one();
        } else if let Err(error) = state.write(store, style, now_ms) {
            tracing::warn!(%error, "decisions over half messages not written, trying again");
            drop(state);
            self.added.notify_one();
        }
        true
    }

    /// Waits for a decision. One that was taken in since the last wait counts.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Writes all that wait.
    ///
    /// # Errors
    /// Why the store does not take them; they go on waiting.
    pub fn flush(&self, store: &MessageStore, style: OpStyle, now_ms: i64) -> Result<(), PutError> {
        self.state.lock().write(store, style, now_ms)
    }

    /// The offset behind the last op message that was written to a queue; 0 when none was.
    pub fn end(&self, queue_id: i32) -> i64 {
        self.state.lock().ends.get(&queue_id).copied().unwrap_or(0)
    }
}

impl Pending {
    fn write(&mut self, store: &MessageStore, style: OpStyle, now_ms: i64) -> Result<(), PutError> {
        let mut properties = Properties::new();
        properties.set(property::WAIT, "true");
        properties.set(property::TAGS, REMOVE_TAG);
        let properties = properties.encode();
        while let Some(mut queue) = self.queues.first_entry() {
            let (body, count) = body(queue.get(), style.max_size);
            let put = store.put(&Message {
                born_timestamp: now_ms,
                born_host: style.host,
                store_host: style.host,
                properties: &properties,
                ..Message::new(TRANS_OP_HALF_TOPIC, *queue.key(), body.as_bytes())
            })?;
            self.ends.insert(*queue.key(), put.queue_offset + 1);
            self.count -= count;
            self.bytes -= queue.get_mut().drain(..count).map(item_len).sum::<usize>();
            if queue.get().is_empty() {
                queue.remove();
            }
        }
        Ok(())
    }
}

fn item_len(offset: i64) -> usize {
    offset.checked_ilog10().map_or(1, |digits| digits as usize + 1) + 1
}

/// The body of a message for the first of these, one at least, and how many they are. One alone has no comma, so that a
/// broker of 4.x can read it.
fn body(offsets: &[i64], max_size: usize) -> (String, usize) {
    let mut body = String::new();
    let mut count = 0;
    for offset in offsets {
        if count > 0 && body.len() >= max_size {
            break;
        }
        let _ = write!(body, "{offset},");
        count += 1;
    }
    if count == 1 {
        body.pop();
    }
    (body, count)
}

/// Decisions as they are read back in a round of checks, from the offset that the group has committed on.
#[derive(Debug)]
pub struct Decided {
    /// First half message that nobody has looked at.
    half_begin: i64,
    /// Op message by half message.
    ops: HashMap<i64, i64>,
    /// Op messages that hold decisions over messages not come to yet, and how many.
    open: BTreeMap<i64, usize>,
    /// Next op message to read.
    next: i64,
}

impl Decided {
    /// Nothing read yet.
    pub fn new(half_begin: i64, op_begin: i64) -> Decided {
        Decided { half_begin, ops: HashMap::new(), open: BTreeMap::new(), next: op_begin }
    }

    /// Next op message to read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Passes op messages over.
    pub fn skip_to(&mut self, op_offset: i64) {
        self.next = self.next.max(op_offset);
    }

    /// Takes in the op message at `op_offset`. Returns its decisions over messages that were looked at before.
    pub fn read(&mut self, op_offset: i64, body: &[u8]) -> Vec<i64> {
        self.skip_to(op_offset + 1);
        let mut late = Vec::new();
        for half_offset in offsets(body) {
            if half_offset < self.half_begin {
                late.push(half_offset);
                continue;
            }
            *self.open.entry(op_offset).or_default() += 1;
            if let Some(earlier) = self.ops.insert(half_offset, op_offset) {
                self.close(earlier);
            }
        }
        late
    }

    /// Whether there is a decision over this half message; it is not needed any more.
    pub fn take(&mut self, half_offset: i64) -> bool {
        let op_offset = self.ops.remove(&half_offset);
        if let Some(op_offset) = op_offset {
            self.close(op_offset);
        }
        op_offset.is_some()
    }

    /// First op message that is still needed: what the group commits.
    pub fn needed_from(&self) -> i64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    fn close(&mut self, op_offset: i64) {
        if let Some(left) = self.open.get_mut(&op_offset) {
            *left -= 1;
            if *left == 0 {
                self.open.remove(&op_offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use store::{NoListener, StoreConfig};

    fn check(body: &str, expect: &[i64]) {
        assert_eq!(offsets(body.as_bytes()).collect::<Vec<_>>(), expect, "{body:?}");
    }

    #[test]
    fn both_forms_of_a_body_are_read() {
        check("7", &[7]);
        check("7,", &[7]);
        check("7,8,9,", &[7, 8, 9]);
        check("", &[]);
        check(",,x,-1,99999999999999999999,3", &[-1, 3]);
    }

    #[test]
    fn bodies_end_where_they_are_full() {
        assert_eq!(body(&[1, 22, 333], 4096), ("1,22,333,".to_owned(), 3));
        assert_eq!(body(&[1, 22, 333], 3), ("1,22,".to_owned(), 2));
        assert_eq!(body(&[1, 22], 0), ("1".to_owned(), 1));
        for offset in [0, 9, 10, 99, 100, i64::MAX] {
            assert_eq!(item_len(offset), format!("{offset},").len(), "{offset}");
        }
    }

    #[test]
    fn an_op_message_is_needed_until_all_its_decisions_were_used() {
        let mut decided = Decided::new(10, 4);
        assert_eq!(decided.needed_from(), 4);
        assert!(decided.read(4, b"10,12,").is_empty());
        assert_eq!(decided.read(5, b"9,3,"), [9, 3]);
        assert!(decided.read(6, b"11,").is_empty());
        assert!(decided.take(11) && !decided.take(11));
        assert_eq!(decided.needed_from(), 4);
        assert!(decided.take(10));
        assert_eq!(decided.needed_from(), 4);
        assert!(decided.take(12));
        assert_eq!(decided.needed_from(), 7);
    }

    #[test]
    fn a_decision_that_comes_twice_holds_nothing_up() {
        let mut decided = Decided::new(0, 0);
        decided.read(0, b"1,1,");
        decided.read(1, b"1,2,");
        assert_eq!(decided.needed_from(), 1);
        assert!(decided.take(1) && decided.take(2));
        assert_eq!((decided.needed_from(), decided.next()), (2, 2));
    }

    #[test]
    fn decisions_are_gathered_and_written_when_a_message_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { mapped_file_size_commit_log: 1 << 20, ..StoreConfig::at(dir.path()) };
        let store = MessageStore::open(config, Arc::new(NoListener)).unwrap();
        let style = OpStyle { host: "127.0.0.1:1".parse().unwrap(), max_size: 10 };
        let buffer = OpBuffer::default();
        for offset in 100..102 {
            assert!(buffer.add(&store, style, 0, offset, 1));
            assert_eq!(buffer.end(0), 0, "gathered");
        }
        assert!(buffer.add(&store, style, 0, 102, 1));
        assert_eq!(buffer.end(0), 1, "12 bytes are a message");
        assert!(buffer.add(&store, style, 0, 7, 1) && buffer.add(&store, style, 1, 8, 1));
        buffer.flush(&store, style, 1).unwrap();
        assert_eq!((buffer.end(0), buffer.end(1)), (2, 1));
        store.shutdown();
        for offset in 0..i64::try_from(PENDING_MAX).unwrap() {
            assert!(buffer.add(&store, style, 0, offset, 1), "kept while the store takes nothing");
        }
        assert!(!buffer.add(&store, style, 0, 0, 1), "and no more than that");
        buffer.flush(&store, style, 1).unwrap_err();
    }
}
