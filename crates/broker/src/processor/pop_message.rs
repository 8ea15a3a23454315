//! Pops: code 200050. Source: broker/processor/PopMessageProcessor.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::{BrokerOptions, FlushDiskType};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::filter::{ConsumerFilterManager, Filter};
use crate::pop::Pop;
use crate::pop::polling::{WaitingPop, Woken};
use crate::pop::receipt::{ORDER_REVIVE_QUEUE, PopInfo};
use crate::processor::pop_checks::{Reader, broker_readable, topic_and_group, wanted, wanted_count};
use crate::processor::pop_queue::{Look, Popping};
use crate::reply::wait_flushed;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::TopicConfig;
use protocol::header::pop::{PopMessageRequestHeader, PopMessageResponseHeader};
use protocol::names::pop_retry_topic;
use protocol::operation::PopMessage;
use protocol::response_code::{INVALID_PARAMETER, POLLING_FULL, POLLING_TIMEOUT, SYSTEM_ERROR};
use remoting::channel::Channel;
use remoting::clock;
use remoting::reply::{Body, Outcome, Reply, ReplySlot, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::MessageStore;
use tokio::runtime::Handle;

pub(super) type PopReply = Reply<PopMessageResponseHeader>;

/// Most messages of one pop.
const MAX_MESSAGES: i32 = 32;
/// A request that comes so long after its time is over is not looked at, ms.
const TOO_LATE_MS: i64 = 500;

/// Hands out messages one by one, and has pops wait until there are some.
pub struct PopMessageProcessor {
    parts: Arc<PopParts>,
}

/// What a pop needs, now and when it is woken.
pub struct PopParts {
    /// Where messages lie.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Subscriptions that pops bring along.
    pub consumers: Arc<ConsumerManager>,
    /// State of POP.
    pub pop: Arc<Pop>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Chooses where a pop begins.
    pub dice: Dice,
    /// Expressions of groups.
    pub filters: Arc<ConsumerFilterManager>,
}

impl PopMessageProcessor {
    /// A handler over these parts.
    pub fn new(parts: PopParts) -> PopMessageProcessor {
        PopMessageProcessor { parts: Arc::new(parts) }
    }
}

impl Processor<PopMessage> for PopMessageProcessor {
    fn process(&self, request: Request<PopMessageRequestHeader>) -> Outcome<PopMessageResponseHeader> {
        let mut header = request.header.clone();
        if header.born_time == 0 {
            header.born_time = clock::now_ms();
        }
        match PopParts::pop(&self.parts, &header, &request.channel) {
            Popped::Answer(reply, None) => reply.into(),
            Popped::Answer(reply, Some(end)) => {
                let parts = self.parts.clone();
                Outcome::Later(Box::pin(async move { parts.once_flushed(reply, end).await }))
            }
            Popped::Nothing(nothing) => {
                let held = Held { header, slot: request.slot() };
                PopParts::wait(&self.parts, held, nothing, &Handle::current());
                Outcome::Parked
            }
        }
    }
}

/// A pop that may go ahead.
struct Allowed {
    topic: Arc<TopicConfig>,
    group: Arc<SubscriptionGroupConfig>,
    filter: Filter,
    wanted: usize,
}

/// What became of a pop.
enum Popped {
    /// This is the answer, once the log is on disk up to there.
    Answer(PopReply, Option<u64>),
    /// Nothing was found.
    Nothing(Nothing),
}

struct Nothing {
    response: PopMessageResponseHeader,
    look: Look,
    filter: Filter,
}

/// A pop that waits, with the duty to answer it.
struct Held {
    header: PopMessageRequestHeader,
    slot: ReplySlot<PopMessageResponseHeader>,
}

impl PopParts {
    fn pop(parts: &Arc<PopParts>, header: &PopMessageRequestHeader, channel: &Channel) -> Popped {
        let options = parts.config.get();
        match parts.check(header, channel, &options) {
            Ok(allowed) => parts.take(header, allowed, &options),
            Err(reply) => Popped::Answer(Reply { header: Some(PopMessageResponseHeader::default()), ..reply }, None),
        }
    }

    fn check(
        &self,
        header: &PopMessageRequestHeader,
        channel: &Channel,
        options: &BrokerOptions,
    ) -> Result<Allowed, PopReply> {
        let broker_ip = &options.broker.broker_ip1;
        let over = header.born_time.saturating_add(header.poll_time).saturating_add(TOO_LATE_MS);
        if clock::now_ms() > over {
            let remark = format!("the broker[{broker_ip}] pop message is timeout too much");
            return Err(Reply::error(POLLING_TIMEOUT, remark));
        }
        broker_readable("pop", options)?;
        if header.max_msg_nums > MAX_MESSAGES {
            let remark = format!("the broker[{broker_ip}] pop message's num is greater than {MAX_MESSAGES}");
            return Err(Reply::error(INVALID_PARAMETER, remark));
        }
        if !options.store.timer_wheel_enable {
            let remark = format!("the broker[{broker_ip}] pop message is forbidden because timerWheelEnable is false");
            return Err(Reply::error(SYSTEM_ERROR, remark));
        }
        let (topic_name, group_name): (&str, &str) = (&header.topic, &header.consumer_group);
        let reader = Reader { topic: topic_name, queue_id: header.queue_id, group: group_name, peer: channel.peer() };
        let (topic, group) = topic_and_group(&reader, options, &self.topics, &self.groups)?;
        let expression = header.exp.as_deref().filter(|exp| !exp.is_empty());
        let kind = expression.and(header.exp_type.as_deref());
        let (subscription, filter) =
            wanted((topic_name, group_name), kind, expression.unwrap_or("*"), &self.filters, &options.broker)?;
        self.consumers.compensate(group_name, &subscription);
        let retry_topic = pop_retry_topic(topic_name, group_name, options.broker.enable_retry_topic_v2);
        let (subscription, _) = wanted((&retry_topic, group_name), None, "*", &self.filters, &options.broker)?;
        self.consumers.compensate(group_name, &subscription);
        Ok(Allowed { topic, group, filter, wanted: wanted_count(header.max_msg_nums)? })
    }

    /// Looks into the queues and makes the answer when something is found.
    fn take(&self, header: &PopMessageRequestHeader, allowed: Allowed, options: &BrokerOptions) -> Popped {
        let broker = &options.broker;
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        let dice = self.dice.roll();
        let factor = allowed.group.attributes.get("priority.factor").and_then(|factor| factor.parse().ok());
        let by_priority = !header.order
            && allowed.topic.attributes.get("message.type").is_some_and(|kind| kind == "PRIORITY")
            && dice < factor.unwrap_or(100);
        let retry_share = match by_priority {
            true => broker.pop_from_retry_probability_for_priority,
            false => broker.pop_from_retry_probability,
        };
        let v2 = broker.enable_retry_topic_v2;
        let old_form = v2 && broker.retrieve_message_from_pop_retry_topic_v1 && dice % 2 == 0;
        let retry_topic = pop_retry_topic(topic, group, v2 && !old_form);
        let retry_first = dice < retry_share;
        let turn = if by_priority { 0 } else { dice };
        let revive_qid = if header.order { ORDER_REVIVE_QUEUE } else { self.pop.log.next_queue() };

        let mut popping = Popping::new(self, header, &allowed.filter, options, (allowed.wanted, revive_qid));
        let retry = |popping: &mut Popping<'_>| match self.topics.get(&retry_topic) {
            _ if header.order => {}
            Some(config) => popping.all_queues(&retry_topic, config.read_queue_nums, turn),
            None => popping.look.passed_by(&retry_topic),
        };
        if retry_first {
            retry(&mut popping);
        }
        match header.queue_id {
            ..0 => popping.all_queues(topic, allowed.topic.read_queue_nums, turn),
            queue_id => popping.queue(topic, queue_id),
        }
        if !retry_first && !popping.is_full() {
            retry(&mut popping);
        }
        let Popping { found, parts_of_body, info, look, pop_time, flush_end, .. } = popping;
        let response = response(header, &info, look.rest, pop_time, revive_qid);
        if found == 0 {
            return Popped::Nothing(Nothing { response, look, filter: allowed.filter });
        }
        if look.rest > 0 {
            self.pop.arrivals.pops.wake(topic, group, header.queue_id);
        }
        let reply = Reply::ok(response).with_remark("FOUND").with_body(Body::Many(parts_of_body));
        let sync = options.store.flush_disk_type == FlushDiskType::SyncFlush;
        Popped::Answer(reply, flush_end.filter(|_| sync))
    }

    /// A check point must be as safe as the offset that goes on past its messages.
    async fn once_flushed(&self, reply: PopReply, end: u64) -> PopReply {
        let timeout = self.config.get().store.sync_flush_timeout;
        if let Err(error) = wait_flushed(self.store.flushed(end), timeout).await {
            tracing::warn!(%error, "a check point is not known to be on disk");
        }
        reply
    }

    /// Has a pop wait, or answers that it cannot.
    fn wait(parts: &Arc<PopParts>, held: Held, nothing: Nothing, handle: &Handle) {
        let Nothing { response, look, filter } = nothing;
        let (topic, group) = (held.header.topic.clone(), held.header.consumer_group.clone());
        let queue_id = held.header.queue_id;
        let (channel, shared, runtime) = (held.slot.channel().clone(), parts.clone(), handle.clone());
        let refuse = move |slot: ReplySlot<PopMessageResponseHeader>, code| {
            slot.send(Reply { code, ..Reply::ok(response).with_remark("NO_MESSAGE_IN_QUEUE") });
        };
        if held.header.poll_time <= 0 {
            refuse(held.slot, POLLING_TIMEOUT);
            return;
        }
        let waiting = WaitingPop {
            expires_ms: held.header.born_time.saturating_add(held.header.poll_time),
            filter: Some(Box::new(filter)),
            is_gone: Box::new(move || channel.is_closed()),
            resume: Box::new(move |why| match why {
                Woken::LetGo => held.slot.discard(),
                Woken::Full => refuse(held.slot, POLLING_FULL),
                Woken::TimedOut => refuse(held.slot, POLLING_TIMEOUT),
                // Not on the thread that tells of the message: popping writes to the store.
                Woken::Look => drop(runtime.clone().spawn(PopParts::resume(shared, held, runtime))),
            }),
        };
        let limits = parts.config.get().polling_limits();
        if parts.pop.arrivals.pops.wait(&topic, &group, queue_id, waiting, limits, clock::now_ms())
            && look.may_find_more(&parts.store)
        {
            parts.pop.arrivals.pops.wake(&topic, &group, queue_id);
        }
    }

    async fn resume(parts: Arc<PopParts>, held: Held, handle: Handle) {
        if held.slot.channel().is_closed() {
            held.slot.discard();
            return;
        }
        match PopParts::pop(&parts, &held.header, held.slot.channel()) {
            Popped::Answer(reply, None) => held.slot.send(reply),
            Popped::Answer(reply, Some(end)) => {
                let reply = parts.once_flushed(reply, end).await;
                held.slot.send(reply);
            }
            Popped::Nothing(nothing) => PopParts::wait(&parts, held, nothing, &handle),
        }
    }

    pub(super) fn count(&self, header: &PopMessageRequestHeader, topic: &str, messages: usize, bytes: usize) {
        let key = format!("{topic}@{}", header.consumer_group);
        let messages = i64::try_from(messages).unwrap_or(0);
        self.stats.add(stat::GROUP_GET_NUMS, &key, messages, 1);
        self.stats.add(stat::GROUP_GET_SIZE, &key, i64::try_from(bytes).unwrap_or(0), 1);
        self.stats.add(stat::BROKER_GET_NUMS, &self.config.get().broker.broker_cluster_name, messages, 1);
    }
}

fn response(
    header: &PopMessageRequestHeader,
    info: &PopInfo,
    rest: i64,
    pop_time: i64,
    revive_qid: i32,
) -> PopMessageResponseHeader {
    PopMessageResponseHeader {
        pop_time,
        invisible_time: header.invisible_time,
        revive_qid,
        rest_num: rest,
        start_offset_info: Some(info.start_offsets.as_str().into()),
        msg_offset_info: Some(info.message_offsets.as_str().into()),
        order_count_info: header.order.then(|| info.order_counts.as_str().into()),
    }
}

/// Numbers from 0 to 99 that nobody can foresee well enough to matter.
#[derive(Debug, Default)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The next number.
    pub fn roll(&self) -> i32 {
        // splitmix64: consecutive states give unrelated numbers.
        let mut mixed = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        i32::try_from((mixed ^ mixed >> 31) % 100).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_show_all_sides_alike() {
        let dice = Dice::default();
        let mut seen = [0; 100];
        for _ in 0..100_000 {
            seen[usize::try_from(dice.roll()).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }
}
