//! What a broker is and does, apart from its store.

use daemon::environment::cores;
use daemon::options::ByteSize;

daemon::option_enum! {
    /// How a consumer gets its messages when neither side has said so.
    pub enum MessageRequestMode {
        /// The client pulls from queues it was assigned.
        Pull = "PULL",
        /// The broker hands out messages one by one.
        Pop = "POP",
    }
    allowed "PULL or POP"
}

daemon::option_enum! {
    /// Where metrics go.
    pub enum MetricsExporterType {
        /// Nowhere.
        Disable = "DISABLE" [0],
        /// To an OpenTelemetry collector.
        OtlpGrpc = "OTLP_GRPC" [1],
        /// Served for Prometheus on metricsPromExporterPort.
        Prom = "PROM" [2],
        /// To the log.
        Log = "LOG" [3],
    }
    allowed "DISABLE, OTLP_GRPC, PROM, LOG, or 0 to 3"
}

daemon::options! {
    /// Options of the broker. Source: common/BrokerIdentity.java, common/BrokerConfig.java (its `listenPort`, which only
    /// brokers in a container use, is that of [`daemon::server_config::ServerConfig`] here); the last ones are our own.
    pub struct BrokerConfig {
        brokerName => broker_name: String = "DEFAULT_BROKER".to_owned(); Plain, Boot, Y, important, "local host name, or DEFAULT_BROKER when unknown";
        brokerClusterName => broker_cluster_name: String = "DefaultCluster".to_owned(); Plain, Boot, Y, important, "cluster this broker belongs to";
        brokerId => broker_id: i64 = 0; Plain, Boot, Y, important, "0 master, >0 slave; forced to 0 for master roles";
        isBrokerContainer => is_broker_container: bool = false; Plain, Boot, Y, "set at run time: the process is a broker container";
        isInBrokerContainer => is_in_broker_container: bool = false; Plain, Boot, Y, "set at run time: this broker runs in a container";
        brokerConfigPath => broker_config_path: Option<String> = None; Plain, Boot, Y, "path of the loaded file, never updatable";
        rocketmqHome => rocketmq_home: Option<String> = None; Plain, Boot, Y, "install dir; env ROCKETMQ_HOME or -Drocketmq.home.dir; process exits -2 when null";
        namesrvAddr => namesrv_addr: Option<String> = None; Plain, Live, Y, important, "`;` list of host:port; env NAMESRV_ADDR";
        brokerIP1 => broker_ip1: String = "127.0.0.1".to_owned(); Plain, Boot, Y, important, "address registered in routes and stamped into storeHost";
        brokerIP2 => broker_ip2: String = "127.0.0.1".to_owned(); Plain, Boot, Y, "address of the HA server registered for slaves";
        recoverConcurrently => recover_concurrently: bool = false; Plain, Boot, T, important, "parallel queue recovery";
        brokerPermission => broker_permission: i32 [0, 7] = 6; Plain, Live, Y, "read 4, write 2, both 6; a change registers the broker again";
        defaultTopicQueueNums => default_topic_queue_nums: i32 [1, 65535] = 8; Count, Live, Y, "queues of TBW102 (auto-created topics)";
        autoCreateTopicEnable => auto_create_topic_enable: bool = true; Plain, Live, Y, important, "create topics on first send";
        clusterTopicEnable => cluster_topic_enable: bool = true; Plain, Boot, Y, "make CLUSTERNAME topic readable/writable";
        brokerTopicEnable => broker_topic_enable: bool = true; Plain, Boot, Y, "make BROKERNAME topic readable/writable";
        autoCreateSubscriptionGroup => auto_create_subscription_group: bool = true; Plain, Live, Y, important, "create groups on first use";
        messageStorePlugIn => message_store_plug_in: String = String::new(); Plain, Boot, N, "class names of store plug-ins";
        msgTraceTopicName => msg_trace_topic_name: String = "RMQ_SYS_TRACE_TOPIC".to_owned(); Plain, Boot, Y, important, "trace topic name";
        traceTopicEnable => trace_topic_enable: bool = false; Plain, Boot, Y, important, "create the trace topic as system topic";
        sendMessageThreadPoolNums => send_message_thread_pool_nums: i32 = cores().min(4); Count, Boot, N, "threads for sends";
        putMessageFutureThreadPoolNums => put_message_future_thread_pool_nums: i32 = cores().min(4); Count, Boot, N, "threads that finish puts";
        pullMessageThreadPoolNums => pull_message_thread_pool_nums: i32 = 16 + cores() * 2; Count, Boot, N, "threads for pulls";
        litePullMessageThreadPoolNums => lite_pull_message_thread_pool_nums: i32 = 16 + cores() * 2; Count, Boot, N, "threads for lite pulls";
        ackMessageThreadPoolNums => ack_message_thread_pool_nums: i32 = 16; Count, Boot, N, "threads for acks";
        processReplyMessageThreadPoolNums => process_reply_message_thread_pool_nums: i32 = 16 + cores() * 2; Count, Boot, N, "threads for replies";
        queryMessageThreadPoolNums => query_message_thread_pool_nums: i32 = 8 + cores(); Count, Boot, N, "threads for queries";
        adminBrokerThreadPoolNums => admin_broker_thread_pool_nums: i32 = 16; Count, Boot, N, "threads for admin requests";
        clientManageThreadPoolNums => client_manage_thread_pool_nums: i32 = 32; Count, Boot, N, "threads for client management";
        consumerManageThreadPoolNums => consumer_manage_thread_pool_nums: i32 = 32; Count, Boot, N, "threads for consumer management";
        loadBalanceProcessorThreadPoolNums => load_balance_processor_thread_pool_nums: i32 = 32; Count, Boot, N, "threads for server-side load balancing";
        heartbeatThreadPoolNums => heartbeat_thread_pool_nums: i32 = cores().min(32); Count, Boot, N, "threads for heartbeats";
        recoverThreadPoolNums => recover_thread_pool_nums: i32 = 32; Count, Boot, N, "threads for recovery";
        endTransactionThreadPoolNums => end_transaction_thread_pool_nums: i32 = (8 + cores() * 2).max(cores().min(4) * 4); Count, Boot, N, "threads for ends of transactions";
        flushConsumerOffsetInterval => flush_consumer_offset_interval: i32 [1, i32::MAX as i64] = 1000 * 5; Ms, Boot, Y, "period of writing consumer offsets";
        flushConsumerOffsetHistoryInterval => flush_consumer_offset_history_interval: i32 = 1000 * 60; Ms, Boot, T, "unused interval";
        rejectTransactionMessage => reject_transaction_message: bool = false; Plain, Live, Y, important, "refuse half messages (16)";
        fetchNameSrvAddrByDnsLookup => fetch_name_srv_addr_by_dns_lookup: bool = false; Plain, Boot, T, important, "resolve namesrvAddr by DNS";
        fetchNamesrvAddrByAddressServer => fetch_namesrv_addr_by_address_server: bool = false; Plain, Boot, Y, important, "poll an HTTP address server for the namesrv list";
        sendThreadPoolQueueCapacity => send_thread_pool_queue_capacity: i32 = 10_000; Count, Boot, T, "request queue length";
        putThreadPoolQueueCapacity => put_thread_pool_queue_capacity: i32 = 10_000; Count, Boot, T, "request queue length";
        pullThreadPoolQueueCapacity => pull_thread_pool_queue_capacity: i32 = 100_000; Count, Boot, T, "request queue length";
        litePullThreadPoolQueueCapacity => lite_pull_thread_pool_queue_capacity: i32 = 100_000; Count, Boot, T, "request queue length";
        ackThreadPoolQueueCapacity => ack_thread_pool_queue_capacity: i32 = 100_000; Count, Boot, T, "request queue length";
        replyThreadPoolQueueCapacity => reply_thread_pool_queue_capacity: i32 = 10_000; Count, Boot, T, "request queue length";
        queryThreadPoolQueueCapacity => query_thread_pool_queue_capacity: i32 = 20_000; Count, Boot, T, "request queue length";
        clientManagerThreadPoolQueueCapacity => client_manager_thread_pool_queue_capacity: i32 = 1_000_000; Count, Boot, T, "request queue length";
        consumerManagerThreadPoolQueueCapacity => consumer_manager_thread_pool_queue_capacity: i32 = 1_000_000; Count, Boot, T, "request queue length";
        heartbeatThreadPoolQueueCapacity => heartbeat_thread_pool_queue_capacity: i32 = 50_000; Count, Boot, T, "request queue length";
        endTransactionPoolQueueCapacity => end_transaction_pool_queue_capacity: i32 = 100_000; Count, Boot, T, "request queue length";
        adminBrokerThreadPoolQueueCapacity => admin_broker_thread_pool_queue_capacity: i32 = 10_000; Count, Boot, T, "request queue length";
        loadBalanceThreadPoolQueueCapacity => load_balance_thread_pool_queue_capacity: i32 = 100_000; Count, Boot, T, "request queue length";
        longPollingEnable => long_polling_enable: bool = true; Plain, Live, Y, "hold empty pulls";
        shortPollingTimeMills => short_polling_time_mills: i64 = 1000; Ms, Live, Y, "hold time when long polling is off";
        notifyConsumerIdsChangedEnable => notify_consumer_ids_changed_enable: bool = true; Plain, Live, Y, "send rebalance notices";
        highSpeedMode => high_speed_mode: bool = false; Plain, Live, T, "unused";
        commercialBaseCount => commercial_base_count: i32 = 1; Count, Live, T, "billing statistics unit";
        commercialSizePerMsg => commercial_size_per_msg: i32 = 4 * 1024; Bytes, Live, T, "billing statistics size unit";
        accountStatsEnable => account_stats_enable: bool = true; Plain, Live, T, "account statistics";
        accountStatsPrintZeroValues => account_stats_print_zero_values: bool = true; Plain, Live, T, "account statistics output";
        maxStatsIdleTimeInMinutes => max_stats_idle_time_in_minutes: i32 = -1; Minutes, Live, T, "drop idle stats, -1 never";
        transferMsgByHeap => transfer_msg_by_heap: bool = true; Plain, Boot, N, "copy pulled messages through the heap";
        regionId => region_id: String = "DefaultRegion".to_owned(); Plain, Boot, Y, "value of MSG_REGION";
        registerBrokerTimeoutMills => register_broker_timeout_mills: i32 = 24_000; Ms, Live, T, "namesrv registration timeout";
        sendHeartbeatTimeoutMillis => send_heartbeat_timeout_millis: i32 = 1000; Ms, Live, T, "light heartbeat timeout";
        slaveReadEnable => slave_read_enable: bool = false; Plain, Live, Y, "allow pulls from slaves and slave suggestions";
        disableConsumeIfConsumerReadSlowly => disable_consume_if_consumer_read_slowly: bool = false; Plain, Live, Y, "stop groups far behind";
        consumerFallbehindThreshold => consumer_fallbehind_threshold: i64 = 1024 * 1024 * 1024 * 16; Bytes, Live, Y, "bytes behind that make disableConsumeIfConsumerReadSlowly act";
        brokerFastFailureEnable => broker_fast_failure_enable: bool = true; Plain, Live, Y, "drop requests that waited too long";
        waitTimeMillsInSendQueue => wait_time_mills_in_send_queue: i64 = 200; Ms, Live, Y, "a send that waited longer is dropped";
        waitTimeMillsInPullQueue => wait_time_mills_in_pull_queue: i64 = 5 * 1000; Ms, Live, Y, "a pull that waited longer is dropped";
        waitTimeMillsInLitePullQueue => wait_time_mills_in_lite_pull_queue: i64 = 5 * 1000; Ms, Live, Y, "a lite pull that waited longer is dropped";
        waitTimeMillsInHeartbeatQueue => wait_time_mills_in_heartbeat_queue: i64 = 31 * 1000; Ms, Live, Y, "a heartbeat that waited longer is dropped";
        waitTimeMillsInTransactionQueue => wait_time_mills_in_transaction_queue: i64 = 3 * 1000; Ms, Live, Y, "an end of transaction that waited longer is dropped";
        waitTimeMillsInAckQueue => wait_time_mills_in_ack_queue: i64 = 3000; Ms, Live, Y, "an ack that waited longer is dropped";
        waitTimeMillsInAdminBrokerQueue => wait_time_mills_in_admin_broker_queue: i64 = 5 * 1000; Ms, Live, Y, "an admin request that waited longer is dropped";
        startAcceptSendRequestTimeStamp => start_accept_send_request_time_stamp: i64 = 0; Ms, Live, Y, "refuse sends before this time";
        traceOn => trace_on: bool = true; Plain, Live, Y, "value of TRACE_ON";
        enableCalcFilterBitMap => enable_calc_filter_bit_map: bool = false; Plain, Live, Y, "build SQL bloom bitmaps at dispatch";
        rejectPullConsumerEnable => reject_pull_consumer_enable: bool = false; Plain, Live, Y, "refuse CONSUME_ACTIVELY clients";
        expectConsumerNumUseFilter => expect_consumer_num_use_filter: i32 = 32; Count, Live, T, "bloom sizing";
        maxErrorRateOfBloomFilter => max_error_rate_of_bloom_filter: i32 = 20; Percent, Live, T, "bloom error rate percent";
        filterDataCleanTimeSpan => filter_data_clean_time_span: i64 = 24 * 3600 * 1000; Ms, Live, Y, "how long filter data of gone consumers is kept";
        filterSupportRetry => filter_support_retry: bool = false; Plain, Live, Y, "filter retry topics too";
        enablePropertyFilter => enable_property_filter: bool = false; Plain, Live, Y, "allow SQL92";
        compressedRegister => compressed_register: bool = false; Plain, Live, Y, "zlib registration body";
        forceRegister => force_register: bool = true; Plain, Live, Y, "register even if unchanged";
        registerNameServerPeriod => register_name_server_period: i32 = 1000 * 30; Ms, Live, Y, "registration period, clamped 10-60 s";
        updateNameServerAddrPeriod => update_name_server_addr_period: i32 = 1000 * 120; Ms, Boot, Y, "refresh namesrv list";
        brokerHeartbeatInterval => broker_heartbeat_interval: i32 = 1000; Ms, Boot, Y, "light heartbeat (slave acting master / controller)";
        brokerNotActiveTimeoutMillis => broker_not_active_timeout_millis: i64 = 10 * 1000; Ms, Live, Y, "heartbeat timeout announced in the header";
        enableNetWorkFlowControl => enable_net_work_flow_control: bool = false; Plain, Live, Y, "skip replies on unwritable channels";
        enableBroadcastOffsetStore => enable_broadcast_offset_store: bool = true; Plain, Live, Y, "remember broadcast offsets";
        broadcastOffsetExpireSecond => broadcast_offset_expire_second: i64 = 2 * 60; Seconds, Live, T, "expiry of broadcast offsets";
        broadcastOffsetExpireMaxSecond => broadcast_offset_expire_max_second: i64 = 5 * 60; Seconds, Live, T, "expiry cap";
        popPollingSize => pop_polling_size: i32 = 1024; Count, Live, Y, "waiting pops per key";
        popPollingMapSize => pop_polling_map_size: i32 = 100_000; Count, Live, T, "keys cached";
        popPollingMapExpireTimeSeconds => pop_polling_map_expire_time_seconds: i32 = 60 * 10; Seconds, Live, T, "key idle expiry";
        maxPopPollingSize => max_pop_polling_size: i64 = 100_000; Count, Live, Y, "waiting pops in total";
        reviveQueueNum => revive_queue_num: i32 [1, 65535] = 8; Count, Boot, Y, "queues of the revive topic";
        reviveInterval => revive_interval: i64 = 1000; Ms, Boot, Y, "revive scan period";
        reviveMaxSlow => revive_max_slow: i64 = 3; Count, Live, T, "revive back-off factor";
        reviveScanTime => revive_scan_time: i64 = 10_000; Ms, Live, T, "max time of one scan";
        enableSkipLongAwaitingAck => enable_skip_long_awaiting_ack: bool = false; Plain, Live, Y, "skip acks without checkpoint";
        reviveAckWaitMs => revive_ack_wait_ms: i64 = 180_000; Ms, Live, T, "wait for a matching checkpoint";
        enablePopLog => enable_pop_log: bool = false; Plain, Live, T, "log every pop operation";
        enablePopBufferMerge => enable_pop_buffer_merge: bool = false; Plain, Live, Y, "keep checkpoints in memory first";
        popCkStayBufferTime => pop_ck_stay_buffer_time: i32 = 10 * 1000; Ms, Live, T, "buffer time";
        popCkStayBufferTimeOut => pop_ck_stay_buffer_time_out: i32 = 3 * 1000; Ms, Live, T, "buffer write-out margin";
        popCkMaxBufferSize => pop_ck_max_buffer_size: i32 = 200_000; Count, Live, T, "buffer size";
        popCkOffsetMaxQueueSize => pop_ck_offset_max_queue_size: i32 = 20_000; Count, Live, T, "offsets queue";
        enablePopBatchAck => enable_pop_batch_ack: bool = false; Plain, Live, Y, "batch ack records";
        popLongPollingForceNotifyInterval => pop_long_polling_force_notify_interval: i64 = 800; Count, Boot, T, "notify every n-th message regardless of filter";
        enableNotifyBeforePopCalculateLag => enable_notify_before_pop_calculate_lag: bool = true; Plain, Live, T, "lag metric accuracy";
        enableNotifyAfterPopOrderLockRelease => enable_notify_after_pop_order_lock_release: bool = true; Plain, Live, Y, "wake order pollers on unlock";
        initPopOffsetByCheckMsgInMem => init_pop_offset_by_check_msg_in_mem: bool = true; Plain, Boot, Y, "init new POP groups at 0 for small queues";
        retrieveMessageFromPopRetryTopicV1 => retrieve_message_from_pop_retry_topic_v1: bool = true; Plain, Live, Y, "with V2 also read the V1 retry topic";
        enableRetryTopicV2 => enable_retry_topic_v2: bool = false; Plain, Live, Y, "%RETRY%G+TOPIC naming";
        popFromRetryProbability => pop_from_retry_probability: i32 [0, 100] = 20; Percent, Live, Y, "percent of pops that look at retry first";
        popFromRetryProbabilityForPriority => pop_from_retry_probability_for_priority: i32 = 0; Percent, Live, Y, "percent of priority pops that look at retry first";
        priorityOrderAsc => priority_order_asc: bool = true; Plain, Live, Y, "priority 0 is the lowest";
        popConsumerFSServiceInit => pop_consumer_fs_service_init: bool = true; Plain, Boot, Y, "start file-based POP bookkeeping";
        popConsumerKVServiceLog => pop_consumer_kv_service_log: bool = false; Plain, Live, T, "log every pop operation";
        popConsumerKVServiceInit => pop_consumer_kv_service_init: bool = false; Plain, Boot, N, "start POP bookkeeping in RocksDB";
        popConsumerKVServiceEnable => pop_consumer_kv_service_enable: bool = false; Plain, Boot, N, "use POP bookkeeping in RocksDB";
        popReviveMaxReturnSizePerRead => pop_revive_max_return_size_per_read: i32 = 16 * 1024; Count, Live, T, "KV revive batch";
        popReviveConcurrency => pop_revive_concurrency: i32 = 32; Count, Live, T, "revives at a time";
        popReviveMaxAttemptTimes => pop_revive_max_attempt_times: i32 = 16; Count, Live, Y, "KV revive attempts";
        popReviveSkipIfGroupAbsent => pop_revive_skip_if_group_absent: bool = true; Plain, Live, Y, "drop revives of deleted groups";
        useSeparateRetryQueue => use_separate_retry_queue: bool = false; Plain, Live, Y, "one retry queue for each queue";
        realTimeNotifyConsumerChange => real_time_notify_consumer_change: bool = true; Plain, Live, Y, "notify at once vs every 15 s";
        useMessageFilterForNotification => use_message_filter_for_notification: bool = true; Plain, Live, Y, "filter before waking waiting pops";
        maxMessageFilterNumForNotification => max_message_filter_num_for_notification: i32 = 64; Count, Live, Y, "filters tried before a waiting pop is woken";
        litePullMessageEnable => lite_pull_message_enable: bool = true; Plain, Live, Y, "accept code 361";
        syncBrokerMemberGroupPeriod => sync_broker_member_group_period: i32 = 1000; Ms, Boot, Y, "member sync period";
        loadBalancePollNameServerInterval => load_balance_poll_name_server_interval: i64 = 1000 * 30; Ms, Boot, T, "server-side rebalance route refresh";
        cleanOfflineBrokerInterval => clean_offline_broker_interval: i32 = 1000 * 30; Ms, Boot, T, "route cache cleanup";
        serverLoadBalancerEnable => server_load_balancer_enable: bool = true; Plain, Live, Y, "answer QUERY_ASSIGNMENT with a split, else all queues";
        defaultMessageRequestMode => default_message_request_mode: MessageRequestMode = MessageRequestMode::Pull; Plain, Live, Y, "PULL or POP when unset";
        defaultPopShareQueueNum => default_pop_share_queue_num: i32 = -1; Count, Live, Y, "-1/0 = all queues shared";
        transactionTimeOut => transaction_time_out: i64 = 6 * 1000; Ms, Live, Y, important, "first check-back age";
        transactionCheckMax => transaction_check_max: i32 = 15; Count, Live, Y, important, "check-back count";
        transactionCheckInterval => transaction_check_interval: i64 [1, i32::MAX as i64] = 30 * 1000; Ms, Live, Y, important, "check-back period";
        transactionMetricFlushInterval => transaction_metric_flush_interval: i64 = 10 * 1000; Ms, Boot, T, "metrics persist";
        transactionCheckRocksdbCoreThreads => transaction_check_rocksdb_core_threads: i32 = 2; Count, Boot, N, "threads of the RocksDB transaction check";
        transactionCheckRocksdbMaxThreads => transaction_check_rocksdb_max_threads: i32 = 5; Count, Boot, N, "most threads of the RocksDB transaction check";
        transactionCheckRocksdbQueueCapacity => transaction_check_rocksdb_queue_capacity: i32 = 2000; Count, Boot, N, "queue of the RocksDB transaction check";
        transactionOpMsgMaxSize => transaction_op_msg_max_size: i32 = 4096; Bytes, Live, Y, "op record size";
        transactionOpBatchInterval => transaction_op_batch_interval: i32 = 3000; Ms, Live, Y, "op batch delay";
        aclEnable => acl_enable: bool = false; Plain, Boot, N, important, "switch of the ACL 1.0 that 5.3 removed; ACL 2.0 has authenticationEnabled and authorizationEnabled";
        storeReplyMessageEnable => store_reply_message_enable: bool = true; Plain, Live, Y, "store replies";
        enableDetailStat => enable_detail_stat: bool = true; Plain, Live, T, "extra put/get stats";
        autoDeleteUnusedStats => auto_delete_unused_stats: bool = true; Plain, Live, Y, "drop stats with their topic/group";
        isolateLogEnable => isolate_log_enable: bool = false; Plain, Live, T, "log file naming";
        forwardTimeout => forward_timeout: i64 = 3 * 1000; Ms, Live, T, "static topic forwarding";
        enableSlaveActingMaster => enable_slave_acting_master: bool = false; Plain, Live, Y, "slave takes over reads/escapes when the master is gone";
        enableRemoteEscape => enable_remote_escape: bool = false; Plain, Live, Y, "slave forwards timer/transaction/POP messages to a remote master";
        skipPreOnline => skip_pre_online: bool = false; Plain, Live, Y, "skip the slave hand-shake wait";
        asyncSendEnable => async_send_enable: bool = true; Plain, Live, T, "async put path";
        useServerSideResetOffset => use_server_side_reset_offset: bool = true; Plain, Live, Y, "resets happen on the broker (5.x) instead of pushing to clients";
        consumerOffsetUpdateVersionStep => consumer_offset_update_version_step: i64 = 500; Count, Live, T, "data version cadence";
        delayOffsetUpdateVersionStep => delay_offset_update_version_step: i64 = 200; Count, Live, T, "data version cadence";
        lockInStrictMode => lock_in_strict_mode: bool = false; Plain, Live, Y, "quorum locks";
        compatibleWithOldNameSrv => compatible_with_old_name_srv: bool = true; Plain, Live, T, "registration format";
        enableControllerMode => enable_controller_mode: bool = false; Plain, Boot, Y, "controller failover";
        controllerAddr => controller_addr: String = String::new(); Plain, Boot, Y, "`;` list";
        fetchControllerAddrByDnsLookup => fetch_controller_addr_by_dns_lookup: bool = false; Plain, Boot, Y, "resolve controllerAddr periodically";
        syncBrokerMetadataPeriod => sync_broker_metadata_period: i64 = 5 * 1000; Ms, Boot, Y, "controller mode";
        checkSyncStateSetPeriod => check_sync_state_set_period: i64 = 5 * 1000; Ms, Boot, Y, "controller mode";
        syncControllerMetadataPeriod => sync_controller_metadata_period: i64 = 10 * 1000; Ms, Boot, Y, "controller mode";
        controllerHeartBeatTimeoutMills => controller_heart_beat_timeout_mills: i64 = 10 * 1000; Ms, Live, Y, "controller mode";
        validateSystemTopicWhenUpdateTopic => validate_system_topic_when_update_topic: bool = true; Plain, Live, Y, "protect system topics";
        brokerElectionPriority => broker_election_priority: i32 = i32::MAX; Count, Live, Y, "smaller wins elections";
        useStaticSubscription => use_static_subscription: bool = false; Plain, Live, Y, "take subscriptions from the group config";
        metricsExporterType => metrics_exporter_type: MetricsExporterType = MetricsExporterType::Disable; Plain, Boot, Y, "DISABLE, OTLP_GRPC, PROM, LOG";
        metricsOtelCardinalityLimit => metrics_otel_cardinality_limit: i32 = 50 * 1000; Count, Boot, N, "series per metric";
        metricsGrpcExporterTarget => metrics_grpc_exporter_target: String = String::new(); Plain, Boot, Y, "OTLP gRPC endpoint";
        metricsGrpcExporterHeader => metrics_grpc_exporter_header: String = String::new(); Plain, Boot, Y, "`k:v,k:v` headers";
        metricGrpcExporterTimeOutInMills => metric_grpc_exporter_time_out_in_mills: i64 = 3 * 1000; Ms, Live, Y, "OTLP timeout";
        metricGrpcExporterIntervalInMills => metric_grpc_exporter_interval_in_mills: i64 = 60 * 1000; Ms, Live, Y, "OTLP period";
        metricLoggingExporterIntervalInMills => metric_logging_exporter_interval_in_mills: i64 = 10 * 1000; Ms, Live, Y, "log exporter period";
        metricsPromExporterPort => metrics_prom_exporter_port: i32 [0, 65535] = 5557; Port, Boot, Y, "scrape port 5557";
        metricsPromExporterHost => metrics_prom_exporter_host: String = String::new(); Plain, Boot, Y, "scrape host";
        metricsLabel => metrics_label: String = String::new(); Plain, Boot, Y, "extra labels k:v,k:v";
        metricsExportBatchMaxDataPoints => metrics_export_batch_max_data_points: i32 = 1000; Count, Boot, T, "points per exported batch";
        metricsInDelta => metrics_in_delta: bool = false; Plain, Boot, Y, "delta temporality";
        enableRemotingMetrics => enable_remoting_metrics: bool = true; Plain, Live, Y, "enable remoting metrics";
        enableMessageStoreMetrics => enable_message_store_metrics: bool = true; Plain, Live, Y, "enable message store metrics";
        enablePopMetrics => enable_pop_metrics: bool = true; Plain, Live, Y, "enable pop metrics";
        enableConnectionMetrics => enable_connection_metrics: bool = true; Plain, Live, Y, "enable connection metrics";
        enableTransactionMetrics => enable_transaction_metrics: bool = true; Plain, Live, Y, "enable transaction metrics";
        enableStatsMetrics => enable_stats_metrics: bool = true; Plain, Live, Y, "enable stats metrics";
        enableRequestMetrics => enable_request_metrics: bool = true; Plain, Live, Y, "enable request metrics";
        enableLagAndDlqMetrics => enable_lag_and_dlq_metrics: bool = true; Plain, Live, Y, "enable lag and dlq metrics";
        channelExpiredTimeout => channel_expired_timeout: i64 = 1000 * 120; Ms, Live, Y, "client silence limit";
        subscriptionExpiredTimeout => subscription_expired_timeout: i64 = 1000 * 60 * 10; Ms, Live, Y, "compensated subscriptions";
        estimateAccumulation => estimate_accumulation: bool = true; Plain, Live, T, "lag metric estimates filters";
        coldCtrStrategyEnable => cold_ctr_strategy_enable: bool = false; Plain, Live, Y, "adaptive cold control";
        usePIDColdCtrStrategy => use_pid_cold_ctr_strategy: bool = true; Plain, Live, Y, "strategy choice";
        cgColdReadThreshold => cg_cold_read_threshold: i64 = 3 * 1024 * 1024; Bytes, Live, Y, "cold bytes per group";
        globalColdReadThreshold => global_cold_read_threshold: i64 = 100 * 1024 * 1024; Bytes, Live, Y, "cold bytes in total";
        fetchNamesrvAddrInterval => fetch_namesrv_addr_interval: i64 = 10 * 1000; Ms, Boot, Y, "address server poll";
        popResponseReturnActualRetryTopic => pop_response_return_actual_retry_topic: bool = false; Plain, Live, Y, "keep retry topic names in POP replies";
        enableSingleTopicRegister => enable_single_topic_register: bool = false; Plain, Live, Y, "register only new topics";
        enableMixedMessageType => enable_mixed_message_type: bool = false; Plain, Live, Y, "allow message.type=MIXED";
        enableSplitRegistration => enable_split_registration: bool = false; Plain, Live, Y, "split big registrations";
        enableSplitMetadata => enable_split_metadata: bool = true; Plain, Live, Y, "paged metadata replies";
        splitMetadataSize => split_metadata_size: i32 = 2000; Count, Live, Y, "entries per page";
        popInflightMessageThreshold => pop_inflight_message_threshold: i64 = 10_000; Count, Live, Y, "POP stop level";
        enablePopMessageThreshold => enable_pop_message_threshold: bool = false; Plain, Live, Y, "apply popInflightMessageThreshold";
        enableFastChannelEventProcess => enable_fast_channel_event_process: bool = false; Plain, Live, T, "faster channel close handling";
        printChannelGroups => print_channel_groups: bool = false; Plain, Live, T, "log";
        printChannelGroupsMinNum => print_channel_groups_min_num: i32 = 5; Count, Live, T, "log";
        splitRegistrationSize => split_registration_size: i32 = 800; Count, Live, Y, "topics per part";
        configBlackList => config_black_list: String = "configBlackList;brokerConfigPath".to_owned(); Plain, Boot, Y, "config names that UPDATE_*_CONFIG refuses";
        skipWhenCKRePutReachMaxTimes => skip_when_ck_re_put_reach_max_times: bool = false; Plain, Live, Y, "give up endless revive re-puts";
        appendAckAsync => append_ack_async: bool = false; Plain, Live, T, "async ack write";
        appendCkAsync => append_ck_async: bool = false; Plain, Live, T, "async checkpoint write";
        clearRetryTopicWhenDeleteTopic => clear_retry_topic_when_delete_topic: bool = true; Plain, Live, Y, "also delete POP retry topics";
        enableLmqStats => enable_lmq_stats: bool = false; Plain, Live, T, "stats per LMQ";
        configManagerVersion => config_manager_version: String = "v1".to_owned(); Plain, Boot, Y, "V1 json/per-table RocksDB, V2 one RocksDB";
        useSingleRocksDBForAllConfigs => use_single_rocksdb_for_all_configs: bool = false; Plain, Boot, N, "one RocksDB for all metadata";
        allowRecallWhenBrokerNotWriteable => allow_recall_when_broker_not_writeable: bool = true; Plain, Live, Y, "recall policy";
        recallMessageEnable => recall_message_enable: bool = false; Plain, Live, Y, "accept RECALL_MESSAGE";
        enableRegisterProducer => enable_register_producer: bool = true; Plain, Live, Y, "track producers";
        enableCreateSysGroup => enable_create_sys_group: bool = true; Plain, Live, Y, "auto-create CID_RMQ_SYS_* groups";
        enableLiteEventMode => enable_lite_event_mode: bool = true; Plain, Live, Y, "deliver lite topics by event";
        liteEventCheckInterval => lite_event_check_interval: i64 = 10 * 1000; Ms, Boot, T, "period of the lite event check";
        liteTtlCheckInterval => lite_ttl_check_interval: i64 = 120 * 1000; Ms, Boot, Y, "period of the lite topic expiry check";
        minLiteTTl => min_lite_ttl: i64 = 15 * 60 * 1000; Ms, Live, Y, "shortest life of a lite topic";
        liteSubscriptionCheckInterval => lite_subscription_check_interval: i64 = 120_000; Ms, Boot, Y, "period of the lite subscription check";
        liteSubscriptionCheckTimeoutMills => lite_subscription_check_timeout_mills: i64 = 180_000; Ms, Live, Y, "silence after which a lite subscription ends";
        persistConsumerOffsetIncrementally => persist_consumer_offset_incrementally: bool = false; Plain, Boot, N, "write changed consumer offsets only (RocksDB)";
        maxLiteSubscriptionCount => max_lite_subscription_count: i64 = 100_000; Count, Live, Y, "lite subscriptions in total";
        enableLitePopLog => enable_lite_pop_log: bool = false; Plain, Live, T, "log every pop operation";
        maxClientEventCount => max_client_event_count: i32 = 100; Count, Live, Y, "lite events held for one client";
        liteEventFullDispatchDelayTime => lite_event_full_dispatch_delay_time: i64 = 10 * 1000; Ms, Live, Y, "delay of a full lite dispatch";
        liteEventFullDispatchDelayTimeForWildcardGroup => lite_event_full_dispatch_delay_time_for_wildcard_group: i64 = 10 * 1000; Ms, Live, Y, "delay of a full lite dispatch for wildcard groups";
        liteLagLatencyCollectEnable => lite_lag_latency_collect_enable: bool = false; Plain, Live, Y, "collect lite latency";
        liteLagLatencyMetricsEnable => lite_lag_latency_metrics_enable: bool = false; Plain, Live, Y, "export lite latency";
        liteLagCountMetricsEnable => lite_lag_count_metrics_enable: bool = false; Plain, Live, Y, "export lite lag";
        liteLagLatencyTopK => lite_lag_latency_top_k: i32 = 50; Count, Live, Y, "worst lite latencies exported";
        rmqAddressServerDomain => rmq_address_server_domain: Option<String> = None; Plain, Boot, Y, "host of the HTTP address server; -Drocketmq.namesrv.domain";
        rmqAddressServerSubGroup => rmq_address_server_sub_group: Option<String> = None; Plain, Boot, Y, "path part of the HTTP address server; -Drocketmq.namesrv.domain.subgroup";
        memoryBudget => memory_budget: Option<ByteSize> = None; Plain, Boot, Y, important, "bounds what the process allocates (page cache not counted)";
    }
}
