//! What a store must hold, whoever runs it: kept by what clients were told and saw, held against every broker that opens
//! the store. What a broker showed once, the next must show again, field by field.

use crate::clock::wait_for;
use crate::{Broker, Driver, Pull, Sent, args, unique, wire};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const QUERY_MESSAGE: i32 = 12;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const GET_ALL_TOPIC_CONFIG: i32 = 21;
const VIEW_MESSAGE_BY_ID: i32 = 33;
const GET_ALL_CONSUMER_OFFSET: i32 = 43;
const GET_ALL_DELAY_OFFSET: i32 = 45;
const GET_ALL_SUBSCRIPTIONGROUP_CONFIG: i32 = 201;

/// How long a broker may take to have everything in queues and index after it was started.
const CATCH_UP_SECONDS: u64 = 60;
/// Messages in one pull.
const PULL_MAX: usize = 32;
/// Of so many messages one is looked up by its keys, its id and its time.
const SAMPLE: usize = 17;

/// topic, queueId, queueOffset
type Place = (String, i64, i64);

/// A delayed message that has not been delivered when it was sent.
struct Delayed {
    topic: String,
    body: String,
    delay_ms: i64,
}

/// The ledger of one store.
pub struct Ledger {
    /// Units in a consume-queue file.
    units_per_file: i64,
    /// Acknowledged by their place.
    promised: BTreeMap<Place, Sent>,
    /// Bodies of sends that failed, which may be there all the same.
    unsure: BTreeSet<String>,
    /// What was seen, as JSON of the client's message.
    seen: BTreeMap<Place, Value>,
    delayed: Vec<Delayed>,
    /// Queues that were written to or seen.
    topics: BTreeMap<String, Value>,
    groups: BTreeMap<String, Value>,
    /// Topics and groups that were deleted.
    gone: BTreeSet<String>,
    /// (group, topic, queueId) → offset
    committed: BTreeMap<(String, String, i64), i64>,
}

impl Ledger {
    /// Of an empty store with so many units in a consume-queue file.
    pub fn new(units_per_file: i64) -> Self {
        Self {
            units_per_file,
            promised: BTreeMap::new(),
            unsure: BTreeSet::new(),
            seen: BTreeMap::new(),
            delayed: Vec::new(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            gone: BTreeSet::new(),
            committed: BTreeMap::new(),
        }
    }

    /// These sends were acknowledged. Of a batch the result names the first message; the others follow it.
    pub fn sent(&mut self, topic: &str, all: &[Sent]) {
        for batch in all {
            let parts = batch.body.split(',').zip(batch.offset_msg_id.split(',')).zip(batch.msg_id.split(','));
            for (offset, ((body, offset_msg_id), msg_id)) in (batch.offset..).zip(parts) {
                let one = Sent {
                    body: body.to_owned(),
                    offset_msg_id: offset_msg_id.to_owned(),
                    msg_id: msg_id.to_owned(),
                    offset,
                    ..batch.clone()
                };
                let before = self.promised.insert((topic.to_owned(), one.queue, offset), one);
                assert!(before.is_none(), "one place for two messages: {before:?} and {batch:?}");
            }
        }
    }

    /// These failed at the client.
    pub fn unsure(&mut self, all: &[Sent]) {
        self.unsure.extend(all.iter().map(|one| one.body.clone()));
    }

    /// These were acknowledged, to be delivered later.
    pub fn delayed(&mut self, topic: &str, all: &[Sent], delay_ms: i64) {
        self.delayed.extend(all.iter().map(|one| Delayed {
            topic: topic.to_owned(),
            body: one.body.clone(),
            delay_ms,
        }));
    }

    /// That topic or group is no more.
    pub fn deleted(&mut self, name: &str) {
        self.topics.remove(name);
        self.groups.remove(name);
        self.promised.retain(|(topic, ..), _| topic != name);
        self.seen.retain(|(topic, ..), _| topic != name);
        self.committed.retain(|(group, topic, _), _| group != name && topic != name);
        self.gone.insert(name.to_owned());
    }

    /// That group is at this offset.
    pub fn committed(&mut self, group: &str, topic: &str, queue: i64, offset: i64) {
        self.committed.insert((group.to_owned(), topic.to_owned(), queue), offset);
    }

    /// What was acknowledged in that topic behind the offsets of that group.
    pub fn left_for(&self, group: &str, topic: &str) -> Vec<Sent> {
        let offset_of = |queue: i64| self.committed.get(&(group.to_owned(), topic.to_owned(), queue)).copied();
        let behind = |place: &Place| place.0 == topic && place.2 >= offset_of(place.1).unwrap_or(0);
        self.promised.iter().filter(|(place, _)| behind(place)).map(|(_, sent)| sent.clone()).collect()
    }

    /// Holds everything against a broker: topics, groups, offsets, each message, the ways to find it, delayed ones, which
    /// are waited for. What is new is added.
    /// # Panics
    /// With the first thing that is not as it was.
    pub fn check(&mut self, broker: &Broker, driver: &Driver, namesrv: &str) {
        let pull = driver.pull(namesrv, &unique("ledger"));
        self.check_settings(broker);
        for ((group, topic, queue), offset) in &self.committed {
            let found = committed_offset(broker, group, topic, *queue);
            assert_eq!(found, Some(*offset), "offset of {group} in queue {queue} of {topic}");
        }
        let readable: Vec<_> =
            self.topics.iter().filter(|(_, topic)| is_readable(topic)).map(|(name, _)| name.clone()).collect();
        for topic in readable {
            self.check_queues(broker, &pull, &topic);
        }
        for (place, sent) in &self.promised {
            assert!(self.seen.contains_key(place), "acknowledged and gone: {place:?} {sent:?}");
        }
        self.check_look_ups(broker, &pull);
        self.await_delayed(broker, &pull);
        for topic in self.delayed.iter().map(|one| one.topic.clone()).collect::<BTreeSet<_>>() {
            self.check_queues(broker, &pull, &topic);
        }
    }

    /// Topics and groups are as they were last, what was deleted stays so; new ones are added.
    fn check_settings(&mut self, broker: &Broker) {
        let topics = table(broker, GET_ALL_TOPIC_CONFIG, "topicConfigTable");
        let groups = table(broker, GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "subscriptionGroupTable");
        for (known, found) in [(&mut self.topics, &topics), (&mut self.groups, &groups)] {
            for (name, before) in known.iter() {
                let now = found.get(name).unwrap_or_else(|| panic!("{name} is gone: {before}"));
                for (key, value) in before.as_object().into_iter().flatten() {
                    // An older broker does not know the newer one's fields.
                    assert!(now.get(key).is_none_or(|now| now == value), "{key} of {name}: was {before}, is {now}");
                }
            }
            for (name, value) in found.iter().filter(|(name, _)| !is_system(name)) {
                assert!(!self.gone.contains(name), "{name} was deleted and is back: {value}");
                // The fields of the version that made it stay those that are compared.
                known.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// Takes topics and groups as they are now for what they must be.
    pub fn note_settings(&mut self, broker: &Broker) {
        self.topics.clear();
        self.groups.clear();
        self.check_settings(broker);
    }

    fn await_delayed(&mut self, broker: &Broker, pull: &Pull<'_>) {
        for one in &self.delayed {
            let message = wait_for(&format!("{} is delivered", one.body), CATCH_UP_SECONDS, || {
                let queues = self.topics.get(&one.topic).map_or(0, queues_of);
                let all = (0..queues).flat_map(|queue| messages(broker, pull, &one.topic, queue));
                let mut found: Vec<_> = all.filter(|message| message["body"] == one.body.as_str()).collect();
                assert!(found.len() < 2, "delivered twice: {found:?}");
                found.pop()
            });
            let time = |key: &str| message[key].as_i64().expect("times are numbers");
            let waited = time("storeTimestamp") - time("bornTimestamp");
            assert!(waited >= one.delay_ms, "{} was delivered after {waited} ms: {message}", one.body);
        }
    }

    fn check_queues(&mut self, broker: &Broker, pull: &Pull<'_>, topic: &str) {
        for queue in 0..self.topics.get(topic).map_or(0, queues_of) {
            self.check_queue(broker, pull, topic, queue);
        }
    }

    fn check_queue(&mut self, broker: &Broker, pull: &Pull<'_>, topic: &str, queue: i64) {
        let of_queue = (topic.to_owned(), queue, 0)..(topic.to_owned(), queue + 1, 0);
        let next = self.promised.range(of_queue.clone()).next_back().map_or(0, |(place, _)| place.2 + 1);
        let next = next.max(self.seen.range(of_queue).next_back().map_or(0, |(place, _)| place.2 + 1));
        wait_for(&format!("queue {queue} of {topic} reaches {next}"), CATCH_UP_SECONDS, || {
            (pull.offset(topic, &broker.name, queue, "max", 0) >= next).then_some(())
        });
        assert_eq!(pull.offset(topic, &broker.name, queue, "min", 0), 0, "min offset of queue {queue} of {topic}");
        for (offset, message) in (0..).zip(messages(broker, pull, topic, queue)) {
            let place = (topic.to_owned(), queue, offset);
            assert_eq!(message["offset"], offset, "offsets of queue {queue} of {topic} are dense");
            let body = message["body"].as_str().unwrap_or_default();
            if let Some(sent) = self.promised.get(&place) {
                assert_eq!(body, sent.body, "at {place:?}");
                assert_eq!(message["properties"]["UNIQ_KEY"], sent.msg_id.as_str(), "at {place:?}");
                // An offset id ends in the physical offset, in hexadecimal digits.
                let physical = sent.offset_msg_id.get(16..).and_then(|digits| i64::from_str_radix(digits, 16).ok());
                assert_eq!(message["physicalOffset"].as_i64(), physical, "at {place:?}");
            } else {
                let sent_by_broker = topic.starts_with('%') || self.delayed.iter().any(|one| one.topic == topic);
                assert!(
                    sent_by_broker || self.seen.contains_key(&place) || self.unsure.contains(body),
                    "nobody sent {message}"
                );
            }
            if let Some(before) = self.seen.get(&place) {
                assert_eq!(&message, before, "the message at {place:?} is not what it was");
            }
            self.seen.insert(place, message);
        }
    }

    /// By key, by unique key, by offset id, by time.
    fn check_look_ups(&self, broker: &Broker, pull: &Pull<'_>) {
        for ((topic, queue, offset), sent) in self.promised.iter().step_by(SAMPLE) {
            let place = (topic.clone(), *queue, *offset);
            let message = &self.seen[&place];
            let physical = message["physicalOffset"].as_i64().expect("a number");
            let keys = message["keys"].as_str().unwrap_or_default().split(' ').filter(|key| !key.is_empty());
            for (key, unique) in keys.map(|key| (key, "false")).chain([(sent.msg_id.as_str(), "true")]) {
                let fields = json!({ "topic": topic, "key": key, "maxNum": "64", "beginTimestamp": "0",
                    "endTimestamp": i64::MAX.to_string(), "_UNIQUE_KEY_QUERY": unique });
                wait_for(&format!("{key} of {topic} leads to {physical}, {place:?}"), CATCH_UP_SECONDS, || {
                    let answer = call(broker, QUERY_MESSAGE, &fields);
                    wire::physical_offsets(&answer.body).contains(&physical).then_some(())
                });
            }
            let answer = call(broker, VIEW_MESSAGE_BY_ID, &json!({ "offset": physical.to_string() }));
            assert_eq!(wire::physical_offsets(&answer.body), [physical], "by its id: {place:?} {}", answer.header);
            let time_at = |offset: i64| {
                self.seen.get(&(topic.clone(), *queue, offset)).and_then(|message| message["storeTimestamp"].as_i64())
            };
            let time = time_at(*offset).expect("a number");
            // Of several messages of one millisecond, versions find one or another. Java 4.x goes by the times at which the
            // files of a queue were last flushed, which is often some messages later.
            let ambiguous = time_at(offset - 1) == Some(time) || time_at(offset + 1) == Some(time);
            let imprecise =
                broker.is_java("4.") && self.seen.contains_key(&(topic.clone(), *queue, self.units_per_file));
            if !ambiguous && !imprecise {
                let found = pull.offset(topic, &broker.name, *queue, "time", time);
                assert_eq!(found, *offset, "offset of queue {queue} of {topic} at {time}");
            }
        }
    }
}

/// The offset that a broker has for a group. Asked without a client, which would be a member of the group.
fn committed_offset(broker: &Broker, group: &str, topic: &str, queue: i64) -> Option<i64> {
    let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string() });
    call(broker, QUERY_CONSUMER_OFFSET, &fields).header["extFields"]["offset"].as_str()?.parse().ok()
}

/// Waits until a broker that may now be killed has written its topics, groups and offsets as they are.
pub fn await_persisted(broker: &Broker) {
    for (code, file, table) in [
        (GET_ALL_TOPIC_CONFIG, "topics.json", "topicConfigTable"),
        (GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "subscriptionGroup.json", "subscriptionGroupTable"),
        (GET_ALL_CONSUMER_OFFSET, "consumerOffset.json", "offsetTable"),
        (GET_ALL_DELAY_OFFSET, "delayOffset.json", "offsetTable"),
    ] {
        let path = broker.store_dir().join("config").join(file);
        wait_for(&format!("{file} is written"), CATCH_UP_SECONDS, || {
            let now = words(&String::from_utf8_lossy(&call(broker, code, &json!({})).body), table);
            let written = words(&std::fs::read_to_string(&path).unwrap_or_default(), table);
            (now == written).then_some(())
        });
    }
}

/// What is between braces and commas of a table, in no order: Java's offsets have numbers as keys, which is no JSON.
fn words(text: &str, table: &str) -> BTreeSet<String> {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let from = text.find(&format!("{table}:{{")).map_or(text.len(), |at| at + table.len() + 1);
    let mut depth = 0;
    let inside = text[from..].chars().take_while(|c| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth > 0
    });
    inside.collect::<String>().split(['{', '}', ',']).map(str::to_owned).collect()
}

fn call(broker: &Broker, code: i32, fields: &Value) -> wire::Frame {
    let answer = wire::call(&broker.addr(), code, fields, &[]);
    answer.unwrap_or_else(|error| panic!("{} does not answer {code} {fields}: {error}", broker.name))
}

fn table(broker: &Broker, code: i32, name: &str) -> Map<String, Value> {
    let answer = call(broker, code, &json!({}));
    let body: Value = serde_json::from_slice(&answer.body).expect("the table is JSON");
    body[name].as_object().cloned().unwrap_or_else(|| panic!("no {name} in {body}"))
}

/// Every message of a queue, without what depends on the moment.
fn messages(broker: &Broker, pull: &Pull<'_>, topic: &str, queue: i64) -> Vec<Value> {
    let mut all = Vec::new();
    let max = pull.offset(topic, &broker.name, queue, "max", 0);
    let mut next = 0;
    while next < max {
        let pulled = pull.fetch(topic, &broker.name, queue, next, args! { max: PULL_MAX });
        assert_eq!(pulled.status, "FOUND", "queue {queue} of {topic} at {next} of {max}: {pulled:?}");
        next = pulled.next;
        all.extend(pulled.messages.into_iter().map(|message| {
            let mut message = message.all;
            for passing in ["receivedAt", "broker"] {
                message.as_object_mut().and_then(|fields| fields.remove(passing));
            }
            for passing in ["MIN_OFFSET", "MAX_OFFSET"] {
                message["properties"].as_object_mut().and_then(|fields| fields.remove(passing));
            }
            message
        }));
    }
    all
}

fn queues_of(topic: &Value) -> i64 {
    topic["readQueueNums"].as_i64().unwrap_or(0)
}

fn is_readable(topic: &Value) -> bool {
    topic["perm"].as_i64().unwrap_or(0) & 4 != 0
}

/// Topics and groups that a broker makes for itself, which differ between versions; and readers of this ledger.
fn is_system(name: &str) -> bool {
    let known = ["TBW102", "SELF_TEST", "BenchmarkTest", "DefaultCluster", "OFFSET_MOVED_EVENT", "broker-a", "ledger"];
    let prefixes =
        ["RMQ_SYS_", "rmq_sys_", "SCHEDULE_TOPIC", "TOOLS_CONSUMER", "FILTERSRV", "CID_", "SELF_TEST", "%SYS"];
    let name = name.strip_prefix("%RETRY%").unwrap_or(name);
    known.iter().any(|one| name.starts_with(one))
        || prefixes.iter().any(|one| name.starts_with(one))
        || name.starts_with("DefaultHeartBeatSyncerTopic")
        || name == "__MONITOR_CONSUMER"
}
