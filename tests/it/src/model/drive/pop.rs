//! Groups that pop: several threads each, which acknowledge, ask for a message again, or do nothing, as the plan says.

use super::delivery;
use crate::clock::now_ms;
use crate::model::connection::Connection;
use crate::model::history::What;
use crate::model::plan::{Fate, Message, PopAction};
use crate::model::random::Random;
use crate::model::run::Site;
use crate::pop::{ACK_MESSAGE, CHANGE_INVISIBLE, POP_MESSAGE, Popper};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;

const POLLING_FULL: i64 = 209;
const POLLING_TIMEOUT: i64 = 210;
const PULL_NOT_FOUND: i64 = 19;
/// For how long what is popped stays invisible. Long enough for an acknowledgement on a busy machine.
const INVISIBLE_MS: [u64; 3] = [2000, 2500, 3000];

/// A group that pops from a topic; how often each message came is shared among its threads.
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// The topic.
    pub topic: &'static str,
    /// In order.
    pub ordered: bool,
    /// Deliveries so far.
    pub came: Mutex<BTreeMap<usize, usize>>,
}

/// Pops until the run is over.
pub fn run(site: &Site, group: &Group, member: u64) {
    let mut connection = Connection::new(site);
    let mut random = Random::of(&[site.plan.seed, 5, member, group.topic.len() as u64]);
    let popper = Popper { addr: site.addr.clone(), topic: group.topic.to_owned(), group: group.name.to_owned() };
    while connection.open() {
        let invisible_ms = random.pick(&INVISIBLE_MS);
        let begun = now_ms();
        let fields = json!({ "consumerGroup": group.name, "topic": group.topic, "queueId": "-1",
            "maxMsgNums": random.within(1, 17).to_string(), "invisibleTime": invisible_ms.to_string(),
            "pollTime": "800", "bornTime": begun.to_string(), "initMode": "0", "expType": "TAG", "exp": "*",
            "order": group.ordered.to_string() });
        let Ok(answer) = connection.raw_call(POP_MESSAGE, &fields, &[]) else { continue };
        match answer.code {
            0 => {}
            POLLING_FULL | POLLING_TIMEOUT | PULL_NOT_FOUND => continue,
            code => {
                let what = format!("{} pops {}: {code} {}", group.name, group.topic, answer.remark);
                site.history.add(begun, What::Refused(what));
                std::thread::sleep(std::time::Duration::from_millis(50));
                continue;
            }
        }
        // All are known before the first is acknowledged: in order, a queue is free only then.
        let mut places = Vec::new();
        for message in answer.messages {
            let place = popper.place(&message);
            let id = Message::id_of(&message.body);
            let mut delivery = delivery(group.name, message, Some(invisible_ms));
            // What came again lies in a retry topic, and is shown under its first one.
            delivery.topic = place["topic"].as_str().unwrap_or_default().to_owned();
            places.push((id, place));
            site.history.add(begun, What::Delivered(delivery));
        }
        for (id, mut place) in places {
            let Some(Message { id, fate: Fate::Pop(actions), .. }) = id.and_then(|id| site.plan.message(id)) else {
                continue;
            };
            let time = {
                let mut came = group.came.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let time = came.entry(*id).or_default();
                *time += 1;
                *time - 1
            };
            // What was not acknowledged because the broker was away is acknowledged the next time.
            if !connection.open() {
                return;
            }
            let begun = now_ms();
            match actions.get(time).copied().unwrap_or(PopAction::Ack) {
                PopAction::Ack => {
                    let outcome = connection.call(ACK_MESSAGE, &place, &[]).map(drop);
                    site.history.add(begun, What::Acked(group.name.to_owned(), *id, outcome));
                }
                PopAction::Change(ms) => {
                    place["invisibleTime"] = ms.to_string().into();
                    let outcome = connection.call(CHANGE_INVISIBLE, &place, &[]).map(drop);
                    site.history.add(begun, What::Changed(group.name.to_owned(), *id, ms, outcome));
                }
                PopAction::Drop => {}
            }
        }
    }
}
