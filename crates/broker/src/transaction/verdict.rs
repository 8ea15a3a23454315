//! What is to be done with a half message that nobody has decided over: pure, so that any clock can be tried.
//! Source: TransactionalMessageServiceImpl.check.

use crate::config::BrokerOptions;
use codec::properties::{Properties, names as property};

/// What decides.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Age from which a producer is asked, ms (`transactionTimeOut`).
    pub timeout_ms: i64,
    /// How often it is asked (`transactionCheckMax`).
    pub check_max: i32,
    /// Age from which nobody is asked any more, ms (`fileReservedTime`).
    pub reserved_ms: i64,
}

impl Rules {
    /// Those of the settings.
    pub fn of(options: &BrokerOptions) -> Rules {
        Rules {
            timeout_ms: options.broker.transaction_time_out,
            check_max: options.broker.transaction_check_max,
            reserved_ms: i64::from(options.store.file_reserved_time).saturating_mul(3_600_000),
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too young, and so are those behind it.
    Wait,
    /// Its producer wants not to be asked yet: it is put behind the others.
    Later,
    /// Its producer is asked, for the n-th time.
    Ask(i32),
    /// It was asked too often, or is too old.
    Discard,
}

/// The verdict over a message made at `born_ms` and stored at `stored_ms`, in a round that began at `round_ms`.
pub fn judge(
    properties: &Properties,
    (born_ms, stored_ms): (i64, i64),
    (round_ms, now_ms): (i64, i64),
    rules: Rules,
) -> Verdict {
    let age = now_ms.saturating_sub(born_ms);
    let asked = properties.get(property::TRANSACTION_CHECK_TIMES).map(|times| times.parse().unwrap_or(-1));
    if asked.is_some_and(|times| times >= rules.check_max) || age > rules.reserved_ms {
        return Verdict::Discard;
    }
    // Put behind the others in this round.
    if stored_ms >= round_ms {
        return Verdict::Wait;
    }
    match properties.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS) {
        Some(seconds) if age <= immunity_ms(seconds, rules.timeout_ms) => Verdict::Later,
        // A clock of a client that runs ahead makes an age below 0.
        None if (0..=rules.timeout_ms).contains(&age) => Verdict::Wait,
        _ => Verdict::Ask(asked.unwrap_or(0).saturating_add(1)),
    }
}

fn immunity_ms(seconds: &str, timeout_ms: i64) -> i64 {
    match seconds.parse().unwrap_or(-1) {
        -1 => timeout_ms,
        seconds => i64::saturating_mul(seconds, 1000),
    }
}

/// Whether a producer that decides without having been asked comes too late: it chose when it is to be asked, that has
/// passed, and the broker now waits for the answer. Source: EndTransactionProcessor.rejectCommitOrRollback.
pub fn is_too_late(properties: &Properties, born_ms: i64, now_ms: i64, timeout_ms: i64) -> bool {
    let Some(seconds) = properties.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS) else { return false };
    let immunity = seconds.parse().unwrap_or(0_i64).saturating_mul(1000).max(timeout_ms);
    now_ms.saturating_sub(born_ms) > immunity
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { timeout_ms: 6_000, check_max: 3, reserved_ms: 100_000 };
    const BORN: i64 = 1_000_000;

    fn with(pairs: &[(&str, &str)]) -> Properties {
        let mut properties = Properties::new();
        pairs.iter().for_each(|(name, value)| properties.set(name, *value));
        properties
    }

    /// At an age, in a round that begins then.
    fn check(pairs: &[(&str, &str)], age: i64, expect: Verdict) {
        let found = judge(&with(pairs), (BORN, BORN + 1), (BORN + age, BORN + age), RULES);
        assert_eq!(found, expect, "{pairs:?} at {age}");
    }

    #[test]
    fn young_ones_wait_and_old_ones_are_asked_about() {
        check(&[], 2, Verdict::Wait);
        check(&[], 6_000, Verdict::Wait);
        check(&[], 6_001, Verdict::Ask(1));
        check(&[], 100_000, Verdict::Ask(1));
        check(&[], 100_001, Verdict::Discard);
    }

    #[test]
    fn questions_are_counted() {
        let times = property::TRANSACTION_CHECK_TIMES;
        check(&[(times, "1")], 7_000, Verdict::Ask(2));
        check(&[(times, "2")], 7_000, Verdict::Ask(3));
        check(&[(times, "3")], 7_000, Verdict::Discard);
        check(&[(times, "3")], 10, Verdict::Discard);
        check(&[(times, "x")], 7_000, Verdict::Ask(0));
        check(&[(times, "2")], 10, Verdict::Wait);
    }

    #[test]
    fn the_producer_chooses_when_it_is_asked_first() {
        let seconds = property::CHECK_IMMUNITY_TIME_IN_SECONDS;
        check(&[(seconds, "20")], 7_000, Verdict::Later);
        check(&[(seconds, "20")], 20_000, Verdict::Later);
        check(&[(seconds, "20")], 20_001, Verdict::Ask(1));
        check(&[(seconds, "2")], 2_001, Verdict::Ask(1));
        check(&[(seconds, "x")], 6_000, Verdict::Later);
        check(&[(seconds, "x")], 6_001, Verdict::Ask(1));
        check(&[(seconds, "9223372036854775807")], 50_000, Verdict::Later);
    }

    #[test]
    fn what_this_round_has_stored_is_for_the_next() {
        let judged = |stored| judge(&with(&[]), (BORN, stored), (BORN + 7_000, BORN + 7_500), RULES);
        assert_eq!(judged(BORN + 6_999), Verdict::Ask(1));
        assert_eq!(judged(BORN + 7_000), Verdict::Wait);
    }

    #[test]
    fn a_clock_that_runs_ahead_is_not_waited_for() {
        let judged = |now| judge(&with(&[]), (BORN, now - 1), (now, now), RULES);
        assert_eq!(judged(BORN - 1), Verdict::Ask(1));
        assert_eq!(judged(BORN), Verdict::Wait);
    }

    #[test]
    fn late_is_what_was_to_be_asked_about() {
        let late = |pairs: &[(&str, &str)], age| is_too_late(&with(pairs), BORN, BORN + age, 6_000);
        let seconds = property::CHECK_IMMUNITY_TIME_IN_SECONDS;
        assert!(!late(&[], 99_000));
        assert!(!late(&[(seconds, "2")], 6_000) && late(&[(seconds, "2")], 6_001));
        assert!(!late(&[(seconds, "20")], 20_000) && late(&[(seconds, "20")], 20_001));
        assert!(late(&[(seconds, "x")], 6_001));
    }
}
