//! Options of the message store.

use daemon::options::ByteSize;

daemon::option_enum! {
    /// What this broker is to its group.
    pub enum BrokerRole {
        /// Master that answers without waiting for replicas.
        AsyncMaster = "ASYNC_MASTER",
        /// Master that waits for inSyncReplicas.
        SyncMaster = "SYNC_MASTER",
        /// Replica.
        Slave = "SLAVE",
    }
    allowed "ASYNC_MASTER, SYNC_MASTER or SLAVE"
}

daemon::option_enum! {
    /// When a send is answered.
    pub enum FlushDiskType {
        /// When the message is on disk.
        SyncFlush = "SYNC_FLUSH",
        /// When the message is in the page cache.
        AsyncFlush = "ASYNC_FLUSH",
    }
    allowed "SYNC_FLUSH or ASYNC_FLUSH"
}

daemon::options! {
    /// Options of the store. Source: store/config/MessageStoreConfig.java; the last ones are our own.
    pub struct MessageStoreConfig {
        storePathRootDir => store_path_root_dir: String = "store".to_owned(); Plain, Boot, Y, important, "data root";
        storePathCommitLog => store_path_commit_log: Option<String> = None; Plain, Boot, Y, important, "log dirs with commas between, taking turns; null = root/commitlog";
        storePathDLedgerCommitLog => store_path_dledger_commit_log: Option<String> = None; Plain, Boot, Y, important, "DLedger data";
        storePathEpochFile => store_path_epoch_file: Option<String> = None; Plain, Boot, Y, important, "controller mode";
        storePathBrokerIdentity => store_path_broker_identity: Option<String> = None; Plain, Boot, Y, important, "controller mode";
        readOnlyCommitLogStorePaths => read_only_commit_log_store_paths: Option<String> = None; Plain, Boot, Y, "log dirs with commas between, read but given no new files";
        mappedFileSizeCommitLog => mapped_file_size_commit_log: i32 [4096, i32::MAX as i64] = 1024 * 1024 * 1024; Bytes, Boot, Y, "log file size (identical on all replicas)";
        compactionMappedFileSize => compaction_mapped_file_size: i32 = 100 * 1024 * 1024; Bytes, Boot, Y, "compaction log segment size";
        compactionCqMappedFileSize => compaction_cq_mapped_file_size: i32 = 10 * 1024 * 1024; Bytes, Boot, Y, "compaction queue segment size";
        compactionScheduleInternal => compaction_schedule_internal: i32 = 15 * 60 * 1000; Ms, Boot, Y, "compaction period";
        maxOffsetMapSize => max_offset_map_size: i32 = 100 * 1024 * 1024; Bytes, Boot, T, "compaction key map";
        compactionThreadNum => compaction_thread_num: i32 = 6; Count, Boot, N, "compaction threads";
        enableCompaction => enable_compaction: bool = true; Plain, Boot, Y, "compaction topics";
        mappedFileSizeTimerLog => mapped_file_size_timer_log: i32 = 100 * 1024 * 1024; Bytes, Boot, Y, "timerlog segment size";
        timerPrecisionMs => timer_precision_ms: i32 = 1000; Ms, Boot, Y, "wheel tick";
        timerRollWindowSlot => timer_roll_window_slot: i32 = 3600 * 24 * 2; Count, Boot, Y, "wheel length in ticks";
        timerFlushIntervalMs => timer_flush_interval_ms: i32 = 1000; Ms, Live, T, "timer checkpoint flush period";
        timerGetMessageThreadNum => timer_get_message_thread_num: i32 = 3; Count, Boot, N, "timer read threads";
        timerPutMessageThreadNum => timer_put_message_thread_num: i32 = 3; Count, Boot, N, "timer write threads";
        timerEnableDisruptor => timer_enable_disruptor: bool = false; Plain, Boot, N, "timer queue kind";
        timerEnableCheckMetrics => timer_enable_check_metrics: bool = true; Plain, Live, T, "audits timer counters daily";
        timerInterceptDelayLevel => timer_intercept_delay_level: bool = false; Plain, Live, Y, "delay levels through the timer";
        timerMaxDelaySec => timer_max_delay_sec: i32 = 3600 * 24 * 3; Seconds, Live, Y, "longest delay (72 h)";
        timerWheelSnapshotFlush => timer_wheel_snapshot_flush: bool = false; Plain, Live, T, "flush the timer wheel by snapshots";
        timerWheelEnable => timer_wheel_enable: bool = true; Plain, Boot, Y, "timer on (POP needs it)";
        disappearTimeAfterStart => disappear_time_after_start: i32 = -1; Ms, Live, Y, important, "delay dequeues after start";
        timerStopEnqueue => timer_stop_enqueue: bool = false; Plain, Live, Y, "pauses intake from rmq_sys_wheel_timer";
        timerCheckMetricsWhen => timer_check_metrics_when: String = "05".to_owned(); Plain, Live, T, "hour list";
        timerSkipUnknownError => timer_skip_unknown_error: bool = false; Plain, Live, Y, "drop instead of retry on unknown put result";
        timerWarmEnable => timer_warm_enable: bool = false; Plain, Boot, N, "touch the timer log ahead";
        timerStopDequeue => timer_stop_dequeue: bool = false; Plain, Live, Y, "pauses delivery";
        timerEnableRetryUntilSuccess => timer_enable_retry_until_success: bool = false; Plain, Live, Y, "retry delivery";
        timerCongestNumEachSlot => timer_congest_num_each_slot: i32 = i32::MAX; Count, Live, Y, "flow control per slot";
        timerMetricSmallThreshold => timer_metric_small_threshold: i32 = 1_000_000; Count, Live, T, "small metric cut-off";
        timerProgressLogIntervalMs => timer_progress_log_interval_ms: i32 = 10 * 1000; Ms, Live, T, "log period";
        timerWheelSnapshotIntervalMs => timer_wheel_snapshot_interval_ms: i32 = 10 * 1000; Ms, Live, T, "period of timer wheel snapshots";
        commitLogRecoverMaxNum => commit_log_recover_max_num: i32 = 10; Count, Boot, T, "newest files that recovery checks";
        timerRocksDBEnable => timer_rocksdb_enable: bool = false; Plain, Boot, N, "timer in RocksDB";
        timerRocksDBStopScan => timer_rocksdb_stop_scan: bool = false; Plain, Boot, N, "pause the RocksDB timer";
        timerRocksDBPrecisionMs => timer_rocksdb_precision_ms: i64 = 1000; Ms, Boot, N, "tick of the RocksDB timer";
        timerRocksDBRollMaxTps => timer_rocksdb_roll_max_tps: f64 = 8000.0; Plain, Boot, N, "rolls per second of the RocksDB timer";
        timerRocksDBTimeExpiredMaxTps => timer_rocksdb_time_expired_max_tps: f64 = 200_000.0; Plain, Boot, N, "deliveries per second of the RocksDB timer";
        timerRocksDBRollIntervalHours => timer_rocksdb_roll_interval_hours: i32 = 1; Hours, Boot, N, "roll period of the RocksDB timer";
        timerRocksDBRollRangeHours => timer_rocksdb_roll_range_hours: i32 = 2; Hours, Boot, N, "roll range of the RocksDB timer";
        timerRecallToTimeWheelEnable => timer_recall_to_time_wheel_enable: bool = true; Plain, Live, Y, "recall from the wheel";
        timerRecallToTimelineEnable => timer_recall_to_timeline_enable: bool = true; Plain, Boot, N, "recall from the RocksDB timer";
        timerReputServiceCorePoolSize => timer_reput_service_core_pool_size: i32 = 6; Count, Boot, N, "threads of the RocksDB timer";
        timerReputServiceMaxPoolSize => timer_reput_service_max_pool_size: i32 = 6; Count, Boot, N, "most threads of the RocksDB timer";
        timerReputServiceQueueCapacity => timer_reput_service_queue_capacity: i32 = 10_000; Count, Boot, N, "queue of the RocksDB timer";
        transRocksDBEnable => trans_rocksdb_enable: bool = false; Plain, Boot, N, "transactions in RocksDB";
        transWriteOriginTransHalfEnable => trans_write_origin_trans_half_enable: bool = true; Plain, Boot, N, "write the half topic besides";
        indexRocksDBEnable => index_rocksdb_enable: bool = false; Plain, Boot, N, "index in RocksDB";
        maxRocksDBIndexQueryDays => max_rocksdb_index_query_days: i32 = 7; Days, Boot, N, "days searched in the RocksDB index";
        indexFileWriteEnable => index_file_write_enable: bool = true; Plain, Live, Y, "write index files";
        indexFileReadEnable => index_file_read_enable: bool = true; Plain, Live, Y, "query index files";
        storeType => store_type: String = "default".to_owned(); Plain, Boot, Y, important, "default or defaultRocksDB";
        iteratorWhenUseRocksdbConsumeQueue => iterator_when_use_rocksdb_consume_queue: bool = true; Plain, Boot, N, "read RocksDB queues by iterator";
        mappedFileSizeConsumeQueue => mapped_file_size_consume_queue: i32 [20, i32::MAX as i64] = 300_000 * 20; Bytes, Boot, Y, "queue file size, 300 000 entries of 20 bytes";
        enableConsumeQueueExt => enable_consume_queue_ext: bool = false; Plain, Boot, Y, "write consumequeue_ext: tags and filter bits beside the queues";
        mappedFileSizeConsumeQueueExt => mapped_file_size_consume_queue_ext: i32 [1024, i32::MAX as i64] = 48 * 1024 * 1024; Bytes, Boot, Y, "ext file size";
        mapperFileSizeBatchConsumeQueue => mapper_file_size_batch_consume_queue: i32 [46, i32::MAX as i64] = 300_000 * 46; Bytes, Boot, Y, "batch queue file size, 300 000 entries of 46 bytes";
        bitMapLengthConsumeQueueExt => bit_map_length_consume_queue_ext: i32 = 64; Count, Live, Y, "overwritten by the bloom size at start";
        flushIntervalCommitLog => flush_interval_commit_log: i32 [1, i32::MAX as i64] = 500; Ms, Live, Y, important, "async flush period";
        commitIntervalCommitLog => commit_interval_commit_log: i32 = 200; Ms, Live, Y, important, "transient pool commit period";
        maxRecoveryCommitlogFiles => max_recovery_commitlog_files: i32 = 30; Count, Boot, T, "how many files an abnormal recovery may look back";
        diskSpaceWarningLevelRatio => disk_space_warning_level_ratio: i32 [0, 100] = 90; Percent, Live, Y, "disk full mark, percent";
        diskSpaceCleanForciblyRatio => disk_space_clean_forcibly_ratio: i32 [0, 100] = 85; Percent, Live, Y, "forced delete, percent";
        useReentrantLockWhenPutMessage => use_reentrant_lock_when_put_message: bool = true; Plain, Boot, N, "kind of the append lock";
        flushCommitLogTimed => flush_commit_log_timed: bool = true; Plain, Live, T, important, "sleep instead of wait between flushes";
        flushIntervalConsumeQueue => flush_interval_consume_queue: i32 [1, i32::MAX as i64] = 1000; Ms, Live, Y, "queue flush period";
        cleanResourceInterval => clean_resource_interval: i32 [1, i32::MAX as i64] = 10_000; Ms, Live, Y, "delete check period";
        deleteCommitLogFilesInterval => delete_commit_log_files_interval: i32 = 100; Ms, Live, T, "pause between two file deletions, ms";
        deleteConsumeQueueFilesInterval => delete_consume_queue_files_interval: i32 = 100; Ms, Boot, T, "pause between two deletions, ms";
        destroyMapedFileIntervalForcibly => destroy_maped_file_interval_forcibly: i32 = 1000 * 120; Ms, Live, T, "forced close of a file still referenced, ms";
        redeleteHangedFileInterval => redelete_hanged_file_interval: i32 = 1000 * 120; Ms, Boot, T, "retry period for a file that hung on delete";
        deleteWhen => delete_when: String = "04".to_owned(); Plain, Live, Y, important, "hour list for deletion";
        diskMaxUsedSpaceRatio => disk_max_used_space_ratio: i32 [0, 100] = 75; Percent, Live, Y, "delete by use, percent";
        fileReservedTime => file_reserved_time: i32 [0, i32::MAX as i64] = 72; Hours, Live, Y, important, "hours kept (conf samples set 48)";
        deleteFileBatchMax => delete_file_batch_max: i32 = 10; Count, Live, T, important, "files removed per cleaning pass";
        putMsgIndexHightWater => put_msg_index_hight_water: i32 = 600_000; Count, Live, T, "index backlog limit";
        maxMessageSize => max_message_size: i32 [1, i32::MAX as i64] = 1024 * 1024 * 4; Bytes, Live, Y, "body limit";
        maxFilterMessageSize => max_filter_message_size: i32 = 16_000; Bytes, Live, Y, "filtered scan bytes per pull";
        checkCRCOnRecover => check_crc_on_recover: bool = true; Plain, Boot, Y, "verify body CRC at recovery";
        checkCommitLogOffsetOnRecover => check_commit_log_offset_on_recover: bool = false; Plain, Boot, Y, "recovery checks that a record stands at the offset it names";
        flushCommitLogLeastPages => flush_commit_log_least_pages: i32 = 4; Count, Live, T, "dirty 4 KiB pages before an async flush";
        commitCommitLogLeastPages => commit_commit_log_least_pages: i32 = 4; Count, Live, T, "pages before a transient pool commit";
        flushLeastPagesWhenWarmMapedFile => flush_least_pages_when_warm_maped_file: i32 = 4096; Count, Boot, N, "pages flushed at a time while warming";
        flushConsumeQueueLeastPages => flush_consume_queue_least_pages: i32 = 2; Count, Live, T, "dirty pages before a queue flush";
        flushCommitLogThoroughInterval => flush_commit_log_thorough_interval: i32 = 1000 * 10; Ms, Live, Y, "flush whatever is dirty at least this often";
        commitCommitLogThoroughInterval => commit_commit_log_thorough_interval: i32 = 200; Ms, Boot, T, "commit whatever is dirty at least this often";
        flushConsumeQueueThoroughInterval => flush_consume_queue_thorough_interval: i32 = 1000 * 60; Ms, Live, Y, "flush dirty queues at least this often (also writes the checkpoint)";
        maxTransferBytesOnMessageInMemory => max_transfer_bytes_on_message_in_memory: i32 = 1024 * 256; Bytes, Live, Y, important, "per pull";
        maxTransferCountOnMessageInMemory => max_transfer_count_on_message_in_memory: i32 = 32; Count, Live, Y, important, "per pull";
        maxTransferBytesOnMessageInDisk => max_transfer_bytes_on_message_in_disk: i32 = 1024 * 64; Bytes, Live, Y, important, "per pull";
        maxTransferCountOnMessageInDisk => max_transfer_count_on_message_in_disk: i32 = 8; Count, Live, Y, important, "per pull";
        accessMessageInMemoryMaxRatio => access_message_in_memory_max_ratio: i32 [0, 100] = 40; Percent, Live, Y, important, "percent of RAM counted as in memory";
        messageIndexEnable => message_index_enable: bool = true; Plain, Live, Y, important, "build index";
        maxHashSlotNum => max_hash_slot_num: i32 [1, 100_000_000] = 5_000_000; Count, Boot, Y, "index slots";
        maxIndexNum => max_index_num: i32 [2, 500_000_000] = 5_000_000 * 4; Count, Boot, Y, "index entries";
        maxMsgsNumBatch => max_msgs_num_batch: i32 = 64; Count, Live, Y, "query result cap";
        messageIndexSafe => message_index_safe: bool = false; Plain, Boot, Y, important, "recovery waits for index";
        haListenPort => ha_listen_port: i32 [-1, 65535] = 0; Port, Boot, Y, "HA port; forced to 0 then listenPort+1 unless set";
        haSendHeartbeatInterval => ha_send_heartbeat_interval: i32 = 1000 * 5; Ms, Boot, Y, "empty HA frame period";
        haHousekeepingInterval => ha_housekeeping_interval: i32 = 1000 * 20; Ms, Boot, Y, "HA link considered dead after this silence";
        haTransferBatchSize => ha_transfer_batch_size: i32 = 1024 * 32; Bytes, Live, Y, "bytes per HA frame";
        haMasterAddress => ha_master_address: Option<String> = None; Plain, Live, Y, important, "fixed master HA address";
        haMaxGapNotInSync => ha_max_gap_not_in_sync: i32 = 1024 * 1024 * 256; Bytes, Live, Y, "slave lag above which it does not count as in sync";
        brokerRole => broker_role: BrokerRole = BrokerRole::AsyncMaster; Plain, Boot, Y, important, "ASYNC_MASTER, SYNC_MASTER, SLAVE";
        flushDiskType => flush_disk_type: FlushDiskType = FlushDiskType::AsyncFlush; Plain, Boot, Y, important, "SYNC_FLUSH, ASYNC_FLUSH";
        syncFlushTimeout => sync_flush_timeout: i32 [1, i32::MAX as i64] = 1000 * 5; Ms, Live, Y, "sync flush wait ends in FLUSH_DISK_TIMEOUT (10)";
        putMessageTimeout => put_message_timeout: i32 = 1000 * 8; Ms, Live, T, "total put wait in 5.x";
        slaveTimeout => slave_timeout: i32 [1, i32::MAX as i64] = 3000; Ms, Live, Y, "sync replication wait ends in FLUSH_SLAVE_TIMEOUT (12)";
        messageDelayLevel => message_delay_level: String = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(); Plain, Boot, Y, "level list";
        flushDelayOffsetInterval => flush_delay_offset_interval: i64 [1, i32::MAX as i64] = 1000 * 10; Ms, Boot, Y, "delayOffset.json period";
        cleanFileForciblyEnable => clean_file_forcibly_enable: bool = true; Plain, Live, Y, important, "delete unexpired files when the disk is nearly full";
        warmMapedFileEnable => warm_maped_file_enable: bool = false; Plain, Boot, N, "touch new files ahead";
        offsetCheckInSlave => offset_check_in_slave: bool = false; Plain, Live, Y, "a slave too corrects an out of range offset";
        debugLockEnable => debug_lock_enable: bool = false; Plain, Boot, N, "log lock waits";
        duplicationEnable => duplication_enable: bool = false; Plain, Boot, Y, "legacy dual write";
        diskFallRecorded => disk_fall_recorded: bool = true; Plain, Live, T, "feeds GROUP_GET_FALL_* counters";
        osPageCacheBusyTimeOutMills => os_page_cache_busy_time_out_mills: i64 = 1000; Ms, Boot, Y, "send rejection threshold";
        defaultQueryMaxNum => default_query_max_num: i32 = 32; Count, Live, Y, "unique key query count";
        transientStorePoolEnable => transient_store_pool_enable: bool = false; Plain, Boot, T, important, "off-heap write pool";
        transientStorePoolSize => transient_store_pool_size: i32 = 5; Count, Boot, T, "buffers of one commitlog file size each";
        fastFailIfNoBufferInStorePool => fast_fail_if_no_buffer_in_store_pool: bool = false; Plain, Live, T, "reject instead of blocking";
        writeWithoutMmap => write_without_mmap: bool = false; Plain, Boot, N, important, "write by system call instead of the mapping";
        enableDLegerCommitLog => enable_dleger_commit_log: bool = false; Plain, Boot, Y, "DLedger raft log";
        dLegerGroup => dleger_group: Option<String> = None; Plain, Boot, Y, "DLedger group name";
        dLegerPeers => dleger_peers: Option<String> = None; Plain, Boot, Y, "`n0-host:port;n1-…`";
        dLegerSelfId => dleger_self_id: Option<String> = None; Plain, Boot, Y, "own peer id";
        preferredLeaderId => preferred_leader_id: Option<String> = None; Plain, Live, Y, "DLedger preferred leader";
        enableBatchPush => enable_batch_push: bool = false; Plain, Live, T, "DLedger batch push";
        enableScheduleMessageStats => enable_schedule_message_stats: bool = true; Plain, Live, T, "delay message counters";
        enableLmq => enable_lmq: bool = false; Plain, Boot, Y, "light queues: %LMQ% topics and groups, positions in messages";
        enableMultiDispatch => enable_multi_dispatch: bool = false; Plain, Boot, Y, "write light queues, with enableLmq";
        maxLmqConsumeQueueNum => max_lmq_consume_queue_num: i32 = 20_000; Count, Live, Y, "most light queues, with enableLmqQuota";
        enableLmqQuota => enable_lmq_quota: bool = false; Plain, Live, Y, "limit the number of light queues";
        enableScheduleAsyncDeliver => enable_schedule_async_deliver: bool = false; Plain, Boot, T, "deliver delay levels asynchronously";
        scheduleAsyncDeliverMaxPendingLimit => schedule_async_deliver_max_pending_limit: i32 = 2000; Count, Live, T, "asynchronous deliveries in flight";
        scheduleAsyncDeliverMaxResendNum2Blocked => schedule_async_deliver_max_resend_num2_blocked: i32 = 3; Count, Live, T, "retries of an asynchronous delivery";
        maxBatchDeleteFilesNum => max_batch_delete_files_num: i32 = 50; Count, Live, T, "files per deletion batch (bounds deleteFileBatchMax)";
        dispatchCqThreads => dispatch_cq_threads: i32 = 10; Count, Boot, N, "DLedger dispatch threads";
        dispatchCqCacheNum => dispatch_cq_cache_num: i32 = 1024 * 4; Count, Boot, N, "DLedger dispatch cache";
        enableAsyncReput => enable_async_reput: bool = true; Plain, Boot, T, "dispatch thread asynchronous";
        recheckReputOffsetFromCq => recheck_reput_offset_from_cq: bool = false; Plain, Live, Y, "dispatch start computed from queues at boot";
        maxTopicLength => max_topic_length: i32 [1, 32_767] = 127; Bytes, Boot, Y, "longest topic, at most 127; retry topics may have 255";
        autoMessageVersionOnTopicLen => auto_message_version_on_topic_len: bool = true; Plain, Boot, Y, "retry topics above 127 bytes, in records of the second form";
        enableRunningFlagsInFlush => enable_running_flags_in_flush: bool = false; Plain, Live, T, important, "disk-full flags consulted while flushing";
        enabledAppendPropCRC => enabled_append_prop_crc: bool = false; Plain, Boot, Y, "write a CRC of the whole record as its last property";
        forceVerifyPropCRC => force_verify_prop_crc: bool = false; Plain, Boot, Y, "recovery checks the CRC of whole records, where they have one";
        travelCqFileNumWhenGetMessage => travel_cq_file_num_when_get_message: i32 = 1; Count, Live, T, "queue files walked per get";
        correctLogicMinOffsetSleepInterval => correct_logic_min_offset_sleep_interval: i32 = 1; Ms, Boot, T, "min-offset repair pacing";
        correctLogicMinOffsetForceInterval => correct_logic_min_offset_force_interval: i32 = 5 * 60 * 1000; Ms, Boot, T, "min-offset repair forced period";
        mappedFileSwapEnable => mapped_file_swap_enable: bool = true; Plain, Boot, N, "unmap files that are not used";
        commitLogForceSwapMapInterval => commit_log_force_swap_map_interval: i64 = 12 * 60 * 60 * 1000; Ms, Boot, N, "unmap commit log files at the latest after this";
        commitLogSwapMapInterval => commit_log_swap_map_interval: i64 = 60 * 60 * 1000; Ms, Boot, N, "unmap idle commit log files after this";
        commitLogSwapMapReserveFileNum => commit_log_swap_map_reserve_file_num: i32 = 100; Count, Boot, N, "commit log files that stay mapped";
        logicQueueForceSwapMapInterval => logic_queue_force_swap_map_interval: i64 = 12 * 60 * 60 * 1000; Ms, Boot, N, "unmap queue files at the latest after this";
        logicQueueSwapMapInterval => logic_queue_swap_map_interval: i64 = 60 * 60 * 1000; Ms, Boot, N, "unmap idle queue files after this";
        cleanSwapedMapInterval => clean_swaped_map_interval: i64 = 5 * 60 * 1000; Ms, Boot, N, "period of freeing unmapped files";
        logicQueueSwapMapReserveFileNum => logic_queue_swap_map_reserve_file_num: i32 = 20; Count, Boot, N, "queue files that stay mapped";
        searchBcqByCacheEnable => search_bcq_by_cache_enable: bool = true; Plain, Boot, T, "cached batch queue search";
        dispatchFromSenderThread => dispatch_from_sender_thread: bool = false; Plain, Boot, T, important, "DLedger dispatch inline";
        wakeCommitWhenPutMessage => wake_commit_when_put_message: bool = true; Plain, Live, T, important, "wake committer per put";
        wakeFlushWhenPutMessage => wake_flush_when_put_message: bool = false; Plain, Live, T, important, "wake flusher per put";
        enableCleanExpiredOffset => enable_clean_expired_offset: bool = false; Plain, Live, Y, important, "remove offsets of dead topics";
        maxAsyncPutMessageRequests => max_async_put_message_requests: i32 = 5000; Count, Live, T, "semaphore for async puts";
        pullBatchMaxMessageCount => pull_batch_max_message_count: i32 = 160; Count, Live, T, "cap on batch-queue pulls";
        totalReplicas => total_replicas: i32 = 1; Count, Boot, Y, important, "replica group size";
        inSyncReplicas => in_sync_replicas: i32 = 1; Count, Live, Y, important, "ack count incl. master; 1 = do not wait";
        minInSyncReplicas => min_in_sync_replicas: i32 = 1; Count, Live, Y, important, "refuse below";
        allAckInSyncStateSet => all_ack_in_sync_state_set: bool = false; Plain, Live, Y, important, "ack from every in-sync replica";
        enableAutoInSyncReplicas => enable_auto_in_sync_replicas: bool = false; Plain, Live, Y, important, "lower inSyncReplicas automatically";
        haFlowControlEnable => ha_flow_control_enable: bool = false; Plain, Live, Y, important, "throttle HA sending";
        maxHaTransferByteInSecond => max_ha_transfer_byte_in_second: i64 = 100 * 1024 * 1024; Bytes, Live, Y, "HA throttle";
        haMaxTimeSlaveNotCatchup => ha_max_time_slave_not_catchup: i64 = 1000 * 15; Ms, Live, Y, "leaves the sync-state set after this lag time";
        syncMasterFlushOffsetWhenStartup => sync_master_flush_offset_when_startup: bool = false; Plain, Live, Y, "slave truncates to master's flushed offset at boot";
        maxChecksumRange => max_checksum_range: i64 = 1024 * 1024 * 1024; Bytes, Live, T, "compare window at boot";
        replicasPerDiskPartition => replicas_per_disk_partition: i32 = 1; Count, Live, Y, "several replicas share a disk: scales watermarks";
        logicalDiskSpaceCleanForciblyThreshold => logical_disk_space_clean_forcibly_threshold: f64 = 0.8; Plain, Live, Y, "logical (per replica) forced clean ratio";
        maxSlaveResendLength => max_slave_resend_length: i64 = 256 * 1024 * 1024; Bytes, Live, T, "slave resend bound";
        syncFromLastFile => sync_from_last_file: bool = false; Plain, Boot, Y, "new slave starts at master's last file";
        asyncLearner => async_learner: bool = false; Plain, Boot, Y, "replica never joins the sync-state set";
        maxConsumeQueueScan => max_consume_queue_scan: i32 = 20_000; Count, Live, T, "lag estimation";
        sampleCountThreshold => sample_count_threshold: i32 = 5000; Count, Live, T, "sampled count for lag estimates";
        coldDataFlowControlEnable => cold_data_flow_control_enable: bool = false; Plain, Live, Y, "throttle groups reading cold data";
        coldDataScanEnable => cold_data_scan_enable: bool = false; Plain, Live, Y, "ask the kernel which pages are in memory";
        dataReadAheadEnable => data_read_ahead_enable: bool = true; Plain, Live, Y, "kernel read-ahead of the commit log";
        timerColdDataCheckIntervalMs => timer_cold_data_check_interval_ms: i32 = 60 * 1000; Ms, Boot, N, "period of the cold data check";
        sampleSteps => sample_steps: i32 = 32; Count, Boot, N, "pages between samples of the cold data check";
        accessMessageInMemoryHotRatio => access_message_in_memory_hot_ratio: i32 [0, 100] = 26; Percent, Live, Y, "% of memory counted as hot for redirect/cold checks";
        enableBuildConsumeQueueConcurrently => enable_build_consume_queue_concurrently: bool = false; Plain, Boot, N, "dispatch with several threads";
        batchDispatchRequestThreadPoolNums => batch_dispatch_request_thread_pool_nums: i32 = 16; Count, Boot, N, "threads of that dispatch";
        cleanRocksDBDirtyCQIntervalMin => clean_rocksdb_dirty_cq_interval_min: i64 = 60; Minutes, Boot, N, "period of cleaning RocksDB queues";
        statRocksDBCQIntervalSec => stat_rocksdb_cq_interval_sec: i64 = 10; Seconds, Boot, N, "period of RocksDB statistics";
        memTableFlushIntervalMs => mem_table_flush_interval_ms: i64 = 60 * 60 * 1000; Ms, Live, T, "RocksDB memtable flush period";
        realTimePersistRocksDBConfig => real_time_persist_rocksdb_config: bool = true; Plain, Boot, N, "write RocksDB metadata at once";
        enableRocksDBLog => enable_rocksdb_log: bool = false; Plain, Boot, N, "RocksDB log";
        topicQueueLockNum => topic_queue_lock_num: i32 = 32; Count, Boot, N, "stripes of the queue lock";
        readUnCommitted => read_un_committed: bool = false; Plain, Live, Y, "dispatch before commit in raft/controller";
        putConsumeQueueDataByFileChannel => put_consume_queue_data_by_file_channel: bool = true; Plain, Boot, N, "write queues by system call";
        rocksdbCQDoubleWriteEnable => rocksdb_cq_double_write_enable: bool = false; Plain, Boot, N, "write both kinds of queue";
        combineCQLoadingCQTypes => combine_cq_loading_cq_types: String = "default;defaultRocksDB".to_owned(); Plain, Boot, N, "kinds of queue to load";
        combineCQPreferCQType => combine_cq_prefer_cq_type: String = "default".to_owned(); Plain, Boot, N, "kind of queue to read";
        combineAssignOffsetCQType => combine_assign_offset_cq_type: String = "default".to_owned(); Plain, Boot, N, "kind of queue that gives offsets";
        combineCQEnableCheckSelf => combine_cq_enable_check_self: bool = false; Plain, Boot, N, "compare both kinds of queue";
        combineCQMaxExtraSearchCommitLogFiles => combine_cq_max_extra_search_commit_log_files: i32 = 3; Count, Boot, N, "more files searched when both kinds differ";
        combineCQUseRocksdbForLmq => combine_cq_use_rocksdb_for_lmq: bool = false; Plain, Boot, N, "light queues in RocksDB";
        bottomMostCompressionTypeForConsumeQueueStore => bottom_most_compression_type_for_consume_queue_store: String = "zstd".to_owned(); Plain, Live, T, "RocksDB compression";
        rocksdbCompressionType => rocksdb_compression_type: String = "lz4".to_owned(); Plain, Boot, N, "RocksDB compression";
        rocksdbFlushWalFrequency => rocksdb_flush_wal_frequency: i32 = 1024; Count, Boot, N, "writes between RocksDB log flushes";
        rocksdbWalFileRollingThreshold => rocksdb_wal_file_rolling_threshold: i64 = 1 << 30; Bytes, Boot, N, "RocksDB log file size";
        enableAcceleratedRecovery => enable_accelerated_recovery: bool = false; Plain, Live, T, "RocksDB queue recovery shortcut";
        sharedByteBufferNum => shared_byte_buffer_num: i32 = 16; Count, Boot, N, "shared write buffers";
        useSeparateStorePathForRocksdbCQ => use_separate_store_path_for_rocksdb_cq: bool = false; Plain, Boot, N, "RocksDB queues in a directory of their own";
        spinLockCollisionRetreatOptimalDegree => spin_lock_collision_retreat_optimal_degree: i32 = 1000; Count, Live, T, "lock back-off";
        useABSLock => use_abs_lock: bool = false; Plain, Boot, N, "adaptive append lock";
        enableLogConsumeQueueRepeatedlyBuildWhenRecover => enable_log_consume_queue_repeatedly_build_when_recover: bool = false; Plain, Live, T, "log only";
        appendTopicForTimerDeleteKey => append_topic_for_timer_delete_key: bool = false; Plain, Live, Y, "timer delete keys carry the topic";
        diskMinFreeSpaceBytes => disk_min_free_space_bytes: Option<ByteSize> = None; Plain, Live, Y, "delete expired files at any hour also when less than this is free, such as 50g";
        diskSpaceCleanForciblyFreeBytes => disk_space_clean_forcibly_free_bytes: Option<ByteSize> = None; Plain, Live, Y, "delete unexpired files also when less than this is free, such as 20g";
        diskSpaceWarningLevelFreeBytes => disk_space_warning_level_free_bytes: Option<ByteSize> = None; Plain, Live, Y, "refuse messages also when less than this is free, such as 10g";
    }
}
