//! What was done and seen, as the clients of the broker tell it. Of the broker's words only answers to requests are kept.

use crate::clock::now_ms;
use std::sync::Mutex;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T = ()> {
    /// Answered with success.
    Done(T),
    /// Answered with another code.
    Refused(i64, String),
    /// No answer came.
    Unanswered,
}

impl<T> Outcome<T> {
    /// Whether it may have been carried out.
    pub fn may_be(&self) -> bool {
        !matches!(self, Self::Refused(..))
    }

    /// Whether it was.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The same of another value.
    pub fn map<U>(self, how: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(how(value)),
            Self::Refused(code, remark) => Outcome::Refused(code, remark),
            Self::Unanswered => Outcome::Unanswered,
        }
    }
}

/// A message that came to a consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// To whom.
    pub group: String,
    /// The topic that it lay in, be it a retry topic.
    pub topic: String,
    /// queueId
    pub queue: i64,
    /// queueOffset
    pub offset: i64,
    /// Body.
    pub body: String,
    /// What it has of the properties that a message of the plan may have.
    pub properties: Vec<(String, String)>,
    /// reconsumeTimes
    pub reconsumed: i64,
    /// For how long nobody else gets it, ms; of pops.
    pub invisible_ms: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A message of the plan was sent. Done: its queueOffset, where it went at once to its queue.
    Sent(usize, Outcome<i64>),
    /// A half message was decided over: commit or roll back.
    Decided(usize, bool, Outcome),
    /// A timer message was taken back.
    Recalled(usize, Outcome),
    /// Begun when it was asked for.
    Delivered(Delivery),
    /// Messages that a push consumer got, as [`What::Delivered`]; its queues come and go as the client likes.
    Pushed(Delivery),
    /// A group acknowledged what it popped.
    Acked(String, usize, Outcome),
    /// A group asked for what it popped again in so many ms.
    Changed(String, usize, u64, Outcome),
    /// A group sent back a message that had been delivered so many times before.
    SentBack(String, usize, i64, Outcome),
    /// A group committed an offset: topic, queue.
    Committed(String, String, i64, i64, Outcome),
    /// A reader of a group asked where to go on in a queue.
    Resumed(String, String, i64, i64),
    /// A request that cannot be refused was.
    Refused(String),
    /// The broker was away: from when it was killed or told to stop to when it said that it runs.
    Away {
        /// kill -9
        killed: bool,
    },
    /// A member of the push groups joined or left.
    Member,
}

/// Something that happened, and when: milliseconds of this process's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Before the request was sent.
    pub begun: u64,
    /// When the answer was there, or none any more.
    pub ended: u64,
    /// What.
    pub what: What,
}

/// All of it, in the order in which it became known.
#[derive(Default)]
pub struct History(Mutex<Vec<Event>>);

impl History {
    /// Adds what began then and has just ended.
    pub fn add(&self, begun: u64, what: What) {
        let mut events = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        events.push(Event { begun, ended: now_ms(), what });
    }

    /// A copy of all.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
