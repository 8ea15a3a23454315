//! Consumer groups: 200, 201, 207, 225, 300, 343, 345, 352, 353.

use super::attributes;
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::pop::Pop;
use crate::reply::{bad_body, group_not_exist, not_persisted};
use crate::subscription_group_manager::SubscriptionGroupManager;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::admin::{GroupList, QuerySubscriptionResponseBody};
use protocol::body::encode;
use protocol::body::group::{GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper};
use protocol::body::topic::TopicList;
use protocol::header::topic::{
    DeleteSubscriptionGroupRequestHeader, GetAllSubscriptionGroupRequestHeader, GetAllSubscriptionGroupResponseHeader,
    GroupRequestHeader, QuerySubscriptionByConsumerRequestHeader, TopicRequestHeader,
    UpdateGroupForbiddenRequestHeader,
};
use protocol::names;
use protocol::operation::{
    DeleteSubscriptionGroup, GetAllSubscriptionGroupConfig, GetSubscriptionGroupConfig, QuerySubscriptionByConsumer,
    QueryTopicConsumeByWho, QueryTopicsByConsumer, UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateSubscriptionGroupList, UpdateAndGetGroupForbidden,
};
use protocol::response_code::{INVALID_PARAMETER, SYSTEM_ERROR};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;

/// Makes, changes, shows and deletes groups.
pub struct GroupAdmin {
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Offsets, which may go with a deleted group.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Counts of POP, which go with a deleted group.
    pub pop: Arc<Pop>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl GroupAdmin {
    /// Puts groups, whose attributes are changes.
    fn put(&self, mut configs: Vec<SubscriptionGroupConfig>) -> Reply {
        for config in &mut configs {
            if let Err(remark) = names::validate_group(&config.group_name) {
                return Reply::error(INVALID_PARAMETER, remark);
            }
            let old = self.groups.get(&config.group_name);
            let current = old.as_ref().map(|config| &config.attributes);
            match attributes::alter(attributes::OF_GROUPS, current, &config.attributes) {
                Ok(altered) => config.attributes = altered,
                Err(remark) => return Reply::error(SYSTEM_ERROR, remark),
            }
        }
        match self.groups.put(configs) {
            Ok(()) => Reply::success(),
            Err(error) => not_persisted(error),
        }
    }
}

impl Processor<UpdateAndCreateSubscriptionGroup> for GroupAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        match json::from_slice::<SubscriptionGroupConfig>(&request.body) {
            Ok(config) => self.put(vec![config]).into(),
            Err(error) => bad_body(error).into(),
        }
    }
}

impl Processor<UpdateAndCreateSubscriptionGroupList> for GroupAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        match json::from_slice::<SubscriptionGroupList>(&request.body) {
            Ok(list) => self.put(list.group_config_list).into(),
            Err(error) => bad_body(error).into(),
        }
    }
}

impl Processor<GetSubscriptionGroupConfig> for GroupAdmin {
    fn process(&self, request: Request<GroupRequestHeader>) -> Outcome {
        let group = &request.header.group;
        match self.groups.find(group, self.config.get().broker.auto_create_subscription_group) {
            Some(config) => Reply::body(encode(&*config)).into(),
            None => group_not_exist(group).into(),
        }
    }
}

impl Processor<GetAllSubscriptionGroupConfig> for GroupAdmin {
    fn process(
        &self,
        request: Request<GetAllSubscriptionGroupRequestHeader>,
    ) -> Outcome<GetAllSubscriptionGroupResponseHeader> {
        let all = self.groups.snapshot();
        let header = request.header;
        let total = i32::try_from(all.subscription_group_table.len()).unwrap_or(i32::MAX);
        let response = GetAllSubscriptionGroupResponseHeader { total_group_num: Some(total) };
        let page = match (header.group_seq, self.config.get().broker.enable_split_metadata) {
            (Some(from), true) => {
                let same = header.data_version.as_deref().and_then(|text| json::from_slice(text.as_bytes()).ok());
                let from = if same == Some(all.data_version) { usize::try_from(from).unwrap_or(0) } else { 0 };
                let most = self.config.get().broker.split_metadata_size.min(header.max_group_num.unwrap_or(i32::MAX));
                let most = usize::try_from(most).unwrap_or(0);
                let table = all.subscription_group_table.into_iter().skip(from).take(most).collect();
                SubscriptionGroupWrapper { subscription_group_table: table, ..all }
            }
            _ => all,
        };
        Reply::ok(response).with_body(encode(&page)).into()
    }
}

impl Processor<DeleteSubscriptionGroup> for GroupAdmin {
    fn process(&self, request: Request<DeleteSubscriptionGroupRequestHeader>) -> Outcome {
        let group = &request.header.group_name;
        if let Err(error) = self.groups.delete(group) {
            return not_persisted(error).into();
        }
        if request.header.clean_offset || request.header.remove_offset {
            self.offsets.remove_group(group);
        }
        self.pop.in_flight.remove_group(group);
        Reply::success().into()
    }
}

impl Processor<UpdateAndGetGroupForbidden> for GroupAdmin {
    fn process(&self, request: Request<UpdateGroupForbiddenRequestHeader>) -> Outcome {
        let (group, topic) = (&request.header.group, &request.header.topic);
        if let Some(readable) = request.header.readable
            && let Err(error) = self.groups.set_readable(group, topic, readable)
        {
            return not_persisted(error).into();
        }
        let readable = Some(!self.groups.is_read_forbidden(group, topic));
        Reply::body(encode(&GroupForbidden { group: group.to_string(), readable, topic: topic.to_string() })).into()
    }
}

impl Processor<QueryTopicConsumeByWho> for GroupAdmin {
    fn process(&self, request: Request<TopicRequestHeader>) -> Outcome {
        let topic = &request.header.topic;
        let mut groups = self.consumers.groups_of_topic(topic);
        groups.extend(self.offsets.groups_of(topic));
        Reply::body(encode(&GroupList { group_list: groups.into_iter().collect() })).into()
    }
}

impl Processor<QueryTopicsByConsumer> for GroupAdmin {
    fn process(&self, request: Request<GroupRequestHeader>) -> Outcome {
        let topics = self.offsets.topics_of(&request.header.group);
        let options = self.config.get();
        let broker_addr = format!("{}:{}", options.broker.broker_ip1, options.server.listen_port);
        let list = TopicList { broker_addr: Some(broker_addr), topic_list: topics.into_iter().collect() };
        Reply::body(encode(&list)).into()
    }
}

impl Processor<QuerySubscriptionByConsumer> for GroupAdmin {
    fn process(&self, request: Request<QuerySubscriptionByConsumerRequestHeader>) -> Outcome {
        let group = &request.header.group;
        let topic = request.header.topic.as_deref();
        let body = QuerySubscriptionResponseBody {
            group: group.to_string(),
            subscription_data: topic.and_then(|topic| self.consumers.subscription(group, topic)).flatten(),
            topic: topic.map(str::to_owned),
        };
        Reply::body(encode(&body)).into()
    }
}
