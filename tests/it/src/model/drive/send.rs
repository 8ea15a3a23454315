//! Senders: single messages, batches, delayed ones, and what is taken back.

use crate::clock::now_ms;
use crate::model::connection::Connection;
use crate::model::history::{Outcome, What};
use crate::model::plan::{Fate, Message, Sending, TimerBy};
use crate::model::run::Site;
use crate::pop::Answer;
use serde_json::{Value, json};

const SEND_MESSAGE: i32 = 10;
const SEND_BATCH_MESSAGE: i32 = 320;
const RECALL_MESSAGE: i32 = 370;
const PRODUCER_GROUP: &str = "PG_model";

/// Sends what the plan has for a sender, each at its time or as soon as the broker lets it.
pub fn run(site: &Site, sendings: &[Sending]) {
    let mut connection = Connection::new(site);
    let mut recalls: Vec<(u64, usize, String)> = Vec::new();
    for sending in sendings {
        while let Some(at) = recalls.iter().position(|(at_ms, ..)| *at_ms <= site.start_ms + sending.at_ms) {
            let (at_ms, id, handle) = recalls.swap_remove(at);
            site.sleep_until(at_ms);
            recall(site, &mut connection, id, &handle);
        }
        site.sleep_until(site.start_ms + sending.at_ms);
        if !connection.open() {
            return;
        }
        let messages: Vec<_> = sending.ids.iter().filter_map(|id| site.plan.message(*id)).collect();
        let begun = now_ms();
        match messages[..] {
            [message] => {
                let answer = connection.call(SEND_MESSAGE, &fields(message, begun, 0), message.body().as_bytes());
                recalls.extend(handle(message, &answer).map(|(after, handle)| (begun + after, message.id, handle)));
                note(site, begun, &sending.ids, &answer);
            }
            _ => {
                let answer = connection.call(SEND_BATCH_MESSAGE, &batch_fields(messages[0], begun), &batch(&messages));
                note(site, begun, &sending.ids, &answer);
            }
        }
    }
    recalls.sort();
    for (at_ms, id, handle) in recalls {
        site.sleep_until(at_ms);
        recall(site, &mut connection, id, &handle);
    }
}

/// When a message is to be taken back, and by which handle.
fn handle(message: &Message, answer: &Outcome<Answer>) -> Option<(u64, String)> {
    let (Fate::Timer { recall_after_ms, .. }, Outcome::Done(answer)) = (&message.fate, answer) else { return None };
    Some(((*recall_after_ms)?, answer.fields.get("recallHandle")?.clone()))
}

/// Of a batch the answer names the place of the first; the others follow it.
fn note(site: &Site, begun: u64, ids: &[usize], answer: &Outcome<Answer>) {
    for (index, id) in (0..).zip(ids) {
        let outcome = answer.clone().map(|answer| answer.number("queueOffset") + index);
        site.history.add(begun, What::Sent(*id, outcome));
    }
}

fn recall(site: &Site, connection: &mut Connection<'_>, id: usize, handle: &str) {
    let Some(message) = site.plan.message(id).filter(|_| connection.open()) else { return };
    let fields = json!({ "producerGroup": PRODUCER_GROUP, "topic": message.topic, "recallHandle": handle });
    let begun = now_ms();
    let outcome = connection.call(RECALL_MESSAGE, &fields, &[]).map(drop);
    site.history.add(begun, What::Recalled(id, outcome));
}

/// The header of a send. `sys_flag` 4 makes it a half message.
pub fn fields(message: &Message, now_ms: u64, sys_flag: i64) -> Value {
    let mut properties = message.properties();
    properties.push(("UNIQ_KEY", unique_key(message.id)));
    match &message.fate {
        Fate::Level(level) => properties.push(("DELAY", level.to_string())),
        Fate::Timer { by, after_ms, .. } => properties.push(match by {
            TimerBy::DelaySec => ("TIMER_DELAY_SEC", (after_ms / 1000).to_string()),
            TimerBy::DelayMs => ("TIMER_DELAY_MS", after_ms.to_string()),
            TimerBy::DeliverMs => ("TIMER_DELIVER_MS", (now_ms + after_ms).to_string()),
        }),
        Fate::Half { .. } => {
            properties.extend([("TRAN_MSG", "true".to_owned()), ("PGROUP", super::transaction::GROUP.to_owned())]);
        }
        _ => {}
    }
    let group = if sys_flag == 0 { PRODUCER_GROUP } else { super::transaction::GROUP };
    json!({ "producerGroup": group, "topic": message.topic, "defaultTopic": "TBW102",
        "defaultTopicQueueNums": "4", "queueId": message.queue.to_string(), "sysFlag": sys_flag.to_string(),
        "bornTimestamp": now_ms.to_string(), "flag": "0", "properties": encode(&properties), "reconsumeTimes": "0",
        "unitMode": "false" })
}

/// UNIQ_KEY of a message: 32 characters, as clients make them.
pub fn unique_key(id: usize) -> String {
    format!("7F000001000118B4AAC2{id:012X}")
}

fn encode(properties: &[(&str, String)]) -> String {
    properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

/// SendMessageRequestHeaderV2: group, topic, default topic and its queues, queue, sysFlag, born timestamp, flag, properties,
/// reconsume times, unit mode, batch.
fn batch_fields(first: &Message, now_ms: u64) -> Value {
    json!({ "a": PRODUCER_GROUP, "b": first.topic, "c": "TBW102", "d": "4", "e": first.queue.to_string(), "f": "0",
        "g": now_ms.to_string(), "h": "0", "i": "", "j": "0", "k": "false", "m": "true" })
}

/// Of each message: total size, magic, CRC, flag (4 each), body with its length (4), properties with theirs (2).
fn batch(messages: &[&Message]) -> Vec<u8> {
    let mut all = Vec::new();
    for message in messages {
        let mut properties = message.properties();
        properties.push(("UNIQ_KEY", unique_key(message.id)));
        let (body, properties) = (message.body(), encode(&properties));
        let number = |value: usize| u32::try_from(value).expect("a test body is short").to_be_bytes();
        let properties_len = u16::try_from(properties.len()).expect("few properties").to_be_bytes();
        for head in [number(22 + body.len() + properties.len()), [0; 4], [0; 4], [0; 4], number(body.len())] {
            all.extend(head);
        }
        all.extend(body.as_bytes());
        all.extend(properties_len);
        all.extend(properties.as_bytes());
    }
    all
}
