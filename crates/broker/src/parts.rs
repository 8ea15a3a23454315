//! The composition root: opens the parts in order. Parts form a DAG; none holds a handler, a service or [`Parts`].

use crate::announcements::Announcements;
use crate::broadcast_offset_manager::BroadcastOffsetManager;
use crate::broker_stats::BrokerStats;
use crate::cold_data::ColdDataControl;
use crate::config::{BrokerOptions, FlushDiskType};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::filter::ConsumerFilterManager;
use crate::metadata;
use crate::pop::in_flight::InFlight;
use crate::pop::order_info::OrderInfoManager;
use crate::pop::polling::PopPolling;
use crate::pop::queue_locks::QueueLocks;
use crate::pop::request_mode::RequestModeManager;
use crate::pop::revive_log::{ReviveArrivals, ReviveLog};
use crate::pop::{Pop, PopArrivals};
use crate::processor::send_message::UniqueIds;
use crate::producer_manager::ProducerManager;
use crate::pull_request_hold::PullRequestHold;
use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::schedule::{DelayLevels, ScheduleOffsets};
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use crate::transaction::Transactions;
use daemon::persist::LoadError;
use filter::{BloomError, BloomFilter};
use protocol::body::topic::{BATCH_CQ, CLEANUP_POLICY, COMPACTION, QUEUE_TYPE, TopicConfig};
use protocol::names::{SCHEDULE_TOPIC, TIMER_TOPIC, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC, revive_topic};
use remoting::budget::Budget;
use remoting::clock;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::timer::TimerWake;
use store::{Arrival, CompactionConfig, MessageArrivingListener, MessageStore, OpenError, QueueType, StoreConfig};

/// Why a broker cannot be opened; each text names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// The store.
    #[error("{0}")]
    Store(#[from] OpenError),
    /// A metadata file.
    #[error("{0}; or have it made from the queues and the log: mqstore rebuild-metadata --store {store} --apply",
        store = store_of(&.0.path).display())]
    Metadata(#[from] LoadError),
    /// A setting.
    #[error("{0}")]
    Setting(String),
}

/// All state of a broker.
pub struct Parts {
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Offsets of groups.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Where clients of broadcasting groups are.
    pub broadcasts: Arc<BroadcastOffsetManager>,
    /// Who reads cold data.
    pub cold: Arc<ColdDataControl>,
    /// Expressions that consumers filter by.
    pub filters: Arc<ConsumerFilterManager>,
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Connected producers.
    pub producers: Arc<ProducerManager>,
    /// Locks of ordered consumers.
    pub locks: Arc<RebalanceLockManager>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Delays by level.
    pub levels: Arc<DelayLevels>,
    /// Delivery of delayed messages.
    pub schedule: Arc<ScheduleOffsets>,
    /// Half messages.
    pub transactions: Arc<Transactions>,
    /// Delivery at arbitrary times.
    pub timer: Arc<Timer>,
    /// Pulls that wait.
    pub hold: Arc<PullRequestHold>,
    /// State of POP.
    pub pop: Arc<Pop>,
    /// Pull or pop, by topic and group.
    pub modes: Arc<RequestModeManager>,
    /// Messages.
    pub store: Arc<MessageStore>,
    /// Memory of connections.
    pub budget: Arc<Budget>,
    /// Makes message ids.
    pub ids: Arc<UniqueIds>,
    /// This broker's address.
    pub store_host: SocketAddr,
    /// What nameservers were told.
    pub announcements: Arc<Announcements>,
    /// When the broker started, ms.
    pub boot_ms: i64,
}

/// Tells those who wait that a message arrived.
struct Arrivals {
    hold: Arc<PullRequestHold>,
    schedule: Arc<ScheduleOffsets>,
    filters: Arc<ConsumerFilterManager>,
    config: Arc<BrokerConfigManager>,
    transactions: Arc<Transactions>,
    pops: Arc<PopArrivals>,
    timer: Arc<TimerWake>,
}

impl MessageArrivingListener for Arrivals {
    fn arriving(&self, arrival: &Arrival<'_>) {
        self.hold.arrived(arrival);
        if arrival.topic == SCHEDULE_TOPIC {
            self.schedule.arrived(arrival.queue_id);
        } else if [TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC].contains(&arrival.topic) {
            self.transactions.arrived();
        } else if arrival.topic == TIMER_TOPIC {
            self.timer.arrived();
        }
        self.pops.arriving(arrival);
    }

    fn bit_map(&self, topic: &str, properties: &str) -> Vec<u8> {
        match self.config.get().broker.enable_calc_filter_bit_map {
            true => self.filters.bit_map(topic, properties),
            false => Vec::new(),
        }
    }
}

impl Parts {
    /// Opens everything below `storePathRootDir`. The store comes first: its lock keeps a second broker away from the
    /// metadata too.
    ///
    /// # Errors
    /// [`PartsError`]; nothing stays open then.
    pub fn open(
        config: BrokerConfigManager,
        memory_bytes: usize,
        max_frame_len: usize,
        lock_max_live_ms: i64,
    ) -> Result<Parts, PartsError> {
        let options = config.get().clone();
        let root = PathBuf::from(&options.store.store_path_root_dir);
        let store_host = resolve(&options.broker.broker_ip1, options.server.listen_port)?;
        let levels = Arc::new(DelayLevels::parse(&options.store.message_delay_level).map_err(PartsError::Setting)?);
        let hold = Arc::new(PullRequestHold::new());
        let schedule = Arc::new(ScheduleOffsets::open(&root, &levels)?);
        let topics = Arc::new(TopicConfigManager::open(&root, &options)?);
        let config = Arc::new(config);
        let filters = Arc::new(ConsumerFilterManager::open(&root, bloom_filter(&options)?, clock::now_ms())?);
        let transactions = Arc::new(Transactions::open(&root));
        let pops = Arc::new(pop_arrivals(&options, &topics));
        let wake = Arc::new(TimerWake::default());
        let arrivals = Arrivals {
            hold: hold.clone(),
            schedule: schedule.clone(),
            filters: filters.clone(),
            config: config.clone(),
            transactions: transactions.clone(),
            pops: pops.clone(),
            timer: wake.clone(),
        };
        let lmq = options.store.enable_lmq;
        let mut config_of_store = StoreConfig { batch_topics: topics.batch_topics(), ..store_config(&options) };
        if let Some(compaction) = &mut config_of_store.compaction {
            compaction.topics = topics.compacted_topics();
        }
        let missing = metadata::missing(&root);
        let store = Arc::new(MessageStore::open(config_of_store, Arc::new(arrivals))?);
        store.set_read_ahead(options.store.data_read_ahead_enable);
        if store.status().max_offset > 0 {
            warn_of_missing(&root, &missing, &store);
        }
        restore_topics(&topics, &store);
        let (offsets, boot_ms) = (Arc::new(ConsumerOffsetManager::open(&root, lmq)?), clock::now_ms());
        let pop = Pop {
            log: ReviveLog::new(store.clone(), pops.revive.clone(), store_host),
            locks: QueueLocks::default(),
            orders: OrderInfoManager::open(&root)?,
            in_flight: InFlight::new(boot_ms),
            offsets: offsets.clone(),
            store: store.clone(),
            arrivals: pops,
        };
        let timer = Timer::open::<PartsError>(&root, &store, &options, wake)?;
        Ok(Parts {
            timer: Arc::new(timer),
            groups: Arc::new(SubscriptionGroupManager::open(&root)?.with_lmq(lmq)),
            pop: Arc::new(pop),
            modes: Arc::new(RequestModeManager::open(&root)?),
            mappings: Arc::new(TopicQueueMappingManager::open(&root, &options.broker.broker_name)?),
            broadcasts: Arc::default(),
            cold: Arc::default(),
            consumers: Arc::new(ConsumerManager::new()),
            producers: Arc::new(ProducerManager::new()),
            locks: Arc::new(RebalanceLockManager::new(lock_max_live_ms)),
            stats: Arc::new(BrokerStats::new(lmq && !options.broker.enable_lmq_stats)),
            budget: Budget::new(memory_bytes, max_frame_len),
            ids: Arc::new(UniqueIds::default()),
            announcements: Arc::new(Announcements::new(&options.namesrv_list())),
            config,
            boot_ms,
            offsets,
            topics,
            filters,
            levels,
            schedule,
            transactions,
            hold,
            store,
            store_host,
        })
    }
}

/// The bloom filter whose bits stand for consumers that filter by an expression.
fn bloom_filter(options: &BrokerOptions) -> Result<BloomFilter, PartsError> {
    let (rate, expected) =
        (options.broker.max_error_rate_of_bloom_filter, options.broker.expect_consumer_num_use_filter);
    BloomFilter::new(rate, expected).map_err(|error| {
        let key = match error {
            BloomError::ErrorRate(_) => "maxErrorRateOfBloomFilter",
            BloomError::Expected(_) => "expectConsumerNumUseFilter",
        };
        PartsError::Setting(format!("{key}: {error}"))
    })
}

/// Queues of the revive topic that are more than the setting says hold check points from before.
fn pop_arrivals(options: &BrokerOptions, topics: &TopicConfigManager) -> PopArrivals {
    let broker = &options.broker;
    let known = topics.get(&revive_topic(&broker.broker_cluster_name)).map_or(0, |config| config.read_queue_nums);
    let queues = broker.revive_queue_num.max(known);
    PopArrivals {
        pops: PopPolling::new(false),
        notifications: PopPolling::new(true),
        revive: Arc::new(ReviveArrivals::new(&broker.broker_cluster_name, queues)),
        force_interval: broker.pop_long_polling_force_notify_interval,
    }
}

/// The store that a metadata file belongs to.
fn store_of(file: &Path) -> &Path {
    file.ancestors().nth(2).unwrap_or(file)
}

/// A broker that was never stopped cleanly may lack files that it had nothing to write to; one that had a life before
/// should not.
fn warn_of_missing(root: &Path, missing: &[(&'static str, &'static str)], store: &MessageStore) {
    let has_delayed = store.topics().iter().any(|(topic, _)| topic == SCHEDULE_TOPIC);
    for (file, consequence) in missing.iter().filter(|(file, _)| *file != "delayOffset.json" || has_delayed) {
        tracing::warn!(
            file,
            "the store has messages, but no such file: {consequence}; was it lost? stop the broker and restore it, or: \
             mqstore rebuild-metadata --store {}",
            root.display()
        );
    }
}

/// Topics made on first send are written a moment later; a broker that was killed in between finds their queues. Queues
/// whose messages are all older than the settings belong to a topic that was deleted: recovery after a kill dispatches its
/// messages again.
fn restore_topics(topics: &TopicConfigManager, store: &MessageStore) {
    let mut missing = Vec::new();
    for (topic_name, queue_ids) in store.topics() {
        let newest = |queue_id: &i32| {
            store.store_time(&topic_name, *queue_id, store.max_offset(&topic_name, *queue_id) - 1).unwrap_or(0)
        };
        // Light queues have no settings.
        let unknown = !store::is_lmq(&topic_name) && topics.get(&topic_name).is_none();
        if unknown && queue_ids.iter().map(newest).max() >= Some(topics.found_ms()) {
            let queues = queue_ids.iter().max().map_or(1, |highest| highest + 1);
            tracing::warn!(topic = topic_name, queues, "topic has queues but no settings, restored with defaults");
            let is_batch = store.queue_type(&topic_name) == QueueType::Batch;
            let queue_type = is_batch.then(|| (QUEUE_TYPE.to_owned(), BATCH_CQ.to_owned()));
            let policy =
                store.has_compaction_logs(&topic_name).then(|| (CLEANUP_POLICY.to_owned(), COMPACTION.to_owned()));
            if policy.is_some()
                && let Err(error) = store.set_compacted(&topic_name, true)
            {
                tracing::error!(topic = topic_name, %error, "compaction logs of a restored topic cannot be opened");
            }
            missing.push(TopicConfig {
                attributes: queue_type.into_iter().chain(policy).collect(),
                topic_name,
                read_queue_nums: queues,
                write_queue_nums: queues,
                ..TopicConfig::default()
            });
        }
    }
    if !missing.is_empty()
        && let Err(error) = topics.put(missing)
    {
        tracing::error!(%error, "restored topics could not be written");
    }
}

/// The address that clients use, as it is written into records.
fn resolve(host: &str, port: i32) -> Result<SocketAddr, PartsError> {
    use std::net::ToSocketAddrs;
    let port = u16::try_from(port).unwrap_or(0);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map_err(|error| {
        PartsError::Setting(format!(
            "brokerIP1={host} cannot be resolved: {error}; set brokerIP1 to an address of this machine"
        ))
    })?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(|address| !address.is_ipv4());
    let none = || PartsError::Setting(format!("brokerIP1={host} has no address; set it to an address of this machine"));
    found.first().copied().ok_or_else(none)
}

/// The directories of a list with commas.
fn paths(list: Option<&str>) -> Vec<PathBuf> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The store's settings.
pub(crate) fn store_config(options: &BrokerOptions) -> StoreConfig {
    let store = &options.store;
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    let long = |value: i32| u64::try_from(value).unwrap_or(0);
    let ratio = |value: i32| u8::try_from(value.clamp(0, 100)).unwrap_or(100);
    StoreConfig {
        store_path_root_dir: PathBuf::from(&store.store_path_root_dir),
        store_paths_commit_log: paths(store.store_path_commit_log.as_deref()),
        read_only_commit_log_store_paths: paths(store.read_only_commit_log_store_paths.as_deref()),
        mapped_file_size_commit_log: long(store.mapped_file_size_commit_log),
        mapped_file_size_consume_queue: long(store.mapped_file_size_consume_queue),
        mapper_file_size_batch_consume_queue: long(store.mapper_file_size_batch_consume_queue),
        enable_consume_queue_ext: store.enable_consume_queue_ext,
        mapped_file_size_consume_queue_ext: long(store.mapped_file_size_consume_queue_ext),
        flush_disk_type: match store.flush_disk_type {
            FlushDiskType::SyncFlush => store::FlushDiskType::SyncFlush,
            FlushDiskType::AsyncFlush => store::FlushDiskType::AsyncFlush,
        },
        flush_interval_commit_log_ms: long(store.flush_interval_commit_log),
        flush_interval_consume_queue_ms: long(store.flush_interval_consume_queue),
        flush_consume_queue_thorough_interval_ms: long(store.flush_consume_queue_thorough_interval),
        sync_flush_timeout_ms: long(store.sync_flush_timeout),
        max_message_size: size(store.max_message_size),
        max_topic_length: size(store.max_topic_length),
        auto_message_version_on_topic_len: store.auto_message_version_on_topic_len,
        file_reserved_time_hours: long(store.file_reserved_time),
        delete_when: store.delete_when.clone(),
        clean_resource_interval_ms: long(store.clean_resource_interval),
        delete_commit_log_files_interval_ms: long(store.delete_commit_log_files_interval),
        delete_file_batch_max: size(store.delete_file_batch_max),
        disk_max_used_space_ratio: ratio(store.disk_max_used_space_ratio),
        disk_space_clean_forcibly_ratio: ratio(store.disk_space_clean_forcibly_ratio),
        disk_space_warning_level_ratio: ratio(store.disk_space_warning_level_ratio),
        disk_min_free_space_bytes: store.disk_min_free_space_bytes.map(|size| size.0),
        disk_space_clean_forcibly_free_bytes: store.disk_space_clean_forcibly_free_bytes.map(|size| size.0),
        disk_space_warning_level_free_bytes: store.disk_space_warning_level_free_bytes.map(|size| size.0),
        clean_file_forcibly_enable: store.clean_file_forcibly_enable,
        max_transfer_bytes_on_message_in_memory: size(store.max_transfer_bytes_on_message_in_memory),
        max_transfer_count_on_message_in_memory: size(store.max_transfer_count_on_message_in_memory),
        max_transfer_bytes_on_message_in_disk: size(store.max_transfer_bytes_on_message_in_disk),
        max_transfer_count_on_message_in_disk: size(store.max_transfer_count_on_message_in_disk),
        access_message_in_memory_max_ratio: ratio(store.access_message_in_memory_max_ratio),
        max_filter_message_size: size(store.max_filter_message_size),
        travel_cq_file_num_when_get_message: size(store.travel_cq_file_num_when_get_message),
        message_index_enable: store.message_index_enable,
        message_index_safe: store.message_index_safe,
        max_hash_slot_num: u32::try_from(store.max_hash_slot_num).unwrap_or(1),
        max_index_num: u32::try_from(store.max_index_num).unwrap_or(2),
        max_msgs_num_batch: size(store.max_msgs_num_batch),
        check_crc_on_recover: store.check_crc_on_recover,
        enabled_append_prop_crc: store.enabled_append_prop_crc,
        force_verify_prop_crc: store.force_verify_prop_crc,
        message_delay_level: store.message_delay_level.clone(),
        enable_lmq: store.enable_lmq,
        enable_multi_dispatch: store.enable_multi_dispatch,
        lmq_quota: store.enable_lmq_quota.then(|| size(store.max_lmq_consume_queue_num)),
        compaction: store.enable_compaction.then(|| CompactionConfig {
            compaction_mapped_file_size: long(store.compaction_mapped_file_size),
            compaction_cq_mapped_file_size: long(store.compaction_cq_mapped_file_size),
            compaction_schedule_internal_ms: long(store.compaction_schedule_internal),
            max_offset_map_size: size(store.max_offset_map_size),
            compaction_thread_num: size(store.compaction_thread_num),
            topics: Vec::new(),
        }),
        ..StoreConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerOptions;
    use store::{Message, NoListener};

    /// Stores one message for the topic `T` and returns its store time.
    fn put(store: &MessageStore, host: SocketAddr) -> i64 {
        let message = Message {
            topic: "T",
            queue_id: 2,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties: "",
        };
        store.put(&message).unwrap();
        while store.max_offset("T", 2) == 0 {
            std::thread::yield_now();
        }
        store.store_time("T", 2, 0).unwrap()
    }

    #[test]
    fn queues_without_settings_are_a_topic_unless_it_was_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { mapped_file_size_commit_log: 1 << 20, ..StoreConfig::at(dir.path()) };
        let store = MessageStore::open(config, Arc::new(NoListener)).unwrap();
        let open = || TopicConfigManager::open(dir.path(), &BrokerOptions::default()).unwrap();
        let other = TopicConfig { topic_name: "Other".to_owned(), ..TopicConfig::default() };
        open().put([other]).unwrap();
        let stored = put(&store, "127.0.0.1:1".parse().unwrap());
        // Settings that are older than the message: the topic was made after they were written.
        let topics = open();
        restore_topics(&topics, &store);
        assert_eq!(topics.get("T").unwrap().write_queue_nums, 3);
        while clock::now_ms() <= stored {
            std::thread::yield_now();
        }
        assert!(topics.delete("T").unwrap());
        let topics = open();
        restore_topics(&topics, &store);
        assert!(topics.get("T").is_none());
        // No settings at all: nothing is known to be deleted.
        std::fs::remove_dir_all(dir.path().join("config")).unwrap();
        let topics = open();
        restore_topics(&topics, &store);
        assert!(topics.get("T").is_some());
    }
}
