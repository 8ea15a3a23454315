//! Message properties: `name \u0001 value \u0002` repeated, one string per message.
//!
//! Reading follows Java's dropping rules (MessageDecoder.string2messageProperties): a pair shorter than three
//! characters, with an empty name or an empty value is skipped; the last \u0002 may be missing; of several pairs with
//! one name the last wins.

use crate::error::CodecError;
use crate::short_text;
use smallvec::SmallVec;

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// After each value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';
/// The longest properties string in bytes: its length is a Java `short`.
pub const MAX_PROPERTIES_LEN: usize = 32_767;
/// Between the keys of [`names::KEYS`].
pub const KEY_SEPARATOR: char = ' ';

const NAME_VALUE_BYTE: u8 = 1;
const PROPERTY_BYTE: u8 = 2;

/// Names of the properties that clients and brokers give a meaning to. Source: MessageConst.java.
pub mod names {
    /// Space-separated index keys, set by the client.
    pub const KEYS: &str = "KEYS";
    /// The tag.
    pub const TAGS: &str = "TAGS";
    /// `false`: do not wait for flush and replication.
    pub const WAIT: &str = "WAIT";
    /// Delay level 1..=18.
    pub const DELAY: &str = "DELAY";
    /// Original topic of a message in a `%RETRY%` topic.
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    /// Consumer group a message was sent back by.
    pub const ORIGIN_GROUP: &str = "ORIGIN_GROUP";
    /// Destination topic while parked in a schedule, timer or half topic.
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    /// Destination queue while parked.
    pub const REAL_QID: &str = "REAL_QID";
    /// `true`: half message.
    pub const TRAN_MSG: &str = "TRAN_MSG";
    /// Producer group, for check back.
    pub const PGROUP: &str = "PGROUP";
    /// Added by clients from the pull response.
    pub const MIN_OFFSET: &str = "MIN_OFFSET";
    /// Added by clients from the pull response.
    pub const MAX_OFFSET: &str = "MAX_OFFSET";
    /// Reserved, passed through.
    pub const BUYER_ID: &str = "BUYER_ID";
    /// msgId of the first delivery.
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    /// Reserved, passed through.
    pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
    /// Reserved, passed through.
    pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
    /// Reserved, passed through.
    pub const MQ2_FLAG: &str = "MQ2_FLAG";
    /// Retry bookkeeping of client-side send back.
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    /// Region id.
    pub const MSG_REGION: &str = "MSG_REGION";
    /// Trace switch.
    pub const TRACE_ON: &str = "TRACE_ON";
    /// The client's message id, also an index key.
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    /// Transaction offset.
    pub const TRANS_OFFSET: &str = "TRANS_OFFSET";
    /// Reserved, passed through.
    pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
    /// Retry bookkeeping of client-side send back.
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    /// When the consumer took the message.
    pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
    /// Priority of a message of a priority topic.
    pub const SYS_MSG_PRIORITY: &str = "_SYS_MSG_PRIORITY_";
    /// Messages in an inner batch.
    pub const INNER_NUM: &str = "INNER_NUM";
    /// Queue offset of the first message of an inner batch.
    pub const INNER_BASE: &str = "INNER_BASE";
    /// `master_slave` offset pair under duplicationEnable.
    pub const DUP_INFO: &str = "DUP_INFO";
    /// Seconds until the first check back.
    pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Queue offset of the original half message after a put-back.
    pub const TRAN_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
    /// Transaction id.
    pub const TRANSACTION_ID: &str = "__transactionId__";
    /// Check-back counter.
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    /// Instance id.
    pub const INSTANCE_ID: &str = "INSTANCE_ID";
    /// Request-reply: correlation id.
    pub const CORRELATION_ID: &str = "CORRELATION_ID";
    /// Request-reply: client that waits for the reply.
    pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
    /// Request-reply: time to live.
    pub const TTL: &str = "TTL";
    /// Request-reply: when the reply reached the broker.
    pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
    /// Request-reply: when the broker pushed the reply.
    pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
    /// Cluster name.
    pub const CLUSTER: &str = "CLUSTER";
    /// `reply` marks replies.
    pub const MSG_TYPE: &str = "MSG_TYPE";
    /// POP receipt.
    pub const POP_CK: &str = "POP_CK";
    /// POP receipt offset.
    pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
    /// First POP delivery.
    pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
    /// Order key.
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    /// Lite topic.
    pub const LITE_TOPIC: &str = "__LITE_TOPIC";
    /// Reserved.
    pub const PROPERTY_FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";
    /// Reserved.
    pub const REDIRECT: &str = "REDIRECT";
    /// Comma-joined LMQ names.
    pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
    /// Comma-joined offsets in those LMQs.
    pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
    /// Trace info, passed through.
    pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
    /// Arbitrary delay in seconds.
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    /// Arbitrary delay: when to deliver.
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    /// Arbitrary delay in milliseconds.
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    /// Timer bookkeeping.
    pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
    /// Timer bookkeeping.
    pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
    /// Timer bookkeeping.
    pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
    /// Timer bookkeeping.
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    /// `topic+uniqKey` of the timer message to cancel.
    pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
    /// Timer bookkeeping.
    pub const TIMER_ROLL_LABEL: &str = "TIMER_ROLL_LABEL";
    /// Timer bookkeeping.
    pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";
    /// Original born host, set by proxies.
    pub const BORN_HOST: &str = "__BORNHOST";
    /// Original born time, set by proxies.
    pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
    /// Record CRC under enabledAppendPropCRC.
    pub const CRC32: &str = "__CRC32#";
    /// Provenance of a DLQ message.
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    /// Provenance of a DLQ message.
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    /// Names with this prefix are never stored.
    pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";
}

/// The pairs of `properties` in order, as Java reads them (see the module text for what is dropped). A name may occur
/// more than once; [`get`] has the one that counts.
pub fn iter(properties: &str) -> impl Iterator<Item = (&str, &str)> + Clone {
    // Both separators are ASCII, so what lies between them is text again.
    iter_bytes(properties.as_bytes())
        .filter_map(|(name, value)| Some((text_in(properties, name)?, text_in(properties, value)?)))
}

/// `part` of `text` as text; none when it does not begin and end with characters.
fn text_in<'a>(text: &'a str, part: &[u8]) -> Option<&'a str> {
    let begin = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    text.get(begin..begin + part.len())
}

/// [`iter`] over the bytes of a record, which need not be UTF-8.
pub fn iter_bytes(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    Pairs { rest: properties }
}

#[derive(Clone)]
struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let len = short_text::find(PROPERTY_BYTE, self.rest).unwrap_or(self.rest.len());
            let (pair, rest) = self.rest.split_at_checked(len)?;
            self.rest = rest.get(1..).unwrap_or_default();
            let name = short_text::find(NAME_VALUE_BYTE, pair);
            let Some((name, value)) = name.and_then(|at| pair.split_at_checked(at)) else {
                continue;
            };
            let value = value.get(1..).unwrap_or_default();
            if !name.is_empty() && !value.is_empty() {
                return Some((name, value));
            }
        }
        None
    }
}

/// The value of `name`; of several the last, as in Java.
#[must_use]
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    let [value] = get_all(properties, [name]);
    value
}

/// [`get`] for several names at once.
#[must_use]
pub fn get_all<'a, const N: usize>(properties: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    let mut values = [None; N];
    for (found, value) in iter_bytes(properties.as_bytes()) {
        if let Some((_, slot)) = names.iter().zip(&mut values).find(|(name, _)| name.as_bytes() == found) {
            *slot = text_in(properties, value);
        }
    }
    values
}

/// [`get`] over the bytes of a record; `None` too when the value is not UTF-8.
#[must_use]
pub fn get_bytes<'a>(properties: &'a [u8], name: &str) -> Option<&'a str> {
    let (_, value) = iter_bytes(properties).filter(|(found, _)| *found == name.as_bytes()).last()?;
    std::str::from_utf8(value).ok()
}

/// The index keys of a message in the order in which they are indexed: UNIQ_KEY, then each item of KEYS.
pub fn index_keys(properties: &str) -> impl Iterator<Item = &str> {
    let [unique, keys] = get_all(properties, [names::UNIQ_KEY, names::KEYS]);
    keys_of(unique, keys)
}

pub(crate) fn keys_of<'a>(unique: Option<&'a str>, keys: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let keys = keys.unwrap_or("").split(KEY_SEPARATOR).filter(|key| !key.is_empty());
    unique.into_iter().chain(keys)
}

/// A properties string being put together or changed: the text itself, without dropped pairs and duplicates, each pair
/// ended by \u0002. Keeps the order of first appearance; one value per name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    text: String,
    /// Where the pairs lie, in order.
    places: Places,
}

type Places = SmallVec<[Place; 12]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    begin: usize,
    value: usize,
    /// Of the value; the separator follows.
    end: usize,
}

impl Properties {
    /// No property.
    #[must_use]
    pub fn new() -> Self {
        Properties::default()
    }

    /// What `properties` says, duplicates and dropped pairs gone. There is room for some more.
    #[must_use]
    pub fn parse(properties: &str) -> Self {
        const MORE: usize = 128;
        let mut text = String::with_capacity(properties.len() + MORE);
        if let Some(places) = places_of_normal(properties) {
            text.push_str(properties);
            return Properties { text, places };
        }
        // For each name where it appears first and the value it has last.
        let mut parsed = Properties { text, places: Places::new() };
        let mut order = Vec::new();
        let mut values = std::collections::HashMap::new();
        for (name, value) in iter(properties) {
            if values.insert(name, value).is_none() {
                order.push(name);
            }
        }
        order.iter().for_each(|name| parsed.push(name, values.get(name).unwrap_or(&"")));
        parsed
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(self.find(name)?)?;
        self.text.get(place.value..place.end)
    }

    /// Gives `name` the value, in place of the one it had. An empty name or value would not survive a reading in Java;
    /// setting one removes the property.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if name.is_empty() || value.is_empty() {
            self.remove(name);
            return;
        }
        let Some((place, behind)) = self.find(name).and_then(|number| self.places.get_mut(number..)?.split_first_mut())
        else {
            return self.push(name, value);
        };
        self.text.replace_range(place.value..place.end, value);
        let was = std::mem::replace(&mut place.end, place.value + value.len());
        behind.iter_mut().for_each(|behind| behind.shift(was, place.end));
    }

    /// Takes `name` away and returns what it was.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let number = self.find(name)?;
        let place = self.places.remove(number);
        let value = self.text.get(place.value..place.end)?.to_owned();
        let end = place.end + PROPERTY_SEPARATOR.len_utf8();
        self.text.replace_range(place.begin..end, "");
        self.places.iter_mut().skip(number).for_each(|behind| behind.shift(end, place.begin));
        Some(value)
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        iter(&self.text)
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The properties string, each pair ended by \u0002. Its length is not limited here: see [`check_len`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// [`Properties::as_str`], for keeping.
    #[must_use]
    pub fn encode(&self) -> String {
        self.text.clone()
    }

    fn push(&mut self, name: &str, value: &str) {
        let begin = self.text.len();
        push(&mut self.text, name, value);
        let value_at = begin + name.len() + NAME_VALUE_SEPARATOR.len_utf8();
        self.places.push(Place { begin, value: value_at, end: value_at + value.len() });
    }

    fn find(&self, name: &str) -> Option<usize> {
        let text = self.text.as_bytes();
        let is_it = |place: &Place| {
            place.value - place.begin == name.len() + 1
                && text.get(place.begin..place.value - 1).is_some_and(|found| found == name.as_bytes())
        };
        self.places.iter().position(is_it)
    }
}

impl Place {
    /// What lay from `was` on lies from `is` on.
    fn shift(&mut self, was: usize, is: usize) {
        for at in [&mut self.begin, &mut self.value, &mut self.end] {
            *at = *at - was + is;
        }
    }
}

/// Where the pairs of `properties` lie, if nothing of them is dropped, no name occurs twice, and the last pair is ended. May
/// deny it of many.
fn places_of_normal(properties: &str) -> Option<Places> {
    const MOST: usize = 32;
    let text = properties.as_bytes();
    let name = |place: &Place| text.get(place.begin..place.value);
    let mut places = Places::new();
    let mut begin = 0;
    while begin < text.len() {
        let either = |eight| short_text::equal(eight, NAME_VALUE_BYTE) | short_text::equal(eight, PROPERTY_BYTE);
        let name_len = short_text::position(text.get(begin..)?, either)?;
        let value = begin + name_len + 1;
        let len = short_text::find(PROPERTY_BYTE, text.get(value..)?)?;
        let place = Place { begin, value, end: value + len };
        let is_normal = name_len > 0 && len > 0 && text.get(value - 1) == Some(&NAME_VALUE_BYTE);
        if !is_normal || places.len() == MOST || places.iter().any(|known| name(known) == name(&place)) {
            return None;
        }
        places.push(place);
        begin = place.end + 1;
    }
    Some(places)
}

/// Appends one pair to a properties string; puts the \u0002 that an earlier pair may lack first.
pub fn push(properties: &mut String, name: &str, value: &str) {
    if !properties.is_empty() && !properties.ends_with(PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
    properties.push_str(name);
    properties.push(NAME_VALUE_SEPARATOR);
    properties.push_str(value);
    properties.push(PROPERTY_SEPARATOR);
}

/// Whether a properties string of `len` bytes fits a record.
/// # Errors
/// [`CodecError::Range`] above [`MAX_PROPERTIES_LEN`].
pub fn check_len(len: usize) -> Result<(), CodecError> {
    if len <= MAX_PROPERTIES_LEN {
        return Ok(());
    }
    let (value, max) = (i64::try_from(len).unwrap_or(i64::MAX), i64::try_from(MAX_PROPERTIES_LEN).unwrap_or(i64::MAX));
    Err(CodecError::Range { what: "properties length", value, min: 0, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &[(&str, &str)]) {
        assert_eq!(iter(input).collect::<Vec<_>>(), expect, "{input:?}");
        let bytes: Vec<_> = iter_bytes(input.as_bytes()).map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let expect: Vec<_> = expect.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        assert_eq!(bytes, expect, "{input:?}");
    }

    #[test]
    fn reads_as_java() {
        check("", &[]);
        check("a\u{1}b\u{2}", &[("a", "b")]);
        check("a\u{1}b", &[("a", "b")]);
        check("a\u{1}b\u{2}\u{2}c\u{1}d\u{2}", &[("a", "b"), ("c", "d")]);
        check("\u{1}b\u{2}a\u{1}\u{2}ab\u{2}x\u{1}y\u{2}", &[("x", "y")]);
        check("a\u{1}b\u{1}c\u{2}", &[("a", "b\u{1}c")]);
    }

    #[test]
    fn last_of_a_name_wins() {
        let text = "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}";
        assert_eq!(get(text, "a"), Some("3"));
        assert_eq!(get_bytes(text.as_bytes(), "a"), Some("3"));
        assert_eq!(Properties::parse(text).encode(), "a\u{1}3\u{2}b\u{1}2\u{2}");
    }

    #[test]
    fn many_names_and_many_of_one_name() {
        let text: String = (0..100).map(|number| format!("n{}\u{1}{number}\u{2}", number % 40)).collect();
        let parsed = Properties::parse(&text);
        assert_eq!((parsed.len(), parsed.get("n3"), parsed.get("n39")), (40, Some("83"), Some("79")));
        assert_eq!(parsed.iter().next(), Some(("n0", "80")));
    }

    #[test]
    fn a_name_that_begins_another_is_not_it() {
        let mut properties = Properties::parse("AB\u{1}1\u{2}A\u{1}2\u{2}");
        assert_eq!(properties.get("A"), Some("2"));
        properties.set("A", "longer");
        assert_eq!(properties.remove("B"), None);
        assert_eq!(properties.as_str(), "AB\u{1}1\u{2}A\u{1}longer\u{2}");
    }

    #[test]
    fn edits() {
        let mut properties = Properties::parse("TAGS\u{1}A\u{2}WAIT\u{1}true\u{2}");
        properties.set("KEYS", "k1 k2");
        properties.set("TAGS", "B");
        assert_eq!(properties.remove("WAIT"), Some("true".to_owned()));
        assert_eq!(properties.encode(), "TAGS\u{1}B\u{2}KEYS\u{1}k1 k2\u{2}");
        properties.set("KEYS", "");
        assert_eq!(properties.get("KEYS"), None);
    }

    #[test]
    fn push_repairs_the_separator() {
        let mut text = "a\u{1}b".to_owned();
        push(&mut text, "c", "d");
        assert_eq!(text, "a\u{1}b\u{2}c\u{1}d\u{2}");
    }

    #[test]
    fn keys_in_index_order() {
        let text = "KEYS\u{1}k1  k2\u{2}UNIQ_KEY\u{1}u\u{2}";
        assert_eq!(index_keys(text).collect::<Vec<_>>(), ["u", "k1", "k2"]);
    }
}
