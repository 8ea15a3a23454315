//! Queue locks of ordered consumers (41, 42).

use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::reply::bad_body;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::client::{LockBatchRequestBody, LockBatchResponseBody};
use protocol::body::encode;
use protocol::operation::{LockBatchMq, UnlockBatchMq};
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;

/// Locks and unlocks queues.
pub struct LockBatchMqProcessor {
    /// The locks.
    pub locks: Arc<RebalanceLockManager>,
}

impl Processor<LockBatchMq> for LockBatchMqProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        match json::from_slice::<LockBatchRequestBody>(&request.body) {
            Ok(body) => {
                let held = self.locks.lock(&body.consumer_group, &body.client_id, body.mq_set, clock::now_ms());
                Reply::body(encode(&LockBatchResponseBody { lock_ok_mq_set: held })).into()
            }
            Err(error) => bad_body(error).into(),
        }
    }
}

impl Processor<UnlockBatchMq> for LockBatchMqProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        match json::from_slice::<LockBatchRequestBody>(&request.body) {
            Ok(body) => {
                self.locks.unlock(&body.consumer_group, &body.client_id, &body.mq_set);
                Reply::success().into()
            }
            Err(error) => bad_body(error).into(),
        }
    }
}
