//! A history sorted: what was sent, what lies where, when the broker was away.

use super::{LATE_MS, Rule, Verdict};
use crate::model::history::{Delivery, Event, Outcome, What};
use crate::model::plan::{Message, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// topic, queueId, queueOffset
pub type Place = (String, i64, i64);

/// A message that came.
pub struct Got<'h> {
    /// When it was asked for, and there.
    pub begun: u64,
    /// When it was there.
    pub ended: u64,
    /// By push.
    pub pushed: bool,
    /// The message of the plan.
    pub message: &'h Message,
    /// How it came.
    pub delivery: &'h Delivery,
}

/// When the broker was away.
pub struct Outage {
    /// Since the signal.
    pub from: u64,
    /// Until it runs.
    pub to: u64,
    /// kill -9
    pub killed: bool,
}

/// A message at a place.
pub struct Seen<'h> {
    /// Which.
    pub message: &'h Message,
    /// When a consumer had it first.
    pub first: u64,
    /// reconsumeTimes
    pub reconsumed: i64,
}

/// A send.
pub struct SendFact<'h> {
    /// Before the request.
    pub begun: u64,
    /// With the answer.
    pub ended: u64,
    /// The answer.
    pub outcome: &'h Outcome<i64>,
}

/// A history by what it is about.
pub struct Facts<'h> {
    /// The plan.
    pub plan: &'h Plan,
    /// Everything, as it came.
    pub events: &'h [Event],
    /// Sends by message.
    pub sends: BTreeMap<usize, SendFact<'h>>,
    /// Deliveries of messages of the plan, as they came.
    pub got: Vec<Got<'h>>,
    /// What lies where.
    pub places: BTreeMap<Place, Seen<'h>>,
    /// When the broker was away, in order.
    pub outages: Vec<Outage>,
    /// When members joined or left.
    pub members: Vec<u64>,
}

impl<'h> Facts<'h> {
    /// Sorts; what cannot be sorted in is a violation.
    pub fn gather(plan: &'h Plan, events: &'h [Event], verdict: &mut Verdict) -> Self {
        let mut facts = Self {
            plan,
            events,
            sends: BTreeMap::new(),
            got: Vec::new(),
            places: BTreeMap::new(),
            outages: Vec::new(),
            members: Vec::new(),
        };
        for event in events {
            let (begun, ended) = (event.begun, event.ended);
            match &event.what {
                What::Sent(id, outcome) => {
                    facts.sends.insert(*id, SendFact { begun, ended, outcome });
                }
                What::Away { killed } => facts.outages.push(Outage { from: begun, to: ended, killed: *killed }),
                What::Member => facts.members.push(begun),
                _ => {}
            }
        }
        for event in events {
            if let What::Delivered(delivery) | What::Pushed(delivery) = &event.what {
                facts.add(event, delivery, verdict);
            }
        }
        verdict.delivered = facts.got.len();
        let groups: BTreeSet<_> = facts.got.iter().map(|got| (&got.delivery.group, got.message.id)).collect();
        verdict.repeated = facts.got.len() - groups.len();
        facts.refusals(verdict);
        facts
    }

    fn add(&mut self, event: &'h Event, delivery: &'h Delivery, verdict: &mut Verdict) {
        let Some(message) = Message::id_of(&delivery.body).and_then(|id| self.plan.message(id)) else {
            return verdict.add(Rule::Invented, format!("{delivery:?}"));
        };
        let place = (delivery.topic.clone(), delivery.queue, delivery.offset);
        let shown = format!("{message} at {place:?} to {}", delivery.group);
        let came: BTreeSet<_> = delivery.properties.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let wanted = message.properties();
        if delivery.body != message.body() || came != wanted.iter().map(|(name, value)| (*name, value)).collect() {
            verdict.add(Rule::Damaged, format!("{shown}: {:?}, {} bytes", delivery.properties, delivery.body.len()));
        }
        match self.sends.get(&message.id) {
            None => verdict.add(Rule::Invented, format!("{shown} was not sent")),
            Some(send) if send.begun > event.ended => verdict.add(Rule::Invented, format!("{shown} was not sent yet")),
            Some(send) if !send.outcome.may_be() => verdict.add(Rule::Refused, format!("{shown}: {:?}", send.outcome)),
            Some(_) => {}
        }
        let retried = delivery.topic.starts_with('%');
        if !retried && (delivery.topic != message.topic || delivery.queue != message.queue) {
            verdict.add(Rule::Invented, format!("{shown}: it was sent elsewhere"));
        }
        let (begun, ended) = (event.begun, event.ended);
        let seen = self.places.entry(place).or_insert(Seen { message, first: ended, reconsumed: delivery.reconsumed });
        if seen.message.id != message.id {
            verdict.add(Rule::SamePlace, format!("{shown}, where #{} was seen", seen.message.id));
        }
        seen.first = seen.first.min(ended);
        let pushed = matches!(event.what, What::Pushed(_));
        self.got.push(Got { begun, ended, pushed, message, delivery });
    }

    /// A broker that is told to stop may refuse; no other.
    fn refusals(&self, verdict: &mut Verdict) {
        for event in self.events {
            let what = match &event.what {
                What::Sent(_, Outcome::Refused(..))
                | What::Acked(_, _, Outcome::Refused(..))
                | What::Changed(_, _, _, Outcome::Refused(..)) => format!("{:?}", event.what),
                What::SentBack(_, _, _, Outcome::Refused(..)) | What::Committed(_, _, _, _, Outcome::Refused(..)) => {
                    format!("{:?}", event.what)
                }
                What::Refused(what) => what.clone(),
                _ => continue,
            };
            if !self.away(event.begun, event.ended) {
                verdict.add(Rule::Refusal, what);
            }
        }
    }

    /// Whether the broker was away within that time.
    pub fn away(&self, from: u64, to: u64) -> bool {
        self.outages.iter().any(|outage| outage.from <= to && outage.to >= from)
    }

    /// Whether it was killed within that time.
    pub fn killed(&self, from: u64, to: u64) -> bool {
        self.outages.iter().any(|outage| outage.killed && outage.from <= to && outage.to >= from)
    }

    /// Whether something due then may come only now.
    pub fn in_time(&self, due: u64, now: u64) -> bool {
        let up = self.outages.iter().filter(|outage| outage.from <= now).map(|outage| outage.to).max().unwrap_or(0);
        now <= due.max(up) + LATE_MS
    }

    /// The places of each message in a topic, in order of queue and offset.
    pub fn places_in(&self, topic: &str) -> BTreeMap<usize, Vec<(&Place, &Seen<'h>)>> {
        let mut all: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (place, seen) in self.places.range((topic.to_owned(), i64::MIN, i64::MIN)..) {
            if place.0 != topic {
                break;
            }
            all.entry(seen.message.id).or_default().push((place, seen));
        }
        all
    }

    /// The messages of a topic.
    pub fn messages(&self, topic: &str) -> impl Iterator<Item = &'h Message> {
        let plan = self.plan;
        plan.messages.iter().filter(move |message| message.topic == topic)
    }
}
