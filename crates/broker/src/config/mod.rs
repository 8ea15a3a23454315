//! The broker's configuration: Java's options, typed, with Java's defaults and what Java derives at boot.

use daemon::environment::Environment;
use daemon::error::ConfigError;
use daemon::exit::{CONFLICT, Exit, INITIALIZATION};
use daemon::options::{Config, OptionGroup, OptionSet};
pub use daemon::server_config::{ClientConfig, ServerConfig};

mod auth_config;
mod broker_config;
mod message_store_config;
#[cfg(test)]
mod tests;

pub use auth_config::AuthConfig;
pub use broker_config::{BrokerConfig, MessageRequestMode, MetricsExporterType};
pub use message_store_config::{BrokerRole, FlushDiskType, MessageStoreConfig};

/// The broker's options with the keys it does not know and its file.
pub type BrokerConfiguration = Config<BrokerOptions>;

/// Keys that UPDATE_BROKER_CONFIG always refuses, besides those of `configBlackList`.
/// Source: AdminBrokerProcessor.initConfigBlackList.
const BLACK_LIST: [&str; 3] = ["brokerConfigPath", "configBlackList", "rocketmqHome"];

/// All options of a broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BrokerOptions {
    /// What it is and does.
    pub broker: BrokerConfig,
    /// Where it listens.
    pub server: ServerConfig,
    /// How it calls others.
    pub client: ClientConfig,
    /// What its store does.
    pub store: MessageStoreConfig,
    /// Who may do what.
    pub auth: AuthConfig,
}

impl BrokerOptions {
    /// Java's defaults in these surroundings. `address` is what [`daemon::address`] found for this machine.
    #[must_use]
    pub fn in_environment(environment: &Environment, address: &str) -> Self {
        let mut options = Self::default();
        options.broker.rocketmq_home.clone_from(&environment.rocketmq_home);
        options.broker.namesrv_addr.clone_from(&environment.namesrv_addr);
        options.broker.broker_ip1 = address.to_owned();
        options.broker.broker_ip2 = address.to_owned();
        if let Some(name) = &environment.host_name {
            options.broker.broker_name.clone_from(name);
        }
        options.broker.rmq_address_server_domain =
            environment.jvm.property("rocketmq.namesrv.domain").map(str::to_owned);
        options.broker.rmq_address_server_sub_group =
            environment.jvm.property("rocketmq.namesrv.domain.subgroup").map(str::to_owned);
        options.store.store_path_root_dir = environment.below_user_home("store");
        options.server.listen_port = 10911;
        options
    }

    /// Derives what Java derives at boot, once file and command line are applied.
    /// Source: BrokerStartup.buildBrokerController.
    ///
    /// # Errors
    /// The [`Exit`] Java would take: −2 without ROCKETMQ_HOME, −3 for an illegal nameserver address or a slave with
    /// brokerId ≤ 0, −4 for controller mode together with DLedger.
    pub fn derive(&mut self) -> Result<(), Exit> {
        if self.broker.rocketmq_home.is_none() {
            return Err(Exit::no_home());
        }
        if let Some(addresses) = self.broker.namesrv_addr.as_deref().filter(|text| !text.trim().is_empty()) {
            check_namesrv_addr(addresses)?;
        }
        if !self.broker.enable_controller_mode {
            match self.store.broker_role {
                BrokerRole::AsyncMaster | BrokerRole::SyncMaster => self.broker.broker_id = 0,
                BrokerRole::Slave if self.broker.broker_id <= 0 => {
                    return Err(Exit::on_stdout(INITIALIZATION, "Slave's brokerId must be > 0"));
                }
                BrokerRole::Slave => {}
            }
        }
        if self.store.enable_dleger_commit_log {
            self.broker.broker_id = -1;
            if self.broker.enable_controller_mode {
                return Err(Exit::on_stdout(
                    CONFLICT,
                    "The config enableControllerMode and enableDLegerCommitLog cannot both be true.",
                ));
            }
        }
        if self.store.ha_listen_port <= 0 && self.server.listen_port > 0 {
            self.store.ha_listen_port = self.server.listen_port.saturating_add(1).min(65535);
        }
        self.broker.is_in_broker_container = false;
        self.auth.config_name = Some(self.broker.broker_name.clone());
        self.auth.cluster_name = Some(self.broker.broker_cluster_name.clone());
        self.auth.auth_config_path = Some(format!("{}/config", self.store.store_path_root_dir));
        Ok(())
    }

    /// The nameservers of `namesrvAddr`, without empty entries.
    #[must_use]
    pub fn namesrv_list(&self) -> Vec<String> {
        let list = self.broker.namesrv_addr.as_deref().unwrap_or_default();
        list.split(';').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect()
    }

    /// How many pops may wait in all, and for one queue in a group.
    #[must_use]
    pub fn polling_limits(&self) -> (usize, usize) {
        let size = |limit: i64| usize::try_from(limit).unwrap_or(0);
        (size(self.broker.max_pop_polling_size), size(self.broker.pop_polling_size.into()))
    }

    /// The keys that UPDATE_BROKER_CONFIG refuses.
    #[must_use]
    pub fn black_list(&self) -> Vec<&str> {
        BLACK_LIST.into_iter().chain(self.broker.config_black_list.split(';').map(str::trim)).collect()
    }
}

impl OptionGroup for BrokerOptions {
    fn sets(&self) -> Vec<&dyn OptionSet> {
        vec![&self.broker, &self.server, &self.client, &self.store, &self.auth]
    }

    fn sets_mut(&mut self) -> Vec<&mut dyn OptionSet> {
        vec![&mut self.broker, &mut self.server, &mut self.client, &mut self.store, &mut self.auth]
    }

    /// Spellings of releases before 4.3, which live configurations still carry, and plain words of our own.
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("advertisedAddress", "brokerIP1"),
            ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
            ("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
            ("mappedFileSizeBatchConsumeQueue", "mapperFileSizeBatchConsumeQueue"),
            ("destroyMappedFileIntervalForcibly", "destroyMapedFileIntervalForcibly"),
            ("warmMappedFileEnable", "warmMapedFileEnable"),
        ]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let unit = 20;
        if self.store.mapped_file_size_consume_queue % unit != 0 {
            return Err(ConfigError::Conflict(format!(
                "mappedFileSizeConsumeQueue={} is refused: it must be a multiple of {unit}, the size of one entry",
                self.store.mapped_file_size_consume_queue
            )));
        }
        if self.store.max_message_size >= self.store.mapped_file_size_commit_log {
            return Err(ConfigError::Conflict(format!(
                "maxMessageSize={} is refused: a message must fit into one commit log file; it must be smaller than \
                 mappedFileSizeCommitLog={}",
                self.store.max_message_size, self.store.mapped_file_size_commit_log
            )));
        }
        for (key, name) in
            [("brokerName", &self.broker.broker_name), ("brokerClusterName", &self.broker.broker_cluster_name)]
        {
            if name.trim().is_empty() {
                return Err(ConfigError::Conflict(format!("{key} is empty: give it a name")));
            }
        }
        Ok(())
    }
}

/// Refuses what is not a `;` list of `host:port`, with Java's words and exit code −3.
fn check_namesrv_addr(addresses: &str) -> Result<(), Exit> {
    let legal = |address: &str| {
        address.trim().rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok() && !host.contains([' ', ',', '/'])
        })
    };
    if addresses.split(';').filter(|address| !address.trim().is_empty()).all(legal) {
        return Ok(());
    }
    Err(Exit::on_stdout(
        INITIALIZATION,
        format!(
            "The Name Server Address[{addresses}] illegal, please set it as follows, \
             \"127.0.0.1:9876;192.168.0.1:9876\""
        ),
    ))
}
