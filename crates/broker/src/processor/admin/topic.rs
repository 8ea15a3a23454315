//! Topics: 17, 18, 21, 202, 215, 305, 316, 351.

use super::attributes;
use crate::announcements::Announcements;
use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::pop::Pop;
use crate::reply::{bad_body, not_persisted, topic_not_exist};
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::admin::{TopicOffset, TopicStatsTable};
use protocol::body::static_topic::TopicQueueMappingDetail;
use protocol::body::topic::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndQueueMapping, TopicConfigSerializeWrapper, TopicFilterType,
    TopicList,
};
use protocol::body::{MessageQueue, MessageQueueKey, encode};
use protocol::header::topic::{
    CreateTopicRequestHeader, GetAllTopicConfigRequestHeader, GetAllTopicConfigResponseHeader,
    GetTopicConfigRequestHeader, TopicRequestHeader,
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
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
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
        let attributes = match attributes::parse(header.attributes.as_deref().unwrap_or_default()) {
            Ok(attributes) => attributes,
            Err(remark) => return Reply::error(SYSTEM_ERROR, remark).into(),
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
            Ok(body) => self.create(body.topic_config_list),
            Err(error) => bad_body(error).into(),
        }
    }
}

impl TopicAdmin {
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

    /// Puts topics, whose attributes are changes; the number of the change that nameservers must be told.
    pub(super) fn put(&self, mut configs: Vec<TopicConfig>) -> Result<u64, Reply> {
        configs.iter().try_for_each(|config| self.check(config))?;
        for config in &mut configs {
            let old = self.topics.get(&config.topic_name);
            let current = old.as_ref().map(|config| &config.attributes);
            let altered = attributes::alter(attributes::OF_TOPICS, current, &config.attributes);
            config.attributes = altered.map_err(|remark| Reply::error(SYSTEM_ERROR, remark))?;
        }
        let unchanged = |config: &TopicConfig| self.topics.get(&config.topic_name).is_some_and(|old| *old == *config);
        for config in &configs {
            // Before anyone knows the topic and can send to it.
            let queue_type = if config.is_batch_cq() { QueueType::Batch } else { QueueType::Simple };
            self.store.set_queue_type(&config.topic_name, queue_type);
            self.store.set_compacted(&config.topic_name, config.is_compacted()).map_err(|error| {
                let topic = &config.topic_name;
                Reply::error(SYSTEM_ERROR, format!("the compaction logs of topic[{topic}] cannot be opened: {error}"))
            })?;
        }
        if !configs.iter().all(unchanged) {
            self.topics.put(configs).map_err(not_persisted)?;
        }
        Ok(self.topics.last_change())
    }

    /// Refuses a topic that must not be; its attributes are changes.
    pub(super) fn check(&self, config: &TopicConfig) -> Result<(), Reply> {
        let options = self.config.get();
        let topic = &config.topic_name;
        let refuse = |remark: String| Err(Reply::error(INVALID_PARAMETER, remark));
        if let Err(remark) = names::validate_topic(topic) {
            return refuse(remark);
        }
        if options.broker.validate_system_topic_when_update_topic && self.topics.is_system(topic) {
            return refuse(format!("The topic[{topic}] is conflict with system topic."));
        }
        for (what, queues) in [("readQueueNums", config.read_queue_nums), ("writeQueueNums", config.write_queue_nums)] {
            if !(0..=MAX_QUEUES).contains(&queues) {
                return refuse(format!("{what}={queues} of topic[{topic}] is not within 0..={MAX_QUEUES}"));
            }
        }
        let mixed = config.attributes.get("+message.type").is_some_and(|kind| kind == "MIXED");
        if mixed && !options.broker.enable_mixed_message_type {
            return refuse("MIXED message type is not supported. (enableMixedMessageType=false)".to_owned());
        }
        Ok(())
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
            self.mappings.delete(topic).map_err(not_persisted)?;
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
    fn process(&self, request: Request<GetTopicConfigRequestHeader>) -> Outcome {
        match self.topics.get(&request.header.topic) {
            Some(config) => {
                let config = TopicConfig::clone(&config);
                let wanted = request.header.lo == Some(true);
                let mapping = wanted.then(|| self.mappings.get(&config.topic_name)).flatten();
                let mapping_detail = mapping.map(|detail| TopicQueueMappingDetail::clone(&detail));
                Reply::body(encode(&TopicConfigAndQueueMapping { config, mapping_detail })).into()
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
        let mappings = self.mappings.snapshot();
        let mut details = mappings.topic_queue_mapping_info_map;
        details.retain(|topic, _| page.topic_config_table.contains_key(topic));
        let page = TopicConfigSerializeWrapper {
            mapping_data_version: Some(mappings.data_version),
            topic_queue_mapping_detail_map: Some(details),
            // Empty, as in Java: it is the nameserver that is told these.
            topic_queue_mapping_info_map: Some(BTreeMap::new()),
            ..page
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
