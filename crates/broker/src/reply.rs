//! The only place where errors of store and checks become response codes and remarks. Wording follows Java, which
//! clients and people search for; behind it stands the reason.

use crate::timer::TimerRefusal;
use bytes::Bytes;
use protocol::response_code::{
    FLUSH_DISK_TIMEOUT, LMQ_QUOTA_EXCEEDED, MESSAGE_ILLEGAL, NO_PERMISSION, SERVICE_NOT_AVAILABLE,
    SUBSCRIPTION_GROUP_NOT_EXIST, SYSTEM_ERROR, TOPIC_NOT_EXIST,
};
use remoting::reply::{Body, Reply};
use std::fmt::Display;
use std::time::Duration;
use store::{FlushError, FlushWait, MappedSlice, PutError};

/// The records as they lie in the log, uncopied. Those of one commit-log file share one owner, and neighbours are one piece.
pub fn records_body(records: &[MappedSlice]) -> Body {
    Body::Many(record_parts(records))
}

/// The pieces of [`records_body`].
pub fn record_parts(records: &[MappedSlice]) -> Vec<Bytes> {
    let mut parts: Vec<Bytes> = Vec::with_capacity(records.len());
    let mut rest = records;
    while let Some((first, others)) = rest.split_first() {
        let in_file = others.iter().take_while(|other| first.through(other).is_some()).count();
        let (now, later) = rest.split_at(in_file + 1);
        rest = later;
        let Some(all) = now.last().and_then(|last| first.through(last)) else { continue };
        let all = Bytes::from_owner(all);
        let place = |record: &MappedSlice| {
            let begin = usize::try_from(record.physical_offset() - first.physical_offset()).unwrap_or(0);
            begin..begin + record.len()
        };
        parts.extend(now.chunk_by(|a, b| place(a).end == place(b).start).filter_map(|run| {
            let (from, to) = (place(run.first()?).start, place(run.last()?).end);
            Some(all.slice(from..to))
        }));
    }
    parts
}

const SEE_FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// A put that was refused or failed.
pub fn put_error<R>(error: &PutError, max_message_size: i32) -> Reply<R> {
    match error {
        PutError::MessageTooLarge { .. }
        | PutError::PropertiesTooLarge { .. }
        | PutError::TopicTooLong { .. }
        | PutError::Illegal { .. } => Reply::error(
            MESSAGE_ILLEGAL,
            format!(
                "the message is illegal, maybe msg body or properties length not matched. msg body length limit \
                 {max_message_size}B, msg properties length limit 32KB. ({error})"
            ),
        ),
        PutError::LmqQuota { .. } => Reply::error(
            LMQ_QUOTA_EXCEEDED,
            format!("[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded. ({error})"),
        ),
        PutError::NoFile { .. } => {
            Reply::error(SYSTEM_ERROR, format!("create mapped file failed, server is busy or broken. ({error})"))
        }
        _ => Reply::error(SERVICE_NOT_AVAILABLE, format!("service not available now. {error}")),
    }
}

/// A message for a time that cannot wait.
pub fn timer_refusal<R>(refusal: TimerRefusal) -> Reply<R> {
    match refusal {
        TimerRefusal::NotEnabled => {
            Reply::error(SYSTEM_ERROR, "accurate timer message is not enabled, timerWheelEnable is false")
        }
        TimerRefusal::Illegal { max_ms } => Reply::error(
            MESSAGE_ILLEGAL,
            format!(
                "timer message illegal, the delay time should not be bigger than the max delay {max_ms}ms; or if set del \
                 msg, the delay time should be bigger than the current time"
            ),
        ),
        TimerRefusal::FlowControl { limit } => Reply::error(
            SYSTEM_ERROR,
            format!(
                "timer message is under flow control, max num limit is {most} or the current value is greater than \
                 {limit} and less than {most}, trigger random flow control",
                most = limit * 2
            ),
        ),
    }
}

/// Waits until a put is on disk, at most `timeout_ms` (`syncFlushTimeout`).
pub async fn wait_flushed(flushed: FlushWait, timeout_ms: i32) -> Result<(), FlushError> {
    let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
    match tokio::time::timeout(Duration::from_millis(timeout_ms), flushed).await {
        Ok(done) => done,
        Err(_) => Err(FlushError::Timeout { timeout_ms }),
    }
}

/// The code of a message that is stored and not confirmed on disk in time, and the reason.
pub fn flush_error(error: &FlushError) -> (i32, String) {
    match error {
        FlushError::Timeout { .. } => (FLUSH_DISK_TIMEOUT, error.to_string()),
        _ => (SERVICE_NOT_AVAILABLE, format!("service not available now. {error}")),
    }
}

/// A topic that nobody made.
pub fn topic_not_exist<R>(topic: &str, reason: &str) -> Reply<R> {
    Reply::error(TOPIC_NOT_EXIST, format!("topic[{topic}] not exist, apply first please! {reason}{SEE_FAQ}"))
}

/// A group that nobody made.
pub fn group_not_exist<R>(group: &str) -> Reply<R> {
    let remark = format!(
        "subscription group not exist, {group} (autoCreateSubscriptionGroup=false, or an illegal name){SEE_FAQ}"
    );
    Reply::error(SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

/// A group that nobody made, as POP says it.
pub fn group_missing<R>(group: &str) -> Reply<R> {
    Reply::error(SUBSCRIPTION_GROUP_NOT_EXIST, format!("subscription group [{group}] does not exist, {SEE_FAQ}"))
}

/// A group that does not subscribe what it pulls.
pub fn subscription_not_exist(what: &str) -> String {
    format!("the consumer's {what} not exist{SEE_FAQ}")
}

/// Something that must not be done.
pub fn forbidden<R>(remark: impl Display) -> Reply<R> {
    Reply::error(NO_PERMISSION, remark.to_string())
}

/// A body that cannot be read.
pub fn bad_body<R>(error: impl Display) -> Reply<R> {
    Reply::error(SYSTEM_ERROR, format!("the body cannot be read: {error}"))
}

/// A file that cannot be written: the change stands in memory only.
pub fn not_persisted<R>(error: impl Display) -> Reply<R> {
    Reply::error(SYSTEM_ERROR, format!("changed in memory, but the file could not be written: {error}"))
}
