//! Groups that pull or are pushed: each gets everything it wants, a reader goes on where it was, and begins again only where it had
//! committed.

use super::facts::{Facts, Got};
use super::{Rule, Verdict};
use crate::model::history::{Outcome, What};
use crate::model::plan::{Filter, ORDERLY_GROUP, PLAIN, PUSH_GROUP, RETRY, RETRY_GROUP};
use std::collections::{BTreeMap, BTreeSet};

/// How long after a fault the members of a group may still be settling.
const SETTLING_MS: u64 = 5_000;

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut wanted = facts.plan.plain_readers();
    let filters: BTreeMap<_, _> = wanted.iter().cloned().collect();
    positions(facts, &filters, verdict);
    wanted.extend([PUSH_GROUP, ORDERLY_GROUP].map(|group| (group.to_owned(), Filter::All)));
    for (group, filter) in &wanted {
        everything(facts, group, PLAIN, filter, verdict);
    }
    everything(facts, RETRY_GROUP, RETRY, &Filter::All, verdict);
    pushed(facts, verdict);
}

/// What was acknowledged, or seen by anyone, and what this group wants comes to it.
fn everything(facts: &Facts<'_>, group: &str, topic: &'static str, filter: &Filter, verdict: &mut Verdict) {
    let here = |got: &&Got<'_>| got.delivery.group == group && got.delivery.topic == topic;
    let came: BTreeSet<_> = facts.got.iter().filter(here).map(|got| got.message.id).collect();
    let seen = facts.places_in(topic);
    for message in facts.messages(topic) {
        let (wanted, came) = (filter.wants(message), came.contains(&message.id));
        let stored = facts.sends.get(&message.id).is_some_and(|send| send.outcome.is_done());
        if wanted && !came && (stored || seen.contains_key(&message.id)) {
            verdict.add(Rule::Lost, format!("{message} to {group}"));
        }
        if came && !wanted {
            verdict.add(Rule::Unwanted, format!("{message} to {group}, {:?}", filter.expression()));
        }
    }
}

/// Where a reader of a queue is, and where it may be told to go on.
#[derive(Default)]
struct Position {
    next: Option<i64>,
    /// What the broker may answer.
    allowed: BTreeSet<i64>,
    /// What it may answer after a kill: everything that was ever committed, or nothing.
    ever: BTreeSet<i64>,
    /// When `allowed` became so.
    since: u64,
}

fn positions(facts: &Facts<'_>, filters: &BTreeMap<String, Filter>, verdict: &mut Verdict) {
    let mut all: BTreeMap<(&str, &str, i64), Position> = BTreeMap::new();
    for event in facts.events {
        match &event.what {
            What::Committed(group, topic, queue, offset, outcome) if outcome.may_be() => {
                let position = all.entry((group, topic, *queue)).or_default();
                position.ever.insert(*offset);
                if *outcome == Outcome::Done(()) {
                    position.allowed = [*offset].into();
                    position.since = event.begun;
                } else {
                    position.allowed.insert(*offset);
                }
            }
            What::Resumed(group, topic, queue, offset) => {
                let position = all.entry((group, topic, *queue)).or_default();
                let first = position.next.is_none();
                let forgotten = facts.killed(position.since, event.ended) && position.ever.contains(offset);
                let nothing = *offset == 0 && (position.ever.is_empty() || facts.killed(position.since, event.ended));
                if !(position.allowed.contains(offset) || forgotten || nothing || first && *offset == 0) {
                    let allowed = &position.allowed;
                    verdict.add(Rule::Resumed, format!("{group} in {topic}/{queue} at {offset}, not {allowed:?}"));
                }
                position.allowed.insert(*offset);
                position.next = Some(*offset);
            }
            What::Delivered(delivery) if delivery.invisible_ms.is_none() => {
                let (group, topic) = (delivery.group.as_str(), delivery.topic.as_str());
                let position = all.entry((group, topic, delivery.queue)).or_default();
                let dense = filters.get(group).is_none_or(|filter| *filter == Filter::All);
                let next = position.next.unwrap_or(0);
                let good = if dense { delivery.offset == next } else { delivery.offset >= next };
                if !good {
                    let at = delivery.offset;
                    verdict.add(Rule::Gap, format!("{group} in {topic}/{} got {at} after {next}", delivery.queue));
                }
                position.next = Some(delivery.offset + 1);
            }
            _ => {}
        }
    }
}

fn pushed(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut last: BTreeMap<(&str, i64, i64), u64> = BTreeMap::new();
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    for got in facts.got.iter().filter(|got| got.pushed) {
        let delivery = got.delivery;
        let before = last.insert((&delivery.group, delivery.queue, delivery.offset), got.ended);
        if let Some(before) = before {
            let from = before.saturating_sub(SETTLING_MS);
            let excused = facts.away(from, got.ended) || facts.members.iter().any(|at| (from..=got.ended).contains(at));
            if !excused {
                verdict.add(Rule::Twice, format!("{} to {}", got.message, delivery.group));
            }
        } else if delivery.group == ORDERLY_GROUP {
            let next = next.entry(delivery.queue).or_default();
            if delivery.offset != *next {
                verdict.add(
                    Rule::Disorder,
                    format!("{} at {} to {ORDERLY_GROUP}, before {next}", got.message, delivery.offset),
                );
            }
            *next = (*next).max(delivery.offset + 1);
        }
    }
}
