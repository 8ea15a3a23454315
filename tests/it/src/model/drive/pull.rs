//! Readers: one thread for a queue and a group, which pulls, commits as it goes, and now and then forgets where it was and asks.

use super::delivery;
use crate::clock::now_ms;
use crate::model::connection::Connection;
use crate::model::history::{Outcome, What};
use crate::model::plan::{Fate, Filter, MAX_RECONSUME, Message};
use crate::model::random::Random;
use crate::model::run::Site;
use crate::pop::Popped;
use serde_json::json;

const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
const CONSUMER_SEND_MSG_BACK: i32 = 36;
const TOPIC_NOT_EXIST: i64 = 17;
const PULL_NOT_FOUND: i64 = 19;
const PULL_RETRY_IMMEDIATELY: i64 = 20;
const QUERY_NOT_FOUND: i64 = 22;
/// The pull brings its subscription, and may be held.
const SUSPEND_AND_SUBSCRIPTION: i64 = 2 | 4;
/// The pull commits an offset.
const COMMIT: i64 = 1;

/// Who reads what.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: i64,
    /// What is wanted.
    pub filter: Filter,
    /// Refuses what the plan says is to be refused.
    pub sends_back: bool,
    /// The topic is there from the beginning.
    pub exists: bool,
}

/// Reads until the run is over.
pub fn run(site: &Site, reader: &Reader) {
    let seed = [site.plan.seed, 4, u64::try_from(reader.queue).unwrap_or(0), reader.group.len() as u64];
    let mut state = State {
        site,
        reader,
        connection: Connection::new(site),
        random: Random::of(&seed),
        position: 0,
        to_commit: false,
    };
    while state.connection.open() {
        if state.resume().is_none() {
            continue;
        }
        while !site.is_over() && state.step().is_some() && !state.random.percent(1) {}
    }
}

struct State<'s> {
    site: &'s Site,
    reader: &'s Reader,
    connection: Connection<'s>,
    random: Random,
    position: i64,
    to_commit: bool,
}

impl State<'_> {
    /// Asks where to go on.
    fn resume(&mut self) -> Option<()> {
        let Reader { group, topic, queue, .. } = self.reader;
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "setZeroIfNotFound": "false" });
        let begun = now_ms();
        self.position = match self.connection.raw_call(QUERY_CONSUMER_OFFSET, &fields, &[]).ok()? {
            answer if answer.code == 0 => answer.number("offset"),
            answer if answer.code == QUERY_NOT_FOUND => 0,
            answer => return self.refused(&format!("the offset of {group}: {} {}", answer.code, answer.remark)),
        };
        self.site.history.add(begun, What::Resumed(group.clone(), topic.clone(), *queue, self.position));
        self.to_commit = false;
        Some(())
    }

    fn refused(&mut self, what: &str) -> Option<()> {
        self.site.history.add(now_ms(), What::Refused(what.to_owned()));
        std::thread::sleep(std::time::Duration::from_millis(50));
        None
    }

    /// Pulls once. None: the connection is gone, or the answer is not as it should be.
    fn step(&mut self) -> Option<()> {
        let Reader { group, topic, queue, .. } = self.reader;
        let with_pull = self.to_commit && self.random.percent(50);
        let (kind, expression) = self.reader.filter.expression();
        let flag = SUSPEND_AND_SUBSCRIPTION | if with_pull { COMMIT } else { 0 };
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "queueOffset": self.position.to_string(), "maxMsgNums": self.random.within(1, 33).to_string(),
            "sysFlag": flag.to_string(), "commitOffset": self.position.to_string(), "suspendTimeoutMillis": "800",
            "subscription": expression, "subVersion": "0", "expressionType": kind });
        let begun = now_ms();
        let answer = self.connection.raw_call(PULL_MESSAGE, &fields, &[]);
        if with_pull {
            let outcome = if answer.is_ok() { Outcome::Done(()) } else { Outcome::Unanswered };
            self.note_commit(begun, outcome);
        }
        let answer = answer.ok()?;
        match answer.code {
            0 => {
                let next = answer.number("nextBeginOffset");
                for message in answer.messages {
                    self.take(begun, message)?;
                }
                self.position = next;
                self.to_commit = true;
                if self.random.percent(25) { self.commit() } else { Some(()) }
            }
            PULL_NOT_FOUND => Some(()),
            PULL_RETRY_IMMEDIATELY => {
                self.position = answer.number("nextBeginOffset");
                self.to_commit = true;
                Some(())
            }
            TOPIC_NOT_EXIST if !self.reader.exists => {
                std::thread::sleep(std::time::Duration::from_millis(50));
                Some(())
            }
            code => {
                self.refused(&format!("{group} pulls {topic}/{queue} from {}: {code} {}", self.position, answer.remark))
            }
        }
    }

    fn take(&mut self, begun: u64, message: Popped) -> Option<()> {
        let (id, reconsumed, physical_offset) =
            (Message::id_of(&message.body), message.reconsumed, message.physical_offset);
        self.site.history.add(begun, What::Delivered(delivery(&self.reader.group, message, None)));
        let message = id.and_then(|id| self.site.plan.message(id)).filter(|_| self.reader.sends_back);
        let Some(Message { id, fate: Fate::Retry { refusals, level }, .. }) = message else { return Some(()) };
        if reconsumed < *refusals {
            let fields = json!({ "group": self.reader.group, "offset": physical_offset.to_string(),
                "delayLevel": level.to_string(), "originTopic": self.reader.topic, "unitMode": "false",
                "maxReconsumeTimes": MAX_RECONSUME.to_string() });
            loop {
                let begun = now_ms();
                let outcome = self.connection.call(CONSUMER_SEND_MSG_BACK, &fields, &[]).map(drop);
                let done = outcome.is_done();
                let what = What::SentBack(self.reader.group.clone(), *id, reconsumed, outcome);
                self.site.history.add(begun, what);
                if done {
                    break;
                }
                // As a client does: the message is not consumed before it is sent back.
                self.connection.open().then_some(())?;
            }
        }
        Some(())
    }

    fn commit(&mut self) -> Option<()> {
        let Reader { group, topic, queue, .. } = self.reader;
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "commitOffset": self.position.to_string() });
        let begun = now_ms();
        let outcome = self.connection.call(UPDATE_CONSUMER_OFFSET, &fields, &[]).map(drop);
        let lost = outcome == Outcome::Unanswered;
        self.note_commit(begun, outcome);
        (!lost).then_some(())
    }

    fn note_commit(&mut self, begun: u64, outcome: Outcome) {
        let Reader { group, topic, queue, .. } = self.reader;
        let what = What::Committed(group.clone(), topic.clone(), *queue, self.position, outcome);
        self.site.history.add(begun, what);
        self.to_commit = false;
    }
}
