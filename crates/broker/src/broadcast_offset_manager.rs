//! Where the clients of broadcasting groups are, so that one that changes from a proxy to a broker or back, or comes to a
//! proxy for the first time, goes on where it was. Source: broker/offset/BroadcastOffsetManager.java.

use foldhash::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Behind the name of a group whose offsets are the lowest of its clients.
const BROADCAST_SUFFIX: &str = "@broadcast";

/// The group under which the lowest offsets of a broadcasting group's clients are kept.
pub fn broadcast_group(group: &str) -> String {
    format!("{group}{BROADCAST_SUFFIX}")
}

/// A client of a broadcasting group that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastClient {
    /// Its id.
    pub client_id: String,
    /// A proxy pulls for it.
    pub by_proxy: bool,
}

/// How long clients that no longer pull are remembered, ms.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// Those that are no longer connected.
    pub gone_ms: i64,
    /// Those that still are.
    pub silent_ms: i64,
}

/// The lowest offset of a group's clients in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowestOffset {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// The offset.
    pub offset: i64,
}

/// Offsets that clients of broadcasting groups pulled from, in memory.
#[derive(Debug, Default)]
pub struct BroadcastOffsetManager {
    /// By group, then topic, then client.
    groups: Mutex<HashMap<String, HashMap<String, Clients>>>,
}

type Clients = HashMap<String, Pulled>;

#[derive(Debug, Default)]
struct Pulled {
    last_pull_ms: i64,
    by_proxy: bool,
    queues: BTreeMap<i32, i64>,
}

impl BroadcastOffsetManager {
    /// A client pulls a queue from `offset` on.
    pub fn pulled(&self, group: &str, topic: &str, client: &BroadcastClient, queue: (i32, i64), now_ms: i64) {
        let (queue_id, offset) = queue;
        let mut groups = self.groups.lock();
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), HashMap::default());
        }
        let Some(topics) = groups.get_mut(group) else { return };
        if !topics.contains_key(topic) {
            topics.insert(topic.to_owned(), Clients::default());
        }
        let Some(clients) = topics.get_mut(topic) else { return };
        if !clients.contains_key(&client.client_id) {
            clients.insert(client.client_id.clone(), Pulled::default());
        }
        let Some(pulled) = clients.get_mut(&client.client_id) else { return };
        (pulled.last_pull_ms, pulled.by_proxy) = (now_ms, client.by_proxy);
        let known = pulled.queues.entry(queue_id).or_insert(offset);
        *known = offset.max(*known);
    }

    /// Whether a client must be told where to begin, and where it pulled last, if that is known. It must when it came by the
    /// other way before, or when a proxy asks for it without an offset.
    pub fn must_begin(
        &self,
        group: &str,
        topic: &str,
        client: &BroadcastClient,
        queue: (i32, i64),
    ) -> Option<Option<i64>> {
        let (queue_id, offset) = queue;
        let asks = client.by_proxy && offset < 0;
        let groups = self.groups.lock();
        let known = groups.get(group).and_then(|topics| topics.get(topic));
        match known.and_then(|clients| clients.get(&client.client_id)) {
            Some(pulled) if asks || pulled.by_proxy != client.by_proxy => Some(pulled.queues.get(&queue_id).copied()),
            Some(_) => None,
            None => asks.then_some(None),
        }
    }

    /// Forgets clients that no longer pull; the lowest offsets of the others.
    pub fn scan(&self, expiry: Expiry, now_ms: i64, is_online: impl Fn(&str, &str) -> bool) -> Vec<LowestOffset> {
        let mut all = Vec::new();
        self.groups.lock().retain(|group, topics| {
            topics.retain(|topic, clients| {
                let mut lowest: BTreeMap<i32, i64> = BTreeMap::new();
                clients.retain(|client_id, pulled| {
                    let silent_ms = now_ms - pulled.last_pull_ms;
                    let online = is_online(group, client_id);
                    if online || silent_ms < expiry.gone_ms {
                        for (queue_id, offset) in &pulled.queues {
                            let lowest = lowest.entry(*queue_id).or_insert(*offset);
                            *lowest = (*lowest).min(*offset);
                        }
                    }
                    silent_ms < if online { expiry.silent_ms } else { expiry.gone_ms }
                });
                let (group, topic) = (group.clone(), topic.clone());
                all.extend(lowest.into_iter().map(|(queue_id, offset)| LowestOffset {
                    group: group.clone(),
                    topic: topic.clone(),
                    queue_id,
                    offset,
                }));
                !clients.is_empty()
            });
            !topics.is_empty()
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, by_proxy: bool) -> BroadcastClient {
        BroadcastClient { client_id: id.to_owned(), by_proxy }
    }

    #[test]
    fn a_client_that_changes_its_way_goes_on_where_it_was() {
        let offsets = BroadcastOffsetManager::default();
        let (direct, proxied) = (client("c", false), client("c", true));
        assert_eq!(offsets.must_begin("g", "T", &direct, (0, -1)), None);
        assert_eq!(offsets.must_begin("g", "T", &proxied, (0, -1)), Some(None));
        assert_eq!(offsets.must_begin("g", "T", &proxied, (0, 3)), None);
        offsets.pulled("g", "T", &direct, (0, 7), 1);
        offsets.pulled("g", "T", &direct, (0, 5), 2);
        assert_eq!(offsets.must_begin("g", "T", &direct, (0, 7)), None);
        assert_eq!(offsets.must_begin("g", "T", &proxied, (0, 3)), Some(Some(7)));
        assert_eq!(offsets.must_begin("g", "T", &proxied, (1, 3)), Some(None));
        offsets.pulled("g", "T", &proxied, (0, 9), 3);
        assert_eq!(offsets.must_begin("g", "T", &proxied, (0, 9)), None);
        assert_eq!(offsets.must_begin("g", "T", &proxied, (0, -1)), Some(Some(9)));
        assert_eq!(offsets.must_begin("g", "T", &direct, (0, 2)), Some(Some(9)));
    }

    #[test]
    fn the_lowest_of_those_that_are_there_is_kept() {
        let offsets = BroadcastOffsetManager::default();
        let expiry = Expiry { gone_ms: 100, silent_ms: 300 };
        offsets.pulled("g", "T", &client("a", false), (0, 7), 0);
        offsets.pulled("g", "T", &client("b", false), (0, 4), 0);
        let lowest = |now_ms, online: &[&str]| {
            let found = offsets.scan(expiry, now_ms, |_, id| online.contains(&id));
            found.into_iter().map(|lowest| lowest.offset).collect::<Vec<_>>()
        };
        assert_eq!(lowest(99, &["a"]), [4]);
        assert_eq!(lowest(100, &["a"]), [7]);
        // b is forgotten; a still counts once when its time is over.
        assert_eq!(lowest(300, &["a", "b"]), [7]);
        assert_eq!(lowest(300, &["a", "b"]), [] as [i64; 0]);
    }
}
