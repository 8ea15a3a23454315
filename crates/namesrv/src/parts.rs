//! The parts of a nameserver, opened in order.

use std::path::Path;
use std::sync::Arc;

use daemon::exit::{Exit, INITIALIZATION};
use remoting::client::{Client, ClientConfig};
use remoting::routes::Routes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::config::NamesrvConfiguration;
use crate::kv_config::KvConfigManager;
use crate::notify::MinBrokerIdNotifier;
use crate::route_info::Unregistration;
use crate::route_info_manager::RouteInfoManager;

/// What handlers and services are made of.
pub struct Parts {
    /// Options.
    pub config: Arc<NamesrvConfiguration>,
    /// Texts by namespace and key.
    pub kv: Arc<KvConfigManager>,
    /// Route tables.
    pub routes: Arc<RouteInfoManager>,
    /// Calls to brokers.
    pub client: Arc<Client>,
    /// News for brokers.
    pub notifier: Arc<MinBrokerIdNotifier>,
}

/// Opens the parts; beside them the queue of unregistrations that a service works off.
///
/// # Errors
/// Exit -3 when the KV configuration cannot be read.
pub fn open(config: NamesrvConfiguration) -> Result<(Parts, mpsc::Receiver<Unregistration>), Exit> {
    let options = config.options();
    let kv = KvConfigManager::load(Path::new(&options.namesrv.kv_config_path))
        .map_err(|error| Exit::new(INITIALIZATION, format!("KV configuration: {error}")))?;
    let capacity = usize::try_from(options.namesrv.un_register_broker_queue_capacity).unwrap_or(1);
    let (routes, queue) = RouteInfoManager::new(capacity);
    let client = Arc::new(Client::new(ClientConfig::default(), Arc::new(Routes::new()), Arc::new(())));
    let notifier = Arc::new(MinBrokerIdNotifier::new(client.clone(), Handle::current()));
    Ok((Parts { config: Arc::new(config), kv: Arc::new(kv), routes, client, notifier }, queue))
}
