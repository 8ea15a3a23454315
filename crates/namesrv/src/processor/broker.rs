//! Brokers come, stay and go: REGISTER_BROKER (103), UNREGISTER_BROKER (104), QUERY_DATA_VERSION (322), BROKER_HEARTBEAT (904).

use std::sync::Arc;

use codec::json;
use protocol::body::topic::DataVersion;
use protocol::header::namesrv::{
    BrokerHeartbeatRequestHeader, BrokerIdentityRequestHeader, QueryDataVersionResponseHeader,
    RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
};
use protocol::names::ORDER_TOPIC_CONFIG;
use protocol::operation::{BrokerHeartbeat, QueryDataVersion, RegisterBroker, UnregisterBroker};
use protocol::response_code;
use remoting::reply::{Body, Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::clock::now_ms;
use crate::config::NamesrvConfiguration;
use crate::kv_config::KvConfigManager;
use crate::notify::MinBrokerIdNotifier;
use crate::register_body;
use crate::route_info::{NotRegistered, Registration};
use crate::route_info_manager::RouteInfoManager;

/// Answers brokers.
pub struct BrokerProcessor {
    routes: Arc<RouteInfoManager>,
    kv: Arc<KvConfigManager>,
    config: Arc<NamesrvConfiguration>,
    notifier: Arc<MinBrokerIdNotifier>,
}

impl BrokerProcessor {
    /// From its parts.
    pub fn new(
        routes: Arc<RouteInfoManager>,
        kv: Arc<KvConfigManager>,
        config: Arc<NamesrvConfiguration>,
        notifier: Arc<MinBrokerIdNotifier>,
    ) -> Self {
        Self { routes, kv, config, notifier }
    }
}

impl Processor<RegisterBroker> for BrokerProcessor {
    fn process(&self, request: Request<RegisterBrokerRequestHeader>) -> Outcome<RegisterBrokerResponseHeader> {
        let header = &request.header;
        if header.body_crc32 != 0 && java_crc32(&request.body) != header.body_crc32 {
            tracing::warn!(broker = %header.broker_name, peer = %request.channel.peer(), "registration: crc32 not match");
            return Reply::error(response_code::SYSTEM_ERROR, "crc32 not match").into();
        }
        let body = match register_body::decode(&request.body, header.compressed, request.version) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(broker = %header.broker_name, peer = %request.channel.peer(), %error, "registration refused");
                return Reply::error(response_code::SYSTEM_ERROR, error.to_string()).into();
            }
        };
        let broker = Registration {
            cluster: header.cluster_name.to_string(),
            addr: header.broker_addr.to_string(),
            name: header.broker_name.to_string(),
            id: header.broker_id,
            ha_server_addr: header.ha_server_addr.as_ref().map(ToString::to_string),
            zone_name: header.zone_name.as_ref().map(ToString::to_string),
            timeout_ms: header.heartbeat_timeout_millis.map(|ms| u64::try_from(ms).unwrap_or(0)),
            enable_acting_master: header.enable_acting_master,
            topics: body.topic_config_serialize_wrapper,
            filter_servers: Some(body.filter_server_list),
            channel: request.channel.id(),
        };
        let options = self.config.load();
        let registered = match self.routes.register(broker, &request.channel, options.rules()) {
            Ok(registered) => registered,
            Err(NotRegistered) => {
                return Reply::error(response_code::SYSTEM_ERROR, "register broker failed").into();
            }
        };
        if let Some(change) = registered.notify {
            self.notifier.notify(change);
        }
        let header = RegisterBrokerResponseHeader {
            ha_server_addr: registered.ha_server_addr.map(Into::into),
            master_addr: registered.master_addr.map(Into::into),
        };
        let order = options.namesrv.return_order_topic_config_to_broker.then(|| self.kv.list(ORDER_TOPIC_CONFIG));
        match order.flatten() {
            Some(table) => Reply::ok(header).with_body(protocol::body::encode(&table)).into(),
            None => Reply::ok(header).into(),
        }
    }
}

impl Processor<UnregisterBroker> for BrokerProcessor {
    fn process(&self, request: Request<BrokerIdentityRequestHeader>) -> Outcome {
        let header = &request.header;
        let (cluster, addr, name) = (&*header.cluster_name, &*header.broker_addr, &*header.broker_name);
        let channel = request.channel.id();
        let gone = self.routes.read(|table| table.unregistration(cluster, addr, name, header.broker_id, channel));
        let Some(gone) = gone else {
            tracing::info!(broker = name, addr, "late unregistration ignored: it registered anew since");
            return Reply::success().into();
        };
        if !self.routes.submit(gone) {
            let remark = "too many unregistrations wait (unRegisterBrokerQueueCapacity)";
            return Reply::error(response_code::SYSTEM_ERROR, remark).into();
        }
        Reply::success().into()
    }
}

impl Processor<QueryDataVersion> for BrokerProcessor {
    fn process(&self, request: Request<BrokerIdentityRequestHeader>) -> Outcome<QueryDataVersionResponseHeader> {
        let header = &request.header;
        let version: DataVersion = match json::from_slice(&request.body) {
            Ok(version) => version,
            Err(error) => {
                return Reply::error(response_code::SYSTEM_ERROR, format!("data version: {error}")).into();
            }
        };
        let held = self.routes.write(|table| {
            table.refresh(&header.cluster_name, &header.broker_addr, now_ms());
            table.data_version_of(&header.cluster_name, &header.broker_addr)
        });
        let reply = Reply::ok(QueryDataVersionResponseHeader { changed: held != Some(version) });
        match held {
            Some(held) => reply.with_body(Body::from(protocol::body::encode(&held))).into(),
            None => reply.into(),
        }
    }
}

impl Processor<BrokerHeartbeat> for BrokerProcessor {
    fn process(&self, request: Request<BrokerHeartbeatRequestHeader>) -> Outcome {
        let header = &request.header;
        self.routes.write(|table| table.refresh(&header.cluster_name, &header.broker_addr, now_ms()));
        Reply::success().into()
    }
}

/// CRC-32 without its highest bit. Source: common/UtilAll.java, crc32.
fn java_crc32(bytes: &[u8]) -> i32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    i32::try_from(crc.sum() & 0x7FFF_FFFF).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_as_in_java() {
        assert_eq!(java_crc32(b"123456789"), 0x4BF4_3926);
        assert_eq!(java_crc32(b""), 0);
    }
}
