//! Clusters and permissions: GET_BROKER_CLUSTER_INFO (106), GET_BROKER_MEMBER_GROUP (901), WIPE_WRITE_PERM_OF_BROKER (205),
//! ADD_WRITE_PERM_OF_BROKER (327).

use std::sync::Arc;

use codec::fields::NoHeader;
use protocol::body::route::GetBrokerMemberGroupResponseBody;
use protocol::header::namesrv::{
    AddWritePermOfBrokerResponseHeader, GetBrokerMemberGroupRequestHeader, WipeWritePermOfBrokerResponseHeader,
    WritePermOfBrokerRequestHeader,
};
use protocol::operation::{AddWritePermOfBroker, GetBrokerClusterInfo, GetBrokerMemberGroup, WipeWritePermOfBroker};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::processor::json;
use crate::route_info_manager::RouteInfoManager;

/// Answers brokers and operators.
pub struct ClusterProcessor {
    routes: Arc<RouteInfoManager>,
}

impl ClusterProcessor {
    /// From its parts.
    pub fn new(routes: Arc<RouteInfoManager>) -> Self {
        Self { routes }
    }
}

impl Processor<GetBrokerClusterInfo> for ClusterProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        json(&self.routes.read(|table| table.cluster_info())).into()
    }
}

impl Processor<GetBrokerMemberGroup> for ClusterProcessor {
    fn process(&self, request: Request<GetBrokerMemberGroupRequestHeader>) -> Outcome {
        let header = &request.header;
        let group = self.routes.read(|table| table.broker_member_group(&header.cluster_name, &header.broker_name));
        json(&GetBrokerMemberGroupResponseBody { broker_member_group: group }).into()
    }
}

impl Processor<WipeWritePermOfBroker> for ClusterProcessor {
    fn process(
        &self,
        request: Request<WritePermOfBrokerRequestHeader>,
    ) -> Outcome<WipeWritePermOfBrokerResponseHeader> {
        let broker = &*request.header.broker_name;
        let wipe_topic_count = self.routes.write(|table| table.set_write_perm(broker, false));
        tracing::info!(broker, peer = %request.channel.peer(), topics = wipe_topic_count, "write permission wiped");
        Reply::ok(WipeWritePermOfBrokerResponseHeader { wipe_topic_count }).into()
    }
}

impl Processor<AddWritePermOfBroker> for ClusterProcessor {
    fn process(&self, request: Request<WritePermOfBrokerRequestHeader>) -> Outcome<AddWritePermOfBrokerResponseHeader> {
        let broker = &*request.header.broker_name;
        let add_topic_count = self.routes.write(|table| table.set_write_perm(broker, true));
        tracing::info!(broker, peer = %request.channel.peer(), topics = add_topic_count, "write permission added");
        Reply::ok(AddWritePermOfBrokerResponseHeader { add_topic_count }).into()
    }
}
