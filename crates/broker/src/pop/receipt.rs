//! Receipts: what a consumer shows to acknowledge a message it popped. Source: remoting/protocol/header/ExtraInfoUtil.java.

use protocol::names::pop_retry_flag;
use std::fmt::{self, Display, Write};

/// Revive queue that receipts of ordered pops name; it does not exist, since they have no check points.
pub const ORDER_REVIVE_QUEUE: i32 = 999;

/// A receipt: `startOffset popTime invisibleTime reviveQid retry brokerName queueId offset`, by spaces. All handlers need
/// the first six.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the queue was read from.
    pub start_offset: i64,
    /// When the message was handed out, ms.
    pub pop_time: i64,
    /// For how long nobody else gets it, ms.
    pub invisible_time: i64,
    /// Queue of the revive topic that has the check point.
    pub revive_qid: i32,
    /// Broker that handed it out.
    pub broker_name: String,
}

impl Receipt {
    /// Reads `extraInfo`.
    ///
    /// # Errors
    /// The sentence for the remark: what is missing or no number.
    pub fn parse(extra_info: &str) -> Result<Receipt, String> {
        let parts: Vec<&str> = extra_info.split(' ').collect();
        let part = |index: usize, what: &str| {
            parts.get(index).copied().ok_or_else(|| {
                format!("extraInfo \"{extra_info}\" has no {what}: it has {} parts, of 6 or more", parts.len())
            })
        };
        let number = |index, what| {
            let text = part(index, what)?;
            text.parse::<i64>().map_err(|_| format!("extraInfo \"{extra_info}\": {what} \"{text}\" is no number"))
        };
        let revive_qid = number(3, "reviveQid")?;
        Ok(Receipt {
            start_offset: number(0, "startOffset")?,
            pop_time: number(1, "popTime")?,
            invisible_time: number(2, "invisibleTime")?,
            revive_qid: i32::try_from(revive_qid)
                .map_err(|_| format!("extraInfo \"{extra_info}\": reviveQid is too large"))?,
            broker_name: part(5, "brokerName")?.to_owned(),
        })
    }

    /// Of an ordered pop.
    pub fn is_ordered(&self) -> bool {
        self.revive_qid == ORDER_REVIVE_QUEUE
    }

    /// The receipt of one message, as the property POP_CK has it.
    pub fn of_message(&self, topic: &str, queue_id: i32, queue_offset: i64) -> String {
        format!(
            "{} {} {} {} {} {} {queue_id} {queue_offset}",
            self.start_offset,
            self.pop_time,
            self.invisible_time,
            self.revive_qid,
            pop_retry_flag(topic),
            self.broker_name
        )
    }
}

/// The three lists of a pop's answer, each queue's part behind a `;`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PopInfo {
    /// startOffsetInfo
    pub start_offsets: String,
    /// msgOffsetInfo
    pub message_offsets: String,
    /// orderCountInfo
    pub order_counts: String,
}

impl PopInfo {
    /// Messages at `offsets` were handed out, the queue read from `start_offset` on.
    pub fn popped(&mut self, topic: &str, queue_id: i32, start_offset: i64, offsets: &[i64]) {
        append(&mut self.start_offsets, topic, queue_id, start_offset);
        append(&mut self.message_offsets, topic, queue_id, Joined(offsets));
    }

    /// How often messages of a queue were handed out before: those at `counts`, and at least all of them.
    pub fn counted(&mut self, topic: &str, queue_id: i32, counts: impl IntoIterator<Item = (i64, i32)>, at_least: i32) {
        for (offset, count) in counts {
            append(&mut self.order_counts, topic, format_args!("qo{queue_id}%{offset}"), count);
        }
        // Old clients know only this one.
        append(&mut self.order_counts, topic, queue_id, at_least);
    }
}

fn append(list: &mut String, topic: &str, key: impl Display, value: impl Display) {
    let separator = if list.is_empty() { "" } else { ";" };
    // Writing to a String cannot fail.
    let _ = write!(list, "{separator}{} {key} {value}", pop_retry_flag(topic));
}

struct Joined<'a>(&'a [i64]);

impl Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, offset) in self.0.iter().enumerate() {
            write!(f, "{}{offset}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read_and_bad_ones_explained() {
        let receipt = Receipt::parse("5 1000 60000 3 0 broker-a 2 6").unwrap();
        assert_eq!((receipt.start_offset, receipt.pop_time, receipt.invisible_time), (5, 1000, 60_000));
        assert!(!receipt.is_ordered());
        assert_eq!(receipt.of_message("%RETRY%g+T", 2, 6), "5 1000 60000 3 2 broker-a 2 6");
        for (bad, says) in [
            ("", "no reviveQid"),
            ("5 1000 60000", "no reviveQid"),
            ("5 1000 60000 3 0", "no brokerName"),
            ("5 x 60000 3 0 b", "popTime \"x\" is no number"),
            ("5 1 60000 99999999999 0 b", "reviveQid is too large"),
        ] {
            let error = Receipt::parse(bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn lists_of_an_answer() {
        let mut info = PopInfo::default();
        info.popped("T", 0, 5, &[5, 7]);
        info.popped("%RETRY%g_T", 1, 0, &[0]);
        info.counted("T", 0, [(5, 2)], 0);
        assert_eq!(info.start_offsets, "0 0 5;1 1 0");
        assert_eq!(info.message_offsets, "0 0 5,7;1 1 0");
        assert_eq!(info.order_counts, "0 qo0%5 2;0 0 0");
    }
}
