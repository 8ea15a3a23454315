//! Static topics: 513. Source: AdminBrokerProcessor.updateAndCreateStaticTopic.

use super::topic::TopicAdmin;
use crate::pull_request_hold::{PullRequestHold, Wake};
use crate::reply::{bad_body, not_persisted};
use crate::topic_queue_mapping_manager::NotTaken;
use codec::json;
use protocol::body::static_topic::TopicQueueMappingDetail;
use protocol::body::topic::{TopicConfig, TopicFilterType};
use protocol::header::topic::CreateTopicRequestHeader;
use protocol::operation::UpdateAndCreateStaticTopic;
use protocol::response_code::{INVALID_PARAMETER, SYSTEM_ERROR};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::MessageStore;

/// How long the answer waits for the dispatch of messages that are stored.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// Makes topics static, and maps their queues anew.
pub struct StaticTopicAdmin {
    /// Makes the topic itself.
    pub topic: Arc<TopicAdmin>,
    /// Pulls that wait at a queue whose mapping changes ask again.
    pub hold: Arc<PullRequestHold>,
}

impl Processor<UpdateAndCreateStaticTopic> for StaticTopicAdmin {
    fn process(&self, request: Request<CreateTopicRequestHeader>) -> Outcome {
        let detail = match json::from_slice::<TopicQueueMappingDetail>(&request.body) {
            Ok(detail) => detail,
            Err(error) => return bad_body(error).into(),
        };
        match self.put(&request.header, detail) {
            Ok(change) => {
                let (announcements, store) = (self.topic.announcements.clone(), self.topic.store.clone());
                Outcome::Later(Box::pin(async move {
                    // Whoever is answered may ask where a queue that goes to another broker ends.
                    dispatched(&store, store.log_end()).await;
                    announcements.announced(change).await;
                    Reply::success()
                }))
            }
            Err(refusal) => refusal.into(),
        }
    }
}

/// Waits until the messages before `end` are in their queues.
async fn dispatched(store: &MessageStore, end: u64) {
    let all = async {
        while store.dispatched_to() < end {
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!(end, "messages are not in their queues yet; a queue that moves now may seem shorter than it is");
    }
}

impl StaticTopicAdmin {
    /// The mapping comes first: killed in between, a mapping without topic harms nobody, while a topic without mapping would
    /// take messages as an ordinary one.
    fn put(&self, header: &CreateTopicRequestHeader, detail: TopicQueueMappingDetail) -> Result<u64, Reply> {
        if *detail.topic != *header.topic {
            let remark = format!("the mapping is of topic[{}], the request of topic[{}]", detail.topic, header.topic);
            return Err(Reply::error(INVALID_PARAMETER, remark));
        }
        let config = TopicConfig {
            // Changes, of which there are none.
            attributes: BTreeMap::new(),
            order: header.order,
            perm: header.perm,
            read_queue_nums: header.read_queue_nums,
            topic_filter_type: match header.topic_filter_type.as_deref() {
                Some("MULTI_TAG") => TopicFilterType::MultiTag,
                _ => TopicFilterType::SingleTag,
            },
            topic_name: header.topic.to_string(),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            write_queue_nums: header.write_queue_nums,
        };
        self.topic.check(&config)?;
        self.topic.mappings.put(detail, header.force).map_err(|error| match error {
            NotTaken::Refused(remark) => Reply::error(SYSTEM_ERROR, remark),
            NotTaken::Io(error) => not_persisted(error),
        })?;
        self.topic.put(vec![config])?;
        // The mapping changed even where the topic did not.
        self.topic.topics.announce_again();
        let change = self.topic.topics.last_change();
        self.hold.wake_topic(&header.topic, Wake::TimedOut);
        Ok(change)
    }
}
