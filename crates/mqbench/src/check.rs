//! Whether answers are what they must be. The first one that is not ends the run.

use crate::body::{Content, Reader};
use crate::error::BenchError;
use codec::command::Command;
use codec::command_header;
use codec::message;
use protocol::response_code;

command_header! {
    /// What is looked at in the answer to a send; the rest is not decoded.
    pub struct SendAnswer {
        "queueId" queue_id: i32,
        /// Offset of the first message of the request.
        "queueOffset" queue_offset: i64,
    }
}

command_header! {
    /// What is looked at in the answer to a pull.
    pub struct PullAnswer {
        "nextBeginOffset" next_begin_offset: i64,
    }
}

/// A wrong answer.
pub fn wrong<T>(reason: impl Into<String>) -> Result<T, BenchError> {
    Err(BenchError::Wrong(reason.into()))
}

/// An answer with another code than was expected.
pub fn wrong_code<T>(what: &str, answer: &Command) -> Result<T, BenchError> {
    let name = response_code::name(answer.code).unwrap_or("unknown");
    let remark = answer.remark.as_deref().unwrap_or("no remark");
    wrong(format!("{what}: code {} {name}: {remark}", answer.code))
}

/// Whether the server refused because it has too much to do.
#[must_use]
pub fn is_busy(code: i32) -> bool {
    matches!(code, response_code::SYSTEM_BUSY | response_code::FLOW_CONTROL)
}

/// A queue of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Topic.
    pub topic: String,
    /// Queue number.
    pub queue_id: i32,
    /// Where its next message goes when the run begins.
    pub start: i64,
}

/// How far an acknowledged offset may lie beyond the number of acknowledged messages before it is called a gap at once:
/// it bounds the memory of the book, and is more than can be on its way.
const AHEAD: u64 = 1 << 24;

/// The offsets that were acknowledged, or delivered: in each queue they must follow on its end without gap, each one once.
#[derive(Debug)]
pub struct OffsetBook {
    queues: Vec<(Queue, Bits)>,
    acknowledged: u64,
}

impl OffsetBook {
    /// A book of these queues.
    #[must_use]
    pub fn new(queues: Vec<Queue>) -> OffsetBook {
        OffsetBook { queues: queues.into_iter().map(|queue| (queue, Bits::default())).collect(), acknowledged: 0 }
    }

    /// `count` messages are acknowledged in the queue at place `at`, the first at `queue_offset`.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] for an offset that lies before the run, was given before, or lies far ahead.
    pub fn acknowledge(&mut self, at: usize, queue_offset: i64, count: u64) -> Result<(), BenchError> {
        let Some((queue, bits)) = self.queues.get_mut(at) else { return wrong(format!("there is no queue {at}")) };
        let place = format_args!("topic {} queue {}", queue.topic, queue.queue_id);
        let Some(first) = queue_offset.checked_sub(queue.start).and_then(|first| u64::try_from(first).ok()) else {
            return wrong(format!(
                "{place}: a message was acknowledged at offset {queue_offset}, the queue already went to {}",
                queue.start
            ));
        };
        self.acknowledged += count;
        if first > self.acknowledged + AHEAD {
            return wrong(format!("{place}: offset {queue_offset} is acknowledged, far beyond what was sent"));
        }
        for offset in first..first + count {
            if !bits.set(offset) {
                return wrong(format!(
                    "{place}: offset {} is acknowledged twice",
                    queue_offset.saturating_add_unsigned(offset - first)
                ));
            }
        }
        Ok(())
    }

    /// The message at `queue_offset` of the queue at place `at` was delivered.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] when it was before, or lies before the run.
    pub fn delivered(&mut self, at: usize, queue_offset: i64) -> Result<(), BenchError> {
        let Some((queue, bits)) = self.queues.get_mut(at) else { return wrong(format!("there is no queue {at}")) };
        let place = format_args!("topic {} queue {}", queue.topic, queue.queue_id);
        let first = queue_offset.checked_sub(queue.start).and_then(|first| u64::try_from(first).ok());
        let Some(first) = first.filter(|first| *first < self.acknowledged + AHEAD) else {
            return wrong(format!("{place}: offset {queue_offset} was delivered, the run began at {}", queue.start));
        };
        self.acknowledged += 1;
        if bits.set(first) { Ok(()) } else { wrong(format!("{place}: offset {queue_offset} was delivered twice")) }
    }

    /// At the end of a run, when every request has its answer.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] naming the first gap.
    pub fn finish(&self) -> Result<(), BenchError> {
        for (queue, bits) in &self.queues {
            if let Some(gap) = bits.first_gap() {
                return wrong(format!(
                    "topic {} queue {}: offset {} is missing among the {} that were acknowledged or delivered; if somebody else \
                     writes to this topic, take another one (--topic) or leave offsets unchecked (--no-offset-check)",
                    queue.topic,
                    queue.queue_id,
                    queue.start.saturating_add_unsigned(gap),
                    bits.count
                ));
            }
        }
        Ok(())
    }
}

/// A set of numbers that is dense in the end.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    /// False when it is in already.
    fn set(&mut self, number: u64) -> bool {
        let at = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let Some(word) = self.words.get_mut(at) else { return false };
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(new);
        new
    }

    /// The smallest number that is missing below the largest.
    fn first_gap(&self) -> Option<u64> {
        let (at, word) = self.words.iter().enumerate().find(|(_, word)| **word != u64::MAX)?;
        let gap = at as u64 * 64 + u64::from(word.trailing_ones());
        (gap < self.count).then_some(gap)
    }
}

/// What a page of messages held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Offset behind the last one.
    pub end: i64,
}

/// Goes through the body of the answer to a pull: records must be whole, of this topic, when
/// `dense` of this queue at dense offsets from `from` on, their bodies as their CRC and, for our own, as they were sent. `each` gets the intended send time of each of our
/// messages, ns since 1970.
///
/// # Errors
/// [`BenchError::Wrong`] naming topic, queue and offset.
pub fn page(
    queue: &Queue,
    from: i64,
    body: &[u8],
    dense: bool,
    reader: &mut Reader,
    mut each: impl FnMut(u64),
) -> Result<Page, BenchError> {
    let mut page = Page { messages: 0, bytes: 0, end: from };
    let place = format_args!("topic {} queue {}", queue.topic, queue.queue_id);
    for record in message::records(body) {
        let record = match record {
            Ok(record) => record,
            Err(error) => return wrong(format!("{place}: what was pulled from offset {} on: {error}", page.end)),
        };
        let at = record.queue_offset;
        if dense && at != page.end {
            return wrong(format!("{place}: offset {at} was delivered where {} comes next", page.end));
        }
        if record.topic != queue.topic.as_bytes() || (dense && record.queue_id != queue.queue_id) {
            let (topic, queue_id) = (record.topic_str(), record.queue_id);
            return wrong(format!("{place}: offset {at} holds a message of topic {topic} queue {queue_id}"));
        }
        if let Err(error) = record.check_body_crc() {
            return wrong(format!("{place}: offset {at}: {error}"));
        }
        match reader.read(record.body) {
            Content::Ours(intended) => each(intended),
            Content::Damaged => return wrong(format!("{place}: offset {at}: the body is not what mqbench sent")),
            Content::Foreign => {}
        }
        page.messages += 1;
        page.bytes += record.body.len() as u64;
        page.end = at.saturating_add(1);
    }
    match page.messages {
        0 => wrong(format!("{place}: the answer at offset {from} says FOUND and holds no message")),
        _ => Ok(page),
    }
}

#[cfg(test)]
mod tests;
