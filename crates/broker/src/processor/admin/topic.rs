//! Topics: 17, 18, 21, 202, 215, 305, 316, 351.

use crate::announcements::Announcements;
use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::pop::Pop;
use crate::reply::{bad_body, not_persisted, topic_not_exist};
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::admin::{TopicOffset, TopicStatsTable};
use protocol::body::topic::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndQueueMapping, TopicConfigSerializeWrapper, TopicFilterType,
    TopicList,
};
use protocol::body::{MessageQueue, MessageQueueKey, encode};
use protocol::header::topic::{
    CreateTopicRequestHeader, GetAllTopicConfigRequestHeader, GetAllTopicConfigResponseHeader, TopicRequestHeader,
};
use protocol::names;
use protocol::operation::{
    CleanUnusedTopic, DeleteTopicInBroker, GetAllTopicConfig, GetSystemTopicListFromBroker, GetTopicConfig,
    GetTopicStatsInfo, UpdateAndCreateTopic, UpdateAndCreateTopicList,
};
use protocol::response_code::{INVALID_PARAMETER, SYSTEM_ERROR, TOPIC_NOT_EXIST};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use store::{MessageStore, QueueType};

/// Most queues of one topic: each costs files once it is used.
const MAX_QUEUES: i32 = 65_535;

/// Makes, changes, shows and deletes topics.
pub struct TopicAdmin {
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// A new topic is answered once nameservers know it, so that its route is there for whoever comes next.
    pub announcements: Arc<Announcements>,
    /// Offsets, which go with a deleted topic.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Queues, which go with a deleted topic.
    pub store: Arc<MessageStore>,
    /// What waits for a deleted topic is no longer counted.
    pub timer: Arc<Timer>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Counts of POP, which go with a deleted topic.
    pub pop: Arc<Pop>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<UpdateAndCreateTopic> for TopicAdmin {
    fn process(&self, request: Request<CreateTopicRequestHeader>) -> Outcome {
        let header = request.header;
        let filter_type = match header.topic_filter_type.as_deref() {
            Some("MULTI_TAG") => TopicFilterType::MultiTag,
            _ => TopicFilterType::SingleTag,
        };
        let old = self.topics.get(&header.topic);
        let base = old.as_ref().map(|config| config.attributes.clone()).unwrap_or_default();
        let changes = header.attributes.as_deref().unwrap_or_default();
        let attributes = match alter_attributes(base, changes, old.is_none()) {
            Ok(attributes) => attributes,
            Err(remark) => return Reply::error(INVALID_PARAMETER, remark).into(),
        };
        let config = TopicConfig {
            attributes,
            order: header.order,
            perm: header.perm,
            read_queue_nums: header.read_queue_nums,
            topic_filter_type: filter_type,
            topic_name: header.topic.to_string(),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            write_queue_nums: header.write_queue_nums,
        };
        self.create(vec![config])
    }
}

impl Processor<UpdateAndCreateTopicList> for TopicAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        match json::from_slice::<CreateTopicListRequestBody>(&request.body) {
            Ok(body) => match body.topic_config_list.into_iter().map(|config| self.altered(config)).collect() {
                Ok(configs) => self.create(configs),
                // Java's code for this request, where 17 answers INVALID_PARAMETER.
                Err(remark) => Reply::error(SYSTEM_ERROR, remark).into(),
            },
            Err(error) => bad_body(error).into(),
        }
    }
}

impl TopicAdmin {
    /// A topic of a list, whose attributes are changes: `+key` with a value, `-key`.
    fn altered(&self, config: TopicConfig) -> Result<TopicConfig, String> {
        let old = self.topics.get(&config.topic_name);
        let base = old.as_ref().map(|old| old.attributes.clone()).unwrap_or_default();
        let changes = config.attributes.iter().map(|(key, value)| match key.starts_with('-') {
            true => key.clone(),
            false => format!("{key}={value}"),
        });
        let changes: Vec<_> = changes.collect();
        let attributes = alter_attributes(base, &changes.join(","), old.is_none())?;
        Ok(TopicConfig { attributes, ..config })
    }

    fn create(&self, configs: Vec<TopicConfig>) -> Outcome {
        match self.put(configs) {
            Ok(change) => {
                let announcements = self.announcements.clone();
                Outcome::Later(Box::pin(async move {
                    announcements.announced(change).await;
                    Reply::success()
                }))
            }
            Err(refusal) => refusal.into(),
        }
    }

    /// Puts topics; the number of the change that nameservers must be told.
    fn put(&self, configs: Vec<TopicConfig>) -> Result<u64, Reply> {
        let protect = self.config.get().broker.validate_system_topic_when_update_topic;
        for config in &configs {
            let topic = &config.topic_name;
            let refuse = |remark: String| Err(Reply::error(INVALID_PARAMETER, remark));
            if let Err(remark) = names::validate_topic(topic) {
                return refuse(remark);
            }
            if protect && self.topics.is_system(topic) {
                return refuse(format!("The topic[{topic}] is conflict with system topic."));
            }
            for (what, queues) in
                [("readQueueNums", config.read_queue_nums), ("writeQueueNums", config.write_queue_nums)]
            {
                if !(0..=MAX_QUEUES).contains(&queues) {
                    return refuse(format!("{what}={queues} of topic[{topic}] is not within 0..={MAX_QUEUES}"));
                }
            }
            if let Some(remark) = unsupported_attribute(&config.attributes) {
                return refuse(remark);
            }
            let mixed = config.attributes.get("message.type").is_some_and(|kind| kind == "MIXED");
            if mixed && !self.config.get().broker.enable_mixed_message_type {
                return refuse("MIXED message type is not supported. (enableMixedMessageType=false)".to_owned());
            }
        }
        let unchanged = |config: &TopicConfig| self.topics.get(&config.topic_name).is_some_and(|old| *old == *config);
        for config in &configs {
            // Before anyone knows the topic and can send to it.
            let queue_type = if config.is_batch_cq() { QueueType::Batch } else { QueueType::Simple };
            self.store.set_queue_type(&config.topic_name, queue_type);
        }
        if !configs.iter().all(unchanged) {
            self.topics.put(configs).map_err(not_persisted)?;
        }
        Ok(self.topics.last_change())
    }

    fn delete(&self, topic: &str) -> Result<Reply, Reply> {
        names::validate_topic(topic).map_err(|remark| Reply::error(INVALID_PARAMETER, remark))?;
        if self.config.get().broker.validate_system_topic_when_update_topic && self.topics.is_system(topic) {
            let remark = format!("The topic[{topic}] is conflict with system topic.");
            return Err(Reply::error(INVALID_PARAMETER, remark));
        }
        let mut doomed = vec![topic.to_owned()];
        if self.config.get().broker.clear_retry_topic_when_delete_topic {
            let groups = self.offsets.groups_of(topic);
            doomed.extend(groups.iter().map(|group| format!("{}{group}_{topic}", names::RETRY_PREFIX)));
            doomed.extend(groups.iter().map(|group| format!("{}{group}+{topic}", names::RETRY_PREFIX)));
        }
        for topic in &doomed {
            self.topics.delete(topic).map_err(not_persisted)?;
            self.offsets.remove_topic(topic);
            self.store.delete_topic(topic);
            self.stats.forget(topic);
            self.pop.in_flight.remove_topic(topic);
            self.timer.forget(topic);
        }
        Ok(Reply::success())
    }
}

impl Processor<DeleteTopicInBroker> for TopicAdmin {
    fn process(&self, request: Request<TopicRequestHeader>) -> Outcome {
        self.delete(&request.header.topic).unwrap_or_else(|refusal| refusal).into()
    }
}

impl Processor<GetTopicConfig> for TopicAdmin {
    fn process(&self, request: Request<TopicRequestHeader>) -> Outcome {
        match self.topics.get(&request.header.topic) {
            Some(config) => {
                Reply::body(encode(&TopicConfigAndQueueMapping { config: TopicConfig::clone(&config) })).into()
            }
            None => {
                let remark = format!("No topic in this broker. topic: {}", request.header.topic);
                Reply::error(TOPIC_NOT_EXIST, remark).into()
            }
        }
    }
}

impl Processor<GetAllTopicConfig> for TopicAdmin {
    fn process(&self, request: Request<GetAllTopicConfigRequestHeader>) -> Outcome<GetAllTopicConfigResponseHeader> {
        let all = self.topics.snapshot();
        let header = request.header;
        let total = i32::try_from(all.topic_config_table.len()).unwrap_or(i32::MAX);
        let response = GetAllTopicConfigResponseHeader { total_topic_num: Some(total) };
        let page = match (header.topic_seq, self.config.get().broker.enable_split_metadata) {
            (Some(from), true) => {
                let same = header.data_version.as_deref().and_then(|text| json::from_slice(text.as_bytes()).ok());
                let from = if same == Some(all.data_version) { usize::try_from(from).unwrap_or(0) } else { 0 };
                let most = self.config.get().broker.split_metadata_size.min(header.max_topic_num.unwrap_or(i32::MAX));
                let most = usize::try_from(most).unwrap_or(0);
                let table = all.topic_config_table.into_iter().skip(from).take(most).collect();
                TopicConfigSerializeWrapper { topic_config_table: table, ..all }
            }
            _ => all,
        };
        Reply::ok(response).with_body(encode(&page)).into()
    }
}

impl Processor<GetTopicStatsInfo> for TopicAdmin {
    fn process(&self, request: Request<TopicRequestHeader>) -> Outcome {
        let topic: &str = &request.header.topic;
        let Some(config) = self.topics.get(topic) else { return topic_not_exist(topic, "").into() };
        let broker_name = self.config.get().broker.broker_name.clone();
        let queues = config.read_queue_nums.max(config.write_queue_nums);
        let table = (0..queues).map(|queue_id| {
            let max_offset = self.store.max_offset(topic, queue_id);
            let last = self.store.store_time(topic, queue_id, max_offset - 1).filter(|_| max_offset > 0);
            let queue = MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() };
            let range = TopicOffset {
                last_update_timestamp: last.unwrap_or(0),
                max_offset,
                min_offset: self.store.min_offset(topic, queue_id),
            };
            (MessageQueueKey(queue), range)
        });
        let topic_put_tps = self.stats.tps(stat::TOPIC_PUT_NUMS, topic);
        Reply::body(encode(&TopicStatsTable { offset_table: table.collect(), topic_put_tps })).into()
    }
}

impl Processor<GetSystemTopicListFromBroker> for TopicAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&TopicList { broker_addr: None, topic_list: self.topics.system_names() })).into()
    }
}

impl Processor<CleanUnusedTopic> for TopicAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        let keep: HashSet<String> = self.topics.names().into_iter().collect();
        let removed = self.store.clean_unused_topics(&keep);
        tracing::info!(removed, "queues of unused topics deleted");
        Reply::success().into()
    }
}

/// Topics of this kind have files of their own, which this release does not write.
fn unsupported_attribute(attributes: &BTreeMap<String, String>) -> Option<String> {
    let is = |key: &str, value: &str| attributes.get(key).is_some_and(|set| set == value);
    is("cleanup.policy", "COMPACTION")
        .then(|| "cleanup.policy=COMPACTION is not supported by this release of the broker".to_owned())
}

/// Applies `+key=value,-key` to attributes. Source: common/attribute/AttributeUtil.java, TopicAttributes.java.
fn alter_attributes(
    mut attributes: BTreeMap<String, String>,
    changes: &str,
    create: bool,
) -> Result<BTreeMap<String, String>, String> {
    const KNOWN: [(&str, bool); 5] = [
        ("queue.type", false),
        ("cleanup.policy", false),
        ("message.type", true),
        ("reserve.time", true),
        ("lite.topic.expiration", true),
    ];
    for change in changes.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let (key, value) = match (change.strip_prefix('+'), change.strip_prefix('-')) {
            (Some(set), _) => {
                let (key, value) = set.split_once('=').ok_or_else(|| format!("attribute {change} has no value"))?;
                (key, Some(value))
            }
            (_, Some(key)) if !create => (key, None),
            // Java cuts the sign off, also where there is none.
            _ => {
                let key: String = change.split('=').next().unwrap_or_default().chars().skip(1).collect();
                return Err(format!("only add attribute is supported while creating topic. key: {key} (of {change})"));
            }
        };
        let Some((_, changeable)) = KNOWN.iter().find(|(known, _)| *known == key) else {
            return Err(format!("unsupported key: {key}"));
        };
        if !create && !changeable {
            return Err(format!("attempt to update an unchangeable attribute. key: {key}"));
        }
        match (key, value) {
            (_, Some(value)) => drop(attributes.insert(key.to_owned(), value.to_owned())),
            (_, None) => drop(attributes.remove(key)),
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_altered_and_checked() {
        let made = alter_attributes(BTreeMap::new(), "+message.type=FIFO,+reserve.time=3", true).unwrap();
        assert_eq!(made.len(), 2);
        let changed = alter_attributes(made.clone(), "-reserve.time,+message.type=DELAY", false).unwrap();
        assert_eq!(changed, BTreeMap::from([("message.type".to_owned(), "DELAY".to_owned())]));
        let attributes = BTreeMap::from([("cleanup.policy".to_owned(), "COMPACTION".to_owned())]);
        assert!(unsupported_attribute(&attributes).unwrap().contains("COMPACTION"));
        for bad in ["+nonsense=1", "message.type=FIFO", "+message.type"] {
            assert!(alter_attributes(BTreeMap::new(), bad, true).is_err(), "{bad}");
        }
        assert!(alter_attributes(made, "+queue.type=SimpleCQ", false).is_err());
    }
}
