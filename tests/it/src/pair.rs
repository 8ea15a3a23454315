//! Java's broker and ours side by side: one request to both, and their answers held against each other field by field.

use crate::clock::{Deadline, now_ms};
use crate::cluster::{Cluster, ClusterOptions, Kind, Launch};
use crate::{jvm, wire};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

/// Milliseconds between 2017 and 2096: what lies there is a time.
const TIMES: std::ops::Range<i64> = 1_500_000_000_000..4_000_000_000_000;
/// The bit of a header's flag that marks an answer.
const RESPONSE: i64 = 1;

/// A cluster of either kind.
pub struct Pair {
    /// Apache's.
    pub java: Cluster,
    /// Ours.
    pub ours: Cluster,
}

/// What was answered, without what must differ: times, addresses, versions of tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The response code.
    pub code: i64,
    /// The remark; `Null` without one.
    pub remark: Value,
    /// The fields of the header.
    pub fields: Value,
    /// The body: JSON where it is, else how long it is.
    pub body: Value,
}

/// A connection to each of the two brokers.
pub struct Both {
    java: Peer,
    ours: Peer,
}

struct Peer {
    stream: TcpStream,
    broker: String,
    language: &'static str,
    version: i32,
    opaque: i32,
    /// Requests that the broker sent in between.
    pushed: VecDeque<wire::Frame>,
}

impl Pair {
    /// The clusters that the cases of this test program share; `extra` are properties of the brokers.
    pub fn shared(extra: &[(&str, &str)]) -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        jvm::prepare();
        PAIR.get_or_init(|| {
            let start = |kind| Cluster::start(Launch::of(kind), &ClusterOptions { extra, ..ClusterOptions::default() });
            std::thread::scope(|scope| {
                let java = scope.spawn(|| start(Kind::Java));
                let ours = start(Kind::Ferrocket);
                Self { java: java.join().expect("Java's servers start"), ours }
            })
        })
    }

    /// Java's cluster, then ours.
    pub fn clusters(&self) -> [&Cluster; 2] {
        [&self.java, &self.ours]
    }

    /// A new connection to each broker.
    pub fn connect(&self) -> Both {
        let peer = |cluster: &Cluster| {
            let broker = cluster.broker().addr();
            let stream = TcpStream::connect(&broker).expect("the broker listens");
            stream.set_nodelay(true).expect("a socket takes options");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes options");
            Peer { stream, broker, language: "JAVA", version: 495, opaque: 0, pushed: VecDeque::new() }
        };
        Both { java: peer(&self.java), ours: peer(&self.ours) }
    }
}

impl Both {
    /// As clients of another language or release.
    #[must_use]
    pub fn speaking(mut self, language: &'static str, version: i32) -> Self {
        for peer in [&mut self.java, &mut self.ours] {
            (peer.language, peer.version) = (language, version);
        }
        self
    }

    /// Sends one request to both and returns what both answer.
    /// # Panics
    /// When the answers differ.
    pub fn ask(&mut self, code: i32, fields: &Value, body: &[u8]) -> Answer {
        let (java, ours) = self.apart(code, fields, body);
        assert_same(&java, &ours, &format!("code {code} {fields} {}", String::from_utf8_lossy(body)));
        java
    }

    /// Sends one request to both; Java's answer and ours.
    pub fn apart(&mut self, code: i32, fields: &Value, body: &[u8]) -> (Answer, Answer) {
        self.java.send(code, fields, body);
        self.ours.send(code, fields, body);
        (self.java.answer(), self.ours.answer())
    }

    /// Asks one broker `times` in a row, then the other; the last answers, and the longest that either took, ms.
    pub fn in_a_row(&mut self, times: usize, code: i32, fields: &Value) -> [(Answer, u64); 2] {
        [&mut self.java, &mut self.ours].map(|peer| {
            let answers = (0..times).map(|_| {
                let begun_ms = now_ms();
                peer.send(code, fields, &[]);
                (peer.answer(), now_ms() - begun_ms)
            });
            answers.reduce(|before, (answer, took)| (answer, took.max(before.1))).expect("asked once at least")
        })
    }

    /// As [`Self::ask`], again until the answer is as `expected` says: for what is there a moment later.
    /// # Panics
    /// When it never is, or the two differ at the end.
    pub fn ask_until(&mut self, code: i32, fields: &Value, body: &[u8], expected: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Deadline::in_seconds(30);
        loop {
            let (java, ours) = self.apart(code, fields, body);
            if expected(&java) && is_same(&java, &ours) {
                return java;
            }
            assert!(!deadline.passed(), "code {code} {fields}: ours {ours:#?}, Java's {java:#?}");
        }
    }

    /// Sends without waiting for an answer.
    pub fn send(&mut self, code: i32, fields: &Value, body: &[u8]) {
        self.java.send(code, fields, body);
        self.ours.send(code, fields, body);
    }

    /// The answer to what was sent.
    /// # Panics
    /// When the two differ.
    pub fn answer(&mut self) -> Answer {
        let (java, ours) = (self.java.answer(), self.ours.answer());
        assert_same(&java, &ours, "an answer");
        java
    }

    /// The next request with that code that the brokers send of themselves; `reply` (code, remark, body) answers it.
    /// # Panics
    /// When the two differ or none comes.
    pub fn pushed(&mut self, code: i64, reply: Option<(i32, &str, &str)>) -> Answer {
        let (java, ours) = (self.java.request(code, reply), self.ours.request(code, reply));
        assert_same(&java, &ours, "a request of the broker");
        java
    }
}

/// Whether two answers are the same to whoever asked. A refusal of ours may say more than Java's, and anything where Java
/// shows what broke inside it; what it says beside a success is read by nobody.
fn is_same(java: &Answer, ours: &Answer) -> bool {
    let (of_java, of_ours) = (java.remark.as_str().unwrap_or_default(), ours.remark.as_str().unwrap_or_default());
    let broke = ["java.", "com.alibaba.", "Cannot invoke"].iter().any(|inside| of_java.starts_with(inside));
    let field = of_ours.starts_with("the custom field <");
    let aside = java.code == 0 && ["", "not set any response code"].contains(&of_java);
    let remark = of_ours.starts_with(of_java) || broke || field || aside;
    java.code == ours.code && remark && java.fields == ours.fields && java.body == ours.body
}

fn assert_same(java: &Answer, ours: &Answer, what: &str) {
    assert!(is_same(java, ours), "{what}: ours is left, Java's right\n{:#?}", diff(ours, java));
}

/// Only what differs.
fn diff(ours: &Answer, java: &Answer) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    let whole = |answer: &Answer| {
        json!({ "code": answer.code, "remark": answer.remark, "fields": answer.fields,
        "body": answer.body })
    };
    descend("", &whole(ours), &whole(java), &mut found);
    found
}

fn descend(path: &str, ours: &Value, java: &Value, found: &mut Vec<(String, Value, Value)>) {
    match (ours, java) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                descend(&format!("{path}/{key}"), &of(a), &of(b), found);
            }
        }
        (a, b) if a != b => found.push((path.to_owned(), a.clone(), b.clone())),
        _ => {}
    }
}

impl Peer {
    fn send(&mut self, code: i32, fields: &Value, body: &[u8]) {
        self.opaque += 1;
        let header = json!({ "code": code, "extFields": fields, "flag": 0, "language": self.language,
            "opaque": self.opaque, "serializeTypeCurrentRPC": "JSON", "version": self.version });
        let request = wire::frame(header.to_string().as_bytes(), body);
        self.stream.write_all(&request).expect("the broker reads");
    }

    fn frame(&mut self) -> wire::Frame {
        let raw = wire::read_raw(&mut self.stream);
        let raw = raw.unwrap_or_else(|error| panic!("no answer from {}: {error}", self.broker));
        wire::parse(&raw).expect("a frame")
    }

    fn answer(&mut self) -> Answer {
        loop {
            let frame = self.frame();
            if frame.header["flag"].as_i64().unwrap_or(0) & RESPONSE != 0 {
                assert_eq!(frame.header["opaque"], self.opaque, "the answer to another request");
                return self.shown(&frame);
            }
            self.pushed.push_back(frame);
        }
    }

    fn request(&mut self, code: i64, reply: Option<(i32, &str, &str)>) -> Answer {
        loop {
            let frame = self.pushed.pop_front().unwrap_or_else(|| self.frame());
            if frame.header["code"] != code || frame.header["flag"].as_i64().unwrap_or(0) & RESPONSE != 0 {
                continue;
            }
            if let Some((code, remark, body)) = reply {
                let header = json!({ "code": code, "flag": RESPONSE, "language": "JAVA", "remark": remark,
                    "opaque": frame.header["opaque"], "serializeTypeCurrentRPC": "JSON", "version": 495 });
                let answer = wire::frame(header.to_string().as_bytes(), body.as_bytes());
                self.stream.write_all(&answer).expect("the broker reads");
            }
            return self.shown(&frame);
        }
    }

    fn shown(&self, frame: &wire::Frame) -> Answer {
        let client = self.stream.local_addr().expect("a connected socket").to_string();
        let names = [(self.broker.as_str(), "BROKER"), (client.as_str(), "CLIENT")];
        let body = match codec::json::from_slice::<Value>(&frame.body) {
            Ok(body) => plain(body, &names),
            Err(_) if frame.body.is_empty() => Value::Null,
            Err(_) => json!(frame.body.len()),
        };
        let fields = frame.header["extFields"].clone();
        let fields = if fields == json!({}) { Value::Null } else { fields };
        Answer {
            code: frame.header["code"].as_i64().unwrap_or(-1),
            remark: plain(frame.header["remark"].clone(), &names),
            fields: plain(fields, &names),
            body,
        }
    }
}

/// The value without what must differ. Sets of Java come in any order, so lists are sorted; objects that are keys come as
/// text.
fn plain(value: Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|number| TIMES.contains(&number)) => json!("TIME"),
        Value::String(text) if text.parse::<i64>().is_ok_and(|number| TIMES.contains(&number)) => json!("TIME"),
        Value::String(text) if is_time_for_people(&text) => json!("TIME"),
        Value::String(text) => {
            json!(names.iter().fold(text, |text, (address, name)| text.replace(address, name)))
        }
        Value::Array(list) => {
            let own = list.into_iter().filter(|item| !item.as_str().is_some_and(is_of_one_only));
            let mut list: Vec<_> = own.map(|item| plain(item, names)).collect();
            list.retain(|item| *item != json!({}));
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        Value::Object(map) => {
            let member = |(key, value): (String, Value)| {
                let value = match key.as_str() {
                    "dataVersion" => json!("VERSION"),
                    "totalTopicNum" | "totalGroupNum" => json!("COUNT"),
                    "topicPutTps" | "consumeTps" => json!("RATE"),
                    // How old something is: at most an hour, so no moment.
                    "delayTime" if value.as_i64().is_some_and(|age| (1..3_600_000).contains(&age)) => json!("AGE"),
                    _ => plain(value, names),
                };
                let key = match serde_json::from_str::<Value>(&key) {
                    Ok(object @ Value::Object(_)) => object.to_string(),
                    _ => key,
                };
                (key, value)
            };
            // When a table of mappings changed last is another's business.
            let members = map.into_iter().filter(|(key, _)| key != "mappingDataVersion" && !is_of_one_only(key));
            Value::Object(members.map(member).collect())
        }
        other => other,
    }
}

/// Names of topics and groups of cases that run on one cluster after the other, each with names of its own: those with
/// `java` in them, and the groups of the driver's producers.
fn is_of_one_only(name: &str) -> bool {
    name.contains("java") || name.contains("PG_")
}

/// `yyyy-MM-dd#HH:mm:ss:SSS`, but for those of before 1970 that stand for none.
fn is_time_for_people(text: &str) -> bool {
    text.len() == 23 && text.as_bytes().get(10) == Some(&b'#') && text.starts_with("20")
}
