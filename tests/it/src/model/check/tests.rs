//! Histories that are known to be bad, and their good twins.

use super::{LATE_MS, Rule, judge};
use crate::model::history::{Delivery, Event, Outcome, What};
use crate::model::plan::{
    FIFO, FIFO_GROUP, Fate, Filter, HALF, LEVEL, MAX_RECONSUME, Message, ORDERLY_GROUP, PLAIN, POP, POP_GROUP,
    PUSH_GROUP, Plan, PopAction, RETRY, RETRY_GROUP, TIMER, TimerBy,
};

const DONE: Outcome = Outcome::Done(());

fn message(id: usize, topic: &'static str, fate: Fate) -> Message {
    Message { id, sender: 0, topic, queue: 0, filling: 3, tag: Some("a"), number: None, colour: None, fate }
}

fn plan(messages: Vec<Message>, filters: Vec<Filter>) -> Plan {
    Plan { seed: 0, messages, senders: Vec::new(), faults: Vec::new(), filters }
}

fn plain(count: usize) -> Plan {
    plan((0..count).map(|id| message(id, PLAIN, Fate::Plain)).collect(), Vec::new())
}

fn at(begun: u64, ended: u64, what: What) -> Event {
    Event { begun, ended, what }
}

fn sent(id: usize, begun: u64, offset: i64) -> Event {
    at(begun, begun + 1, What::Sent(id, Outcome::Done(offset)))
}

fn delivery(message: &Message, group: &str, offset: i64) -> Delivery {
    let properties = message.properties().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let (group, topic, body) = (group.to_owned(), message.topic.to_owned(), message.body());
    Delivery { group, topic, queue: 0, offset, body, properties, reconsumed: 0, invisible_ms: None }
}

fn got(plan: &Plan, id: usize, group: &str, offset: i64, ended: u64) -> Event {
    at(ended - 1, ended, What::Delivered(delivery(&plan.messages[id], group, offset)))
}

fn pushed(plan: &Plan, id: usize, group: &str, offset: i64, ended: u64) -> Event {
    at(ended, ended, What::Pushed(delivery(&plan.messages[id], group, offset)))
}

fn popped(plan: &Plan, id: usize, group: &str, offset: i64, ended: u64) -> Event {
    let delivery = Delivery { invisible_ms: Some(1000), ..delivery(&plan.messages[id], group, offset) };
    at(ended - 1, ended, What::Delivered(delivery))
}

fn acked(id: usize, group: &str, ended: u64) -> Event {
    at(ended - 1, ended, What::Acked(group.to_owned(), id, DONE))
}

fn away(from: u64, to: u64, killed: bool) -> Event {
    at(from, to, What::Away { killed })
}

/// What the rules say of a history: each rule once.
fn rules(plan: &Plan, events: &[Event]) -> Vec<Rule> {
    let verdict = judge(plan, events);
    let all = verdict.violations.iter().chain(&verdict.missing).map(|violation| violation.rule);
    all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn check(plan: &Plan, events: &[Event], expect: &[Rule]) {
    assert_eq!(rules(plan, events), expect, "{:?}", judge(plan, events));
}

/// Each message sent to its offset, and with all three groups that get everything.
fn good(plan: &Plan) -> Vec<Event> {
    let mut events = Vec::new();
    for (id, offset) in (0..plan.messages.len()).zip(0..) {
        let ms = 10 * u64::try_from(id).expect("small") + 10;
        events.push(sent(id, ms, offset));
        events.push(got(plan, id, "CG_all", offset, ms + 5));
        events.push(pushed(plan, id, PUSH_GROUP, offset, ms + 5));
        events.push(pushed(plan, id, ORDERLY_GROUP, offset, ms + 5));
    }
    events
}

/// The good history of that many messages, changed.
fn changed(count: usize, change: impl FnOnce(&mut Vec<Event>, &Plan), expect: &[Rule]) {
    let plan = plain(count);
    let mut events = good(&plan);
    check(&plan, &events, &[]);
    change(&mut events, &plan);
    check(&plan, &events, expect);
}

fn of_group(event: &Event, group: &str) -> bool {
    matches!(&event.what, What::Delivered(one) | What::Pushed(one) if one.group == group)
}

#[test]
fn what_is_lost_for_one_group_is_lost() {
    for group in ["CG_all", PUSH_GROUP, ORDERLY_GROUP] {
        changed(3, |events, _| events.retain(|event| !(of_group(event, group) && event.begun > 30)), &[Rule::Lost]);
    }
}

#[test]
fn what_is_damaged_or_nobodys_is_seen() {
    let change_body = |body: &str| {
        let body = body.to_owned();
        move |events: &mut Vec<Event>, _: &Plan| {
            if let What::Delivered(one) = &mut events[1].what {
                one.body = body;
            }
        }
    };
    changed(1, change_body("0|xyz"), &[Rule::Damaged]);
    changed(1, change_body("7|xyz"), &[Rule::Lost, Rule::Invented]);
    changed(
        1,
        |events, _| {
            if let What::Delivered(one) = &mut events[1].what {
                one.properties.clear()
            }
        },
        &[Rule::Damaged],
    );
    changed(1, |events, _| events[0].begun = 100, &[Rule::Invented]);
    changed(1, |events, _| drop(events.remove(0)), &[Rule::Invented]);
    let refused = What::Sent(0, Outcome::Refused(1, String::new()));
    changed(1, |events, _| events[0].what = refused, &[Rule::Refused, Rule::Refusal]);
}

#[test]
fn a_refusal_is_excused_by_a_stop_only() {
    let refusal = at(100, 110, What::Refused("no".to_owned()));
    changed(1, |events, _| events.push(refusal.clone()), &[Rule::Refusal]);
    changed(1, |events, _| events.extend([refusal.clone(), away(105, 120, false)]), &[]);
}

#[test]
fn places_are_those_that_were_told_and_hold_one_message() {
    changed(1, |events, _| events[0] = sent(0, 10, 5), &[Rule::Moved]);
    changed(2, |events, _| events[4] = sent(1, 20, 0), &[Rule::Moved, Rule::SamePlace]);
    changed(2, |events, plan| events.push(got(plan, 0, "CG_all", 2, 90)), &[Rule::Moved, Rule::Twice]);
    changed(2, |events, plan| events.push(got(plan, 0, "CG_other", 1, 90)), &[Rule::SamePlace, Rule::Gap]);
}

#[test]
fn a_sender_is_heard_in_order() {
    let swap = |events: &mut Vec<Event>, plan: &Plan| {
        *events = vec![sent(0, 10, 1), sent(1, 20, 0)];
        for group in ["CG_all", PUSH_GROUP, ORDERLY_GROUP] {
            let event = if group == "CG_all" { got } else { pushed };
            events.extend([event(plan, 1, group, 0, 40), event(plan, 0, group, 1, 41)]);
        }
    };
    changed(2, swap, &[Rule::Disorder]);
}

fn resumed(offset: i64, ended: u64) -> Event {
    at(ended - 1, ended, What::Resumed("CG_all".to_owned(), PLAIN.to_owned(), 0, offset))
}

fn committed(offset: i64, ended: u64, outcome: Outcome) -> Event {
    at(ended - 1, ended, What::Committed("CG_all".to_owned(), PLAIN.to_owned(), 0, offset, outcome))
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let skipping =
        |events: &mut Vec<Event>, _: &Plan| events.retain(|event| !(of_group(event, "CG_all") && event.begun < 20));
    changed(2, skipping, &[Rule::Lost, Rule::Gap]);
    changed(2, |events, plan| events.push(got(plan, 1, "CG_all", 1, 90)), &[Rule::Gap]);
    let again = |plan: &Plan| [resumed(1, 80), got(plan, 1, "CG_all", 1, 90)];
    changed(2, |events, plan| events.extend(again(plan)), &[Rule::Resumed]);
    changed(
        2,
        |events, plan| {
            events.push(committed(1, 60, DONE));
            events.extend(again(plan));
        },
        &[],
    );
}

#[test]
fn a_commit_is_forgotten_by_a_kill_only() {
    let commits = |second: Outcome| [committed(1, 60, DONE), committed(2, 70, second)];
    let history = |second: Outcome, fault: Option<Event>| {
        move |events: &mut Vec<Event>, _: &Plan| {
            events.extend(commits(second));
            events.extend(fault);
            events.push(resumed(1, 100));
        }
    };
    changed(2, history(DONE, None), &[Rule::Resumed]);
    changed(2, history(DONE, Some(away(80, 90, false))), &[Rule::Resumed]);
    changed(2, history(DONE, Some(away(80, 90, true))), &[]);
    changed(2, history(Outcome::Unanswered, None), &[]);
    let ahead = |events: &mut Vec<Event>, _: &Plan| events.extend([away(80, 90, true), resumed(2, 100)]);
    changed(2, ahead, &[Rule::Resumed]);
}

#[test]
fn filters_let_through_what_is_wanted() {
    let mut plan = plain(2);
    plan.filters = vec![Filter::Tags(vec!["a"])];
    plan.messages[1].tag = Some("b");
    let mut events = good(&plan);
    check(&plan, &events, &[Rule::Lost]);
    events.push(got(&plan, 0, "CG_filter1", 0, 90));
    check(&plan, &events, &[]);
    events.push(got(&plan, 1, "CG_filter1", 1, 91));
    check(&plan, &events, &[Rule::Unwanted]);
}

#[test]
fn a_push_is_repeated_after_faults_only() {
    changed(1, |events, plan| events.push(pushed(plan, 0, PUSH_GROUP, 0, 9000)), &[Rule::Twice]);
    let after = |fault: Event| {
        move |events: &mut Vec<Event>, plan: &Plan| events.extend([fault, pushed(plan, 0, PUSH_GROUP, 0, 9000)])
    };
    changed(1, after(away(500, 700, true)), &[]);
    changed(1, after(at(500, 700, What::Member)), &[]);
    changed(1, after(away(9500, 9700, true)), &[Rule::Twice]);
}

#[test]
fn levels_are_kept_neither_early_nor_late_and_in_order() {
    let plan = plan(vec![message(0, LEVEL, Fate::Level(2)), message(1, LEVEL, Fate::Level(2))], Vec::new());
    let history = |first: u64, second: u64| {
        vec![sent(0, 10, 0), sent(1, 20, 1), got(&plan, 0, "CG_all", 0, first), got(&plan, 1, "CG_all", 1, second)]
    };
    check(&plan, &history(2015, 2025), &[]);
    check(&plan, &history(2005, 2025), &[Rule::Early]);
    check(&plan, &history(2015, 2500 + LATE_MS), &[Rule::Late]);
    check(
        &plan,
        &history(2015, 2500 + LATE_MS).into_iter().chain([away(1000, 2400, true)]).collect::<Vec<_>>(),
        &[Rule::Late],
    );
    check(&plan, &history(2015, 2500 + LATE_MS).into_iter().chain([away(1000, 2600, true)]).collect::<Vec<_>>(), &[]);
    check(&plan, &history(2015, 2025)[..3], &[Rule::Lost]);
    let swapped = [sent(0, 10, 0), sent(1, 20, 1), got(&plan, 1, "CG_all", 0, 2025), got(&plan, 0, "CG_all", 1, 2030)];
    check(&plan, &swapped, &[Rule::Disorder]);
    let mut twice = history(2015, 2025);
    twice.push(got(&plan, 0, "CG_all", 2, 4000));
    check(&plan, &twice, &[Rule::Twice]);
    twice.push(away(3000, 3500, true));
    check(&plan, &twice, &[]);
}

#[test]
fn what_is_taken_back_in_time_does_not_come() {
    let fate = Fate::Timer { by: TimerBy::DelayMs, after_ms: 5000, recall_after_ms: Some(500) };
    let plan = plan(vec![message(0, TIMER, fate)], Vec::new());
    let came = got(&plan, 0, "CG_all", 0, 5100);
    let recall = |ended: u64, outcome: Outcome| at(ended - 1, ended, What::Recalled(0, outcome));
    check(&plan, &[sent(0, 10, 0), came.clone()], &[]);
    check(&plan, &[sent(0, 10, 0)], &[Rule::Lost]);
    check(&plan, &[sent(0, 10, 0), recall(600, DONE)], &[]);
    check(&plan, &[sent(0, 10, 0), recall(600, DONE), came.clone()], &[Rule::Recalled]);
    check(&plan, &[sent(0, 10, 0), recall(4900, DONE), came.clone()], &[]);
    check(&plan, &[sent(0, 10, 0), recall(600, Outcome::Unanswered), came.clone()], &[]);
    let refused = Outcome::Refused(1, String::new());
    check(&plan, &[sent(0, 10, 0), recall(600, refused.clone()), came], &[Rule::Refusal]);
    check(&plan, &[sent(0, 10, 0), recall(600, refused)], &[Rule::Lost, Rule::Refusal]);
}

#[test]
fn a_half_message_is_seen_once_it_is_committed() {
    let half = |verdict| Fate::Half { verdict, at_once: true, shrugs: 0, lost: false };
    let decided = |commit, begun: u64| at(begun, begun + 1, What::Decided(0, commit, DONE));
    for verdict in [Some(false), None] {
        let plan = plan(vec![message(0, HALF, half(verdict))], Vec::new());
        check(&plan, &[sent(0, 10, 0), decided(false, 20)], &[]);
        check(&plan, &[sent(0, 10, 0), decided(false, 20), got(&plan, 0, "CG_all", 0, 30)], &[Rule::Uncommitted]);
    }
    let plan = plan(vec![message(0, HALF, half(Some(true)))], Vec::new());
    let came = |ended| got(&plan, 0, "CG_all", 0, ended);
    check(&plan, &[sent(0, 10, 0), decided(true, 20), came(30)], &[]);
    check(&plan, &[sent(0, 10, 0), decided(true, 20)], &[Rule::Lost]);
    check(&plan, &[sent(0, 10, 0), decided(true, 40), came(30)], &[Rule::Uncommitted]);
    check(&plan, &[sent(0, 10, 0), came(30)], &[Rule::Uncommitted]);
    check(&plan, &[sent(0, 10, 0), decided(true, 20), came(100 + LATE_MS)], &[Rule::Late]);
    let twice = got(&plan, 0, "CG_all", 1, 90);
    check(&plan, &[sent(0, 10, 0), decided(true, 20), came(30), twice.clone()], &[Rule::Twice]);
    check(&plan, &[sent(0, 10, 0), decided(true, 20), came(30), away(50, 80, true), twice], &[]);
}

#[test]
fn pops_come_again_unless_acknowledged_and_at_their_time() {
    let plan = plan(vec![message(0, POP, Fate::Pop(vec![PopAction::Ack]))], Vec::new());
    let pop = |ended| popped(&plan, 0, POP_GROUP, 0, ended);
    let history = |more: &[Event]| [&[sent(0, 10, 0), pop(20)], more].concat();
    check(&plan, &history(&[acked(0, POP_GROUP, 30)]), &[]);
    check(&plan, &history(&[]), &[Rule::Lost]);
    check(&plan, &[sent(0, 10, 0)], &[Rule::Lost]);
    check(&plan, &history(&[acked(0, POP_GROUP, 30), pop(1100)]), &[Rule::Lost, Rule::AckedAgain]);
    check(&plan, &history(&[acked(0, POP_GROUP, 30), away(40, 50, true), pop(1100), acked(0, POP_GROUP, 1110)]), &[]);
    check(
        &plan,
        &history(&[acked(0, POP_GROUP, 30), away(40, 50, false), pop(1100), acked(0, POP_GROUP, 1110)]),
        &[Rule::AckedAgain],
    );
    check(&plan, &history(&[pop(900), acked(0, POP_GROUP, 910)]), &[Rule::Early]);
    check(&plan, &history(&[pop(1030), acked(0, POP_GROUP, 1040)]), &[]);
    check(&plan, &history(&[pop(1100 + LATE_MS), acked(0, POP_GROUP, 1110 + LATE_MS)]), &[Rule::Late]);
    // Too late for the pop it belongs to.
    check(&plan, &history(&[acked(0, POP_GROUP, 1025), pop(1030), acked(0, POP_GROUP, 1040)]), &[]);
    let change = |ms| at(29, 30, What::Changed(POP_GROUP.to_owned(), 0, ms, DONE));
    check(&plan, &history(&[change(3000), pop(1100), acked(0, POP_GROUP, 1110)]), &[Rule::Early]);
    check(&plan, &history(&[change(300), pop(340), acked(0, POP_GROUP, 350)]), &[]);
}

#[test]
fn an_ordered_queue_waits_for_what_is_not_done() {
    let pop = || Fate::Pop(vec![PopAction::Ack]);
    let plan = plan(vec![message(0, FIFO, pop()), message(1, FIFO, pop())], Vec::new());
    let pop = |id, ended| popped(&plan, id, FIFO_GROUP, i64::try_from(id).expect("small"), ended);
    let ack = |id, ended| acked(id, FIFO_GROUP, ended);
    let history = |more: &[Event]| [&[sent(0, 10, 0), sent(1, 11, 1)], more].concat();
    check(&plan, &history(&[pop(0, 20), ack(0, 30), pop(1, 40), ack(1, 50)]), &[]);
    check(&plan, &history(&[pop(0, 20), pop(1, 20), ack(0, 30), ack(1, 50)]), &[]);
    check(&plan, &history(&[pop(0, 20), pop(1, 25), ack(0, 30), ack(1, 50)]), &[Rule::Overtaken]);
    check(&plan, &history(&[pop(1, 20), ack(1, 30), pop(0, 40), ack(0, 50)]), &[Rule::Gap]);
    // The second of two comes again with the first, which was not acknowledged; but not alone.
    let both = [pop(0, 20), pop(1, 20), ack(1, 30), pop(0, 1040), pop(1, 1040), ack(0, 1050), ack(1, 1051)];
    check(&plan, &history(&both), &[]);
    let slow_ack = at(29, 45, What::Acked(FIFO_GROUP.to_owned(), 0, DONE));
    check(&plan, &history(&[pop(0, 20), pop(1, 40), slow_ack, ack(1, 50)]), &[]);
    // Nor need it come in one answer with the first.
    let one_by_one = [pop(0, 20), pop(1, 20), ack(1, 30), pop(0, 1040), ack(0, 1050), pop(1, 1060), ack(1, 1070)];
    check(&plan, &history(&one_by_one), &[]);
    let alone = [pop(0, 20), pop(1, 20), ack(0, 29), ack(1, 30), pop(1, 1040), ack(1, 1051)];
    check(&plan, &history(&alone), &[Rule::AckedAgain]);
}

#[test]
fn what_is_sent_back_comes_back_until_it_is_dead() {
    let plan = plan(vec![message(0, RETRY, Fate::Retry { refusals: 9, level: 2 })], Vec::new());
    let back =
        |reconsumed, ended: u64| at(ended - 1, ended, What::SentBack(RETRY_GROUP.to_owned(), 0, reconsumed, DONE));
    let again = |topic: &str, reconsumed: i64, offset, ended: u64| {
        let topic = format!("{topic}{RETRY_GROUP}");
        let delivery = Delivery { topic, reconsumed, ..delivery(&plan.messages[0], RETRY_GROUP, offset) };
        at(ended - 1, ended, What::Delivered(delivery))
    };
    let mut events = vec![sent(0, 10, 0), got(&plan, 0, RETRY_GROUP, 0, 20)];
    for (offset, attempt) in (0..MAX_RECONSUME).zip(0_u64..) {
        events.push(back(offset, 30 + attempt * 3000));
        check(&plan, &events, &[Rule::Lost]);
        events.push(again("%RETRY%", offset + 1, offset, 2100 + attempt * 3000));
        check(&plan, &events, &[]);
    }
    events.push(back(MAX_RECONSUME, 9030));
    check(&plan, &events, &[Rule::Lost]);
    let with = |more: Event| [&events[..], &[more]].concat();
    check(&plan, &with(again("%DLQ%", MAX_RECONSUME + 1, 0, 9100)), &[]);
    check(&plan, &with(again("%RETRY%", MAX_RECONSUME + 1, 3, 9100)), &[Rule::Lost, Rule::Attempts]);
    check(&plan, &with(again("%DLQ%", 2, 0, 9100)), &[Rule::Lost, Rule::Attempts]);
    let begin = &events[..3];
    check(&plan, &[begin, &[again("%RETRY%", 1, 0, 1900)]].concat(), &[Rule::Early]);
    check(&plan, &[begin, &[again("%RETRY%", 1, 0, 2100 + LATE_MS)]].concat(), &[Rule::Late]);
    check(&plan, &[begin, &[again("%RETRY%", 1, 0, 2100), again("%RETRY%", 1, 1, 2200)]].concat(), &[Rule::Twice]);
    check(&plan, &[&events[..2], &[again("%RETRY%", 1, 0, 2100)]].concat(), &[Rule::Attempts]);
}
