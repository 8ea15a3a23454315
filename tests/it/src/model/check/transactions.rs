//! Half messages: seen when, and only when, they were committed.

use super::facts::Facts;
use super::{Rule, Verdict};
use crate::model::history::{Outcome, What};
use crate::model::plan::{Fate, HALF};
use std::collections::BTreeMap;

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    // When the first commit of each began, and was answered.
    let mut begun: BTreeMap<usize, u64> = BTreeMap::new();
    let mut done: BTreeMap<usize, u64> = BTreeMap::new();
    let mut decided: BTreeMap<usize, usize> = BTreeMap::new();
    for event in facts.events {
        let What::Decided(id, commit, outcome) = &event.what else { continue };
        let before = decided.entry(*id).or_default();
        *before += 1;
        if matches!(outcome, Outcome::Refused(..)) && *before == 1 && !facts.away(event.begun, event.ended) {
            verdict.add(Rule::Refusal, format!("{:?}", event.what));
        }
        if *commit && outcome.may_be() {
            begun.entry(*id).or_insert(event.begun);
            if outcome.is_done() {
                done.entry(*id).or_insert(event.ended);
            }
        }
    }
    let places = facts.places_in(HALF);
    for message in facts.messages(HALF) {
        let Fate::Half { verdict: decision, .. } = message.fate else { continue };
        let first = places.get(&message.id).into_iter().flatten().map(|(_, seen)| seen.first).min();
        match (decision, first) {
            (Some(true), None) => {
                if facts.sends.get(&message.id).is_some_and(|send| send.outcome.is_done()) {
                    verdict.add(Rule::Lost, format!("{message}, commits: {:?}", begun.get(&message.id)));
                }
            }
            (Some(true), Some(first)) => {
                if begun.get(&message.id).is_none_or(|begun| *begun > first) {
                    verdict.add(Rule::Uncommitted, format!("{message} came before its commit"));
                }
                if done.get(&message.id).is_some_and(|done| !facts.in_time(*done, first)) {
                    verdict.add(Rule::Late, format!("{message} came at {first}"));
                }
            }
            (_, Some(first)) => verdict.add(Rule::Uncommitted, format!("{message} came at {first}")),
            (_, None) => {}
        }
    }
}
