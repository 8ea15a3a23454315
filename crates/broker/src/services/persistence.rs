//! Writes metadata: topics and groups soon after they changed, offsets periodically.

use crate::broadcast_offset_manager::{BroadcastOffsetManager, Expiry, broadcast_group};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::filter::ConsumerFilterManager;
use crate::pop::Pop;
use crate::schedule::ScheduleOffsets;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use crate::transaction::Transactions;
use parking_lot::Mutex;
use remoting::clock;
use std::sync::Arc;
use std::time::Duration;

/// Several topics made in a row are written together.
const GATHER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    offsets: u64,
    schedule: u64,
    transactions: i64,
    orders: u64,
}

/// Persists.
pub(super) struct Persistence {
    pub(super) config: Arc<BrokerConfigManager>,
    pub(super) topics: Arc<TopicConfigManager>,
    pub(super) groups: Arc<SubscriptionGroupManager>,
    pub(super) offsets: Arc<ConsumerOffsetManager>,
    pub(super) broadcasts: Arc<BroadcastOffsetManager>,
    pub(super) consumers: Arc<ConsumerManager>,
    pub(super) filters: Arc<ConsumerFilterManager>,
    pub(super) schedule: Arc<ScheduleOffsets>,
    pub(super) transactions: Arc<Transactions>,
    pub(super) pop: Arc<Pop>,
    pub(super) timer: Arc<Timer>,
    pub(super) written: Mutex<Written>,
}

impl Persistence {
    pub(super) async fn run(self: Arc<Persistence>) {
        let (mut topics, mut groups) = (self.topics.watch(), self.groups.watch());
        self.clone()
            .blocking(|this| {
                this.topics.persist();
                this.groups.persist();
            })
            .await;
        loop {
            let period = self.config.get().broker.flush_consumer_offset_interval;
            let period = Duration::from_millis(u64::try_from(period).unwrap_or(5000));
            tokio::select! {
                _ = topics.changed() => {
                    tokio::time::sleep(GATHER).await;
                    topics.mark_unchanged();
                    self.clone().blocking(|this| this.topics.persist()).await;
                }
                _ = groups.changed() => {
                    tokio::time::sleep(GATHER).await;
                    groups.mark_unchanged();
                    self.clone().blocking(|this| this.groups.persist()).await;
                }
                () = tokio::time::sleep(period) => self.clone().blocking(|this| this.write_offsets()).await,
            }
        }
    }

    /// Writes everything, at the end.
    pub(super) async fn write_all(self: &Arc<Persistence>) {
        self.clone()
            .blocking(|this| {
                this.topics.persist();
                this.groups.persist();
                this.write_offsets();
            })
            .await;
    }

    /// The lowest offsets of broadcasting clients become those of their group.
    fn commit_broadcasts(&self) {
        let broker = &self.config.get().broker;
        let expiry = Expiry {
            gone_ms: broker.broadcast_offset_expire_second.saturating_mul(1000),
            silent_ms: broker.broadcast_offset_expire_max_second.saturating_mul(1000),
        };
        let is_online = |group: &str, client: &str| self.consumers.client(group, client).is_some();
        for lowest in self.broadcasts.scan(expiry, clock::now_ms(), is_online) {
            let group = broadcast_group(&lowest.group);
            if self.offsets.query(&group, &lowest.topic, lowest.queue_id) != Some(lowest.offset) {
                self.offsets.commit(&group, &lowest.topic, lowest.queue_id, lowest.offset);
            }
        }
    }

    fn write_offsets(&self) {
        self.commit_broadcasts();
        let now = Written {
            offsets: self.offsets.changes(),
            schedule: self.schedule.changes(),
            transactions: self.transactions.metrics.changes(),
            orders: self.pop.orders.changes(),
        };
        let before = std::mem::replace(&mut *self.written.lock(), now);
        if now.offsets != before.offsets {
            self.offsets.persist();
        }
        if now.schedule != before.schedule {
            self.schedule.persist();
        }
        self.filters.persist(clock::now_ms(), self.config.get().broker.filter_data_clean_time_span);
        if now.transactions != before.transactions {
            self.transactions.metrics.persist();
        }
        if now.orders != before.orders {
            self.pop.orders.retain(clock::now_ms(), |topic, group, queue_id| {
                self.topics.get(topic).is_some_and(|config| queue_id < config.read_queue_nums)
                    && self.groups.get(group).is_some()
            });
            self.pop.orders.persist();
        }
        self.timer.persist();
    }

    async fn blocking(self: Arc<Persistence>, work: impl FnOnce(&Persistence) + Send + 'static) {
        if tokio::task::spawn_blocking(move || work(&self)).await.is_err() {
            tracing::error!("writing metadata failed inside the broker");
        }
    }
}
