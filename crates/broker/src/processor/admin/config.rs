//! The broker's configuration over the wire: 25, 26; and cleaning by hand: 306, 329.

use crate::config_manager::BrokerConfigManager;
use crate::parts::store_config;
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use daemon::error::ConfigError;
use protocol::body::encode;
use protocol::header::admin::GetBrokerConfigResponseHeader;
use protocol::operation::{CleanExpiredConsumeQueue, DeleteExpiredCommitLog, GetBrokerConfig, UpdateBrokerConfig};
use protocol::response_code::{NO_PERMISSION, SYSTEM_ERROR};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::MessageStore;

/// Shows and changes settings.
pub struct ConfigAdmin {
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// To be cleaned on request.
    pub store: Arc<MessageStore>,
    /// Announced anew when the broker's permission changes.
    pub topics: Arc<TopicConfigManager>,
    /// Some of its settings may change.
    pub timer: Arc<Timer>,
}

impl Processor<GetBrokerConfig> for ConfigAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome<GetBrokerConfigResponseHeader> {
        let (text, version) = self.config.dump();
        let version = String::from_utf8_lossy(&encode(&version)).into_owned();
        Reply::ok(GetBrokerConfigResponseHeader { version: version.into() }).with_body(text.into_bytes()).into()
    }
}

impl Processor<UpdateBrokerConfig> for ConfigAdmin {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let Ok(text) = std::str::from_utf8(&request.body) else {
            return Reply::error(SYSTEM_ERROR, "the properties are not UTF-8").into();
        };
        match self.config.update(text) {
            Ok(outcome) => {
                tracing::info!(changed = ?outcome.changed, dropped = ?outcome.dropped, peer = %request.channel.peer(),
                    "configuration updated");
                if outcome.changed.iter().any(|key| key == "brokerPermission") {
                    self.topics.announce_again();
                }
                let of_store = store_config(&self.config.get());
                self.store.set_retention(&of_store);
                self.store.set_lmq_quota(of_store.lmq_quota);
                self.store.set_read_ahead(self.config.get().store.data_read_ahead_enable);
                self.timer.apply(&self.config.get());
                let remark = match (outcome.not_persisted, outcome.at_restart.is_empty()) {
                    (Some(error), _) => format!("changed, but the configuration file could not be written: {error}"),
                    (None, false) => format!("takes effect at restart: {}", outcome.at_restart.join(", ")),
                    (None, true) => return Reply::success().into(),
                };
                Reply::success().with_remark(remark).into()
            }
            Err(error @ ConfigError::BlackListed { .. }) => Reply::error(NO_PERMISSION, error.to_string()).into(),
            Err(error) => Reply::error(SYSTEM_ERROR, error.to_string()).into(),
        }
    }
}

impl Processor<CleanExpiredConsumeQueue> for ConfigAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        self.store.clean_expired_consume_queues();
        Reply::success().into()
    }
}

impl Processor<DeleteExpiredCommitLog> for ConfigAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        self.store.delete_expired_files();
        Reply::success().into()
    }
}
