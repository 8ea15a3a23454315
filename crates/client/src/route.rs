//! From a route to queues.

use protocol::body::MessageQueue;
use protocol::body::route::{QueueData, TopicRouteData};
use protocol::sys_flag::perm;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Id of masters in [`protocol::body::route::BrokerData::broker_addrs`].
pub const MASTER_ID: i64 = 0;
/// A broker never has more queues of one topic: what a nameserver says must not fill our memory.
const MAX_QUEUES: i32 = 65_536;

/// The queues a producer may send to.
#[derive(Debug, Default)]
pub struct PublishInfo {
    /// The queues, by broker name and number.
    pub queues: Vec<MessageQueue>,
    next: AtomicUsize,
}

impl PublishInfo {
    /// The writable queues of a route whose broker has a master; an order configuration (`brokerA:4;brokerB:8`)
    /// replaces what the brokers say.
    #[must_use]
    pub fn new(topic: &str, route: &TopicRouteData) -> PublishInfo {
        let queues = match route.order_topic_conf.as_deref().filter(|conf| !conf.is_empty()) {
            Some(conf) => ordered(topic, conf),
            None => {
                let writable =
                    |data: &&QueueData| perm::is_writeable(data.perm) && has_master(route, &data.broker_name);
                queues(topic, route.queue_datas.iter().filter(writable), |data| data.write_queue_nums)
            }
        };
        // A start by chance spreads the first message of many producers over all queues.
        let start = crate::clock::now_nanos() % 1_000_003;
        PublishInfo { queues, next: AtomicUsize::new(usize::try_from(start).unwrap_or(0)) }
    }

    /// The next queue in turn, on another broker than `avoid` when there is one.
    pub fn select(&self, avoid: Option<&str>) -> Option<&MessageQueue> {
        for _ in 0..self.queues.len() {
            let queue = self.next()?;
            if avoid.is_none_or(|broker| queue.broker_name != broker) {
                return Some(queue);
            }
        }
        self.next()
    }

    fn next(&self) -> Option<&MessageQueue> {
        let at = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.queues.len())?;
        self.queues.get(at)
    }
}

/// The queues a consumer may read, sorted.
#[must_use]
pub fn subscribe_queues(topic: &str, route: &TopicRouteData) -> Vec<MessageQueue> {
    queues(topic, route.queue_datas.iter().filter(|data| perm::is_readable(data.perm)), |data| data.read_queue_nums)
}

fn queues<'a>(
    topic: &str,
    datas: impl Iterator<Item = &'a QueueData>,
    count: impl Fn(&QueueData) -> i32,
) -> Vec<MessageQueue> {
    let mut queues: Vec<_> = datas
        .flat_map(|data| {
            (0..count(data).min(MAX_QUEUES)).map(|queue_id| MessageQueue {
                broker_name: data.broker_name.clone(),
                queue_id,
                topic: topic.to_owned(),
            })
        })
        .collect();
    queues.sort();
    queues.dedup();
    queues
}

fn ordered(topic: &str, conf: &str) -> Vec<MessageQueue> {
    conf.split(';')
        .filter_map(|item| item.split_once(':'))
        .flat_map(|(broker, count)| {
            let count = count.trim().parse::<i32>().unwrap_or(0).min(MAX_QUEUES);
            (0..count).map(move |queue_id| MessageQueue {
                broker_name: broker.trim().to_owned(),
                queue_id,
                topic: topic.to_owned(),
            })
        })
        .collect()
}

fn has_master(route: &TopicRouteData, broker_name: &str) -> bool {
    route.broker_datas.iter().any(|data| data.broker_name == broker_name && data.broker_addrs.contains_key(&MASTER_ID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::route::BrokerData;
    use std::collections::BTreeMap;

    fn route(brokers: &[(&str, i32, i32, i64)]) -> TopicRouteData {
        let mut route = TopicRouteData::default();
        for (name, perm, queues, id) in brokers {
            route.broker_datas.push(BrokerData {
                broker_name: (*name).to_owned(),
                broker_addrs: BTreeMap::from([(*id, "h:1".to_owned())]),
                ..BrokerData::default()
            });
            route.queue_datas.push(QueueData {
                broker_name: (*name).to_owned(),
                perm: *perm,
                read_queue_nums: *queues,
                write_queue_nums: *queues,
                topic_sys_flag: 0,
            });
        }
        route
    }

    #[test]
    fn only_writable_queues_with_a_master_are_sent_to() {
        let info =
            PublishInfo::new("T", &route(&[("b", 6, 2, 0), ("a", 6, 1, 0), ("ro", 4, 4, 0), ("slave", 6, 4, 1)]));
        let names: Vec<_> = info.queues.iter().map(|q| (q.broker_name.as_str(), q.queue_id)).collect();
        assert_eq!(names, [("a", 0), ("b", 0), ("b", 1)]);
    }

    #[test]
    fn turns_and_avoids_a_broker() {
        let info = PublishInfo::new("T", &route(&[("a", 6, 2, 0), ("b", 6, 2, 0)]));
        let mut seen: Vec<_> = (0..4).map(|_| info.select(None).unwrap().clone()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
        assert!((0..8).all(|_| info.select(Some("a")).unwrap().broker_name == "b"));
        let alone = PublishInfo::new("T", &route(&[("a", 6, 1, 0)]));
        assert_eq!(alone.select(Some("a")).unwrap().broker_name, "a");
        assert!(PublishInfo::default().select(None).is_none());
    }

    #[test]
    fn an_order_configuration_wins() {
        let mut route = route(&[("a", 6, 2, 0)]);
        route.order_topic_conf = Some("b:2;a:1".to_owned());
        let info = PublishInfo::new("T", &route);
        let names: Vec<_> = info.queues.iter().map(|q| (q.broker_name.as_str(), q.queue_id)).collect();
        assert_eq!(names, [("b", 0), ("b", 1), ("a", 0)]);
    }

    #[test]
    fn counts_from_outside_are_bounded() {
        assert_eq!(subscribe_queues("T", &route(&[("a", 4, i32::MAX, 0)])).len(), 65_536);
        assert!(subscribe_queues("T", &route(&[("a", 4, -1, 0), ("b", 2, 4, 0)])).is_empty());
    }
}
