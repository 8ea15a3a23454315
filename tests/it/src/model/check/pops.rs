//! Pops: what is acknowledged does not come again, what is not does, after its invisible time; in an ordered queue nothing comes before
//! the earlier is done.

use super::facts::{Facts, Got};
use super::{LATE_MS, Rule, TICK_MS, Verdict};
use crate::model::history::{Delivery, Event, What};
use crate::model::plan::{FIFO, FIFO_GROUP, Message, POP, POP_GROUP};
use std::collections::BTreeMap;

/// What a group did with a message, in the order in which it became known.
enum Step<'h> {
    Got(&'h Got<'h>),
    Acked { ended: u64, done: bool },
    Changed { begun: u64, ended: u64, ms: u64, done: bool },
}

impl Step<'_> {
    fn ended(&self) -> u64 {
        match self {
            Self::Got(got) => got.ended,
            Self::Acked { ended, .. } | Self::Changed { ended, .. } => *ended,
        }
    }
}

pub fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (group, topic) in [(POP_GROUP, POP), (FIFO_GROUP, FIFO)] {
        let mut all: BTreeMap<usize, Vec<Step<'_>>> = BTreeMap::new();
        for got in facts.got.iter().filter(|got| got.delivery.group == group) {
            all.entry(got.message.id).or_default().push(Step::Got(got));
        }
        for event in facts.events {
            let (begun, ended) = (event.begun, event.ended);
            let (id, step) = match &event.what {
                What::Acked(of, id, outcome) if of == group && outcome.may_be() => {
                    (*id, Step::Acked { ended, done: outcome.is_done() })
                }
                What::Changed(of, id, ms, outcome) if of == group && outcome.may_be() => {
                    (*id, Step::Changed { begun, ended, ms: *ms, done: outcome.is_done() })
                }
                _ => continue,
            };
            all.entry(id).or_default().push(step);
        }
        for message in facts.messages(topic) {
            let Some(steps) = all.get_mut(&message.id) else {
                if facts.sends.get(&message.id).is_some_and(|send| send.outcome.is_done()) {
                    verdict.add(Rule::Lost, format!("{message} to {group}"));
                }
                continue;
            };
            steps.sort_by_key(Step::ended);
            story(facts, &message.to_string(), steps, verdict);
        }
    }
    ordered(facts, verdict);
}

/// What is known of a message between two pops.
struct Hidden {
    /// It may come again from then on.
    from: u64,
    /// It must come again when that is over, unless acknowledged.
    until: u64,
    /// Acknowledged before anyone else could have got it.
    acked: Option<u64>,
    /// It may have been acknowledged.
    maybe_acked: bool,
}

fn story(facts: &Facts<'_>, message: &str, steps: &[Step<'_>], verdict: &mut Verdict) {
    let mut hidden: Option<Hidden> = None;
    let mut first = None;
    for step in steps {
        match step {
            Step::Got(got) => {
                let invisible = got.delivery.invisible_ms.unwrap_or(0);
                // A broker that was killed since may have forgotten all of it.
                let first = *first.get_or_insert(got.begun);
                if let Some(hidden) = hidden.as_ref().filter(|_| !facts.killed(first, got.ended)) {
                    again(facts, message, hidden, got, verdict);
                }
                let (from, until) = (got.begun + invisible, got.ended + invisible);
                hidden = Some(Hidden { from, until, acked: None, maybe_acked: false });
            }
            Step::Acked { ended, done } => {
                if let Some(hidden) = &mut hidden {
                    hidden.maybe_acked = true;
                    // Answered within the time of the pop: nobody else can have got it before.
                    if *done && ended + TICK_MS < hidden.from {
                        hidden.acked = Some(*ended);
                    }
                }
            }
            Step::Changed { begun, ended, ms, done } => {
                if let Some(hidden) = &mut hidden {
                    let from = begun + ms;
                    hidden.from = if *done { from } else { hidden.from.min(from) };
                    hidden.until = if *done { ended + ms } else { hidden.until.max(ended + ms) };
                }
            }
        }
    }
    if let Some(hidden) = hidden {
        verdict.quiet_after(hidden.until + LATE_MS / 2);
        if !hidden.maybe_acked {
            verdict.add(Rule::Lost, format!("{message} was popped, not acknowledged, and is due at {}", hidden.until));
        }
    }
}

fn again(facts: &Facts<'_>, message: &str, hidden: &Hidden, got: &Got<'_>, verdict: &mut Verdict) {
    if let Some(acked) = hidden.acked {
        if got.delivery.group == FIFO_GROUP {
            // Together with one before it that was not: see `ordered`.
            return;
        }
        verdict.add(Rule::AckedAgain, format!("{message}, acknowledged at {acked}, came again at {}", got.ended));
    } else if got.ended + TICK_MS < hidden.from {
        verdict.add(Rule::Early, format!("{message} came again {} ms early", hidden.from - got.ended));
    } else if !hidden.maybe_acked && got.delivery.group != FIFO_GROUP && !facts.in_time(hidden.until, got.ended) {
        // In an ordered queue it also waits for those before it and beside it, as often as they come again.
        verdict.add(Rule::Late, format!("{message} came again {} ms late", got.ended - hidden.until));
    }
}

/// A message of an ordered queue that has come.
struct InQueue {
    id: usize,
    /// The pop it came with last, and when that was answered.
    begun: u64,
    came: u64,
    /// The first.
    first_begun: u64,
    /// Until then acknowledgements count.
    hidden_until: u64,
    /// Acknowledged in time; it may have been.
    acked: (bool, bool),
    /// When the acknowledgement began.
    acked_at: u64,
    /// The same before its last pop.
    acked_before: (bool, bool),
}

impl InQueue {
    /// Acknowledged before that pop.
    fn acked_before(&self, pop: u64) -> (bool, bool) {
        if self.begun == pop { self.acked_before } else { self.acked }
    }
}

/// In an ordered queue a message comes first when all before it are acknowledged, or with them in one answer; and what is
/// acknowledged comes again only behind one that is not.
fn ordered(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut queues: BTreeMap<i64, BTreeMap<i64, InQueue>> = BTreeMap::new();
    let mut events: Vec<_> = facts.events.iter().collect();
    // An acknowledgement counts from when it was sent: the queue may be free before its answer is here.
    events.sort_by_key(|event| if matches!(event.what, What::Acked(..)) { event.begun } else { event.ended });
    for event in events {
        match &event.what {
            What::Acked(group, id, outcome) if group == FIFO_GROUP && outcome.may_be() => {
                if let Some(one) = queues.values_mut().flat_map(BTreeMap::values_mut).find(|one| one.id == *id) {
                    one.acked.0 |= outcome.is_done() && event.ended + TICK_MS < one.hidden_until;
                    one.acked.1 = true;
                    one.acked_at = event.begun;
                }
            }
            What::Delivered(delivery) if delivery.group == FIFO_GROUP && delivery.topic == FIFO => {
                let queue = queues.entry(delivery.queue).or_default();
                if let Some(id) = Message::id_of(&delivery.body) {
                    in_order(facts, queue, event, delivery, id, verdict);
                }
            }
            _ => {}
        }
    }
}

fn in_order(
    facts: &Facts<'_>,
    queue: &mut BTreeMap<i64, InQueue>,
    event: &Event,
    delivery: &Delivery,
    id: usize,
    verdict: &mut Verdict,
) {
    let (pop, offset) = (event.begun, delivery.offset);
    let hidden_until = pop + delivery.invisible_ms.unwrap_or(0);
    let at = format!("#{id} at {offset} of queue {}", delivery.queue);
    let before = queue.range(..offset);
    let forgotten = |since: u64| facts.killed(since, event.ended);
    match queue.get(&offset) {
        None => {
            let open = before.clone().find(|(_, one)| one.begun != pop && !one.acked.1 && !forgotten(one.first_begun));
            if let Some((place, one)) = open {
                verdict.add(Rule::Overtaken, format!("{at}, before #{} at {place} is done", one.id));
            }
            if before.last().map_or(0, |(last, _)| last + 1) != offset {
                verdict.add(Rule::Gap, format!("{at} came before the one before it"));
            }
        }
        Some(one) if one.acked.0 && !forgotten(one.first_begun) => {
            // One before it was not acknowledged, or came again since: the queue is read from there on, whatever comes behind.
            let behind = |other: &InQueue| !other.acked_before(pop).0 || other.came > one.acked_at;
            if !before.into_iter().any(|(_, other)| behind(other)) {
                verdict.add(Rule::AckedAgain, format!("{at} came again at {}", event.ended));
            }
        }
        Some(_) => {}
    }
    let (first_begun, acked_before) =
        queue.get(&offset).map_or((pop, (false, false)), |one| (one.first_begun, one.acked));
    let acked = (false, false);
    let one =
        InQueue { id, begun: pop, came: event.ended, first_begun, hidden_until, acked, acked_at: 0, acked_before };
    queue.insert(offset, one);
}
