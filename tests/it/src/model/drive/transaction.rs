//! Producers of transactions, one group: they send halves, decide or not, some lose their connection; who is left answers what the
//! broker asks.

use super::send;
use crate::clock::now_ms;
use crate::model::connection::Connection;
use crate::model::history::{Outcome, What};
use crate::model::plan::{Fate, Message, Sending};
use crate::model::run::Site;
use crate::pop::Answer;
use crate::wire::Frame;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

const SEND_MESSAGE: i32 = 10;
const END_TRANSACTION: i32 = 37;
const CHECK_TRANSACTION_STATE: i64 = 39;
/// sysFlag: a half message.
const PREPARED: i64 = 4;
const COMMIT: i64 = 8;
const ROLLBACK: i64 = 12;

/// The producer group.
pub const GROUP: &str = "PG_model_tx";

/// How often each half was asked about, by all producers together.
pub type Asked = Mutex<BTreeMap<usize, usize>>;

/// Sends the halves of a sender and answers until the run is over.
pub fn run(site: &Site, sendings: &[Sending], asked: &Asked) {
    let mut connection = Connection::of_producer(site, GROUP);
    for sending in sendings {
        let at_ms = site.start_ms + sending.at_ms;
        while connection.open() && now_ms() < at_ms {
            let wait = Duration::from_millis(at_ms.saturating_sub(now_ms()).clamp(1, 200));
            answer(site, &mut connection, wait, asked);
        }
        for id in &sending.ids {
            let Some(message) = site.plan.message(*id) else { continue };
            if !connection.open() {
                return;
            }
            send_half(site, &mut connection, message);
        }
    }
    while connection.open() {
        answer(site, &mut connection, Duration::from_millis(200), asked);
    }
}

fn send_half(site: &Site, connection: &mut Connection<'_>, message: &Message) {
    let Fate::Half { verdict, at_once, lost, .. } = message.fate else { return };
    let begun = now_ms();
    let sent = connection.call(SEND_MESSAGE, &send::fields(message, begun, PREPARED), message.body().as_bytes());
    // Its place is one in the topic of halves.
    site.history.add(begun, What::Sent(message.id, sent.clone().map(|answer| answer.number("queueOffset"))));
    let place = match sent {
        Outcome::Done(answer) => place(&answer),
        _ => None,
    };
    if let (Some((offset, physical_offset)), Some(commit), true) = (place, verdict, at_once) {
        decide(site, connection, message.id, commit, offset, physical_offset, false);
    }
    if lost {
        connection.close();
    }
}

/// Where a half message lies: queueOffset, and the physical offset, which is what msgId ends in.
fn place(answer: &Answer) -> Option<(i64, i64)> {
    let physical_offset = i64::from_str_radix(answer.fields.get("msgId")?.get(16..)?, 16).ok()?;
    Some((answer.number("queueOffset"), physical_offset))
}

fn decide(
    site: &Site,
    connection: &mut Connection<'_>,
    id: usize,
    commit: bool,
    offset: i64,
    physical_offset: i64,
    from_check: bool,
) {
    let fields = json!({ "producerGroup": GROUP, "tranStateTableOffset": offset.to_string(),
        "commitLogOffset": physical_offset.to_string(), "msgId": send::unique_key(id),
        "transactionId": send::unique_key(id), "fromTransactionCheck": from_check.to_string(),
        "commitOrRollback": if commit { COMMIT } else { ROLLBACK }.to_string() });
    let begun = now_ms();
    let outcome = connection.call(END_TRANSACTION, &fields, &[]).map(drop);
    site.history.add(begun, What::Decided(id, commit, outcome));
}

/// Waits for a question, and answers it.
fn answer(site: &Site, connection: &mut Connection<'_>, wait: Duration, asked: &Asked) {
    let Some(frame) = connection.asked(wait) else { return };
    if frame.header["code"] != CHECK_TRANSACTION_STATE {
        return;
    }
    let number = |name: &str| frame.header["extFields"][name].as_str().and_then(|text| text.parse::<i64>().ok());
    let (Some(offset), Some(physical_offset)) = (number("tranStateTableOffset"), number("commitLogOffset")) else {
        return site.history.add(now_ms(), What::Refused(format!("a question without a place: {}", frame.header)));
    };
    let Some((id, verdict, shrugs)) = half_of(site, &frame) else {
        return site
            .history
            .add(now_ms(), What::Refused(format!("a question about no half message: {}", frame.header)));
    };
    let time = {
        let mut asked = asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let time = asked.entry(id).or_default();
        *time += 1;
        *time
    };
    match verdict.filter(|_| time > shrugs) {
        Some(commit) => decide(site, connection, id, commit, offset, physical_offset, true),
        // Not known yet: answered all the same, which the broker does not answer.
        None => connection.tell(
            END_TRANSACTION,
            &json!({ "producerGroup": GROUP,
            "tranStateTableOffset": offset.to_string(), "commitLogOffset": physical_offset.to_string(),
            "commitOrRollback": "0", "fromTransactionCheck": "true" }),
        ),
    }
}

/// The half message that comes with a question.
fn half_of(site: &Site, frame: &Frame) -> Option<(usize, Option<bool>, usize)> {
    let answer = Answer::of(frame);
    let id = answer.messages.first().and_then(|message| Message::id_of(&message.body))?;
    match site.plan.message(id)?.fate {
        Fate::Half { verdict, shrugs, .. } => Some((id, verdict, shrugs)),
        _ => None,
    }
}
