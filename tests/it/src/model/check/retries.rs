//! Messages that a group sends back: each time once more, after the level's time, and among the dead in the end.

use super::facts::{Facts, Seen};
use super::times::level_ms;
use super::{Rule, TICK_MS, Verdict};
use crate::model::history::What;
use crate::model::plan::{Fate, MAX_RECONSUME, Message, RETRY, RETRY_GROUP};
use std::collections::BTreeMap;

/// The level of a first retry when the consumer leaves it to the broker.
const FIRST_LEVEL: usize = 3;

/// How often a message was sent back after so many deliveries.
#[derive(Default)]
struct Backs {
    /// Requests that may have been carried out.
    times: usize,
    /// When the first of them began.
    begun: u64,
    /// When the first was answered.
    done: Option<u64>,
}

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut backs: BTreeMap<(usize, i64), Backs> = BTreeMap::new();
    for event in facts.events {
        let What::SentBack(_, id, reconsumed, outcome) = &event.what else { continue };
        if outcome.may_be() {
            let entry = backs.entry((*id, *reconsumed)).or_default();
            entry.times += 1;
            entry.begun = if entry.times == 1 { event.begun } else { entry.begun };
            entry.done = entry.done.or(outcome.is_done().then_some(event.ended));
        }
    }
    let (retry, dead) = (format!("%RETRY%{RETRY_GROUP}"), format!("%DLQ%{RETRY_GROUP}"));
    let mut came: BTreeMap<(usize, i64), Vec<&Seen<'_>>> = BTreeMap::new();
    for (topic, is_dead) in [(&retry, false), (&dead, true)] {
        for seen in facts.places_in(topic).into_values().flatten().map(|(_, seen)| seen) {
            let attempt = seen.reconsumed;
            let good = if is_dead { attempt == MAX_RECONSUME + 1 } else { (1..=MAX_RECONSUME).contains(&attempt) };
            if good {
                came.entry((seen.message.id, attempt)).or_default().push(seen);
            } else {
                verdict.add(Rule::Attempts, format!("{} in {topic} after {attempt} deliveries", seen.message));
            }
        }
    }
    for ((id, attempt), seen) in &came {
        let none = Backs::default();
        attempts(facts, *attempt, seen, backs.get(&(*id, attempt - 1)).unwrap_or(&none), verdict);
    }
    for message in facts.messages(RETRY) {
        for attempt in 1..=MAX_RECONSUME + 1 {
            let sent_back = backs.get(&(message.id, attempt - 1)).is_some_and(|backs| backs.done.is_some());
            if sent_back && !came.contains_key(&(message.id, attempt)) {
                verdict.add(Rule::Lost, format!("{message}, sent back after {} deliveries", attempt - 1));
            }
        }
    }
}

/// How long a message that is sent back waits. The dead do not.
fn wait_ms(message: &Message, attempt: i64) -> u64 {
    let Fate::Retry { level, .. } = message.fate else { return 0 };
    if attempt > MAX_RECONSUME {
        return 0;
    }
    let before = usize::try_from(attempt - 1).unwrap_or(0);
    level_ms(if level == 0 { FIRST_LEVEL + before } else { level })
}

fn attempts(facts: &Facts<'_>, attempt: i64, seen: &[&Seen<'_>], backs: &Backs, verdict: &mut Verdict) {
    let mut firsts: Vec<_> = seen.iter().map(|seen| seen.first).collect();
    firsts.sort_unstable();
    let (Some(message), Some(first)) = (seen.first().map(|seen| seen.message), firsts.first()) else { return };
    let wait = wait_ms(message, attempt);
    if backs.times == 0 || backs.begun > *first {
        return verdict.add(Rule::Attempts, format!("{message} came for the {attempt}. time and was not sent back"));
    }
    for more in firsts.iter().skip(backs.times) {
        if !facts.killed(backs.begun, *more) {
            verdict.add(Rule::Twice, format!("{message} came {} times as the {attempt}.", firsts.len()));
        }
    }
    if first + TICK_MS < backs.begun + wait {
        verdict.add(Rule::Early, format!("{message} came back {} ms early", backs.begun + wait - first));
    }
    if backs.done.is_some_and(|done| !facts.in_time(done + wait, *first)) {
        verdict.add(Rule::Late, format!("{message} came back at {first}, after {:?} and {wait} ms", backs.done));
    }
}
