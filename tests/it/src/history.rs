//! Judges what was sent against what was received. Keeps to what the clients saw; believes no server.

use crate::client::{Received, Sent};
use std::collections::{BTreeMap, BTreeSet};

/// A way in which a history is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// Acknowledged, never consumed.
    Lost(String),
    /// Consumed, but nobody sent it.
    Invented(String),
    /// Within one queue, the second was consumed before the first though it comes later.
    Disorder(String, String),
    /// Two acknowledged messages were told the same place in the same queue.
    SamePlace(String, String),
    /// Consumed at another place than the send was told.
    Moved(String),
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong, sorted.
    pub violations: Vec<Violation>,
    /// How many deliveries repeated an earlier one. Allowed (at least once), but counted.
    pub duplicates: usize,
}

impl Verdict {
    /// # Panics
    /// With the violations, if there are any.
    pub fn assert_good(&self) {
        assert!(self.violations.is_empty(), "bad history: {:?}", self.violations);
    }

    /// # Panics
    /// Also when there were duplicates.
    pub fn assert_exactly_once(&self) {
        self.assert_good();
        assert_eq!(self.duplicates, 0, "deliveries that repeat an earlier one");
    }
}

/// Judges a history. `acknowledged`: sends that succeeded. `unsure`: sends that failed at the client, which the broker
/// may have stored all the same. `received`: deliveries in the order in which they came, of one consumer or several.
pub fn judge(acknowledged: &[Sent], unsure: &[Sent], received: &[Received]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut places: BTreeMap<(&str, i64, i64), &str> = BTreeMap::new();
    let mut told: BTreeMap<&str, &Sent> = BTreeMap::new();
    for sent in acknowledged {
        told.insert(&sent.body, sent);
        if let Some(other) = places.insert((&sent.broker, sent.queue, sent.offset), &sent.body) {
            verdict.violations.push(Violation::SamePlace(other.to_owned(), sent.body.clone()));
        }
    }
    let unsure: BTreeSet<&str> = unsure.iter().map(|sent| sent.body.as_str()).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut last: BTreeMap<(&str, i64), &Received> = BTreeMap::new();
    for one in received.iter().filter(|one| one.accepted) {
        if !seen.insert(&one.body) {
            verdict.duplicates += 1;
            continue;
        }
        match told.get(one.body.as_str()) {
            Some(sent) => {
                // A client that resends after an unclear answer stores twice: the acknowledged place is the later one.
                let same_queue = one.broker == sent.broker && one.queue == sent.queue;
                if same_queue && one.offset > sent.offset {
                    verdict.violations.push(Violation::Moved(one.body.clone()));
                }
            }
            None if unsure.contains(one.body.as_str()) => {}
            None => verdict.violations.push(Violation::Invented(one.body.clone())),
        }
        if let Some(before) = last.insert((&one.broker, one.queue), one)
            && before.offset >= one.offset
        {
            verdict.violations.push(Violation::Disorder(before.body.clone(), one.body.clone()));
        }
    }
    for body in told.keys().filter(|body| !seen.contains(**body)) {
        verdict.violations.push(Violation::Lost((*body).to_owned()));
    }
    verdict.violations.sort();
    verdict
}

#[cfg(test)]
mod tests {
    use super::{Violation, judge};
    use crate::client::{Received, Sent};
    use serde_json::Value;

    fn sent(body: &str, queue: i64, offset: i64) -> Sent {
        let text = String::new;
        let (msg_id, offset_msg_id, error) = (text(), text(), text());
        let (broker, status) = ("b".to_owned(), "SEND_OK".to_owned());
        Sent {
            body: body.to_owned(),
            status,
            msg_id,
            offset_msg_id,
            broker,
            queue,
            offset,
            recall_handle: None,
            error,
            code: None,
        }
    }

    fn got(body: &str, queue: i64, offset: i64) -> Received {
        let (body, broker) = (body.to_owned(), "b".to_owned());
        Received { body, broker, queue, offset, accepted: true, all: Value::Null }
    }

    fn check(sent: &[Sent], unsure: &[Sent], got: &[Received], expect: &[Violation], duplicates: usize) {
        let verdict = judge(sent, unsure, got);
        assert_eq!(verdict.violations, expect);
        assert_eq!(verdict.duplicates, duplicates);
    }

    #[test]
    fn a_good_history_is_good() {
        let all = [sent("x", 0, 0), sent("y", 0, 1), sent("z", 1, 0)];
        check(&all, &[], &[got("x", 0, 0), got("z", 1, 0), got("y", 0, 1)], &[], 0);
    }

    #[test]
    fn an_acknowledged_message_that_never_comes_is_lost() {
        let lost = Violation::Lost("y".to_owned());
        check(&[sent("x", 0, 0), sent("y", 0, 1)], &[], &[got("x", 0, 0)], std::slice::from_ref(&lost), 0);
        // Refused by the listener is not consumed.
        let refused = Received { accepted: false, ..got("y", 0, 1) };
        check(&[sent("x", 0, 0), sent("y", 0, 1)], &[], &[got("x", 0, 0), refused], &[lost], 0);
    }

    #[test]
    fn what_nobody_sent_is_invented_and_what_failed_may_come() {
        check(&[], &[], &[got("x", 0, 0)], &[Violation::Invented("x".to_owned())], 0);
        check(&[], &[sent("x", -1, -1)], &[got("x", 0, 0)], &[], 0);
        check(&[], &[sent("x", -1, -1)], &[], &[], 0);
    }

    #[test]
    fn order_is_judged_within_a_queue_by_first_deliveries() {
        let all = [sent("x", 0, 0), sent("y", 0, 1)];
        let disorder = Violation::Disorder("y".to_owned(), "x".to_owned());
        check(&all, &[], &[got("y", 0, 1), got("x", 0, 0)], &[disorder], 0);
        check(&all, &[], &[got("x", 0, 0), got("y", 0, 1), got("x", 0, 0)], &[], 1);
    }

    #[test]
    fn one_place_for_two_messages_is_seen() {
        let same = Violation::SamePlace("x".to_owned(), "y".to_owned());
        let moved = Violation::Moved("y".to_owned());
        check(&[sent("x", 0, 0), sent("y", 0, 0)], &[], &[got("x", 0, 0), got("y", 0, 1)], &[same, moved], 0);
    }

    #[test]
    fn a_message_after_its_acknowledged_place_has_moved() {
        check(&[sent("x", 0, 3)], &[], &[got("x", 0, 7)], &[Violation::Moved("x".to_owned())], 0);
        // A resend leaves an earlier copy: that one may come first.
        check(&[sent("x", 0, 3)], &[], &[got("x", 0, 1), got("x", 0, 3)], &[], 1);
    }
}
