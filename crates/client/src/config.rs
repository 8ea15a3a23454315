//! What every producer, consumer and tool must know.

use codec::frame::SerializeType;
use std::time::Duration;

/// Settings of one client; the defaults are those of Java's ClientConfig.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Nameservers, `host:port`.
    pub namesrv_addrs: Vec<String>,
    /// Name that makes the client id fixed (`IP@NAME`); without one it is `PID#NANOS`.
    pub instance_name: Option<String>,
    /// How often routes are asked for again (pollNameServerInterval).
    pub poll_namesrv_interval: Duration,
    /// How often brokers are told that we live (heartbeatBrokerInterval).
    pub heartbeat_interval: Duration,
    /// How often consumers save their offsets (persistConsumerOffsetInterval).
    pub persist_offset_interval: Duration,
    /// Limit of a call that has none of its own (mqClientApiTimeout).
    pub api_timeout: Duration,
    /// Leave subscriptions out of heartbeats that did not change (useHeartbeatV2).
    pub heartbeat_v2: bool,
    /// Talk to brokers at listenPort - 2 when producing (vipChannelEnabled).
    pub vip_channel: bool,
    /// Header serialisation of our requests.
    pub serialize_type: SerializeType,
}

impl ClientConfig {
    /// Java's defaults with these nameservers: `host:port`, several joined by `;`.
    #[must_use]
    pub fn new(namesrv: &str) -> ClientConfig {
        ClientConfig {
            namesrv_addrs: split_addrs(namesrv),
            instance_name: None,
            poll_namesrv_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
            persist_offset_interval: Duration::from_secs(5),
            api_timeout: Duration::from_secs(3),
            heartbeat_v2: false,
            vip_channel: false,
            serialize_type: SerializeType::Json,
        }
    }
}

/// The addresses of a list joined by `;`; blanks, `http://` and empty items are dropped.
fn split_addrs(list: &str) -> Vec<String> {
    list.split([';', ','])
        .map(|addr| addr.trim().trim_start_matches("http://").trim_end_matches('/'))
        .filter(|addr| !addr.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nameservers() {
        assert_eq!(split_addrs(" a:1; http://b:2/ ;;c:3 "), ["a:1", "b:2", "c:3"]);
        assert!(split_addrs("").is_empty());
    }
}
