//! How the broker is doing: 28. Keys and forms are those that mqadmin and dashboards parse.
//! Source: AdminBrokerProcessor.prepareRuntimeInfo, store/StoreStatsService.getRuntimeInfo.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::pull_request_hold::PullRequestHold;
use crate::schedule::{DelayLevels, ScheduleOffsets};
use codec::fields::NoHeader;
use protocol::body::encode;
use protocol::body::topic::KvTable;
use protocol::names::SCHEDULE_TOPIC;
use protocol::operation::GetBrokerRuntimeInfo;
use remoting::budget::Budget;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{MessageStore, StoreStatus};

/// Reports.
pub struct RuntimeAdmin {
    /// The store.
    pub store: Arc<MessageStore>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Delivery of delayed messages.
    pub schedule: Arc<ScheduleOffsets>,
    /// Delays by level.
    pub levels: Arc<DelayLevels>,
    /// Pulls that wait.
    pub hold: Arc<PullRequestHold>,
    /// Memory of connections.
    pub budget: Arc<Budget>,
    /// When the broker started, ms.
    pub boot_ms: i64,
}

impl Processor<GetBrokerRuntimeInfo> for RuntimeAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        let mut table = BTreeMap::new();
        let status = self.store.status();
        self.general(&mut table);
        self.rates(&mut table);
        self.store_figures(&mut table, &status);
        self.queues(&mut table);
        for level in 1..=self.levels.max_level() {
            if let Some(offset) = self.schedule.get(level) {
                let max = self.store.max_offset(SCHEDULE_TOPIC, level - 1);
                table.insert(format!("scheduleMessageOffset_{level}"), format!("{offset},{max}"));
            }
        }
        Reply::body(encode(&KvTable { table })).into()
    }
}

type Table = BTreeMap<String, String>;

fn put(table: &mut Table, key: &str, value: impl ToString) {
    table.insert(key.to_owned(), value.to_string());
}

impl RuntimeAdmin {
    fn general(&self, table: &mut Table) {
        let options = self.config.get();
        let seconds = (clock::now_ms() - self.boot_ms) / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        put(table, "bootTimestamp", self.boot_ms);
        put(table, "runtime", format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60));
        put(table, "brokerVersion", protocol::CURRENT_VERSION);
        put(table, "brokerVersionDesc", protocol::version::describe(protocol::CURRENT_VERSION));
        put(table, "brokerActive", true);
        put(table, "startAcceptSendRequestTimeStamp", options.broker.start_accept_send_request_time_stamp);
        put(table, "heldPullRequests", self.hold.len());
        put(table, "memoryBudget", self.budget.limit());
        put(table, "memoryBudgetUsed", self.budget.used());
    }

    fn rates(&self, table: &mut Table) {
        let cluster = self.config.get().broker.broker_cluster_name.clone();
        let item = |name| self.stats.get(name, &cluster);
        let rates = |name| match item(name) {
            Some(item) => {
                let data = item.data();
                format!("{:.2} {:.2} {:.2}", data.stats_minute.tps, data.stats_minute.tps, data.stats_hour.tps)
            }
            None => "0.0 0.0 0.0".to_owned(),
        };
        let total = |name| item(name).map_or(0, |item| item.total());
        let day = |name| item(name).map_or(0, |item| item.data().stats_day.sum);
        put(table, "putTps", rates(stat::BROKER_PUT_NUMS));
        for key in ["getFoundTps", "getTotalTps", "getTransferedTps", "getTransferredTps"] {
            put(table, key, rates(stat::BROKER_GET_NUMS));
        }
        put(table, "getMissTps", "0.0 0.0 0.0");
        for (prefix, name) in [("msgPut", stat::BROKER_PUT_NUMS), ("msgGet", stat::BROKER_GET_NUMS)] {
            let (now, today) = (total(name), day(name));
            put(table, &format!("{prefix}TotalTodayNow"), now);
            put(table, &format!("{prefix}TotalTodayMorning"), now - today);
            put(table, &format!("{prefix}TotalYesterdayMorning"), 0);
        }
    }

    fn store_figures(&self, table: &mut Table, status: &StoreStatus) {
        let average = status.put_bytes.checked_div(status.puts).unwrap_or(0);
        put(table, "putMessageTimesTotal", status.puts);
        put(table, "putMessageFailedTimes", status.put_failures);
        put(table, "putMessageSizeTotal", status.put_bytes);
        put(table, "putMessageAverageSize", average);
        put(table, "commitLogMinOffset", status.min_offset);
        put(table, "commitLogMaxOffset", status.max_offset);
        put(table, "commitLogDiskRatio", status.commit_log_disk_ratio);
        for (path, ratio) in &status.commit_log_disk_ratios {
            put(table, &format!("commitLogDiskRatio_{}", path.display()), ratio);
        }
        put(table, "consumeQueueDiskRatio", status.consume_queue_disk_ratio);
        put(table, "dispatchBehindBytes", status.dispatch_behind_bytes);
        put(table, "remainHowManyDataToFlush", format!("{} B", status.max_offset - status.flushed_offset));
        put(table, "earliestMessageTimeStamp", status.earliest_message_time);
        put(table, "pageCacheLockTimeMills", 0);
        self.health(table, status);
        for key in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
            put(table, key, 0);
        }
        for key in ["timerEnqueueTps", "timerDequeueTps"] {
            put(table, key, "0.0");
        }
    }

    /// What an operator must know of the store, under keys of our own: a reason is empty where there is none.
    fn health(&self, table: &mut Table, status: &StoreStatus) {
        let disk_full = status.disk_full.as_ref().map(ToString::to_string);
        put(table, "storeWritable", status.poisoned.is_none() && disk_full.is_none());
        put(table, "storeReadOnlyReason", status.poisoned.as_deref().unwrap_or_default());
        put(table, "storeDiskFullReason", disk_full.unwrap_or_default());
        put(table, "storeDiskLevel", status.disk_level);
        for disk in &status.disks {
            let path = disk.path.display();
            put(table, &format!("storeDiskLevel_{path}"), disk.level);
            put(table, &format!("storeDiskFreeBytes_{path}"), disk.usage.available);
        }
        put(table, "storeDamagedRecords", status.damaged_records);
        put(table, "storeDeletedBytesHeld", status.deleted_bytes_held);
    }

    /// Requests do not wait in queues here; tools expect the keys.
    fn queues(&self, table: &mut Table) {
        let broker = &self.config.get().broker;
        for (lane, capacity) in [
            ("send", broker.send_thread_pool_queue_capacity),
            ("pull", broker.pull_thread_pool_queue_capacity),
            ("litePull", broker.lite_pull_thread_pool_queue_capacity),
            ("query", broker.query_thread_pool_queue_capacity),
            ("ack", broker.ack_thread_pool_queue_capacity),
        ] {
            put(table, &format!("{lane}ThreadPoolQueueSize"), 0);
            put(table, &format!("{lane}ThreadPoolQueueCapacity"), capacity);
            put(table, &format!("{lane}ThreadPoolQueueHeadWaitTimeMills"), 0);
        }
        put(table, "EndTransactionQueueSize", 0);
        put(table, "EndTransactionThreadPoolQueueCapacity", broker.end_transaction_pool_queue_capacity);
    }
}
