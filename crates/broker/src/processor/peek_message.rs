//! Looking at what a pop would find: code 200052. Source: broker/processor/PeekMessageProcessor.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::pop::Pop;
use crate::processor::pop_checks::{Reader, readable, wanted_count};
use crate::processor::pop_message::{Dice, PopReply};
use crate::reply::records_body;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::topic::TopicConfig;
use protocol::header::pop::{PeekMessageRequestHeader, PopMessageResponseHeader};
use protocol::names::pop_retry_topic;
use protocol::operation::PeekMessage;
use protocol::response_code::PULL_NOT_FOUND;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::{AllMessages, GetMessageStatus, GetQuery, MappedSlice, MessageStore};

/// The share of peeks that look at retried messages first.
const RETRY_FIRST: i32 = 5;

/// Shows messages and leaves everything as it is.
pub struct PeekMessageProcessor {
    /// Where messages lie.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// State of POP.
    pub pop: Arc<Pop>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Chooses where a peek begins.
    pub dice: Dice,
}

/// A peek under way.
struct Peeking<'a> {
    processor: &'a PeekMessageProcessor,
    group: &'a str,
    wanted: usize,
    messages: Vec<MappedSlice>,
    rest: i64,
}

impl Processor<PeekMessage> for PeekMessageProcessor {
    fn process(&self, request: Request<PeekMessageRequestHeader>) -> Outcome<PopMessageResponseHeader> {
        let header = &request.header;
        let options = self.config.get();
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let reader = Reader { topic, queue_id: header.queue_id, group, peer: request.channel.peer() };
        let checked: Result<_, PopReply> = readable(&reader, "peeking", &options, &self.topics, &self.groups)
            .and_then(|(config, _)| Ok((config, wanted_count(header.max_msg_nums)?)));
        match checked {
            Ok((config, wanted)) => self.peek(header, &config, wanted, options.broker.enable_retry_topic_v2).into(),
            Err(reply) => Reply { header: Some(PopMessageResponseHeader::default()), ..reply }.into(),
        }
    }
}

impl PeekMessageProcessor {
    fn peek(&self, header: &PeekMessageRequestHeader, config: &TopicConfig, wanted: usize, v2: bool) -> PopReply {
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let dice = self.dice.roll();
        let mut peeking = Peeking { processor: self, group, wanted, messages: Vec::new(), rest: 0 };
        let retry_first = dice % RETRY_FIRST == 0;
        let retry_topic = pop_retry_topic(topic, group, v2);
        let retry_queues = self.topics.get(&retry_topic).map_or(0, |config| config.read_queue_nums);
        if retry_first {
            peeking.all_queues(&retry_topic, retry_queues, dice);
        }
        match header.queue_id {
            ..0 => peeking.all_queues(topic, config.read_queue_nums, dice),
            queue_id => peeking.queue(topic, queue_id),
        }
        if !retry_first && peeking.messages.len() < wanted {
            peeking.all_queues(&retry_topic, retry_queues, dice);
        }
        let Peeking { messages, rest, .. } = peeking;
        let response = PopMessageResponseHeader { rest_num: rest, ..PopMessageResponseHeader::default() };
        if messages.is_empty() {
            return Reply { code: PULL_NOT_FOUND, ..Reply::ok(response).with_remark("NO_MESSAGE_IN_QUEUE") };
        }
        let key = format!("{topic}@{group}");
        let bytes = messages.iter().map(|message| message.len()).sum::<usize>();
        self.stats.add(stat::GROUP_GET_NUMS, &key, i64::try_from(messages.len()).unwrap_or(0), 1);
        self.stats.add(stat::GROUP_GET_SIZE, &key, i64::try_from(bytes).unwrap_or(0), 1);
        Reply::ok(response).with_remark("FOUND").with_body(records_body(&messages))
    }
}

impl Peeking<'_> {
    fn all_queues(&mut self, topic: &str, queues: i32, turn: i32) {
        for step in 0..queues {
            self.queue(topic, (turn + step) % queues);
        }
    }

    fn queue(&mut self, topic: &str, queue_id: i32) {
        let store = &self.processor.store;
        let offset = self.processor.pop.next_offset(topic, self.group, queue_id);
        self.rest += store.max_offset(topic, queue_id) - offset;
        if self.messages.len() >= self.wanted {
            return;
        }
        let wanted = self.wanted - self.messages.len();
        let mut result = store.get(&GetQuery::new(topic, queue_id, offset, wanted), &AllMessages);
        if matches!(result.status, GetMessageStatus::OffsetTooSmall | GetMessageStatus::OffsetOverflowBadly) {
            result = store.get(&GetQuery::new(topic, queue_id, result.next_begin_offset, wanted), &AllMessages);
        }
        self.messages.extend(result.messages);
    }
}
