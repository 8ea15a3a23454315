//! From a unit of a queue to its record, and whether that is the message that was put.

use std::collections::BTreeSet;

use codec::consume_queue::Unit;
use codec::message::{MessageRecord, RECORD_MIN_LEN};
use parking_lot::Mutex;
use tracing::error;

use crate::commit_log::CommitLog;
use crate::consume_queue::Queue;
use crate::lmq::{is_in, is_lmq};
use crate::mmap::MappedSlice;
use crate::record::is_torn;

/// Damaged records that are told in the log, each once.
const MAX_TOLD: usize = 1024;

/// What a unit leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The record.
    Record(MappedSlice),
    /// The part of the log that had it was deleted.
    Gone,
    /// What lies there is not the message; why.
    Damaged(String),
}

impl Lookup {
    /// Looks for the record of `unit`, the message at `queue_offset` of `queue`. What lies there must say so: a unit that a
    /// damaged file or a topic of the same name left behind must not pass off another message. `closely`: the content too.
    pub(crate) fn of(log: &CommitLog, queue: &Queue, unit: &Unit, queue_offset: i64, closely: bool) -> Lookup {
        let (Ok(offset), Ok(len)) = (u64::try_from(unit.physical_offset), u32::try_from(unit.size)) else {
            return Lookup::Gone;
        };
        if unit.is_blank() || (len as usize) < RECORD_MIN_LEN {
            return Lookup::Gone;
        }
        let Some(record) = log.files().slice(offset, len) else { return Lookup::Gone };
        let problem = if !is_it(&record, unit, queue.queue_id, queue_offset) && !is_light(&record, unit, queue) {
            Some("another record, or none, lies there".to_owned())
        } else if closely {
            content_problem(&record, queue)
        } else {
            None
        };
        problem.map_or(Lookup::Record(record), Lookup::Damaged)
    }

    /// The record, if there is one.
    pub(crate) fn record(self) -> Option<MappedSlice> {
        match self {
            Lookup::Record(record) => Some(record),
            Lookup::Gone | Lookup::Damaged(_) => None,
        }
    }
}

fn is_it(record: &[u8], unit: &Unit, queue_id: i32, queue_offset: i64) -> bool {
    let field_i32 = |at: usize| record.get(at..at + 4).and_then(|field| field.try_into().ok()).map(i32::from_be_bytes);
    let field_i64 = |at: usize| record.get(at..at + 8).and_then(|field| field.try_into().ok()).map(i64::from_be_bytes);
    field_i32(0) == Some(unit.size)
        && field_i32(12) == Some(queue_id)
        && field_i64(20) == Some(queue_offset)
        && field_i64(28) == Some(unit.physical_offset)
}

/// Whether it is the record of another topic that says it is in this light queue.
fn is_light(record: &[u8], unit: &Unit, queue: &Queue) -> bool {
    is_lmq(&queue.topic)
        && MessageRecord::parse(record).is_ok_and(|record| {
            record.physical_offset == unit.physical_offset
                && usize::try_from(unit.size) == Ok(record.total_size)
                && is_in(&record, queue)
        })
}

fn content_problem(record: &[u8], queue: &Queue) -> Option<String> {
    let parsed = match MessageRecord::parse(record) {
        Ok(parsed) => parsed,
        Err(error) => return Some(error.to_string()),
    };
    if parsed.topic != queue.topic.as_bytes() && !is_in(&parsed, queue) {
        return Some(format!("a record of topic {}", parsed.topic_str()));
    }
    if is_torn(parsed.topic, parsed.properties) {
        return Some("topic or properties were not written completely".to_owned());
    }
    parsed.check_body_crc().err().map(|error| error.to_string())
}

/// The damaged records that were met.
#[derive(Debug, Default)]
pub(crate) struct DamagedRecords(Mutex<BTreeSet<i64>>);

impl DamagedRecords {
    /// A record was not served for this reason; told in the log the first time.
    pub(crate) fn met(&self, log: &CommitLog, queue: &Queue, queue_offset: i64, physical_offset: i64, reason: &str) {
        let mut told = self.0.lock();
        if told.len() >= MAX_TOLD || !told.insert(physical_offset) {
            return;
        }
        drop(told);
        let file = u64::try_from(physical_offset).ok().and_then(|offset| log.files().find(offset));
        let path = file.as_ref().map(|file| file.path().display().to_string()).unwrap_or_default();
        let file_position = physical_offset - file.map_or(0, |file| i64::try_from(file.first_offset()).unwrap_or(0));
        error!(topic = %queue.topic, queue_id = queue.queue_id, queue_offset, path, file_position, reason,
            "a damaged message is not served; to see what can be done: mqstore verify");
    }

    /// How many, up to a limit.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }
}
