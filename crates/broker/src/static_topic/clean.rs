//! Forgets generations of logic queues whose messages are gone, and queues that moved on from this broker long ago, in the hours of
//! `deleteWhen`. Source: broker/topic/TopicQueueMappingCleanService.java.

use super::peers::{PeerError, Peers, expect_success, unreadable};
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use codec::json;
use protocol::body::route::TopicRouteData;
use protocol::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo};
use protocol::body::topic::TopicConfigAndQueueMapping;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::header::offset::QueueRequestHeader;
use protocol::header::topic::GetTopicConfigRequestHeader;
use protocol::operation::{GetMaxOffset, GetMinOffset, GetRouteInfoByTopic, GetTopicConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::MessageStore;

const PERIOD: Duration = Duration::from_secs(300);

/// Cleans mappings.
pub struct MappingClean {
    /// The mappings.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// Tells the hour to delete, and about queues of this broker.
    pub store: Arc<MessageStore>,
    /// Tell about queues of theirs.
    pub peers: Peers,
}

impl MappingClean {
    /// Looks every five minutes, for ever.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if self.store.is_hour_to_delete() {
                self.clean().await;
            }
        }
    }

    /// Cleans every static topic, now.
    pub async fn clean(&self) {
        for topic in self.mappings.topics() {
            let Some(seen) = self.mappings.get(&topic) else { continue };
            let mut changed = self.without_expired(&seen).await;
            changed.extend(self.moved_on(&seen).await);
            if changed.is_empty() {
                continue;
            }
            let queues: Vec<_> = changed.keys().copied().collect();
            match self.mappings.clean(&seen, changed) {
                Ok(true) => tracing::info!(topic, ?queues, "old generations of logic queues forgotten"),
                Ok(false) => tracing::info!(topic, "mapped anew meanwhile, cleaned the next time"),
                Err(error) => tracing::error!(topic, %error, "topicQueueMapping.json cannot be written"),
            }
        }
    }

    /// Of the queues led here: those whose oldest generation has no messages any more, without it.
    async fn without_expired(&self, seen: &TopicQueueMappingDetail) -> BTreeMap<i32, Vec<LogicQueueMappingItem>> {
        let mut changed = BTreeMap::new();
        for (id, items) in &seen.hosted_queues {
            let [first, rest @ ..] = items.as_slice() else { continue };
            if rest.last().is_none_or(|leader| leader.bname != seen.bname || !leader.is_decided()) {
                continue;
            }
            match self.is_empty(seen, first).await {
                Ok(true) => drop(changed.insert(*id, rest.to_vec())),
                Ok(false) => {}
                Err(error) => tracing::warn!(topic = seen.topic, queue = id, %error, "not cleaned"),
            }
        }
        changed
    }

    async fn is_empty(&self, seen: &TopicQueueMappingDetail, item: &LogicQueueMappingItem) -> Result<bool, PeerError> {
        let (min, max) = if item.bname == seen.bname {
            let range = |of: fn(&MessageStore, &str, i32) -> i64| of(&self.store, &seen.topic, item.queue_id);
            (range(MessageStore::min_offset), range(MessageStore::max_offset))
        } else {
            let queue = QueueRequestHeader { topic: seen.topic.as_str().into(), queue_id: item.queue_id };
            let min = self.peers.header::<GetMinOffset>(&item.bname, queue.clone()).await?.offset;
            (min, self.peers.header::<GetMaxOffset>(&item.bname, queue).await?.offset)
        };
        Ok(min == max)
    }

    /// Of the queues that this broker has led: those that another broker leads than the one they were given to.
    async fn moved_on(&self, seen: &TopicQueueMappingDetail) -> BTreeMap<i32, Vec<LogicQueueMappingItem>> {
        let mut changed = BTreeMap::new();
        let given = seen.hosted_queues.iter().filter_map(|(id, items)| Some((*id, items.last()?)));
        for (id, known) in given.filter(|(_, leader)| leader.bname != seen.bname) {
            match self.leader(seen, id).await {
                Ok(Some(leader)) if leader != known.bname => drop(changed.insert(id, Vec::new())),
                Ok(_) => {}
                Err(error) => tracing::warn!(topic = seen.topic, queue = id, %error, "not cleaned"),
            }
        }
        changed
    }

    /// The broker that leads a queue by the route, if it says so itself, in the same version of the mapping.
    async fn leader(&self, seen: &TopicQueueMappingDetail, id: i32) -> Result<Option<String>, PeerError> {
        let header = GetRouteInfoRequestHeader {
            topic: seen.topic.as_str().into(),
            accept_standard_json_only: true,
            zone_mode: false,
            zone_name: None,
        };
        let Some(route) = self.peers.of_namesrv::<GetRouteInfoByTopic, TopicRouteData>(&header).await else {
            return Ok(None);
        };
        let infos = route.topic_queue_mapping_by_broker.unwrap_or_default().into_values();
        let infos = infos.filter_map(|info| serde_json::from_value::<TopicQueueMappingInfo>(info).ok());
        let leader = infos.filter(|info| info.curr_id_map.contains_key(&id)).max_by_key(|info| info.epoch);
        let Some(leader) = leader.map(|info| info.bname) else { return Ok(None) };
        let theirs = self.mapping_of(&leader, seen).await?;
        let own = theirs.and_then(|theirs| Some(theirs.hosted_queues.get(&id)?.last()?.bname.clone()));
        Ok(own.filter(|own| *own == leader))
    }

    /// The mapping of another broker, if it is of the same version.
    async fn mapping_of(
        &self,
        broker_name: &str,
        seen: &TopicQueueMappingDetail,
    ) -> Result<Option<TopicQueueMappingDetail>, PeerError> {
        let header = GetTopicConfigRequestHeader { topic: seen.topic.as_str().into(), lo: None };
        let answer = expect_success(broker_name, self.peers.call_logic::<GetTopicConfig>(broker_name, header).await?)?;
        let found: TopicConfigAndQueueMapping =
            json::from_slice(&answer.body).map_err(|error| unreadable(broker_name, error))?;
        let version = |detail: &TopicQueueMappingDetail| (detail.epoch, detail.total_queues);
        Ok(found.mapping_detail.filter(|theirs| version(theirs) == version(seen) && theirs.bname == broker_name))
    }
}
