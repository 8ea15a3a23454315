//! All requests that a nameserver answers.

use std::sync::Arc;

use protocol::operation::{
    AddWritePermOfBroker, BrokerHeartbeat, DeleteKvConfig, DeleteTopicInNamesrv, GetAllTopicListFromNameserver,
    GetBrokerClusterInfo, GetBrokerMemberGroup, GetHasUnitSubTopicList, GetHasUnitSubUnunitTopicList, GetKvConfig,
    GetKvListByNamespace, GetNamesrvConfig, GetRouteInfoByTopic, GetSystemTopicListFromNs, GetTopicsByCluster,
    GetUnitTopicList, PutKvConfig, QueryDataVersion, RegisterBroker, RegisterTopicInNamesrv, UnregisterBroker,
    UpdateNamesrvConfig, WipeWritePermOfBroker,
};
use remoting::routes::{Lane, Routes};

use crate::parts::Parts;
use crate::processor::{
    BrokerProcessor, ClusterProcessor, ConfigProcessor, KvConfigProcessor, RouteProcessor, TopicProcessor,
};

/// The table. What walks all topics, reads large bodies or writes files runs on the pool.
pub fn routes(parts: &Parts, pool: &Lane) -> Routes {
    let route = Arc::new(RouteProcessor::new(parts.routes.clone(), parts.kv.clone(), parts.config.clone()));
    let broker = Arc::new(BrokerProcessor::new(
        parts.routes.clone(),
        parts.kv.clone(),
        parts.config.clone(),
        parts.notifier.clone(),
    ));
    let cluster = Arc::new(ClusterProcessor::new(parts.routes.clone()));
    let topic = Arc::new(TopicProcessor::new(parts.routes.clone(), parts.config.clone()));
    let kv = Arc::new(KvConfigProcessor::new(parts.kv.clone(), parts.routes.clone()));
    let config = Arc::new(ConfigProcessor::new(parts.config.clone(), parts.routes.clone()));
    let here = Lane::Connection;
    Routes::new()
        .on::<GetRouteInfoByTopic>(here.clone(), route)
        .on::<RegisterBroker>(pool.clone(), broker.clone())
        .on::<UnregisterBroker>(here.clone(), broker.clone())
        .on::<QueryDataVersion>(here.clone(), broker.clone())
        .on::<BrokerHeartbeat>(here, broker)
        .on::<GetBrokerClusterInfo>(pool.clone(), cluster.clone())
        .on::<GetBrokerMemberGroup>(pool.clone(), cluster.clone())
        .on::<WipeWritePermOfBroker>(pool.clone(), cluster.clone())
        .on::<AddWritePermOfBroker>(pool.clone(), cluster)
        .on::<GetAllTopicListFromNameserver>(pool.clone(), topic.clone())
        .on::<GetTopicsByCluster>(pool.clone(), topic.clone())
        .on::<GetSystemTopicListFromNs>(pool.clone(), topic.clone())
        .on::<GetUnitTopicList>(pool.clone(), topic.clone())
        .on::<GetHasUnitSubTopicList>(pool.clone(), topic.clone())
        .on::<GetHasUnitSubUnunitTopicList>(pool.clone(), topic.clone())
        .on::<DeleteTopicInNamesrv>(pool.clone(), topic.clone())
        .on::<RegisterTopicInNamesrv>(pool.clone(), topic)
        .on::<PutKvConfig>(pool.clone(), kv.clone())
        .on::<GetKvConfig>(pool.clone(), kv.clone())
        .on::<DeleteKvConfig>(pool.clone(), kv.clone())
        .on::<GetKvListByNamespace>(pool.clone(), kv)
        .on::<GetNamesrvConfig>(pool.clone(), config.clone())
        .on::<UpdateNamesrvConfig>(pool.clone(), config)
}
