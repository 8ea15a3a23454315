//! Topics: GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), GET_TOPICS_BY_CLUSTER (224), GET_SYSTEM_TOPIC_LIST_FROM_NS (304), the unit
//! lists (311, 312, 313), DELETE_TOPIC_IN_NAMESRV (216), REGISTER_TOPIC_IN_NAMESRV (217).

use std::sync::Arc;

use codec::fields::NoHeader;
use protocol::body::route::TopicRouteData;
use protocol::header::namesrv::{
    DeleteTopicFromNamesrvRequestHeader, GetTopicsByClusterRequestHeader, RegisterTopicRequestHeader,
};
use protocol::operation::{
    DeleteTopicInNamesrv, GetAllTopicListFromNameserver, GetHasUnitSubTopicList, GetHasUnitSubUnunitTopicList,
    GetSystemTopicListFromNs, GetTopicsByCluster, GetUnitTopicList, RegisterTopicInNamesrv,
};
use protocol::response_code;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::config::NamesrvConfiguration;
use crate::processor::json;
use crate::route_info::{RouteInfo, UnitFlags};
use crate::route_info_manager::RouteInfoManager;

/// Answers operators and brokers.
pub struct TopicProcessor {
    routes: Arc<RouteInfoManager>,
    config: Arc<NamesrvConfiguration>,
}

impl TopicProcessor {
    /// From its parts.
    pub fn new(routes: Arc<RouteInfoManager>, config: Arc<NamesrvConfiguration>) -> Self {
        Self { routes, config }
    }

    /// A list, unless the configuration forbids lists.
    fn list(&self, ask: impl FnOnce(&RouteInfo) -> protocol::body::topic::TopicList) -> Outcome {
        if !self.config.load().namesrv.enable_topic_list {
            return disabled();
        }
        json(&self.routes.read(ask)).into()
    }

    fn units(&self, wanted: impl Fn(UnitFlags) -> bool) -> Outcome {
        self.list(|table| table.topics_by_flag(wanted))
    }
}

/// Java's refusal of lists.
fn disabled() -> Outcome {
    Reply::error(response_code::SYSTEM_ERROR, "disable").into()
}

impl Processor<GetAllTopicListFromNameserver> for TopicProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        if !self.config.load().namesrv.enable_all_topic_list {
            return disabled();
        }
        json(&self.routes.read(RouteInfo::topics)).into()
    }
}

impl Processor<GetTopicsByCluster> for TopicProcessor {
    fn process(&self, request: Request<GetTopicsByClusterRequestHeader>) -> Outcome {
        self.list(|table| table.topics_by_cluster(&request.header.cluster))
    }
}

impl Processor<GetSystemTopicListFromNs> for TopicProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        json(&self.routes.read(RouteInfo::system_topics)).into()
    }
}

impl Processor<GetUnitTopicList> for TopicProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        self.units(|flags| flags.unit)
    }
}

impl Processor<GetHasUnitSubTopicList> for TopicProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        self.units(|flags| flags.has_unit_sub)
    }
}

impl Processor<GetHasUnitSubUnunitTopicList> for TopicProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        self.units(|flags| flags.has_unit_sub && !flags.unit)
    }
}

impl Processor<DeleteTopicInNamesrv> for TopicProcessor {
    fn process(&self, request: Request<DeleteTopicFromNamesrvRequestHeader>) -> Outcome {
        let header = &request.header;
        self.routes.write(|table| table.delete_topic(&header.topic, header.cluster_name.as_deref()));
        tracing::info!(topic = %header.topic, peer = %request.channel.peer(), "topic deleted");
        Reply::success().into()
    }
}

impl Processor<RegisterTopicInNamesrv> for TopicProcessor {
    fn process(&self, request: Request<RegisterTopicRequestHeader>) -> Outcome {
        let topic = &*request.header.topic;
        let route: TopicRouteData = match codec::json::from_slice(&request.body) {
            Ok(route) => route,
            Err(error) => return Reply::error(response_code::SYSTEM_ERROR, format!("topic route: {error}")).into(),
        };
        let queues = route.queue_datas;
        if !queues.is_empty() && !self.routes.write(|table| table.register_topic(topic, queues)) {
            tracing::warn!(topic, peer = %request.channel.peer(), "topic names a broker that is not registered, ignored");
        }
        Reply::success().into()
    }
}
