//! Every ten seconds: snapshots of counters, clients that fell silent.

use crate::broker_stats::{BrokerStats, SAMPLE_SECONDS};
use crate::processor::client_manage::ClientManageProcessor;
use remoting::clock;
use std::sync::Arc;
use std::time::Duration;

/// Keeps house.
pub(super) struct Housekeeping {
    pub(super) stats: Arc<BrokerStats>,
    pub(super) clients: Arc<ClientManageProcessor>,
}

impl Housekeeping {
    pub(super) async fn run(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(SAMPLE_SECONDS.unsigned_abs()));
        loop {
            tick.tick().await;
            self.stats.sample(clock::now_ms());
            self.clients.expire();
        }
    }
}
