//! PUT_KV_CONFIG (100), GET_KV_CONFIG (101), DELETE_KV_CONFIG (102), GET_KVLIST_BY_NAMESPACE (219).

use std::sync::Arc;

use protocol::header::namesrv::{
    GetKvConfigResponseHeader, GetKvListByNamespaceRequestHeader, KvConfigKeyRequestHeader, PutKvConfigRequestHeader,
};
use protocol::operation::{DeleteKvConfig, GetKvConfig, GetKvListByNamespace, PutKvConfig};
use protocol::response_code;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::kv_config::{KvConfigManager, NotPersisted};
use crate::processor::json;
use crate::route_info_manager::RouteInfoManager;

/// Answers operators.
pub struct KvConfigProcessor {
    kv: Arc<KvConfigManager>,
    /// Order configuration goes into routes.
    routes: Arc<RouteInfoManager>,
}

impl KvConfigProcessor {
    /// From its parts.
    pub fn new(kv: Arc<KvConfigManager>, routes: Arc<RouteInfoManager>) -> Self {
        Self { kv, routes }
    }

    fn answer(&self, changed: Result<(), NotPersisted>) -> Outcome {
        self.routes.invalidate();
        match changed {
            Ok(()) => Reply::success().into(),
            Err(error) => {
                tracing::error!(%error, "KV configuration");
                Reply::error(response_code::SYSTEM_ERROR, error.to_string()).into()
            }
        }
    }
}

impl Processor<PutKvConfig> for KvConfigProcessor {
    fn process(&self, request: Request<PutKvConfigRequestHeader>) -> Outcome {
        let header = &request.header;
        let (Some(namespace), Some(key)) = (&header.namespace, &header.key) else {
            return Reply::error(response_code::SYSTEM_ERROR, "namespace or key is null").into();
        };
        tracing::info!(namespace = %namespace, key = %key, peer = %request.channel.peer(), "KV configuration set");
        self.answer(self.kv.put(namespace, key, header.value.as_deref()))
    }
}

impl Processor<GetKvConfig> for KvConfigProcessor {
    fn process(&self, request: Request<KvConfigKeyRequestHeader>) -> Outcome<GetKvConfigResponseHeader> {
        let header = &request.header;
        match self.kv.get(&header.namespace, &header.key) {
            Some(value) => Reply::ok(GetKvConfigResponseHeader { value: Some(value.into()) }).into(),
            None => {
                let remark = format!("No config item, Namespace: {} Key: {}", header.namespace, header.key);
                Reply::error(response_code::QUERY_NOT_FOUND, remark).into()
            }
        }
    }
}

impl Processor<DeleteKvConfig> for KvConfigProcessor {
    fn process(&self, request: Request<KvConfigKeyRequestHeader>) -> Outcome {
        let header = &request.header;
        tracing::info!(namespace = %header.namespace, key = %header.key, peer = %request.channel.peer(), "KV configuration removed");
        self.answer(self.kv.delete(&header.namespace, &header.key))
    }
}

impl Processor<GetKvListByNamespace> for KvConfigProcessor {
    fn process(&self, request: Request<GetKvListByNamespaceRequestHeader>) -> Outcome {
        match self.kv.list(&request.header.namespace) {
            Some(table) => json(&table).into(),
            None => {
                let remark = format!("No config item, Namespace: {}", request.header.namespace);
                Reply::error(response_code::QUERY_NOT_FOUND, remark).into()
            }
        }
    }
}
