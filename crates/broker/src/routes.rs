//! The single table of what this broker answers.

use crate::parts::Parts;
use crate::processor::ack_message::AckMessageProcessor;
use crate::processor::admin::client::ClientAdmin;
use crate::processor::admin::cold_data::ColdDataAdmin;
use crate::processor::admin::config::ConfigAdmin;
use crate::processor::admin::group::GroupAdmin;
use crate::processor::admin::offset::OffsetAdmin;
use crate::processor::admin::reset_offset::ResetOffsetAdmin;
use crate::processor::admin::runtime::RuntimeAdmin;
use crate::processor::admin::static_topic::StaticTopicAdmin;
use crate::processor::admin::stats::StatsAdmin;
use crate::processor::admin::timer::TimerAdmin;
use crate::processor::admin::topic::TopicAdmin;
use crate::processor::change_invisible_time::ChangeInvisibleTimeProcessor;
use crate::processor::client_manage::ClientManageProcessor;
use crate::processor::consumer_manage::ConsumerManageProcessor;
use crate::processor::consumer_send_msg_back::ConsumerSendMsgBackProcessor;
use crate::processor::end_transaction::EndTransactionProcessor;
use crate::processor::lock_batch_mq::LockBatchMqProcessor;
use crate::processor::notification::{NotificationParts, NotificationProcessor};
use crate::processor::peek_message::PeekMessageProcessor;
use crate::processor::pop_message::{Dice, PopMessageProcessor, PopParts};
use crate::processor::pull_message::{PullMessageProcessor, PullParts};
use crate::processor::query_assignment::{AssignmentParts, QueryAssignmentProcessor};
use crate::processor::query_message::QueryMessageProcessor;
use crate::processor::recall_message::RecallMessageProcessor;
use crate::processor::reply_message::ReplyMessageProcessor;
use crate::processor::send_message::SendMessageProcessor;
use crate::static_topic::offsets::{Generations, LogicOffsets};
use crate::static_topic::peers::Peers;
use crate::static_topic::pull::LogicPulls;
use crate::static_topic::send::LogicSend;
use protocol::operation::*;
use remoting::client::Client;
use remoting::routes::{Lane, Routes};
use std::sync::Arc;

const ADMIN_THREADS: usize = 4;
const QUERY_THREADS: usize = 4;

/// Handlers of the main port and of the VIP port, and the one that keeps the tables of clients.
pub struct BrokerRoutes {
    /// For listenPort.
    pub main: Arc<Routes>,
    /// For listenPort - 2: everything but pulls. Source: BrokerController.registerProcessor.
    pub vip: Arc<Routes>,
    /// Is told of closed connections.
    pub clients: Arc<ClientManageProcessor>,
}

impl BrokerRoutes {
    /// The tables over these parts; `client` asks nameservers.
    pub fn new(p: &Parts, client: &Arc<Client>) -> BrokerRoutes {
        let clients = Arc::new(ClientManageProcessor {
            consumers: p.consumers.clone(),
            producers: p.producers.clone(),
            groups: p.groups.clone(),
            topics: p.topics.clone(),
            filters: p.filters.clone(),
            config: p.config.clone(),
        });
        let pull = Arc::new(PullMessageProcessor::new(PullParts {
            store: p.store.clone(),
            topics: p.topics.clone(),
            groups: p.groups.clone(),
            consumers: p.consumers.clone(),
            filters: p.filters.clone(),
            offsets: p.offsets.clone(),
            broadcasts: p.broadcasts.clone(),
            cold: p.cold.clone(),
            cold_holds: PullParts::cold_holds(),
            hold: p.hold.clone(),
            stats: p.stats.clone(),
            config: p.config.clone(),
        }));
        let peers = Arc::new(Peers::new(client.clone(), p.config.clone()));
        let pull = Arc::new(LogicPulls { mappings: p.mappings.clone(), pull, peers: peers.clone() });
        let queue = |capacity: i32| usize::try_from(capacity).unwrap_or(1);
        let broker = &p.config.get().broker;
        let lanes = Lanes {
            admin: Lane::pool("admin", ADMIN_THREADS, queue(broker.admin_broker_thread_pool_queue_capacity)),
            query: Lane::pool("query", QUERY_THREADS, queue(broker.query_thread_pool_queue_capacity)),
        };
        let assignment = Arc::new(QueryAssignmentProcessor::new(AssignmentParts {
            topics: p.topics.clone(),
            groups: p.groups.clone(),
            consumers: p.consumers.clone(),
            modes: p.modes.clone(),
            config: p.config.clone(),
            client: client.clone(),
            routes: Default::default(),
        }));
        let vip = common(p, &clients, &lanes, &assignment, &peers);
        let main = common(p, &clients, &lanes, &assignment, &peers)
            .on::<PullMessage>(Lane::Connection, pull.clone())
            .on::<LitePullMessage>(Lane::Connection, pull);
        let main = pops(p, main);
        BrokerRoutes { main: Arc::new(main), vip: Arc::new(vip), clients }
    }
}

/// What only the main port answers of POP.
fn pops(p: &Parts, routes: Routes) -> Routes {
    let pop = Arc::new(PopMessageProcessor::new(PopParts {
        store: p.store.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        consumers: p.consumers.clone(),
        pop: p.pop.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        dice: Dice::default(),
        filters: p.filters.clone(),
    }));
    let peek = Arc::new(PeekMessageProcessor {
        store: p.store.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        pop: p.pop.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        dice: Dice::default(),
    });
    let notification = Arc::new(NotificationProcessor::new(NotificationParts {
        store: p.store.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        pop: p.pop.clone(),
        config: p.config.clone(),
        dice: Dice::default(),
        filters: p.filters.clone(),
    }));
    routes
        .on::<PopMessage>(Lane::Connection, pop)
        .on::<PeekMessage>(Lane::Connection, peek)
        .on::<Notification>(Lane::Connection, notification.clone())
        .on::<PollingInfo>(Lane::Connection, notification)
}

struct Lanes {
    admin: Lane,
    query: Lane,
}

fn common(
    p: &Parts,
    clients: &Arc<ClientManageProcessor>,
    lanes: &Lanes,
    assignment: &Arc<QueryAssignmentProcessor>,
    peers: &Arc<Peers>,
) -> Routes {
    let ack = Arc::new(AckMessageProcessor {
        store: p.store.clone(),
        topics: p.topics.clone(),
        pop: p.pop.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
    });
    let change = Arc::new(ChangeInvisibleTimeProcessor {
        store: p.store.clone(),
        topics: p.topics.clone(),
        pop: p.pop.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
    });
    let send = Arc::new(SendMessageProcessor {
        store: p.store.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        locks: p.locks.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        levels: p.levels.clone(),
        transactions: p.transactions.clone(),
        timer: p.timer.clone(),
        store_host: p.store_host,
        ids: p.ids.clone(),
    });
    let recall = Arc::new(RecallMessageProcessor {
        store: p.store.clone(),
        timer: p.timer.clone(),
        topics: p.topics.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        store_host: p.store_host,
    });
    let end_transaction = Arc::new(EndTransactionProcessor {
        store: p.store.clone(),
        transactions: p.transactions.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        store_host: p.store_host,
    });
    let reply = Arc::new(ReplyMessageProcessor { send: send.clone(), producers: p.producers.clone() });
    let send_back = Arc::new(ConsumerSendMsgBackProcessor {
        store: p.store.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        levels: p.levels.clone(),
        store_host: p.store_host,
        ids: p.ids.clone(),
    });
    let consumer = Arc::new(ConsumerManageProcessor {
        consumers: p.consumers.clone(),
        offsets: p.offsets.clone(),
        groups: p.groups.clone(),
        topics: p.topics.clone(),
        store: p.store.clone(),
        config: p.config.clone(),
    });
    let logic_send = Arc::new(LogicSend { mappings: p.mappings.clone(), send });
    let lock = Arc::new(LockBatchMqProcessor { locks: p.locks.clone() });
    let query = Arc::new(QueryMessageProcessor {
        store: p.store.clone(),
        consumers: p.consumers.clone(),
        filters: p.filters.clone(),
        config: p.config.clone(),
    });
    let routes = Routes::new()
        .on::<SendMessage>(Lane::Connection, logic_send.clone())
        .on::<SendMessageV2>(Lane::Connection, logic_send.clone())
        .on::<SendBatchMessage>(Lane::Connection, logic_send)
        .on::<SendReplyMessage>(Lane::Connection, reply.clone())
        .on::<SendReplyMessageV2>(Lane::Connection, reply)
        .on::<RecallMessage>(Lane::Connection, recall)
        .on::<ConsumerSendMsgBack>(Lane::Connection, send_back)
        .on::<EndTransaction>(Lane::Connection, end_transaction.clone())
        .on::<ResumeCheckHalfMessage>(lanes.admin.clone(), end_transaction)
        .on::<AckMessage>(Lane::Connection, ack.clone())
        .on::<BatchAckMessage>(Lane::Connection, ack)
        .on::<ChangeMessageInvisibleTime>(Lane::Connection, change)
        .on::<QueryAssignment>(Lane::Connection, assignment.clone())
        .on::<SetMessageRequestMode>(lanes.admin.clone(), assignment.clone())
        .on::<GetAllMessageRequestMode>(lanes.admin.clone(), assignment.clone())
        .on::<HeartBeat>(Lane::Connection, clients.clone())
        .on::<UnregisterClient>(Lane::Connection, clients.clone())
        .on::<CheckClientConfig>(Lane::Connection, clients.clone())
        .on::<GetConsumerListByGroup>(Lane::Connection, consumer.clone())
        .on::<LockBatchMq>(Lane::Connection, lock.clone())
        .on::<UnlockBatchMq>(Lane::Connection, lock)
        .on::<QueryMessage>(lanes.query.clone(), query.clone())
        .on::<ViewMessageById>(lanes.query.clone(), query.clone())
        .on::<QueryConsumeQueue>(lanes.query.clone(), query);
    admin(p, routes, &lanes.admin, consumer, peers)
}

fn admin(p: &Parts, routes: Routes, lane: &Lane, consumer: Arc<ConsumerManageProcessor>, peers: &Arc<Peers>) -> Routes {
    let topic = Arc::new(TopicAdmin {
        topics: p.topics.clone(),
        mappings: p.mappings.clone(),
        announcements: p.announcements.clone(),
        offsets: p.offsets.clone(),
        store: p.store.clone(),
        timer: p.timer.clone(),
        stats: p.stats.clone(),
        pop: p.pop.clone(),
        config: p.config.clone(),
    });
    let group = Arc::new(GroupAdmin {
        groups: p.groups.clone(),
        offsets: p.offsets.clone(),
        consumers: p.consumers.clone(),
        pop: p.pop.clone(),
        config: p.config.clone(),
    });
    let offset = Arc::new(OffsetAdmin {
        store: p.store.clone(),
        offsets: p.offsets.clone(),
        schedule: p.schedule.clone(),
        topics: p.topics.clone(),
        consumers: p.consumers.clone(),
        config: p.config.clone(),
    });
    let reset = Arc::new(ResetOffsetAdmin {
        store: p.store.clone(),
        offsets: p.offsets.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        consumers: p.consumers.clone(),
        pop: p.pop.clone(),
        config: p.config.clone(),
    });
    let logic = Arc::new(LogicOffsets {
        mappings: p.mappings.clone(),
        queues: offset.clone(),
        groups: consumer,
        generations: Arc::new(Generations { store: p.store.clone(), offsets: p.offsets.clone(), peers: peers.clone() }),
    });
    let static_topic = Arc::new(StaticTopicAdmin { topic: topic.clone(), hold: p.hold.clone() });
    let routes = routes
        .on::<UpdateAndCreateStaticTopic>(lane.clone(), static_topic)
        .on::<UpdateConsumerOffset>(Lane::Connection, logic.clone())
        .on::<QueryConsumerOffset>(Lane::Connection, logic.clone())
        .on::<UpdateAndCreateTopic>(lane.clone(), topic.clone())
        .on::<UpdateAndCreateTopicList>(lane.clone(), topic.clone())
        .on::<DeleteTopicInBroker>(lane.clone(), topic.clone())
        .on::<GetTopicConfig>(lane.clone(), topic.clone())
        .on::<GetAllTopicConfig>(lane.clone(), topic.clone())
        .on::<GetTopicStatsInfo>(lane.clone(), topic.clone())
        .on::<GetSystemTopicListFromBroker>(lane.clone(), topic.clone())
        .on::<CleanUnusedTopic>(lane.clone(), topic)
        .on::<UpdateAndCreateSubscriptionGroup>(lane.clone(), group.clone())
        .on::<UpdateAndCreateSubscriptionGroupList>(lane.clone(), group.clone())
        .on::<GetSubscriptionGroupConfig>(lane.clone(), group.clone())
        .on::<GetAllSubscriptionGroupConfig>(lane.clone(), group.clone())
        .on::<DeleteSubscriptionGroup>(lane.clone(), group.clone())
        .on::<UpdateAndGetGroupForbidden>(lane.clone(), group.clone())
        .on::<QueryTopicConsumeByWho>(lane.clone(), group.clone())
        .on::<QueryTopicsByConsumer>(lane.clone(), group.clone())
        .on::<QuerySubscriptionByConsumer>(lane.clone(), group)
        .on::<GetMaxOffset>(Lane::Connection, logic.clone())
        .on::<GetMinOffset>(Lane::Connection, logic.clone())
        .on::<SearchOffsetByTimestamp>(lane.clone(), logic.clone())
        .on::<GetEarliestMsgStoretime>(lane.clone(), logic)
        .on::<GetAllConsumerOffset>(lane.clone(), offset.clone())
        .on::<GetAllDelayOffset>(lane.clone(), offset.clone())
        .on::<InvokeBrokerToResetOffset>(lane.clone(), reset.clone())
        .on::<InvokeBrokerToGetConsumerStatus>(lane.clone(), reset)
        .on::<CloneGroupOffset>(lane.clone(), offset.clone())
        .on::<QueryCorrectionOffset>(lane.clone(), offset.clone())
        .on::<QueryConsumeTimeSpan>(lane.clone(), offset);
    operation(p, routes, lane)
}

fn operation(p: &Parts, routes: Routes, lane: &Lane) -> Routes {
    let stats = Arc::new(StatsAdmin {
        store: p.store.clone(),
        offsets: p.offsets.clone(),
        topics: p.topics.clone(),
        mappings: p.mappings.clone(),
        groups: p.groups.clone(),
        consumers: p.consumers.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
    });
    let runtime = Arc::new(RuntimeAdmin {
        store: p.store.clone(),
        stats: p.stats.clone(),
        config: p.config.clone(),
        schedule: p.schedule.clone(),
        timer: p.timer.clone(),
        levels: p.levels.clone(),
        hold: p.hold.clone(),
        budget: p.budget.clone(),
        boot_ms: p.boot_ms,
    });
    let config = Arc::new(ConfigAdmin {
        config: p.config.clone(),
        store: p.store.clone(),
        topics: p.topics.clone(),
        timer: p.timer.clone(),
    });
    let timer = Arc::new(TimerAdmin { timer: p.timer.clone() });
    let client = Arc::new(ClientAdmin {
        consumers: p.consumers.clone(),
        producers: p.producers.clone(),
        topics: p.topics.clone(),
        groups: p.groups.clone(),
        store: p.store.clone(),
        config: p.config.clone(),
    });
    let cold = Arc::new(ColdDataAdmin { cold: p.cold.clone(), store: p.store.clone(), config: p.config.clone() });
    routes
        .on::<UpdateColdDataFlowCtrConfig>(lane.clone(), cold.clone())
        .on::<RemoveColdDataFlowCtrConfig>(lane.clone(), cold.clone())
        .on::<GetColdDataFlowCtrInfo>(lane.clone(), cold.clone())
        .on::<SetCommitLogReadMode>(lane.clone(), cold)
        .on::<GetConsumeStats>(lane.clone(), stats.clone())
        .on::<GetBrokerConsumeStats>(lane.clone(), stats.clone())
        .on::<ViewBrokerStatsData>(lane.clone(), stats)
        .on::<GetBrokerRuntimeInfo>(lane.clone(), runtime)
        .on::<GetBrokerConfig>(lane.clone(), config.clone())
        .on::<UpdateBrokerConfig>(lane.clone(), config.clone())
        .on::<CleanExpiredConsumeQueue>(lane.clone(), config.clone())
        .on::<DeleteExpiredCommitLog>(lane.clone(), config)
        .on::<GetTimerCheckPoint>(lane.clone(), timer.clone())
        .on::<GetTimerMetrics>(lane.clone(), timer)
        .on::<GetConsumerConnectionList>(lane.clone(), client.clone())
        .on::<GetProducerConnectionList>(lane.clone(), client.clone())
        .on::<GetAllProducerInfo>(lane.clone(), client.clone())
        .on::<GetConsumerRunningInfo>(lane.clone(), client.clone())
        .on::<ConsumeMessageDirectly>(lane.clone(), client)
}
