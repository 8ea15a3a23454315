//! Waiting for a message without popping it (code 200054), and how many pops wait (200055). Sources:
//! broker/processor/NotificationProcessor.java, PollingInfoProcessor.java.

use crate::config::BrokerOptions;
use crate::config_manager::BrokerConfigManager;
use crate::filter::{ConsumerFilterManager, Filter};
use crate::pop::Pop;
use crate::pop::order_info::OrderKey;
use crate::pop::polling::{WaitingPop, Woken};
use crate::processor::pop_checks::{NOTHING_SAID, Reader, readable, wanted};
use crate::processor::pop_message::Dice;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::header::pop::{
    NotificationRequestHeader, NotificationResponseHeader, PollingInfoRequestHeader, PollingInfoResponseHeader,
};
use protocol::names::pop_retry_topic;
use protocol::operation::{Notification, PollingInfo};
use remoting::channel::Channel;
use remoting::clock;
use remoting::reply::{Outcome, Reply, ReplySlot, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::{MessageFilter, MessageStore};
use tokio::runtime::Handle;

type NotificationReply = Reply<NotificationResponseHeader>;

/// Units of a queue whose tags are looked at.
const UNITS: usize = 32;

/// Tells consumers that a pop would find something.
pub struct NotificationProcessor {
    parts: Arc<NotificationParts>,
}

/// What a notification needs, now and when it is woken.
pub struct NotificationParts {
    /// Where messages lie.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// State of POP.
    pub pop: Arc<Pop>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Chooses where the look begins.
    pub dice: Dice,
    /// Expressions of groups.
    pub filters: Arc<ConsumerFilterManager>,
}

impl NotificationProcessor {
    /// A handler over these parts.
    pub fn new(parts: NotificationParts) -> NotificationProcessor {
        NotificationProcessor { parts: Arc::new(parts) }
    }
}

impl Processor<Notification> for NotificationProcessor {
    fn process(&self, request: Request<NotificationRequestHeader>) -> Outcome<NotificationResponseHeader> {
        let mut header = request.header.clone();
        if header.born_time == 0 {
            header.born_time = clock::now_ms();
        }
        match self.parts.look(&header, &request.channel) {
            Looked::Answer(reply) => reply.into(),
            Looked::Nothing(nothing) => {
                let slot = request.slot();
                NotificationParts::wait(&self.parts, header, slot, nothing, &Handle::current());
                Outcome::Parked
            }
        }
    }
}

impl Processor<PollingInfo> for NotificationProcessor {
    fn process(&self, request: Request<PollingInfoRequestHeader>) -> Outcome<PollingInfoResponseHeader> {
        let header = &request.header;
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let parts = &self.parts;
        let reader = Reader { topic, queue_id: header.queue_id, group, peer: request.channel.peer() };
        let checked: Result<_, Reply<PollingInfoResponseHeader>> =
            readable(&reader, "peeking", &parts.config.get(), &parts.topics, &parts.groups);
        if let Err(reply) = checked {
            return Reply { header: Some(PollingInfoResponseHeader::default()), ..reply }.into();
        }
        let waiting = parts.pop.arrivals.pops.len(topic, group, header.queue_id);
        let polling_num = i32::try_from(waiting).unwrap_or(i32::MAX);
        Reply::ok(PollingInfoResponseHeader { polling_num }).with_remark(NOTHING_SAID).into()
    }
}

enum Looked {
    Answer(NotificationReply),
    Nothing(Nothing),
}

/// There was nothing in the queues.
struct Nothing {
    filter: Option<Filter>,
    /// Sum of the ends that the queues had before they were looked at.
    ends: i64,
}

impl NotificationParts {
    fn look(&self, header: &NotificationRequestHeader, channel: &Channel) -> Looked {
        let options = self.config.get();
        let ends = self.ends(header, &options);
        match self.find(header, channel, &options) {
            Ok(Ok(())) => Looked::Answer(answer(true, false)),
            Ok(Err(filter)) => Looked::Nothing(Nothing { filter, ends }),
            Err(reply) => Looked::Answer(Reply { header: Some(NotificationResponseHeader::default()), ..reply }),
        }
    }

    /// Grows with every message that may be one for this request.
    fn ends(&self, header: &NotificationRequestHeader, options: &BrokerOptions) -> i64 {
        let all = |topic: &str| {
            let queues = self.topics.get(topic).map_or(0, |config| config.read_queue_nums);
            (0..queues).map(|queue_id| self.store.max_offset(topic, queue_id)).sum::<i64>()
        };
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let own = if header.queue_id < 0 { all(topic) } else { self.store.max_offset(topic, header.queue_id) };
        own + all(&pop_retry_topic(topic, group, options.broker.enable_retry_topic_v2))
    }

    /// Within `Ok`: whether there is something, else the filter of who waits for it.
    fn find(
        &self,
        header: &NotificationRequestHeader,
        channel: &Channel,
        options: &BrokerOptions,
    ) -> Result<Result<(), Option<Filter>>, NotificationReply> {
        let broker = &options.broker;
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let reader = Reader { topic, queue_id: header.queue_id, group, peer: channel.peer() };
        let (config, _) = readable(&reader, "peeking", options, &self.topics, &self.groups)?;
        let expression = header.exp.as_deref().filter(|exp| !exp.is_empty());
        let kind = header.exp_type.as_deref().filter(|kind| !kind.is_empty());
        let filter = match (expression, kind) {
            (Some(expression), Some(kind)) if broker.use_message_filter_for_notification => {
                Some(wanted((topic, group), Some(kind), expression, &self.filters, broker)?.1)
            }
            _ => None,
        };
        let turn = self.dice.roll();
        let any = |topic: &str, queues: i32, filter: Option<&Filter>| {
            (0..queues).any(|step| self.queue_has(header, topic, (turn + step) % queues, filter, broker))
        };
        let mut found = match header.queue_id {
            ..0 => any(topic, config.read_queue_nums, filter.as_ref()),
            queue_id => self.queue_has(header, topic, queue_id, filter.as_ref(), broker),
        };
        let v2 = broker.enable_retry_topic_v2;
        let old_form = v2 && broker.retrieve_message_from_pop_retry_topic_v1;
        for form in [Some(v2), old_form.then_some(false)].into_iter().flatten() {
            let retry_topic = pop_retry_topic(topic, group, form);
            let queues = self.topics.get(&retry_topic).map_or(0, |config| config.read_queue_nums);
            found = found || any(&retry_topic, queues, None);
        }
        Ok(if found { Ok(()) } else { Err(filter) })
    }

    fn queue_has(
        &self,
        header: &NotificationRequestHeader,
        topic: &str,
        queue_id: i32,
        filter: Option<&Filter>,
        broker: &crate::config::BrokerConfig,
    ) -> bool {
        let group: &str = &header.consumer_group;
        if header.order {
            let key = OrderKey { topic: header.topic.to_string(), group: group.to_owned(), queue_id };
            if self.pop.orders.is_blocked(&key, header.attempt_id.as_deref(), 0, clock::now_ms()) {
                return false;
            }
        }
        let offset = self.pop.next_offset(topic, group, queue_id);
        let rest = self.store.max_offset(topic, queue_id) - offset;
        match filter {
            Some(filter) if rest < i64::from(broker.max_message_filter_num_for_notification) => {
                let units = self.store.queue_units(topic, queue_id, offset, UNITS);
                units.iter().any(|unit| filter.by_queue_unit(unit.tags_code))
            }
            _ => rest > 0,
        }
    }

    fn wait(
        parts: &Arc<NotificationParts>,
        header: NotificationRequestHeader,
        slot: ReplySlot<NotificationResponseHeader>,
        nothing: Nothing,
        handle: &Handle,
    ) {
        if header.poll_time <= 0 {
            slot.send(answer(false, false));
            return;
        }
        let (wish, queue_id) = (header.clone(), header.queue_id);
        let (channel, shared, runtime) = (slot.channel().clone(), parts.clone(), handle.clone());
        let waiting = WaitingPop {
            expires_ms: header.born_time.saturating_add(header.poll_time),
            filter: nothing.filter.map(|filter| Box::new(filter) as _),
            is_gone: Box::new(move || channel.is_closed()),
            resume: Box::new(move |why| match why {
                Woken::LetGo => slot.discard(),
                Woken::Full => slot.send(answer(false, true)),
                Woken::TimedOut => slot.send(answer(false, false)),
                Woken::Look => {
                    let again = NotificationParts::resume(shared, header, slot, runtime.clone());
                    drop(runtime.spawn(again));
                }
            }),
        };
        let options = parts.config.get();
        let polling = &parts.pop.arrivals.notifications;
        let (topic, group) = (&wish.topic, &wish.consumer_group);
        let waits = polling.wait(topic, group, queue_id, waiting, options.polling_limits(), clock::now_ms());
        // What arrived between the look and the wait has woken nobody.
        if waits && parts.ends(&wish, &options) > nothing.ends {
            polling.wake(topic, group, queue_id);
        }
    }

    async fn resume(
        parts: Arc<NotificationParts>,
        header: NotificationRequestHeader,
        slot: ReplySlot<NotificationResponseHeader>,
        handle: Handle,
    ) {
        match parts.look(&header, slot.channel()) {
            Looked::Answer(reply) => slot.send(reply),
            Looked::Nothing(nothing) => NotificationParts::wait(&parts, header, slot, nothing, &handle),
        }
    }
}

fn answer(has_msg: bool, polling_full: bool) -> NotificationReply {
    Reply::ok(NotificationResponseHeader { has_msg, polling_full }).with_remark(NOTHING_SAID)
}
