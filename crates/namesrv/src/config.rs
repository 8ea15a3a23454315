//! The nameserver's configuration: Java's options, typed, with Java's defaults.

use std::path::PathBuf;

use daemon::environment::Environment;
use daemon::exit::{Exit, FAILURE};
use daemon::options::{ByteSize, Config, OptionGroup, OptionSet, SharedConfig};
use daemon::server_config::ServerConfig;

use crate::route_info::Rules;

daemon::options! {
    /// Options of the nameserver. Source: common/namesrv/NamesrvConfig.java; the last one is our own.
    pub struct NamesrvConfig {
        rocketmqHome => rocketmq_home: Option<String> = None; Plain, Boot, Y, "install dir; env ROCKETMQ_HOME or -Drocketmq.home.dir; process exits -2 when null";
        kvConfigPath => kv_config_path: String = "namesrv/kvConfig.json".to_owned(); Plain, Boot, Y, "KV config file";
        configStorePath => config_store_path: String = "namesrv/namesrv.properties".to_owned(); Plain, Boot, Y, "config file (set to -c file)";
        productEnvName => product_env_name: String = "center".to_owned(); Plain, Live, Y, "remote lookup env";
        clusterTest => cluster_test: bool = false; Plain, Live, Y, "forward unknown routes to the remote env";
        orderMessageEnable => order_message_enable: bool = false; Plain, Live, Y, "attach order conf to routes";
        returnOrderTopicConfigToBroker => return_order_topic_config_to_broker: bool = true; Plain, Live, Y, "return order conf on registration";
        clientRequestThreadPoolNums => client_request_thread_pool_nums: i32 = 8; Count, Boot, N, "threads of the Java process";
        defaultThreadPoolNums => default_thread_pool_nums: i32 = 16; Count, Boot, N, "threads of the Java process";
        clientRequestThreadPoolQueueCapacity => client_request_thread_pool_queue_capacity: i32 = 50_000; Count, Boot, T, "request queue length";
        defaultThreadPoolQueueCapacity => default_thread_pool_queue_capacity: i32 = 10_000; Count, Boot, T, "request queue length";
        scanNotActiveBrokerInterval => scan_not_active_broker_interval: i64 [1, i32::MAX as i64] = 5 * 1000; Ms, Boot, Y, "period of the scan for silent brokers";
        unRegisterBrokerQueueCapacity => un_register_broker_queue_capacity: i32 [1, i32::MAX as i64] = 3000; Count, Boot, Y, "batch queue";
        supportActingMaster => support_acting_master: bool = false; Plain, Live, Y, "promote slaves in routes";
        enableAllTopicList => enable_all_topic_list: bool = true; Plain, Live, Y, "allow 206";
        enableTopicList => enable_topic_list: bool = true; Plain, Live, Y, "allow unit/cluster lists";
        notifyMinBrokerIdChanged => notify_min_broker_id_changed: bool = false; Plain, Live, Y, "push min id changes";
        enableControllerInNamesrv => enable_controller_in_namesrv: bool = false; Plain, Live, Y, "embed a controller";
        needWaitForService => need_wait_for_service: bool = false; Plain, Live, Y, "refuse routes at start";
        waitSecondsForService => wait_seconds_for_service: i32 = 45; Seconds, Live, Y, "length of the window of needWaitForService";
        deleteTopicWithBrokerRegistration => delete_topic_with_broker_registration: bool = false; Plain, Live, Y, "drop topics a broker no longer lists";
        configBlackList => config_black_list: String = "configBlackList;configStorePath;kvConfigPath".to_owned(); Plain, Boot, Y, "config names that UPDATE_*_CONFIG refuses";
        memoryBudget => memory_budget: Option<ByteSize> = None; Plain, Boot, Y, important, "bounds what the process allocates";
    }
}

/// Keys that UPDATE_NAMESRV_CONFIG always refuses, besides those of `configBlackList`.
/// Source: DefaultRequestProcessor.initConfigBlackList.
const BLACK_LIST: [&str; 4] = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// All options of a nameserver.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamesrvOptions {
    /// What it is and does.
    pub namesrv: NamesrvConfig,
    /// Where it listens.
    pub server: ServerConfig,
}

/// The options, shared by handlers.
pub type NamesrvConfiguration = SharedConfig<NamesrvOptions>;

impl NamesrvOptions {
    /// Java's defaults in these surroundings.
    #[must_use]
    pub fn in_environment(environment: &Environment) -> Self {
        let mut options = Self::default();
        options.namesrv.rocketmq_home.clone_from(&environment.rocketmq_home);
        options.namesrv.kv_config_path = environment.below_user_home("namesrv/kvConfig.json");
        options.namesrv.config_store_path = environment.below_user_home("namesrv/namesrv.properties");
        options.server.listen_port = 9876;
        options
    }

    /// Checks what Java checks at boot, and refuses what this release does not have.
    ///
    /// # Errors
    /// The [`Exit`] to take: -2 without ROCKETMQ_HOME, -1 for a facility that is missing.
    pub fn check(&self) -> Result<(), Exit> {
        if self.namesrv.rocketmq_home.is_none() {
            return Err(Exit::no_home());
        }
        for (set, key, instead) in [
            (self.namesrv.enable_controller_in_namesrv, "enableControllerInNamesrv", "run a Java controller beside it"),
            (self.namesrv.cluster_test, "clusterTest", "let clients ask both environments"),
        ] {
            if set {
                return Err(Exit::new(FAILURE, format!("{key}=true is not available in this release: {instead}")));
            }
        }
        Ok(())
    }

    /// The switches that the route tables obey.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            delete_topic_with_broker_registration: self.namesrv.delete_topic_with_broker_registration,
            notify_min_broker_id_changed: self.namesrv.notify_min_broker_id_changed,
        }
    }

    /// The keys that UPDATE_NAMESRV_CONFIG refuses.
    #[must_use]
    pub fn black_list(&self) -> Vec<&str> {
        let configured = self.namesrv.config_black_list.split(';').map(str::trim).filter(|key| !key.is_empty());
        BLACK_LIST.into_iter().chain(configured).collect()
    }

    /// Shares a configuration once file and command line are applied. Without a configuration file updates are written to
    /// `configStorePath`, as in Java.
    #[must_use]
    pub fn share(mut config: Config<Self>) -> NamesrvConfiguration {
        match config.file() {
            Some(file) => config.options.namesrv.config_store_path = file.to_string_lossy().into_owned(),
            None => config.set_file(PathBuf::from(config.options.namesrv.config_store_path.clone())),
        }
        SharedConfig::new(config)
    }
}

impl OptionGroup for NamesrvOptions {
    fn sets(&self) -> Vec<&dyn OptionSet> {
        vec![&self.namesrv, &self.server]
    }

    fn sets_mut(&mut self) -> Vec<&mut dyn OptionSet> {
        vec![&mut self.namesrv, &mut self.server]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the Java 5.5.0 class (MixAll.object2Properties) with user.home=/home/rocketmq.
    const JAVA_DEFAULTS: &str = "\
        clientRequestThreadPoolNums=8\n\
        clientRequestThreadPoolQueueCapacity=50000\n\
        clusterTest=false\n\
        configBlackList=configBlackList;configStorePath;kvConfigPath\n\
        configStorePath=/home/rocketmq/namesrv/namesrv.properties\n\
        defaultThreadPoolNums=16\n\
        defaultThreadPoolQueueCapacity=10000\n\
        deleteTopicWithBrokerRegistration=false\n\
        enableAllTopicList=true\n\
        enableControllerInNamesrv=false\n\
        enableTopicList=true\n\
        kvConfigPath=/home/rocketmq/namesrv/kvConfig.json\n\
        needWaitForService=false\n\
        notifyMinBrokerIdChanged=false\n\
        orderMessageEnable=false\n\
        productEnvName=center\n\
        returnOrderTopicConfigToBroker=true\n\
        scanNotActiveBrokerInterval=5000\n\
        supportActingMaster=false\n\
        unRegisterBrokerQueueCapacity=3000\n\
        waitSecondsForService=45\n\
        ";

    #[test]
    fn every_java_option_has_javas_default() {
        let environment = Environment { user_home: "/home/rocketmq".into(), ..Environment::default() };
        let config = Config::new(NamesrvOptions::in_environment(&environment));
        for line in JAVA_DEFAULTS.lines() {
            let (key, expect) = line.split_once('=').unwrap();
            assert_eq!(config.get(key).as_deref(), Some(expect), "{key}");
        }
        assert_eq!(JAVA_DEFAULTS.lines().count(), 21);
        assert_eq!(config.get("listenPort").as_deref(), Some("9876"));
    }

    #[test]
    fn refusals() {
        let mut options = NamesrvOptions::default();
        assert_eq!(options.check().unwrap_err().code, -2);
        options.namesrv.rocketmq_home = Some("/opt".into());
        options.check().unwrap();
        options.namesrv.enable_controller_in_namesrv = true;
        assert!(options.check().unwrap_err().message.contains("enableControllerInNamesrv=true"));
        assert!(options.black_list().contains(&"kvConfigPath"));
    }
}
