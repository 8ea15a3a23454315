//! GET_ROUTEINFO_BY_TOPIC (105): which brokers hold a topic. The one request that clients send.

use std::sync::Arc;

use codec::fields::NoHeader;
use codec::json::Dialect;
use protocol::body::route::TopicRouteData;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::names::ORDER_TOPIC_CONFIG;
use protocol::operation::GetRouteInfoByTopic;
use protocol::{response_code, version};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::clock::now_ms;
use crate::config::{NamesrvConfiguration, NamesrvOptions};
use crate::kv_config::KvConfigManager;
use crate::route_info::{NoRoute, filter_by_zone};
use crate::route_info_manager::{RouteInfoManager, encode};

/// Answers route requests.
pub struct RouteProcessor {
    routes: Arc<RouteInfoManager>,
    kv: Arc<KvConfigManager>,
    config: Arc<NamesrvConfiguration>,
    started_ms: u64,
}

impl RouteProcessor {
    /// From its parts; the window of `needWaitForService` begins now.
    pub fn new(routes: Arc<RouteInfoManager>, kv: Arc<KvConfigManager>, config: Arc<NamesrvConfiguration>) -> Self {
        Self { routes, kv, config, started_ms: now_ms() }
    }

    fn add_order_conf(&self, route: &mut TopicRouteData, topic: &str, options: &NamesrvOptions) {
        if options.namesrv.order_message_enable {
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG, topic);
        }
    }

    fn is_waiting(&self, options: &NamesrvOptions) -> bool {
        let window_ms = u64::try_from(options.namesrv.wait_seconds_for_service).unwrap_or(0).saturating_mul(1000);
        options.namesrv.need_wait_for_service && now_ms().saturating_sub(self.started_ms) < window_ms
    }
}

impl Processor<GetRouteInfoByTopic> for RouteProcessor {
    fn process(&self, request: Request<GetRouteInfoRequestHeader>) -> Outcome {
        let options = self.config.load();
        if self.is_waiting(&options) {
            return Reply::error(response_code::SYSTEM_ERROR, "name server not ready").into();
        }
        let header = &request.header;
        let acting_master = options.namesrv.support_acting_master;
        let zone = header.zone_name.as_deref().filter(|zone| header.zone_mode && !zone.trim().is_empty());
        let body = if let Some(zone) = zone {
            // Java encodes a filtered route in the default dialect, whatever the client's release.
            self.routes.route(&header.topic, acting_master).map(|mut route| {
                self.add_order_conf(&mut route, &header.topic, &options);
                filter_by_zone(&mut route, zone);
                encode(&route, Dialect::Fastjson).into()
            })
        } else {
            let standard = request.version >= version::V4_9_4 || header.accept_standard_json_only;
            let dialect = if standard { Dialect::Standard } else { Dialect::Fastjson };
            let complete = |route: &mut TopicRouteData| self.add_order_conf(route, &header.topic, &options);
            self.routes.encoded_route(&header.topic, dialect, acting_master, complete)
        };
        match body {
            Ok(body) => Reply::body(body).into(),
            Err(reason) => no_route(&header.topic, reason).into(),
        }
    }
}

/// Java's words, and behind them why.
fn no_route(topic: &str, reason: NoRoute) -> Reply<NoHeader> {
    let reason = match reason {
        NoRoute::NoBroker => "no broker is registered with this name server",
        NoRoute::NoSuchTopic => "no broker that is registered here has this topic",
    };
    let remark = format!(
        "No topic route info in name server for the topic: {topic}\n\
         See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details. ({reason})"
    );
    Reply::error(response_code::TOPIC_NOT_EXIST, remark)
}
