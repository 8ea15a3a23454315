//! What a record of the log means to the store, when it is read from the log instead of being put.

use std::borrow::Cow;
use std::time::Duration;

use codec::index::{self, Filed};
use codec::java_hash::tags_code;
use codec::message::{BLANK_MAGIC_CODE, MessageRecord, sys_flag};
use codec::properties::names;
use memchr::memchr;

use crate::commit_log::{KeyHashes, TagsCode};
use crate::config::StoreConfig;
use crate::consume_queue::Queue;
use crate::mmap::MappedFile;

/// Topic in which messages wait for their delay; the tagsCode there is the delivery time.
pub(crate) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// The delays behind the levels 1, 2, … of messageDelayLevel.
#[derive(Debug, Clone, Default)]
pub(crate) struct DelayLevels(Vec<i64>);

impl DelayLevels {
    /// Reads `1s 5s 10m 2h 1d`; the error is the part that is none of these.
    pub(crate) fn parse(text: &str) -> Result<DelayLevels, String> {
        let level = |part: &str| {
            let (number, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
            let unit_s = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 60 * 60,
                "d" => 24 * 60 * 60,
                _ => return None,
            };
            let delay = Duration::from_secs(number.parse::<u32>().ok()?.into()).checked_mul(unit_s)?;
            i64::try_from(delay.as_millis()).ok()
        };
        text.split_whitespace()
            .map(|part| level(part).ok_or_else(|| part.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// tagsCode of a message: the hash of its tags, or in the schedule topic the time to deliver it.
    /// Source: CommitLog.checkMessageAndReturnSize, DefaultMessageStore.computeDeliverTimestamp.
    pub(crate) fn tags_code<'a>(
        &self,
        topic: &str,
        tags: Option<&str>,
        delay: impl FnOnce() -> Option<&'a str>,
    ) -> TagsCode {
        if topic == SCHEDULE_TOPIC
            && let Some(level) = delay().and_then(|level| level.parse::<usize>().ok()).filter(|level| *level > 0)
        {
            let level = level.min(self.0.len());
            return TagsCode::Delay(level.checked_sub(1).and_then(|at| self.0.get(at)).copied().unwrap_or(1000));
        }
        TagsCode::Hash(tags.map_or(0, tags_code))
    }

    /// tagsCode of a record.
    pub(crate) fn tags_code_of(&self, record: &MessageRecord<'_>) -> i64 {
        let tags_code =
            self.tags_code(&record.topic_str(), record.property(names::TAGS), || record.property(names::DELAY));
        tags_code.at(record.store_timestamp)
    }
}

/// Whether a message of this sysFlag enters a queue: prepared and rolled-back ones do not.
#[must_use]
pub fn enters_queue(flags: i32) -> bool {
    matches!(sys_flag::transaction_type(flags), sys_flag::TRANSACTION_NOT_TYPE | sys_flag::TRANSACTION_COMMIT_TYPE)
}

/// What a record is filed under in the index, if there is one: nothing when it was rolled back. Source:
/// IndexService.buildIndex.
pub(crate) fn key_hashes(config: &StoreConfig, topic: &str, filed: Filed<'_>, flags: i32) -> KeyHashes {
    match sys_flag::transaction_type(flags) {
        sys_flag::TRANSACTION_ROLLBACK_TYPE => KeyHashes::new(),
        _ if !config.message_index_enable => KeyHashes::new(),
        _ => index::hashes(topic, filed).collect(),
    }
}

/// How many messages a record holds: more than one only in a queue of batches. Source: CommitLog.getMessageNum.
pub(crate) fn message_count<'a>(queue: &Queue, flags: i32, inner_num: impl FnOnce() -> Option<&'a str>) -> i16 {
    if flags & sys_flag::INNER_BATCH == 0 || queue.batch().is_none() {
        return 1;
    }
    inner_num().and_then(|num| num.parse::<i16>().ok()).filter(|num| *num > 1).unwrap_or(1)
}

/// What lies at a position of a commit-log file.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole record that knows its own place.
    Record(MessageRecord<'a>),
    /// The filler at the end: go on with the next file.
    Roll,
    /// Nothing that could be read; why.
    End(String),
}

/// How closely a record is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Its lengths and its place.
    Form,
    /// And bodyCRC, and that topic and properties are written.
    Body,
    /// And the CRC of the whole record, if it carries one.
    Record,
}

impl From<bool> for Check {
    fn from(check_crc: bool) -> Check {
        if check_crc { Check::Body } else { Check::Form }
    }
}

/// Looks at `position` of `file`. A record must say that it lies there; what else must hold is `check`.
pub(crate) fn step(file: &MappedFile, position: u64, check: impl Into<Check>) -> Step<'_> {
    let bytes = usize::try_from(position).ok().and_then(|position| file.published_bytes().get(position..));
    let Some(bytes) = bytes.filter(|bytes| bytes.len() >= 8) else { return Step::End("end of file".to_owned()) };
    if bytes.get(4..8) == Some(BLANK_MAGIC_CODE.to_be_bytes().as_slice()) {
        return Step::Roll;
    }
    if bytes.get(..8) == Some([0; 8].as_slice()) {
        return Step::End("nothing was written there".to_owned());
    }
    let record = match MessageRecord::parse(bytes) {
        Ok(record) => record,
        Err(error) => return Step::End(error.to_string()),
    };
    let here = file.first_offset() + position;
    if u64::try_from(record.physical_offset) != Ok(here) {
        return Step::End(format!("a record that says it belongs at {}", record.physical_offset));
    }
    let check = check.into();
    if check != Check::Form {
        let whole = if check == Check::Record { record.check_prop_crc(bytes) } else { Ok(()) };
        if let Err(error) = record.check_body_crc().and(whole) {
            return Step::End(error.to_string());
        }
        if is_torn(record.topic, record.properties) {
            return Step::End("topic or properties were not written completely".to_owned());
        }
    }
    Step::Record(record)
}

/// Whether topic or properties look as if a part of them had not reached the disk. bodyCRC does not cover them, and what
/// was not written reads as zeroes: at the end, or where a sector is missing.
#[must_use]
pub fn is_torn(topic: &[u8], properties: &[u8]) -> bool {
    const SECTOR: usize = 512;
    let has_zero = |text| memchr(0, text).is_some();
    let lacks_part =
        |text: &[u8]| text.last() == Some(&0) || text.split(|byte| *byte != 0).any(|zeroes| zeroes.len() >= SECTOR);
    has_zero(topic) || has_zero(properties) && lacks_part(properties)
}

/// Nearly always it is UTF-8, which is found out at once.
pub(crate) fn text(properties: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(properties).map_or_else(|_| String::from_utf8_lossy(properties), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_levels() {
        let levels = DelayLevels::parse("1s 5s 10m 2h").unwrap();
        assert_eq!(levels.tags_code(SCHEDULE_TOPIC, None, || Some("2")).at(100), 5100);
        assert_eq!(levels.tags_code(SCHEDULE_TOPIC, None, || Some("99")).at(100), 7_200_100);
        assert_eq!(levels.tags_code(SCHEDULE_TOPIC, Some("a"), || Some("0")).at(100), 97);
        assert_eq!(levels.tags_code("T", Some("a"), || Some("2")).at(100), 97);
        assert_eq!(levels.tags_code("T", None, || None).at(100), 0);
        assert_eq!(DelayLevels::parse("").unwrap().tags_code(SCHEDULE_TOPIC, None, || Some("1")).at(0), 1000);
        assert_eq!(DelayLevels::parse("1s 5x").unwrap_err(), "5x");
    }
}
