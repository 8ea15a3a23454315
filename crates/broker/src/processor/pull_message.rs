//! Pulls: codes 11 and 361. Source: broker/processor/PullMessageProcessor.java, DefaultPullMessageResultHandler.java.

use super::pull_control::cold_area;
use crate::broadcast_offset_manager::BroadcastOffsetManager;
use crate::broker_stats::{BrokerStats, names as stat};
use crate::cold_data::ColdDataControl;
use crate::config::{BrokerConfig, BrokerOptions};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::filter::{
    ConsumerFilterData, ConsumerFilterManager, Filter, Origin, SqlFilter, TagFilter, is_tag_type, not_supported, parse,
};
use crate::pull_request_hold::{HeldPull, PullRequestHold, Wake};
use crate::reply::{group_not_exist, records_body, subscription_not_exist, topic_not_exist};
use crate::static_topic::pull::LogicPull;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::client::{MessageModel, SubscriptionData};
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::TopicConfig;
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader, forbidden_type};
use protocol::operation::{LitePullMessage, Operation};
use protocol::response_code::{
    FILTER_DATA_NOT_EXIST, FILTER_DATA_NOT_LATEST, INVALID_PARAMETER, NO_PERMISSION, PULL_NOT_FOUND, PULL_OFFSET_MOVED,
    PULL_RETRY_IMMEDIATELY, SUBSCRIPTION_NOT_EXIST, SUBSCRIPTION_NOT_LATEST, SUBSCRIPTION_PARSE_FAILED, SUCCESS,
    SYSTEM_ERROR,
};
use protocol::sys_flag::{perm, pull as pull_flag};
use remoting::clock;
use remoting::reply::{Outcome, Reply, ReplySlot, Request};
use std::sync::Arc;
use store::{GetMessageStatus, GetQuery, GetResult, MessageStore};
use tokio::sync::Semaphore;

/// An answer to a pull.
pub(crate) type PullReply = Reply<PullMessageResponseHeader>;

/// Hands out messages, and holds pulls until there are some.
pub struct PullMessageProcessor {
    parts: Arc<PullParts>,
}

/// What a pull needs, now and when it is woken.
pub struct PullParts {
    /// Where messages lie.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Subscriptions of connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Expressions of consumers.
    pub filters: Arc<ConsumerFilterManager>,
    /// Offsets committed along with pulls.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Where clients of broadcasting groups are.
    pub broadcasts: Arc<BroadcastOffsetManager>,
    /// Who reads cold data.
    pub cold: Arc<ColdDataControl>,
    /// Pulls that wait because of it.
    pub cold_holds: Arc<Semaphore>,
    /// Pulls that wait.
    pub hold: Arc<PullRequestHold>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl PullMessageProcessor {
    /// A handler over these parts.
    pub fn new(parts: PullParts) -> PullMessageProcessor {
        PullMessageProcessor { parts: Arc::new(parts) }
    }

    /// Answers a pull from a physical queue; `logic` is the logic queue that it stands for.
    pub fn pull(
        &self,
        request: Request<PullMessageRequestHeader>,
        logic: Option<Box<LogicPull>>,
    ) -> Outcome<PullMessageResponseHeader> {
        PullParts::pull(&self.parts, request, logic)
    }
}

/// A pull that may go ahead.
struct Allowed {
    topic: Arc<TopicConfig>,
    group: Arc<SubscriptionGroupConfig>,
    filter: Filter,
}

/// A pull that waits, with the duty to answer it.
struct Held {
    header: PullMessageRequestHeader,
    code: i32,
    filter: Filter,
    deadline_ms: i64,
    logic: Option<Box<LogicPull>>,
    slot: ReplySlot<PullMessageResponseHeader>,
}

impl PullParts {
    fn pull(
        parts: &Arc<PullParts>,
        request: Request<PullMessageRequestHeader>,
        logic: Option<Box<LogicPull>>,
    ) -> Outcome<PullMessageResponseHeader> {
        let header = &request.header;
        let options = parts.config.get();
        let allowed = match parts.check(header, request.code, &options) {
            Ok(allowed) => allowed,
            Err(reply) => return reply.into(),
        };
        if options.store.cold_data_flow_control_enable
            && let Some(outcome) = PullParts::held_for_cold_data(parts, &request, &options)
        {
            return outcome;
        }
        let broadcast = parts.broadcast_client(header, &request.channel, &options);
        // Before the queue is read, since a pending reset must win over what the consumer still believes.
        parts.commit(header);
        let begin = broadcast.as_ref().and_then(|client| parts.broadcast_begin(header, client));
        let reply = match begin {
            // Java's broker names no range then.
            Some(offset) => parts.offset_reset(header, &allowed, offset, (0, 0)),
            None => parts.get(header, &allowed, &options),
        };
        if let Some(client) = broadcast {
            parts.broadcast_pulled(header, &client, &reply);
        }
        let reply = translated(logic.as_deref(), header, reply);
        let may_wait = header.sys_flag & pull_flag::SUSPEND != 0;
        if reply.code != PULL_NOT_FOUND || !may_wait {
            return reply.into();
        }
        let wait_ms = match options.broker.long_polling_enable {
            true => header.suspend_timeout_millis,
            false => options.broker.short_polling_time_mills,
        };
        let held = Held {
            slot: request.slot(),
            deadline_ms: clock::now_ms().saturating_add(wait_ms.max(0)),
            filter: allowed.filter,
            code: request.code,
            header: request.header,
            logic,
        };
        let queue_offset = held.header.queue_offset;
        PullParts::hold(parts, held, queue_offset);
        Outcome::Parked
    }

    /// Holds a pull until a message it may want arrives at `queue_offset` or behind it.
    fn hold(parts: &Arc<PullParts>, held: Held, queue_offset: i64) {
        let (topic, queue_id) = (held.header.topic.clone(), held.header.queue_id);
        let (channel, shared) = (held.slot.channel().clone(), parts.clone());
        let pull = HeldPull {
            queue_offset,
            deadline_ms: held.deadline_ms,
            filter: Box::new(held.filter.clone()),
            is_gone: Box::new(move || channel.is_closed()),
            resume: Box::new(move |why| match why {
                Wake::Shutdown => held.slot.discard(),
                Wake::Arrived | Wake::TimedOut => PullParts::resume(&shared, held, why),
            }),
        };
        parts.hold.park(&topic, queue_id, pull, || parts.store.max_offset(&topic, queue_id));
    }

    /// A held pull goes on. What arrived between looking and holding may not be what it wants: then it is held again.
    fn resume(parts: &Arc<PullParts>, held: Held, why: Wake) {
        if let Some(logic) = held.logic.as_ref().filter(|logic| !logic.is_current()) {
            let again = logic.again();
            return held.slot.send(again);
        }
        let reply = parts.resumed(&held.header, held.code);
        let next = reply.header.as_ref().map_or(0, |header| header.next_begin_offset);
        if why == Wake::Arrived && reply.code == PULL_RETRY_IMMEDIATELY && next > held.header.queue_offset {
            PullParts::hold(parts, held, next);
        } else {
            let reply = translated(held.logic.as_deref(), &held.header, reply);
            held.slot.send(reply);
        }
    }

    /// Everything is looked at anew.
    pub(super) fn resumed(&self, header: &PullMessageRequestHeader, code: i32) -> PullReply {
        let options = self.config.get();
        match self.check(header, code, &options) {
            Ok(allowed) => self.get(header, &allowed, &options),
            Err(reply) => reply,
        }
    }

    fn check(
        &self,
        header: &PullMessageRequestHeader,
        code: i32,
        options: &BrokerOptions,
    ) -> Result<Allowed, PullReply> {
        let broker = &options.broker;
        if !perm::is_readable(broker.broker_permission) {
            let remark = format!("the broker[{}] pulling message is forbidden", broker.broker_ip1);
            return Err(forbid(forbidden_type::BROKER, remark));
        }
        if code == LitePullMessage::CODE && !broker.lite_pull_message_enable {
            let remark = format!("the broker[{}] for lite pull consumer is forbidden", broker.broker_ip1);
            return Err(forbid(forbidden_type::BROKER, remark));
        }
        let group_name: &str = &header.consumer_group;
        let group = self.groups.find(group_name, broker.auto_create_subscription_group);
        let group = group.ok_or_else(|| group_not_exist(group_name))?;
        if !group.consume_enable {
            return Err(forbid(forbidden_type::GROUP, format!("subscription group no permission, {group_name}")));
        }
        let topic_name: &str = &header.topic;
        let topic = self.topics.get(topic_name).ok_or_else(|| topic_not_exist(topic_name, ""))?;
        if !perm::is_readable(topic.perm) {
            return Err(forbid(forbidden_type::TOPIC, format!("the topic[{topic_name}] pulling message is forbidden")));
        }
        if header.queue_id < 0 || header.queue_id >= topic.read_queue_nums {
            let remark = format!(
                "queueId[{}] is illegal, topic:[{topic_name}] topicConfig.readQueueNums:[{}]",
                header.queue_id, topic.read_queue_nums
            );
            return Err(Reply::error(INVALID_PARAMETER, remark));
        }
        let filter = match header.sys_flag & pull_flag::SUBSCRIPTION {
            0 => self.registered_filter(header, &group, broker)?,
            _ => self.own_filter(header, broker)?,
        };
        Ok(Allowed { topic, group, filter })
    }

    fn own_filter(&self, header: &PullMessageRequestHeader, broker: &BrokerConfig) -> Result<Filter, PullReply> {
        let (group, topic): (&str, &str) = (&header.consumer_group, &header.topic);
        let failed = |reason: String| {
            let remark = format!("parse the consumer's subscription failed ({reason})");
            Reply::error(SUBSCRIPTION_PARSE_FAILED, remark)
        };
        let (expression, now_ms) = (header.subscription.as_deref().unwrap_or_default(), clock::now_ms());
        let subscription = parse(topic, expression, header.expression_type.as_deref(), now_ms).map_err(failed)?;
        self.consumers.compensate(group, &subscription);
        let kind = &subscription.expression_type;
        if is_tag_type(kind) {
            return Ok(Filter::Tags(TagFilter::new(&subscription)));
        }
        allow_properties(kind, broker)?;
        // Java hands out everything when the expression cannot be read. Source: ConsumerFilterManager.build, an assert.
        let data = ConsumerFilterData::build(topic, group, expression, kind, header.sub_version, now_ms);
        Ok(self.sql(Arc::new(data.map_err(failed)?), Origin::Own, broker))
    }

    fn registered_filter(
        &self,
        header: &PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
        broker: &BrokerConfig,
    ) -> Result<Filter, PullReply> {
        let subscription = self.registered_subscription(header, group)?;
        if is_tag_type(&subscription.expression_type) {
            return Ok(Filter::Tags(TagFilter::new(&subscription)));
        }
        let data = self.filters.get(&header.topic, &header.consumer_group).ok_or_else(|| {
            let remark = "The broker's consumer filter data is not exist!Your expression may be wrong!";
            Reply::error(FILTER_DATA_NOT_EXIST, remark)
        })?;
        if data.client_version < header.sub_version {
            return Err(Reply::error(FILTER_DATA_NOT_LATEST, "the consumer's consumer filter data not latest"));
        }
        allow_properties(&subscription.expression_type, broker)?;
        Ok(self.sql(data, Origin::Kept, broker))
    }

    fn sql(&self, data: Arc<ConsumerFilterData>, origin: Origin, broker: &BrokerConfig) -> Filter {
        Filter::Sql(SqlFilter::new(data, origin, &self.filters, broker.filter_support_retry))
    }

    fn registered_subscription(
        &self,
        header: &PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
    ) -> Result<SubscriptionData, PullReply> {
        let (group_name, topic): (&str, &str) = (&header.consumer_group, &header.topic);
        let missing = |what| Reply::error(SUBSCRIPTION_NOT_EXIST, subscription_not_exist(what));
        let known = self.consumers.subscription(group_name, topic).ok_or_else(|| missing("group info"))?;
        let model = self.consumers.model(group_name).map(|(_, model)| model);
        if !group.consume_broadcast_enable && model == Some(MessageModel::Broadcasting) {
            let remark = format!("the consumer group[{group_name}] can not consume by broadcast way");
            return Err(forbid(forbidden_type::BROADCASTING, remark));
        }
        if self.groups.is_read_forbidden(group_name, topic) {
            let remark = format!("the consumer group[{group_name}] is forbidden for topic[{topic}]");
            return Err(forbid(forbidden_type::SUBSCRIPTION, remark));
        }
        let subscription = known.ok_or_else(|| missing("subscription"))?;
        if subscription.sub_version < header.sub_version {
            return Err(Reply::error(SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest"));
        }
        Ok(subscription)
    }

    /// Reads the queue and makes the answer, whatever was found.
    fn get(&self, header: &PullMessageRequestHeader, allowed: &Allowed, options: &BrokerOptions) -> PullReply {
        let (topic, queue_id): (&str, i32) = (&header.topic, header.queue_id);
        if options.broker.use_server_side_reset_offset
            && let Some(offset) = self.offsets.take_reset(&header.consumer_group, topic, queue_id)
        {
            let range = (self.store.min_offset(topic, queue_id), self.store.max_offset(topic, queue_id));
            return self.offset_reset(header, allowed, offset, range);
        }
        let query = GetQuery {
            cold: cold_area(options),
            max_bytes: header.max_msg_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX),
            ..GetQuery::new(topic, queue_id, header.queue_offset, usize::try_from(header.max_msg_nums).unwrap_or(0))
        };
        let result = self.store.get(&query, &allowed.filter);
        self.offsets.commit_pull(&header.consumer_group, topic, queue_id, result.next_begin_offset);
        self.read_cold(&header.consumer_group, result.cold_bytes, options);
        let suggest = match options.broker.slave_read_enable {
            true if result.suggest_pulling_from_slave => allowed.group.which_broker_when_consume_slowly,
            true => allowed.group.broker_id,
            false => 0,
        };
        let (code, remark) = code_and_remark(result.status, header.queue_offset);
        let response = PullMessageResponseHeader {
            next_begin_offset: result.next_begin_offset,
            min_offset: result.min_offset,
            max_offset: result.max_offset,
            ..self.response_header(header, allowed, suggest)
        };
        let reply = Reply { code, ..Reply::ok(response).with_remark(remark) };
        match code {
            SUCCESS => {
                self.count(header, &result);
                reply.with_body(records_body(&result.messages))
            }
            PULL_OFFSET_MOVED => {
                tracing::info!(topic, queue_id, group = %header.consumer_group, offset = header.queue_offset,
                    next = result.next_begin_offset, status = remark, "pull outside the queue, offset corrected");
                reply
            }
            _ => reply,
        }
    }

    /// Tells the consumer to go on somewhere else.
    fn offset_reset(
        &self,
        header: &PullMessageRequestHeader,
        allowed: &Allowed,
        offset: i64,
        range: (i64, i64),
    ) -> PullReply {
        self.offsets.commit_pull(&header.consumer_group, &header.topic, header.queue_id, offset);
        let (min_offset, max_offset) = range;
        let header = PullMessageResponseHeader {
            next_begin_offset: offset,
            min_offset,
            max_offset,
            ..self.response_header(header, allowed, 0)
        };
        Reply { code: PULL_OFFSET_MOVED, ..Reply::ok(header).with_remark("OFFSET_RESET") }
    }

    fn response_header(
        &self,
        header: &PullMessageRequestHeader,
        allowed: &Allowed,
        suggest_which_broker_id: i64,
    ) -> PullMessageResponseHeader {
        PullMessageResponseHeader {
            suggest_which_broker_id,
            next_begin_offset: header.queue_offset,
            min_offset: 0,
            max_offset: 0,
            offset_delta: None,
            topic_sys_flag: Some(allowed.topic.topic_sys_flag),
            group_sys_flag: Some(allowed.group.group_sys_flag),
            forbidden_type: None,
        }
    }

    fn commit(&self, header: &PullMessageRequestHeader) {
        let (group, topic) = (&header.consumer_group, &header.topic);
        let wanted = header.sys_flag & pull_flag::COMMIT_OFFSET != 0;
        if wanted && !self.offsets.has_reset(group, topic, header.queue_id) {
            self.offsets.commit(group, topic, header.queue_id, header.commit_offset);
        }
    }

    fn count(&self, header: &PullMessageRequestHeader, result: &GetResult) {
        let key = format!("{}@{}", header.topic, header.consumer_group);
        let messages = i64::try_from(result.message_count).unwrap_or(0);
        self.stats.add(stat::GROUP_GET_NUMS, &key, messages, 1);
        self.stats.add(stat::GROUP_GET_SIZE, &key, i64::try_from(result.total_bytes).unwrap_or(0), 1);
        self.stats.add(stat::BROKER_GET_NUMS, &self.config.get().broker.broker_cluster_name, messages, 1);
    }
}

/// What the logic queue answers where the physical one answers `reply`.
fn translated(logic: Option<&LogicPull>, header: &PullMessageRequestHeader, reply: PullReply) -> PullReply {
    match logic {
        Some(logic) => logic.answer(header.queue_offset, reply),
        None => reply,
    }
}

fn allow_properties(expression_type: &str, broker: &BrokerConfig) -> Result<(), PullReply> {
    match broker.enable_property_filter {
        true => Ok(()),
        false => Err(Reply::error(SYSTEM_ERROR, not_supported(expression_type))),
    }
}

fn forbid(kind: i32, remark: String) -> PullReply {
    let header = PullMessageResponseHeader {
        suggest_which_broker_id: 0,
        next_begin_offset: 0,
        min_offset: 0,
        max_offset: 0,
        offset_delta: None,
        topic_sys_flag: None,
        group_sys_flag: None,
        forbidden_type: Some(kind),
    };
    Reply { code: NO_PERMISSION, ..Reply::ok(header).with_remark(remark) }
}

/// Source: PullMessageProcessor.composeResponseHeader.
fn code_and_remark(status: GetMessageStatus, queue_offset: i64) -> (i32, &'static str) {
    match status {
        GetMessageStatus::Found => (SUCCESS, "FOUND"),
        GetMessageStatus::MessageWasRemoving => (PULL_RETRY_IMMEDIATELY, "MESSAGE_WAS_REMOVING"),
        GetMessageStatus::NoMatchedMessage => (PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE"),
        GetMessageStatus::NoMatchedLogicQueue if queue_offset == 0 => (PULL_NOT_FOUND, "NO_MATCHED_LOGIC_QUEUE"),
        GetMessageStatus::NoMatchedLogicQueue => (PULL_OFFSET_MOVED, "NO_MATCHED_LOGIC_QUEUE"),
        GetMessageStatus::NoMessageInQueue if queue_offset == 0 => (PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE"),
        GetMessageStatus::NoMessageInQueue => (PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE"),
        GetMessageStatus::OffsetFoundNull => (PULL_NOT_FOUND, "OFFSET_FOUND_NULL"),
        GetMessageStatus::OffsetOverflowOne => (PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE"),
        GetMessageStatus::OffsetOverflowBadly => (PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY"),
        GetMessageStatus::OffsetTooSmall => (PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL"),
    }
}
