//! Delays and timers: not before their time, not long after, and not at all when they were taken back in time.

use super::facts::Facts;
use super::{LATE_MS, Rule, TICK_MS, Verdict};
use crate::model::history::{Outcome, What};
use crate::model::plan::{Fate, LEVEL, LEVELS_S, Message, TIMER, TimerBy};
use std::collections::BTreeMap;

/// A message is handed to the wheel's slot that ends with its time; what takes it back must be there before.
const RECALL_MARGIN_MS: u64 = 2_000;

/// How long a level lasts, ms.
pub fn level_ms(level: usize) -> u64 {
    LEVELS_S.get(level.clamp(1, LEVELS_S.len()) - 1).map_or(0, |seconds| seconds * 1000)
}

fn delay_ms(message: &Message) -> u64 {
    match message.fate {
        Fate::Level(level) => level_ms(level),
        Fate::Timer { by: TimerBy::DelaySec, after_ms, .. } => after_ms / 1000 * 1000,
        Fate::Timer { after_ms, .. } => after_ms,
        _ => 0,
    }
}

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    // Whether it was certainly taken back in time; whether it may have been.
    let mut recalled: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
    for event in facts.events {
        let What::Recalled(id, outcome) = &event.what else { continue };
        let due =
            facts.sends.get(id).zip(facts.plan.message(*id)).map(|(send, message)| send.begun + delay_ms(message));
        let early = due.is_some_and(|due| event.ended + RECALL_MARGIN_MS <= due);
        match outcome {
            Outcome::Refused(..) if early && !facts.away(event.begun, event.ended) => {
                verdict.add(Rule::Refusal, format!("{:?}", event.what));
            }
            Outcome::Refused(..) => {}
            outcome => {
                recalled.insert(*id, (outcome.is_done() && early, true));
            }
        }
    }
    for topic in [LEVEL, TIMER] {
        let places = facts.places_in(topic);
        for message in facts.messages(topic) {
            let Some(send) = facts.sends.get(&message.id) else { continue };
            let (gone, maybe_gone) = recalled.get(&message.id).copied().unwrap_or_default();
            let delay = delay_ms(message);
            let due = send.begun + delay;
            verdict.quiet_after(if gone { due + LATE_MS / 2 } else { 0 });
            let firsts = places.get(&message.id).into_iter().flatten().map(|(_, seen)| seen.first);
            let Some(first) = firsts.min() else {
                if send.outcome.is_done() && !maybe_gone {
                    verdict.add(Rule::Lost, format!("{message}, due at {due}"));
                }
                continue;
            };
            if gone {
                verdict.add(Rule::Recalled, format!("{message} came at {first}"));
            }
            if first + TICK_MS < due {
                verdict.add(Rule::Early, format!("{message} came {} ms early", due - first));
            }
            if !facts.in_time(send.ended + delay, first) {
                verdict.add(Rule::Late, format!("{message} came {} ms late", first - send.ended - delay));
            }
        }
    }
}
