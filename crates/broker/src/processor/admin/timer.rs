//! How far the timer is, for slaves and tools: 60, 61. Source: AdminBrokerProcessor.getTimerCheckPoint, getTimerMetrics.

use crate::timer::Timer;
use codec::fields::NoHeader;
use protocol::body::encode;
use protocol::operation::{GetTimerCheckPoint, GetTimerMetrics};
use protocol::response_code::SYSTEM_ERROR;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;

/// Shows the timer.
pub struct TimerAdmin {
    /// It.
    pub timer: Arc<Timer>,
}

impl Processor<GetTimerCheckPoint> for TimerAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        match self.timer.checkpoint() {
            Some(bytes) => Reply::body(bytes).into(),
            None => Reply::error(SYSTEM_ERROR, "The checkpoint is null (timerWheelEnable=false)").into(),
        }
    }
}

impl Processor<GetTimerMetrics> for TimerAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        match self.timer.metrics() {
            Some(metrics) => Reply::body(encode(&metrics)).into(),
            None => Reply::error(SYSTEM_ERROR, "The timer message store is null (timerWheelEnable=false)").into(),
        }
    }
}
