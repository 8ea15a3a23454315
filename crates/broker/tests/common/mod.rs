//! A broker in this process for tests that speak to it over its port.

use broker::config::{BrokerConfiguration, BrokerOptions};
use broker::config_manager::BrokerConfigManager;
use broker::{Broker, BrokerStart};
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// A port P such that nobody listens on P and P-2, the VIP port.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let is_free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if is_free(port) && is_free(port - 2) {
            return port;
        }
    }
}

/// Settings of a broker on a free port of this machine with a small store in `dir`.
pub fn options(dir: &Path) -> BrokerOptions {
    let mut options = BrokerOptions::default();
    options.broker.broker_ip1 = "127.0.0.1".to_owned();
    options.server.listen_port = free_port().into();
    options.store.store_path_root_dir = dir.to_str().unwrap().to_owned();
    options.store.mapped_file_size_commit_log = 16 << 20;
    options
}

/// Starts it; the address it listens on comes along.
pub async fn start(options: BrokerOptions) -> (Broker, String) {
    let addr = format!("127.0.0.1:{}", options.server.listen_port);
    let start = BrokerStart {
        config: BrokerConfigManager::new(BrokerConfiguration::new(options)),
        memory_bytes: 64 << 20,
        max_frame_len: DEFAULT_MAX_FRAME_LEN,
        lock_max_live_ms: 60_000,
        serialize_type: SerializeType::Json,
    };
    (Broker::start(start).await.unwrap(), addr)
}
