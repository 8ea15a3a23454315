//! Messages that go to their queue at once: where they lie, once, in the order of their senders. What is delayed keeps the
//! order of its sender and level.

use super::facts::{Facts, Place, Seen};
use super::{Rule, Verdict};
use crate::model::history::Outcome;
use crate::model::plan::{FIFO, Fate, HALF, LEVEL, PLAIN, POP, RETRY, TIMER};
use std::collections::BTreeMap;

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for topic in [PLAIN, POP, FIFO, RETRY] {
        told(facts, topic, verdict);
    }
    for topic in [PLAIN, POP, FIFO, RETRY, LEVEL] {
        order(facts, topic, verdict);
    }
    for topic in [PLAIN, POP, FIFO, RETRY, LEVEL, TIMER, HALF] {
        once(facts, topic, verdict);
    }
}

/// A message lies where its sender was told, and nothing else does.
fn told(facts: &Facts<'_>, topic: &'static str, verdict: &mut Verdict) {
    let places = facts.places_in(topic);
    let mut taken: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for message in facts.messages(topic) {
        let Some(Outcome::Done(offset)) = facts.sends.get(&message.id).map(|send| send.outcome) else { continue };
        if let Some(other) = taken.insert((message.queue, *offset), message.id) {
            verdict.add(Rule::SamePlace, format!("{message} and #{other} were told offset {offset}"));
        }
        for (place, _) in places.get(&message.id).into_iter().flatten() {
            if (place.1, place.2) != (message.queue, *offset) {
                verdict.add(Rule::Moved, format!("{message}, told offset {offset}, is at {place:?}"));
            }
        }
    }
}

/// Once; twice what was delivered late by the broker itself and then by a broker that was killed and did not know.
fn once(facts: &Facts<'_>, topic: &str, verdict: &mut Verdict) {
    let at_once = matches!(topic, PLAIN | POP | FIFO | RETRY);
    for (id, places) in facts.places_in(topic) {
        let begun = facts.sends.get(&id).map_or(0, |send| send.begun);
        let mut firsts: Vec<_> = places.iter().map(|(_, seen)| seen.first).collect();
        firsts.sort_unstable();
        for later in firsts.into_iter().skip(1) {
            if at_once || !facts.killed(begun, later) {
                let all: Vec<_> = places.iter().map(|(place, _)| place).collect();
                verdict.add(Rule::Twice, format!("{} lies at {all:?}", places[0].1.message));
            }
        }
    }
}

/// Messages of one sender (and level) lie in the order in which they were sent; of a message that is there twice the first counts.
fn order(facts: &Facts<'_>, topic: &str, verdict: &mut Verdict) {
    let mut firsts: Vec<(&Place, &Seen<'_>)> =
        facts.places_in(topic).into_values().filter_map(|places| places.into_iter().next()).collect();
    firsts.sort_by_key(|(place, _)| *place);
    let mut last: BTreeMap<(usize, i64, usize), &Seen<'_>> = BTreeMap::new();
    for (place, seen) in firsts {
        let level = if let Fate::Level(level) = seen.message.fate { level } else { 0 };
        if let Some(before) = last.insert((seen.message.sender, place.1, level), seen)
            && before.message.id > seen.message.id
        {
            verdict.add(Rule::Disorder, format!("{} at {place:?} lies behind #{}", seen.message, before.message.id));
        }
    }
}
