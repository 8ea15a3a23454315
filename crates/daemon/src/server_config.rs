//! Options of the network layer, common to all daemons.

use crate::exit::Exit;
use crate::jvm_flags::JvmFlags;

use crate::environment::cores;

crate::options! {
    /// The serving side. Source: remoting/netty/NettyServerConfig.java.
    pub struct ServerConfig {
        bindAddress => bind_address: String = "0.0.0.0".to_owned(); Plain, Boot, Y, "listen address";
        listenPort => listen_port: i32 [0, 65535] = 0; Port, Boot, Y, "set by each start class (9876 / 10_911 / 10_811 / 19_876), then overridden by the -c file";
        serverWorkerThreads => server_worker_threads: i32 = 8; Count, Boot, N, "worker threads";
        serverCallbackExecutorThreads => server_callback_executor_threads: i32 = 0; Count, Boot, N, "callback threads";
        serverSelectorThreads => server_selector_threads: i32 = 3; Count, Boot, N, "selector threads";
        serverOnewaySemaphoreValue => server_oneway_semaphore_value: i32 = 256; Count, Boot, N, "one-way requests in flight";
        serverAsyncSemaphoreValue => server_async_semaphore_value: i32 = 64; Count, Boot, N, "async requests in flight";
        serverChannelMaxIdleTimeSeconds => server_channel_max_idle_time_seconds: i32 [0, i32::MAX as i64] = 120; Seconds, Live, Y, "idle connection closed after this";
        serverSocketSndBufSize => server_socket_snd_buf_size: i32 = 0; Bytes, Boot, T, "socket buffer, 0 = system";
        serverSocketRcvBufSize => server_socket_rcv_buf_size: i32 = 0; Bytes, Boot, T, "socket buffer, 0 = system";
        writeBufferHighWaterMark => write_buffer_high_water_mark: i32 = 0; Bytes, Live, T, "channel write pause, 0 = off";
        writeBufferLowWaterMark => write_buffer_low_water_mark: i32 = 0; Bytes, Live, T, "channel write resume";
        serverSocketBacklog => server_socket_backlog: i32 [1, i32::MAX as i64] = 1024; Count, Boot, Y, "backlog";
        serverNettyWorkerGroupEnable => server_netty_worker_group_enable: bool = true; Plain, Boot, N, "Netty worker group";
        serverPooledByteBufAllocatorEnable => server_pooled_byte_buf_allocator_enable: bool = true; Plain, Boot, N, "Netty buffer pool";
        enableShutdownGracefully => enable_shutdown_gracefully: bool = false; Plain, Live, Y, "send GO_AWAY and wait";
        shutdownWaitTimeSeconds => shutdown_wait_time_seconds: i32 = 30; Seconds, Live, Y, "longest wait of enableShutdownGracefully";
        useEpollNativeSelector => use_epoll_native_selector: bool = false; Plain, Boot, N, "Netty epoll";
    }
}

crate::options! {
    /// The calling side: a broker's own calls to nameservers and brokers. Source: remoting/netty/NettyClientConfig.java.
    pub struct ClientConfig {
        clientWorkerThreads => client_worker_threads: i32 = 4; Count, Boot, N, "client worker threads";
        clientCallbackExecutorThreads => client_callback_executor_threads: i32 = cores(); Count, Boot, N, "client callback threads";
        clientOnewaySemaphoreValue => client_oneway_semaphore_value: i32 = 65535; Count, Boot, N, "one-way calls in flight";
        clientAsyncSemaphoreValue => client_async_semaphore_value: i32 = 65535; Count, Boot, N, "async calls in flight";
        connectTimeoutMillis => connect_timeout_millis: i32 = 3000; Ms, Live, Y, "time to connect to a peer";
        channelNotActiveInterval => channel_not_active_interval: i64 = 1000 * 60; Ms, Boot, T, "period of the idle channel check";
        isScanAvailableNameSrv => is_scan_available_name_srv: bool = true; Plain, Live, T, "look for reachable nameservers";
        clientChannelMaxIdleTimeSeconds => client_channel_max_idle_time_seconds: i32 = 120; Seconds, Live, Y, "idle connection to a peer closed after this";
        clientSocketSndBufSize => client_socket_snd_buf_size: i32 = 0; Bytes, Boot, T, "socket buffer to peers, 0 = system";
        clientSocketRcvBufSize => client_socket_rcv_buf_size: i32 = 0; Bytes, Boot, T, "socket buffer to peers, 0 = system";
        clientPooledByteBufAllocatorEnable => client_pooled_byte_buf_allocator_enable: bool = false; Plain, Boot, N, "Netty buffer pool";
        clientCloseSocketIfTimeout => client_close_socket_if_timeout: bool = true; Plain, Live, Y, "close the connection when a call times out";
        useTLS => use_tls: bool = false; Plain, Boot, Y, "TLS to peers";
        socksProxyConfig => socks_proxy_config: String = "{}".to_owned(); Plain, Live, T, "SOCKS proxies as JSON";
        writeBufferHighWaterMark => write_buffer_high_water_mark: i32 = 0; Bytes, Live, T, "channel write pause, 0 = off";
        writeBufferLowWaterMark => write_buffer_low_water_mark: i32 = 0; Bytes, Live, T, "channel write resume";
        disableCallbackExecutor => disable_callback_executor: bool = false; Plain, Boot, N, "run callbacks on the network thread";
        disableNettyWorkerGroup => disable_netty_worker_group: bool = false; Plain, Boot, N, "Netty worker group";
        maxReconnectIntervalTimeSeconds => max_reconnect_interval_time_seconds: i64 = 60; Seconds, Live, Y, "longest pause between reconnects";
        enableReconnectForGoAway => enable_reconnect_for_go_away: bool = true; Plain, Live, Y, "reconnect when a peer says GO_AWAY";
    }
}

impl ServerConfig {
    /// Takes `-Dcom.rocketmq.remoting.socket.*` as defaults: a file or the command line wins over them.
    ///
    /// # Errors
    /// The [`Exit`] to take when one is no number it can be.
    pub fn take_flags(&mut self, jvm: &JvmFlags) -> Result<(), Exit> {
        let flag = |name: &str, least: i64| {
            let number = jvm.number(&format!("com.rocketmq.remoting.socket.{name}"), least, i32::MAX.into())?;
            Ok::<_, Exit>(number.and_then(|number| i32::try_from(number).ok()))
        };
        self.server_socket_snd_buf_size = flag("sndbuf.size", 0)?.unwrap_or(self.server_socket_snd_buf_size);
        self.server_socket_rcv_buf_size = flag("rcvbuf.size", 0)?.unwrap_or(self.server_socket_rcv_buf_size);
        self.server_socket_backlog = flag("backlog", 1)?.unwrap_or(self.server_socket_backlog);
        Ok(())
    }
}
