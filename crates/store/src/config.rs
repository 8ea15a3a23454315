//! What can be set, with the defaults of the Java broker 5.5.0.

use std::path::PathBuf;

use crate::compaction::CompactionConfig;
use crate::record::Check;

/// When a put message counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushDiskType {
    /// When it is in the page cache: survives the death of the process.
    #[default]
    AsyncFlush,
    /// When it is on the disk: survives the loss of power.
    SyncFlush,
}

/// Settings of a store. Fields are Java's MessageStoreConfig keys in snake case with the unit added; the default of
/// each is that of the Java broker 5.5.0. The caller parses and names keys, the store only takes values.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `storePathRootDir`: everything lies below it. Default `$HOME/store`.
    pub store_path_root_dir: PathBuf,
    /// `storePathCommitLog`, split at commas. Empty: `commitlog` below the root. Files of the log go to these in turn.
    pub store_paths_commit_log: Vec<PathBuf>,
    /// `readOnlyCommitLogStorePaths`, split at commas: files there belong to the log, new ones go elsewhere.
    pub read_only_commit_log_store_paths: Vec<PathBuf>,
    /// `mappedFileSizeCommitLog`, bytes of one commit-log file; fixed for the life of a directory.
    pub mapped_file_size_commit_log: u64,
    /// `mappedFileSizeConsumeQueue`, bytes of one consume-queue file, rounded up to whole units of 20 bytes.
    pub mapped_file_size_consume_queue: u64,
    /// `mapperFileSizeBatchConsumeQueue`, bytes of one file of a queue of batches, rounded up to whole units of 46 bytes.
    pub mapper_file_size_batch_consume_queue: u64,
    /// Topics whose queues hold batches (attribute `queue.type=BatchCQ`), those of which queues exist aside.
    pub batch_topics: Vec<String>,
    /// `enableConsumeQueueExt`: queues get extensions.
    pub enable_consume_queue_ext: bool,
    /// `mappedFileSizeConsumeQueueExt`, bytes of one file of an extension; fixed for the life of a directory.
    pub mapped_file_size_consume_queue_ext: u64,
    /// `flushDiskType`.
    pub flush_disk_type: FlushDiskType,
    /// `flushIntervalCommitLog`, ms between two flushes under ASYNC_FLUSH.
    pub flush_interval_commit_log_ms: u64,
    /// `flushIntervalConsumeQueue`, ms between two flushes of consume queues, index and checkpoint while few queue files
    /// have changed.
    pub flush_interval_consume_queue_ms: u64,
    /// `flushConsumeQueueThoroughInterval`, ms between two of these flushes however many have changed.
    pub flush_consume_queue_thorough_interval_ms: u64,
    /// `syncFlushTimeout`, ms that [`crate::FlushWait`] waits at most.
    pub sync_flush_timeout_ms: u64,
    /// `maxMessageSize`, bytes of a body. A whole record may have 64 KiB more.
    pub max_message_size: usize,
    /// `maxTopicLength`, bytes of a topic; at most 127, but for retry topics.
    pub max_topic_length: usize,
    /// `autoMessageVersionOnTopicLen`: retry topics may have up to 255 bytes; their records have the second magic code.
    pub auto_message_version_on_topic_len: bool,
    /// `fileReservedTime`, hours a commit-log file is kept after its last change.
    pub file_reserved_time_hours: u64,
    /// `deleteWhen`: hours of the day (local time) at which expired files are deleted, `;` between them.
    pub delete_when: String,
    /// `cleanResourceInterval`, ms between two looks at what can be deleted.
    pub clean_resource_interval_ms: u64,
    /// `deleteCommitLogFilesInterval`, ms between two deletions of a round.
    pub delete_commit_log_files_interval_ms: u64,
    /// `deleteFileBatchMax`, files deleted per round.
    pub delete_file_batch_max: usize,
    /// `diskMaxUsedSpaceRatio`, percent from which expired files are deleted at any hour.
    pub disk_max_used_space_ratio: u8,
    /// `diskSpaceCleanForciblyRatio`, percent from which unexpired files are deleted.
    pub disk_space_clean_forcibly_ratio: u8,
    /// `diskSpaceWarningLevelRatio`, percent from which puts are refused.
    pub disk_space_warning_level_ratio: u8,
    /// `diskMinFreeSpaceBytes` (ours): expired files are also deleted at any hour when less is free.
    pub disk_min_free_space_bytes: Option<u64>,
    /// `diskSpaceCleanForciblyFreeBytes` (ours): unexpired files are also deleted when less is free.
    pub disk_space_clean_forcibly_free_bytes: Option<u64>,
    /// `diskSpaceWarningLevelFreeBytes` (ours): puts are also refused when less is free.
    pub disk_space_warning_level_free_bytes: Option<u64>,
    /// `cleanFileForciblyEnable`.
    pub clean_file_forcibly_enable: bool,
    /// `maxTransferBytesOnMessageInMemory`, bytes per get.
    pub max_transfer_bytes_on_message_in_memory: usize,
    /// `maxTransferCountOnMessageInMemory`, messages per get.
    pub max_transfer_count_on_message_in_memory: usize,
    /// `maxTransferBytesOnMessageInDisk`, bytes per get.
    pub max_transfer_bytes_on_message_in_disk: usize,
    /// `maxTransferCountOnMessageInDisk`, messages per get.
    pub max_transfer_count_on_message_in_disk: usize,
    /// `accessMessageInMemoryMaxRatio`, percent of the machine's memory: what lies further behind the end of the log
    /// counts as on disk.
    pub access_message_in_memory_max_ratio: u8,
    /// `maxFilterMessageSize`, bytes of consume queue that one get may scan past filtered messages.
    pub max_filter_message_size: usize,
    /// `travelCqFileNumWhenGetMessage`, consume-queue files one get may look at.
    pub travel_cq_file_num_when_get_message: usize,
    /// `messageIndexEnable`: build the index by key.
    pub message_index_enable: bool,
    /// `messageIndexSafe`: recovery replays from where the index is safe too.
    pub message_index_safe: bool,
    /// `maxHashSlotNum`, slots of one index file; fixed for the life of a directory.
    pub max_hash_slot_num: u32,
    /// `maxIndexNum`, entries of one index file; fixed for the life of a directory.
    pub max_index_num: u32,
    /// `maxMsgsNumBatch`, most messages of one query by key.
    pub max_msgs_num_batch: usize,
    /// `checkCRCOnRecover`.
    pub check_crc_on_recover: bool,
    /// `enabledAppendPropCRC`: each record gets a CRC of all its bytes as its last property.
    pub enabled_append_prop_crc: bool,
    /// `forceVerifyPropCRC`: recovery checks that CRC also when none is appended.
    pub force_verify_prop_crc: bool,
    /// `messageDelayLevel`: the delays behind levels 1, 2, …; a message in SCHEDULE_TOPIC_XXXX has its delivery time as
    /// tagsCode.
    pub message_delay_level: String,
    /// `enableLmq`: messages that name light queues get positions in them.
    pub enable_lmq: bool,
    /// `enableMultiDispatch`: light queues are written.
    pub enable_multi_dispatch: bool,
    /// `maxLmqConsumeQueueNum`, if `enableLmqQuota`: no more light queues than this are made by messages.
    pub lmq_quota: Option<usize>,
    /// Topics that are compacted; `None`: `enableCompaction` is false, and their messages are read as others are.
    pub compaction: Option<CompactionConfig>,
    /// Bytes of memory that "in memory" is reckoned from; `None`: the machine's.
    pub total_memory_bytes: Option<u64>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        StoreConfig {
            store_path_root_dir: home.join("store"),
            store_paths_commit_log: Vec::new(),
            read_only_commit_log_store_paths: Vec::new(),
            mapped_file_size_commit_log: 1024 * 1024 * 1024,
            mapped_file_size_consume_queue: 300_000 * 20,
            mapper_file_size_batch_consume_queue: 300_000 * 46,
            batch_topics: Vec::new(),
            enable_consume_queue_ext: false,
            mapped_file_size_consume_queue_ext: 48 * 1024 * 1024,
            flush_disk_type: FlushDiskType::AsyncFlush,
            flush_interval_commit_log_ms: 500,
            flush_interval_consume_queue_ms: 1000,
            flush_consume_queue_thorough_interval_ms: 60_000,
            sync_flush_timeout_ms: 5000,
            max_message_size: 4 * 1024 * 1024,
            max_topic_length: 127,
            auto_message_version_on_topic_len: true,
            file_reserved_time_hours: 72,
            delete_when: "04".to_owned(),
            clean_resource_interval_ms: 10_000,
            delete_commit_log_files_interval_ms: 100,
            delete_file_batch_max: 10,
            disk_max_used_space_ratio: 75,
            disk_space_clean_forcibly_ratio: 85,
            disk_space_warning_level_ratio: 90,
            disk_min_free_space_bytes: None,
            disk_space_clean_forcibly_free_bytes: None,
            disk_space_warning_level_free_bytes: None,
            clean_file_forcibly_enable: true,
            max_transfer_bytes_on_message_in_memory: 256 * 1024,
            max_transfer_count_on_message_in_memory: 32,
            max_transfer_bytes_on_message_in_disk: 64 * 1024,
            max_transfer_count_on_message_in_disk: 8,
            access_message_in_memory_max_ratio: 40,
            max_filter_message_size: 16_000,
            travel_cq_file_num_when_get_message: 1,
            message_index_enable: true,
            message_index_safe: false,
            max_hash_slot_num: 5_000_000,
            max_index_num: 20_000_000,
            max_msgs_num_batch: 64,
            check_crc_on_recover: true,
            enabled_append_prop_crc: false,
            force_verify_prop_crc: false,
            message_delay_level: "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(),
            enable_lmq: false,
            enable_multi_dispatch: false,
            lmq_quota: None,
            compaction: Some(CompactionConfig::default()),
            total_memory_bytes: None,
        }
    }
}

impl StoreConfig {
    /// The commit-log directories.
    #[must_use]
    pub fn commit_log_paths(&self) -> Vec<PathBuf> {
        if self.store_paths_commit_log.is_empty() {
            vec![self.store_path_root_dir.join("commitlog")]
        } else {
            self.store_paths_commit_log.clone()
        }
    }

    /// The directories that new commit-log files go to, in the order in which they take turns.
    /// Source: MultiPathMappedFileQueue.tryCreateMappedFile.
    pub(crate) fn writable_commit_log_paths(&self) -> Vec<PathBuf> {
        let mut paths = self.commit_log_paths();
        paths.retain(|path| !self.read_only_commit_log_store_paths.contains(path));
        // As Java, which compares the texts.
        paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        paths.dedup();
        paths
    }

    /// What recovery checks. The CRC of a whole record counts only where the settings say that it is written: without
    /// them it may be one that Java copied from a message into its retry.
    pub(crate) fn check_on_recover(&self) -> Check {
        match (self.check_crc_on_recover, self.enabled_append_prop_crc || self.force_verify_prop_crc) {
            (false, _) => Check::Form,
            (true, false) => Check::Body,
            (true, true) => Check::Record,
        }
    }

    /// Defaults with another root directory.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        StoreConfig { store_path_root_dir: root.into(), ..StoreConfig::default() }
    }
}
