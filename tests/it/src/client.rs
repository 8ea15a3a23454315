//! Producers and consumers as the cases see them: handles on clients that live in a [`Driver`] process.

use crate::args;
use crate::driver::{Args, Driver, Failure};
use crate::unique;
use serde_json::Value;

/// What one send came back with.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The body; of a batch, all bodies joined by commas.
    pub body: String,
    /// `SEND_OK`, another SendStatus, or `FAILED`.
    pub status: String,
    /// The id that the client made.
    pub msg_id: String,
    /// The id that names the place in the commit log.
    pub offset_msg_id: String,
    /// The broker's name.
    pub broker: String,
    /// queueId
    pub queue: i64,
    /// queueOffset
    pub offset: i64,
    /// By which it can be taken back, where the broker gives that.
    pub recall_handle: Option<String>,
    /// The exception's text when it failed.
    pub error: String,
    /// The response code when a server refused it.
    pub code: Option<i64>,
}

/// One delivery to a consumer.
#[derive(Clone, Debug)]
pub struct Received {
    /// The body, of a filled one the part before the filling.
    pub body: String,
    /// The broker's name, where the client tells it.
    pub broker: String,
    /// queueId
    pub queue: i64,
    /// queueOffset
    pub offset: i64,
    /// Whether the listener took it (or refused it, to have it again).
    pub accepted: bool,
    /// Everything that the client told.
    pub all: Value,
}

impl Received {
    /// A number among [`Self::all`].
    pub fn number(&self, key: &str) -> i64 {
        self.all[key].as_i64().unwrap_or_else(|| panic!("no number {key} in {}", self.all))
    }

    /// A text among [`Self::all`].
    pub fn text(&self, key: &str) -> &str {
        self.all[key].as_str().unwrap_or_else(|| panic!("no text {key} in {}", self.all))
    }

    /// A property of the message.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.all["properties"][key].as_str()
    }
}

/// A DefaultMQProducer.
pub struct Producer<'d> {
    driver: &'d Driver,
    /// Its name within the driver, and its instanceName.
    pub name: String,
    /// Its producer group.
    pub group: String,
}

impl Driver {
    /// Starts a producer in a group of its own.
    pub fn producer(&self, namesrv: &str, more: Args) -> Producer<'_> {
        let (name, group) = (unique("producer"), unique("PG"));
        let mut args = args! { name: name, group: group, namesrv: namesrv };
        args.extend(more);
        self.call("producer.start", args);
        Producer { driver: self, name, group }
    }

    /// Starts a push consumer.
    pub fn push(&self, namesrv: &str, group: &str, topic: &str, more: Args) -> Push<'_> {
        let name = unique("push");
        let mut args = args! { name: name, group: group, namesrv: namesrv, topic: topic };
        args.extend(more);
        self.call("push.start", args);
        Push { driver: self, name, running: true }
    }

    /// Starts a pull consumer.
    pub fn pull(&self, namesrv: &str, group: &str) -> Pull<'_> {
        let name = unique("pull");
        self.call("pull.start", args! { name: name, group: group, namesrv: namesrv });
        Pull { driver: self, name }
    }

    /// Runs a command line of mqadmin and returns what it printed.
    pub fn mqadmin(&self, line: &[&str]) -> String {
        let mut args = args! { n: line.len() };
        for (index, word) in line.iter().enumerate() {
            args.push((format!("a{index}"), (*word).to_owned()));
        }
        self.call("mqadmin", args)["output"].as_str().unwrap_or_default().to_owned()
    }
}

impl Producer<'_> {
    /// Sends `count` messages to `topic`: bodies `m0`, `m1`, … unless `more` says otherwise.
    pub fn send(&self, topic: &str, count: usize, more: Args) -> Vec<Sent> {
        let mut args = args! { name: self.name, topic: topic, count: count };
        args.extend(more);
        sent(&self.driver.call("send", args)["results"])
    }

    /// [`Self::send`], and fails unless every one is SEND_OK.
    pub fn send_ok(&self, topic: &str, count: usize, more: Args) -> Vec<Sent> {
        let all = self.send(topic, count, more);
        for one in &all {
            assert_eq!(one.status, "SEND_OK", "{}: {one:?}", self.driver.name);
        }
        all
    }

    /// Takes a message back; returns its id.
    /// # Errors
    /// What the broker or the client said.
    pub fn recall(&self, topic: &str, handle: &str) -> Result<String, Failure> {
        let answer = self.driver.try_call("recall", args! { name: self.name, topic: topic, handle: handle })?;
        Ok(answer["msgId"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends without pause, one thread per queue, until [`Self::stop_load`].
    pub fn start_load(&self, topic: &str, more: Args) {
        let mut args = args! { name: self.name, topic: topic };
        args.extend(more);
        self.driver.call("load.start", args);
    }

    /// How many the running load has acknowledged, and how many failed.
    pub fn load_counts(&self) -> (i64, i64) {
        let counts = self.driver.call("load.stop", args! { name: self.name, peek: true });
        (counts["acknowledged"].as_i64().unwrap_or(-1), counts["failed"].as_i64().unwrap_or(-1))
    }

    /// Ends the load: what was acknowledged, what failed.
    pub fn stop_load(&self) -> (Vec<Sent>, Vec<Sent>) {
        let all = self.driver.call("load.stop", args! { name: self.name });
        (sent(&all["acknowledged"]), sent(&all["failed"]))
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        self.driver.try_call("producer.stop", args! { name: self.name }).ok();
    }
}

/// A DefaultMQPushConsumer.
pub struct Push<'d> {
    driver: &'d Driver,
    name: String,
    running: bool,
}

impl Push<'_> {
    /// Waits for `count` different bodies that the listener took, and returns every delivery so far.
    /// # Panics
    /// When they have not come in 60 s.
    pub fn expect(&self, count: usize) -> Vec<Received> {
        self.wait(args! { count: count, timeout: 60000 })
    }

    /// [`Self::expect`], then until nothing came for `quiet_ms`, to see deliveries that should not be.
    pub fn expect_exactly(&self, count: usize, quiet_ms: usize) -> Vec<Received> {
        let all = self.wait(args! { count: count, timeout: 60000, quiet: quiet_ms });
        assert_eq!(all.len(), count, "{}: {:?}", self.driver.name, all.iter().map(|m| &m.body).collect::<Vec<_>>());
        all
    }

    /// Waits for `count` deliveries, whether taken or refused.
    pub fn deliveries(&self, count: usize) -> Vec<Received> {
        self.wait(args! { deliveries: count, timeout: 60000 })
    }

    /// Everything delivered so far.
    pub fn so_far(&self) -> Vec<Received> {
        self.wait(args! { count: 0, timeout: 0 })
    }

    fn wait(&self, more: Args) -> Vec<Received> {
        let mut args = args! { name: self.name };
        args.extend(more.clone());
        let answer = self.driver.call("push.await", args);
        let all = received(&answer["messages"]);
        assert_eq!(
            answer["complete"],
            true,
            "{}: waited for {more:?}, got {}: {:?}",
            self.driver.name,
            all.len(),
            all.iter().map(|message| &message.body).collect::<Vec<_>>()
        );
        all
    }

    /// Subscribes anew: `more` has `sql` or `sub`.
    pub fn subscribe(&self, topic: &str, more: Args) {
        let mut args = args! { name: self.name, topic: topic };
        args.extend(more);
        self.driver.call("push.subscribe", args);
    }

    /// The queues that this member holds now, as `broker:queueId`.
    pub fn queues(&self) -> Vec<String> {
        let answer = self.driver.call("push.queues", args! { name: self.name });
        answer["queues"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Shuts it down cleanly and returns everything that it was delivered.
    pub fn stop(mut self) -> Vec<Received> {
        self.running = false;
        received(&self.driver.call("push.stop", args! { name: self.name })["messages"])
    }
}

impl Drop for Push<'_> {
    fn drop(&mut self) {
        if self.running {
            self.driver.try_call("push.stop", args! { name: self.name }).ok();
        }
    }
}

/// A DefaultMQPullConsumer.
pub struct Pull<'d> {
    driver: &'d Driver,
    name: String,
}

/// What one pull came back with.
#[derive(Debug)]
pub struct Pulled {
    /// `FOUND`, `NO_NEW_MSG`, `NO_MATCHED_MSG` or `OFFSET_ILLEGAL`.
    pub status: String,
    /// nextBeginOffset
    pub next: i64,
    /// minOffset
    pub min: i64,
    /// maxOffset
    pub max: i64,
    /// The messages.
    pub messages: Vec<Received>,
}

impl Pull<'_> {
    /// Its name within the driver.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queues of a topic, as `broker:queueId`.
    pub fn queues(&self, topic: &str) -> Vec<String> {
        let answer = self.driver.call("pull.queues", args! { name: self.name, topic: topic });
        answer["queues"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// [`Self::queues`], none when the client finds the topic unreadable.
    pub fn readable_queues(&self, topic: &str) -> Vec<String> {
        match self.driver.try_call("pull.queues", args! { name: self.name, topic: topic }) {
            Ok(_) => self.queues(topic),
            Err(_) => Vec::new(),
        }
    }

    /// Pulls from one queue at `offset`; `more` may say `sub`, `max`, `block`.
    pub fn fetch(&self, topic: &str, broker: &str, queue: i64, offset: i64, more: Args) -> Pulled {
        let mut args = args! { name: self.name, topic: topic, broker: broker, queue: queue, offset: offset };
        args.extend(more);
        let answer = self.driver.call("pull.fetch", args);
        Pulled {
            status: answer["status"].as_str().unwrap_or_default().to_owned(),
            next: answer["next"].as_i64().unwrap_or(i64::MIN),
            min: answer["min"].as_i64().unwrap_or(i64::MIN),
            max: answer["max"].as_i64().unwrap_or(i64::MIN),
            messages: received(&answer["messages"]),
        }
    }

    /// `what` is `min`, `max`, `earliest`, `committed`, or `time` with the time in ms.
    pub fn offset(&self, topic: &str, broker: &str, queue: i64, what: &str, time: i64) -> i64 {
        let args = args! { name: self.name, topic: topic, broker: broker, queue: queue, what: what, time: time };
        self.driver.call("pull.offset", args)["offset"].as_i64().expect("an offset is a number")
    }

    /// Commits `offset` for one queue to the broker at once; none when it refuses.
    pub fn try_commit(&self, topic: &str, broker: &str, queue: i64, offset: i64) -> Option<()> {
        let args = args! { name: self.name, topic: topic, broker: broker, queue: queue, offset: offset };
        self.driver.try_call("pull.commit", args).ok().map(|_| ())
    }
}

impl Drop for Pull<'_> {
    fn drop(&mut self) {
        self.driver.try_call("pull.stop", args! { name: self.name }).ok();
    }
}

/// The sends in a driver's answer.
pub fn sent(results: &Value) -> Vec<Sent> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let number = |one: &Value, key: &str| one[key].as_i64().unwrap_or(-1);
    results
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| Sent {
            body: text(one, "body"),
            status: text(one, "status"),
            msg_id: text(one, "msgId"),
            offset_msg_id: text(one, "offsetMsgId"),
            broker: text(one, "broker"),
            queue: number(one, "queue"),
            offset: number(one, "offset"),
            recall_handle: one["recallHandle"].as_str().map(str::to_owned),
            error: text(one, "error"),
            code: one["code"].as_i64(),
        })
        .collect()
}

/// The deliveries in a driver's answer.
pub fn received(messages: &Value) -> Vec<Received> {
    messages
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| Received {
            body: one["body"].as_str().unwrap_or_default().to_owned(),
            broker: one["broker"].as_str().unwrap_or_default().to_owned(),
            queue: one["queue"].as_i64().unwrap_or(-1),
            offset: one["offset"].as_i64().unwrap_or(-1),
            accepted: one["accepted"].as_bool().unwrap_or(true),
            all: one.clone(),
        })
        .collect()
}
