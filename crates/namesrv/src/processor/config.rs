//! GET_NAMESRV_CONFIG (319) and UPDATE_NAMESRV_CONFIG (318).

use std::sync::Arc;

use codec::fields::NoHeader;
use daemon::error::ConfigError;
use daemon::properties::{self, Properties};
use protocol::operation::{GetNamesrvConfig, UpdateNamesrvConfig};
use protocol::response_code;
use remoting::reply::{Body, Outcome, Reply, Request};
use remoting::routes::Processor;

use crate::config::NamesrvConfiguration;
use crate::route_info_manager::RouteInfoManager;

/// Answers operators.
pub struct ConfigProcessor {
    config: Arc<NamesrvConfiguration>,
    /// Some options go into routes.
    routes: Arc<RouteInfoManager>,
}

impl ConfigProcessor {
    /// From its parts.
    pub fn new(config: Arc<NamesrvConfiguration>, routes: Arc<RouteInfoManager>) -> Self {
        Self { config, routes }
    }
}

impl Processor<GetNamesrvConfig> for ConfigProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(Body::from(self.config.dump().into_bytes())).into()
    }
}

impl Processor<UpdateNamesrvConfig> for ConfigProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let peer = request.channel.peer();
        let options = self.config.options();
        let updated = Properties::from_text(&properties::decode(&request.body), "request")
            .and_then(|update| self.config.update(&update, &options.black_list()));
        self.routes.invalidate();
        match updated {
            Ok(outcome) => {
                tracing::info!(%peer, changed = ?outcome.changed, at_restart = ?outcome.at_restart, dropped = ?outcome.dropped,
                    "configuration updated");
                if let Some(error) = outcome.not_persisted {
                    tracing::error!(%error, "configuration holds in memory only");
                }
                Reply::success().into()
            }
            Err(error @ ConfigError::BlackListed { .. }) => {
                tracing::warn!(%peer, %error, "configuration update refused");
                Reply::error(response_code::NO_PERMISSION, "Can not update config in black list.").into()
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "configuration update refused");
                Reply::error(response_code::SYSTEM_ERROR, error.to_string()).into()
            }
        }
    }
}
