//! What happens in one run, made from a seed: every message with what is to become of it, who sends it when, and what befalls
//! the servers. The same seed makes the same plan; when things happen to the millisecond is up to the machine.

use super::random::Random;
use std::fmt;

/// Sent and pulled: single messages and batches with tags and properties.
pub const PLAIN: &str = "Plain";
/// Delayed by level.
pub const LEVEL: &str = "Level";
/// For arbitrary times.
pub const TIMER: &str = "Timer";
/// Transactions.
pub const HALF: &str = "Half";
/// Consumed by pop.
pub const POP: &str = "Pop";
/// Consumed by pop, in order.
pub const FIFO: &str = "Fifo";
/// Refused by its consumer, some until they are dead.
pub const RETRY: &str = "Retry";
/// All topics, with their queues.
pub const TOPICS: [(&str, i64); 7] = [(PLAIN, 4), (LEVEL, 2), (TIMER, 2), (HALF, 2), (POP, 3), (FIFO, 2), (RETRY, 2)];

/// The levels, as the broker is told; level 1 is the first. No neighbours are equal, so that a wrong one shows.
pub const LEVELS_S: [u64; 18] = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4];
/// Deliveries after which a message that is refused once more is dead.
pub const MAX_RECONSUME: i64 = 3;
/// How long messages are sent for, ms.
pub const SENDING_MS: u64 = 9_000;

/// Reads everything of a topic: `CG_` and its name.
pub const POP_GROUP: &str = "CG_pop";
/// Pops in order.
pub const FIFO_GROUP: &str = "CG_fifo";
/// Refuses messages.
pub const RETRY_GROUP: &str = "CG_retry";
/// Is pushed messages, by several threads.
pub const PUSH_GROUP: &str = "CG_push";
/// Is pushed messages in order.
pub const ORDERLY_GROUP: &str = "CG_orderly";

const TAGS: [&str; 4] = ["a", "b", "c", "d"];
const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its number, which its body tells.
    pub id: usize,
    /// Who sends it.
    pub sender: usize,
    /// Where to.
    pub topic: &'static str,
    /// Which queue.
    pub queue: i64,
    /// Bytes that follow the number.
    pub filling: usize,
    /// TAGS
    pub tag: Option<&'static str>,
    /// A property of the user's, a number.
    pub number: Option<i64>,
    /// Another.
    pub colour: Option<&'static str>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is delivered.
    Plain,
    /// Delivered after the time of a level.
    Level(usize),
    /// Delivered at a time, unless taken back so many ms after it was sent.
    Timer {
        /// In which words the time is said.
        by: TimerBy,
        /// From now on, ms.
        after_ms: u64,
        /// Taken back then.
        recall_after_ms: Option<u64>,
    },
    /// A half message.
    Half {
        /// Commit, roll back; none: never decided.
        verdict: Option<bool>,
        /// The sender decides at once; else the broker has to ask.
        at_once: bool,
        /// So often the answer is "not known yet".
        shrugs: usize,
        /// The sender's connection is gone once it is sent.
        lost: bool,
    },
    /// Popped: what the consumer does each time; at last it acknowledges.
    Pop(Vec<PopAction>),
    /// Refused so often, to come again by that level.
    Retry {
        /// Times.
        refusals: i64,
        /// Delay level, 0 leaves it to the broker.
        level: usize,
    },
}

/// How a time is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimerBy {
    /// TIMER_DELAY_SEC
    DelaySec,
    /// TIMER_DELAY_MS
    DelayMs,
    /// TIMER_DELIVER_MS
    DeliverMs,
}

/// What a consumer does with a popped message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PopAction {
    /// Acknowledges.
    Ack,
    /// Asks for it again in so many ms.
    Change(u64),
    /// Nothing.
    Drop,
}

/// What befalls the servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Since the start, ms.
    pub at_ms: u64,
    /// What.
    pub what: FaultKind,
    /// For how long nothing runs, ms, besides the time that a start takes.
    pub pause_ms: u64,
}

/// Kinds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// kill -9 of the broker.
    Kill,
    /// The broker is stopped.
    Stop,
    /// kill -9 of the nameserver.
    Nameserver,
    /// A member of the groups that push joins or leaves.
    Member,
}

/// What a reader wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Everything.
    All,
    /// These tags.
    Tags(Vec<&'static str>),
    /// `number >= n`
    AtLeast(i64),
    /// `number BETWEEN a AND b AND colour <> c`
    Between(i64, i64, &'static str),
    /// `colour IS NULL OR number < n`
    ColourlessOrBelow(i64),
    /// `colour IN (a, b) OR TAGS = t`
    ColoursOrTag([&'static str; 2], &'static str),
}

impl Filter {
    /// Whether it wants that message. An unknown value makes a comparison unknown, and what is not true is not wanted.
    pub fn wants(&self, message: &Message) -> bool {
        let (number, colour) = (message.number, message.colour);
        match self {
            Self::All => true,
            Self::Tags(tags) => message.tag.is_some_and(|tag| tags.contains(&tag)),
            Self::AtLeast(least) => number.is_some_and(|number| number >= *least),
            Self::Between(from, to, other) => {
                number.is_some_and(|number| (*from..=*to).contains(&number)) && colour.is_some_and(|one| one != *other)
            }
            Self::ColourlessOrBelow(limit) => colour.is_none() || number.is_some_and(|number| number < *limit),
            Self::ColoursOrTag(colours, tag) => {
                colour.is_some_and(|one| colours.contains(&one)) || message.tag == Some(*tag)
            }
        }
    }

    /// `TAG` or `SQL92`, and the expression.
    pub fn expression(&self) -> (&'static str, String) {
        match self {
            Self::All => ("TAG", "*".to_owned()),
            Self::Tags(tags) => ("TAG", tags.join(" || ")),
            Self::AtLeast(least) => ("SQL92", format!("number >= {least}")),
            Self::Between(from, to, other) => {
                ("SQL92", format!("(number BETWEEN {from} AND {to}) AND colour <> '{other}'"))
            }
            Self::ColourlessOrBelow(limit) => ("SQL92", format!("colour IS NULL OR number < {limit}")),
            Self::ColoursOrTag([one, other], tag) => {
                ("SQL92", format!("colour IN ('{one}', '{other}') OR TAGS = '{tag}'"))
            }
        }
    }
}

/// One request of a sender: a message, or a batch for one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// Since the start, ms.
    pub at_ms: u64,
    /// Messages by number.
    pub ids: Vec<usize>,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// All messages, by their number.
    pub messages: Vec<Message>,
    /// What each sender sends, in order. A sender sends to one topic.
    pub senders: Vec<Vec<Sending>>,
    /// In order of time.
    pub faults: Vec<Fault>,
    /// Of further readers of [`PLAIN`].
    pub filters: Vec<Filter>,
}

/// How many senders a topic has, and messages each.
const SENDERS: [(&str, usize, i64); 7] =
    [(PLAIN, 4, 320), (LEVEL, 2, 36), (TIMER, 2, 50), (HALF, 3, 36), (POP, 2, 130), (FIFO, 2, 50), (RETRY, 1, 45)];

impl Plan {
    /// The plan of that seed; `size` times as many messages.
    pub fn new(seed: u64, size: i64) -> Self {
        let mut plan =
            Self { seed, messages: Vec::new(), senders: Vec::new(), faults: Vec::new(), filters: Vec::new() };
        for (topic, senders, count) in SENDERS {
            for _ in 0..senders {
                plan.add_sender(topic, count * size);
            }
        }
        let mut random = Random::of(&[seed, 1]);
        plan.faults = faults(&mut random);
        let edge = random.within(20, 80);
        plan.filters = vec![
            Filter::Tags(if random.percent(50) { vec!["a", "c"] } else { vec!["b"] }),
            random_pick(&mut random, edge),
        ];
        plan
    }

    fn add_sender(&mut self, topic: &'static str, count: i64) {
        let sender = self.senders.len();
        let mut random = Random::of(&[self.seed, 2, u64::try_from(sender).expect("few senders")]);
        let queues = TOPICS.iter().find(|(name, _)| *name == topic).map_or(1, |(_, queues)| *queues);
        let mut requests = Vec::new();
        let mut left = count;
        while left > 0 {
            let batch = topic == PLAIN && random.percent(15);
            let size = if batch { random.within(2, 12).min(left) } else { 1 };
            let queue = random.within(0, queues);
            let ids = (0..size).map(|_| self.add_message(&mut random, sender, topic, queue)).collect();
            requests.push(ids);
            left -= size;
        }
        let ending = i64::try_from(SENDING_MS).expect("some seconds");
        let mut times: Vec<_> = requests.iter().map(|_| random.within(0, ending)).collect();
        times.sort_unstable();
        let at = times.into_iter().map(|at| u64::try_from(at).expect("not negative"));
        self.senders.push(at.zip(requests).map(|(at_ms, ids)| Sending { at_ms, ids }).collect());
    }

    fn add_message(&mut self, random: &mut Random, sender: usize, topic: &'static str, queue: i64) -> usize {
        let id = self.messages.len();
        let long = random.percent(2);
        let filling = random.within(0, if long { 60_000 } else { 600 });
        self.messages.push(Message {
            id,
            sender,
            topic,
            queue,
            filling: usize::try_from(filling).expect("not negative"),
            tag: random.percent(80).then(|| random.pick(&TAGS)),
            number: random.percent(85).then(|| random.within(0, 100)),
            colour: random.percent(70).then(|| random.pick(&COLOURS)),
            fate: fate(random, topic),
        });
        id
    }

    /// Who reads [`PLAIN`] by filters: group and filter; the first reads all.
    pub fn plain_readers(&self) -> Vec<(String, Filter)> {
        let filtered = (1..).zip(&self.filters).map(|(number, filter)| (format!("CG_filter{number}"), filter.clone()));
        std::iter::once(("CG_all".to_owned(), Filter::All)).chain(filtered).collect()
    }

    /// The message of that number, when there is one.
    pub fn message(&self, id: usize) -> Option<&Message> {
        self.messages.get(id)
    }
}

fn random_pick(random: &mut Random, edge: i64) -> Filter {
    match random.within(0, 4) {
        0 => Filter::AtLeast(edge),
        1 => Filter::Between(edge - 20, edge + 20, random.pick(&COLOURS)),
        2 => Filter::ColourlessOrBelow(edge),
        _ => Filter::ColoursOrTag(["red", "blue"], random.pick(&TAGS)),
    }
}

fn fate(random: &mut Random, topic: &str) -> Fate {
    let mut ms = |from, to| u64::try_from(random.within(from, to)).expect("not negative");
    match topic {
        LEVEL => Fate::Level(usize::try_from(ms(1, 19)).expect("a level")),
        TIMER => {
            let after_ms = ms(0, 8000);
            let recall = after_ms > 3000 && ms(0, 100) < 35;
            let recall_after_ms = recall.then(|| ms(0, 800));
            Fate::Timer {
                by: random.pick(&[TimerBy::DelaySec, TimerBy::DelayMs, TimerBy::DeliverMs]),
                after_ms,
                recall_after_ms,
            }
        }
        HALF => {
            let verdict = random.pick(&[Some(true), Some(true), Some(false), Some(false), None]);
            let at_once = verdict.is_some() && random.percent(60);
            let shrugs = if random.percent(30) { 2 } else { 0 };
            Fate::Half { verdict, at_once, shrugs, lost: !at_once && random.percent(40) }
        }
        POP | FIFO => {
            let mut actions = Vec::new();
            while actions.len() < 3 && random.percent(30) {
                let ms = u64::try_from(random.within(300, 1500)).expect("positive");
                actions.push(random.pick(&[PopAction::Change(ms), PopAction::Drop]));
            }
            actions.push(PopAction::Ack);
            Fate::Pop(actions)
        }
        RETRY => Fate::Retry { refusals: random.within(0, MAX_RECONSUME + 2), level: random.pick(&[1, 1, 2, 3, 0]) },
        _ => Fate::Plain,
    }
}

/// A kill and a stop while messages are sent, one of them afterwards, when many wait; a nameserver that dies; members that come and go.
fn faults(random: &mut Random) -> Vec<Fault> {
    let mut all = Vec::new();
    let mut add = |random: &mut Random, what, from, to| {
        let at_ms = u64::try_from(random.within(from, to)).expect("not negative");
        let pause_ms = u64::try_from(random.within(0, 500)).expect("not negative");
        all.push(Fault { at_ms, what, pause_ms });
    };
    let mut kinds = [FaultKind::Kill, FaultKind::Stop];
    if random.percent(50) {
        kinds.reverse();
    }
    add(random, kinds[0], 1500, 3500);
    if random.percent(20) {
        // Nothing but that: what only a fault excuses must not happen long before and after.
        return all;
    }
    add(random, kinds[1], 5000, 8000);
    let last = random.pick(&[FaultKind::Kill, FaultKind::Kill, FaultKind::Stop]);
    add(random, last, 9500, 11_500);
    add(random, FaultKind::Nameserver, 500, 9000);
    for _ in 0..2 {
        add(random, FaultKind::Member, 1000, 10_000);
    }
    all.sort_by_key(|fault| fault.at_ms);
    all
}

impl Message {
    /// Its body: the number, and what the number makes of the rest.
    pub fn body(&self) -> String {
        let mut body = format!("{}|", self.id);
        let letters = Random::of(&[3, u64::try_from(self.id).expect("few messages")]).number().to_string();
        body.extend(letters.chars().cycle().take(self.filling));
        body
    }

    /// The user's properties, with the tag.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let tag = self.tag.map(|tag| ("TAGS", tag.to_owned()));
        let number = self.number.map(|number| ("number", number.to_string()));
        let colour = self.colour.map(|colour| ("colour", colour.to_owned()));
        tag.into_iter().chain(number).chain(colour).collect()
    }

    /// The number that a body begins with.
    pub fn id_of(body: &str) -> Option<usize> {
        body.split_once('|').and_then(|(number, _)| number.parse().ok())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} of sender {} to {}/{}, {:?}", self.id, self.sender, self.topic, self.queue, self.fate)
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Message, Plan};

    #[test]
    fn a_seed_makes_one_plan() {
        assert_eq!(Plan::new(7, 1), Plan::new(7, 1));
        assert_ne!(Plan::new(7, 1), Plan::new(8, 1));
    }

    #[test]
    fn bodies_tell_the_number() {
        let plan = Plan::new(1, 1);
        for (id, message) in plan.messages.iter().enumerate() {
            assert_eq!((message.id, Message::id_of(&message.body())), (id, Some(id)));
        }
        assert_eq!(Message::id_of("none"), None);
    }

    #[test]
    fn filters_want_what_is_true() {
        let mut message = Plan::new(1, 1).messages[0].clone();
        (message.number, message.colour, message.tag) = (None, Some("red"), Some("a"));
        let check = |filter: &Filter, message: &Message, expect: bool| assert_eq!(filter.wants(message), expect);
        check(&Filter::AtLeast(0), &message, false);
        check(&Filter::ColourlessOrBelow(50), &message, false);
        check(&Filter::ColoursOrTag(["red", "blue"], "b"), &message, true);
        check(&Filter::Tags(vec!["a"]), &message, true);
        message.number = Some(10);
        check(&Filter::Between(10, 20, "red"), &message, false);
        check(&Filter::Between(10, 20, "blue"), &message, true);
        check(&Filter::ColourlessOrBelow(11), &message, true);
        message.colour = None;
        check(&Filter::Between(10, 20, "blue"), &message, false);
        check(&Filter::ColourlessOrBelow(0), &message, true);
    }
}
