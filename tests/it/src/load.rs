//! Senders and a committing consumer on a lone broker that may die any moment, and what must be true afterwards.

use crate::client::{Received, Sent};
use crate::history::judge;
use crate::link::{Link, Message};
use crate::lone::LoneBroker;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The topic of the load.
pub const TOPIC: &str = "Load";
/// Its queues, two senders each.
pub const QUEUES: i64 = 4;

/// What is known of the topic so far.
#[derive(Default)]
pub struct Load {
    round: usize,
    /// Up to where each queue has been checked.
    checked: BTreeMap<i64, i64>,
    /// Acknowledged since the last check, and sent without an answer.
    acknowledged: Mutex<Vec<Sent>>,
    unsure: Mutex<Vec<Sent>>,
    refused: Mutex<Vec<String>>,
    /// Messages acknowledged in all.
    pub total: usize,
}

impl Load {
    /// Sends on eight connections and commits offsets on a ninth while `meanwhile` runs (it ends the broker). Which connections
    /// break does not matter: what has not been answered by then is unsure.
    pub fn during(&mut self, broker: &LoneBroker, meanwhile: impl FnOnce()) {
        self.round += 1;
        let (addr, stop) = (broker.addr(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for sender in 0..QUEUES * 2 {
                let (load, addr, stop) = (&*self, addr.as_str(), &stop);
                scope.spawn(move || load.send(addr, sender, stop));
            }
            scope.spawn(|| consume(&addr, &stop));
            meanwhile();
            stop.store(true, Ordering::Release);
        });
    }

    fn send(&self, addr: &str, sender: i64, stop: &AtomicBool) {
        let Ok(mut link) = Link::new(addr) else { return };
        let queue = sender % QUEUES;
        for number in 0.. {
            if stop.load(Ordering::Acquire) {
                return;
            }
            let key = format!("r{}-s{sender}-{number}", self.round);
            let mut body = key.clone();
            // Sizes that roll files, and end at every place of a page.
            body.push_str(&" ".repeat(number * 37 % 3000));
            match link.send(TOPIC, queue, &key, body.as_bytes()) {
                Ok(Ok(offset)) => lock(&self.acknowledged).push(sent(key, queue, offset)),
                Ok(Err(refused)) => lock(&self.refused).push(format!("{refused:?}")),
                Err(_) => return lock(&self.unsure).push(sent(key, queue, -1)),
            }
        }
    }

    /// Everything acknowledged since the last check is where it was said to be, nothing else but what is unsure is there,
    /// queues are dense and in the order of their senders, the newest messages are found by key, and no committed offset lies
    /// beyond the end of its queue.
    /// # Panics
    /// With what is wrong.
    pub fn check(&mut self, broker: &LoneBroker) {
        let mut link = broker.link();
        let mut received = Vec::new();
        for queue in 0..QUEUES {
            let from = *self.checked.entry(queue).or_default();
            let (min, max) = link.range(TOPIC, queue).expect("the broker answers");
            assert_eq!(min, 0, "queue {queue} begins at 0");
            assert!(max >= from, "queue {queue} ends at {max}, though it had {from} messages that were read");
            let messages = pull_all(&mut link, queue, from);
            let offsets: Vec<_> = messages.iter().map(|one| one.queue_offset).collect();
            assert_eq!(offsets, (from..max).collect::<Vec<_>>(), "offsets of queue {queue} are dense");
            self.checked.insert(queue, max);
            received.extend(messages.into_iter().map(|one| got(queue, one)));
            if let Some(committed) = link.committed(TOPIC, queue).expect("the broker answers") {
                assert!(committed <= max, "committed {committed} in queue {queue}, which ends at {max}");
            }
        }
        let (acknowledged, unsure) = (take(&self.acknowledged), take(&self.unsure));
        assert_eq!(take(&self.refused), Vec::<String>::new(), "a sound broker refuses nothing");
        let verdict = judge(&acknowledged, &unsure, &received);
        verdict.assert_exactly_once();
        let places: BTreeMap<_, _> = received.iter().map(|one| (one.body.as_str(), (one.queue, one.offset))).collect();
        for one in &acknowledged {
            assert_eq!(places.get(one.body.as_str()), Some(&(one.queue, one.offset)), "the place of {}", one.body);
        }
        in_order(&received);
        for one in acknowledged.iter().rev().take(3) {
            let found = link.query(TOPIC, &one.body).expect("the broker answers");
            assert!(found.iter().any(|found| found.body.trim_end() == one.body), "{} by its key: {found:?}", one.body);
        }
        self.total += acknowledged.len();
    }
}

/// Each sender's messages are in the order in which it sent them.
fn in_order(received: &[Received]) {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for one in received {
        let (sender, number) = one.body.rsplit_once('-').expect("bodies are ours");
        let number = number.parse().expect("bodies are ours");
        let before = last.insert(sender, number);
        assert!(before.is_none_or(|before| before < number), "{} comes after {before:?}", one.body);
    }
}

/// Follows each queue and commits what it has read, until it breaks or `stop`.
fn consume(addr: &str, stop: &AtomicBool) {
    let Ok(mut link) = Link::new(addr) else { return };
    let mut at: Vec<i64> = Vec::new();
    for queue in 0..QUEUES {
        at.push(link.committed(TOPIC, queue).ok().flatten().unwrap_or(0));
    }
    while !stop.load(Ordering::Acquire) {
        for (queue, offset) in (0..).zip(&mut at) {
            let Ok(messages) = link.pull(TOPIC, queue, *offset, 32) else { return };
            *offset = messages.last().map_or(*offset, |last| last.queue_offset + 1);
            if link.commit(TOPIC, queue, *offset).is_err() {
                return;
            }
        }
    }
}

fn pull_all(link: &mut Link, queue: i64, mut from: i64) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let messages = link.pull(TOPIC, queue, from, 32).expect("the broker answers");
        let Some(last) = messages.last() else { return all };
        from = last.queue_offset + 1;
        all.extend(messages);
    }
}

fn sent(body: String, queue: i64, offset: i64) -> Sent {
    let text = String::new;
    let (msg_id, offset_msg_id, error) = (text(), text(), text());
    Sent {
        body,
        status: "SEND_OK".to_owned(),
        msg_id,
        offset_msg_id,
        broker: text(),
        queue,
        offset,
        recall_handle: None,
        error,
        code: None,
    }
}

fn got(queue: i64, message: Message) -> Received {
    let (body, offset) = (message.body.trim_end().to_owned(), message.queue_offset);
    Received { body, broker: String::new(), queue, offset, accepted: true, all: Value::Null }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn take<T>(mutex: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *lock(mutex))
}
