//! From the command line to a running broker, and to its end.

use crate::config::{BrokerConfiguration, BrokerOptions, BrokerRole, MetricsExporterType};
use crate::config_manager::BrokerConfigManager;
use crate::rebalance_lock_manager::LOCK_MAX_LIVE_MS;
use crate::{Broker, BrokerStart, StartError};
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType};
use daemon::cli::{self, Print, Program};
use daemon::environment::Environment;
use daemon::exit::{CLEAN, Exit, FAILURE, INITIALIZATION};
use daemon::sd_notify::{Notify, notify};
use daemon::signals::Signals;
use daemon::{address, logging, memory, panic};
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// Runs a broker until a signal stops it.
///
/// # Errors
/// The [`Exit`] to take.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Exit> {
    let environment = Environment::of_process();
    let advertised = address::advertised();
    let options = BrokerOptions::in_environment(&environment, &advertised.ip.to_string());
    let mut configuration = BrokerConfiguration::new(options);
    configuration.options.server.take_flags(&environment.jvm)?;
    let line = cli::parse(Program::Broker, args, &configuration)?;
    let notices = line.configure(&mut configuration)?;
    if let Some(print) = line.print {
        return Err(Exit::on_stdout(CLEAN, configuration.print(print == Print::Important).trim_end()));
    }
    let problem = logging::init().err();
    panic::install_hook();
    problem.iter().chain(&line.remarks).chain(&environment.jvm.notice()).for_each(|text| tracing::warn!("{text}"));
    notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    environment.jvm.refuse_tls_only()?;
    disk_flags(&environment, &mut configuration.options)?;
    configuration.options.derive()?;
    supported(&configuration.options)?;
    without_effect(&configuration.options).for_each(|text| tracing::warn!("{text}"));
    take_free_port(&mut configuration.options)?;
    if configuration.options.broker.broker_ip1 == advertised.ip.to_string() {
        advertised.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    } else if let Some(warning) = address::warn_configured(&configuration.options.broker.broker_ip1) {
        tracing::warn!("{warning}");
    }
    if configuration.file().is_none() {
        // Where Java's BrokerPathConfigHelper has it.
        configuration.set_file(environment.below_user_home("store/config/broker.properties").into());
    }
    let budget = memory::memory_budget(
        line.memory,
        configuration.options.broker.memory_budget.map(|size| size.0),
        environment.jvm.max_heap,
        memory::cgroup_limit(),
    );
    tracing::info!(bytes = budget.bytes, source = budget.source, "memory budget");
    let start = BrokerStart {
        memory_bytes: usize::try_from(budget.bytes / 2).unwrap_or(usize::MAX),
        max_frame_len: environment.jvm.frame_max_length(DEFAULT_MAX_FRAME_LEN)?,
        lock_max_live_ms: environment.jvm.number(LOCK_MAX_LIVE_TIME, 0, i64::MAX)?.unwrap_or(LOCK_MAX_LIVE_MS),
        serialize_type: SerializeType::from_name(environment.serialize_type_name()).unwrap_or_default(),
        config: BrokerConfigManager::new(configuration),
    };
    serve(start)
}

#[tokio::main]
async fn serve(start: BrokerStart) -> Result<(), Exit> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Exit::new(FAILURE, format!("{what}: {error}"));
    let mut signals = Signals::new().map_err(|error| failed("signals", &error))?;
    notify(Notify::Status("opening the store"));
    let serialize_type = start.serialize_type;
    let broker = Broker::start(start).await.map_err(|error| {
        let code = if matches!(error, StartError::Parts(_)) { INITIALIZATION } else { FAILURE };
        Exit::new(code, format!("mqbroker: {error}"))
    })?;
    daemon::exit::print_line(&boot_line(&broker.parts().config.get(), serialize_type));
    notify(Notify::Ready);
    notify(Notify::Status("serving"));
    watch_over(&mut signals).await;
    tracing::info!("stopping");
    notify(Notify::Stopping);
    broker.shutdown().await;
    Ok(())
}

/// Waits for the signal to stop, telling systemd that this process is alive.
async fn watch_over(signals: &mut Signals) {
    let period = daemon::sd_notify::watchdog_period();
    loop {
        tokio::select! {
            () = signals.stop() => return,
            () = tokio::time::sleep(period.unwrap_or(Duration::MAX)), if period.is_some() => notify(Notify::Watchdog),
        }
    }
}

/// Scripts look for it: as Java prints it.
fn boot_line(options: &BrokerOptions, serialize_type: SerializeType) -> String {
    let broker = &options.broker;
    let mut line = format!(
        "The broker[{}, {}:{}] boot success. serializeType={}",
        broker.broker_name,
        broker.broker_ip1,
        options.server.listen_port,
        serialize_type.name()
    );
    if let Some(namesrv) = broker.namesrv_addr.as_deref().filter(|namesrv| !namesrv.is_empty()) {
        line.push_str(&format!(" and name server is {namesrv}"));
    }
    line
}

/// Refuses roles that this release cannot play, rather than play them halfway.
fn supported(options: &BrokerOptions) -> Result<(), Exit> {
    let refused = [
        (options.store.broker_role == BrokerRole::Slave, "brokerRole=SLAVE: replication"),
        (options.store.enable_dleger_commit_log, "enableDLegerCommitLog=true: the DLedger commit log"),
        (options.broker.enable_controller_mode, "enableControllerMode=true: controller mode"),
        (options.store.store_type != "default", "storeType: the RocksDB store"),
        (options.broker.acl_enable, "aclEnable=true: ACL 1.0"),
        (options.auth.authentication_enabled, "authenticationEnabled=true: ACL 2.0"),
        (options.auth.authorization_enabled, "authorizationEnabled=true: ACL 2.0"),
        (options.store.in_sync_replicas > 1, "inSyncReplicas above 1: replication"),
        (options.store.min_in_sync_replicas > 1, "minInSyncReplicas above 1: replication"),
        (options.store.all_ack_in_sync_state_set, "allAckInSyncStateSet=true: replication"),
    ];
    match refused.iter().find(|(is_set, _)| *is_set) {
        Some((_, what)) => {
            Err(Exit::new(INITIALIZATION, format!("mqbroker: {what} is not part of this release; remove the setting")))
        }
        None => Ok(()),
    }
}

/// `listenPort=0` takes a free port whose VIP port is free too.
fn take_free_port(options: &mut BrokerOptions) -> Result<(), Exit> {
    if options.server.listen_port != 0 {
        return Ok(());
    }
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    for _ in 0..64 {
        let Ok(port) = free(0).and_then(|socket| socket.local_addr()).map(|address| address.port()) else { break };
        if port > 3 && free(port - 2).is_ok() && port < u16::MAX && free(port + 1).is_ok() {
            options.server.listen_port = port.into();
            options.store.ha_listen_port = i32::from(port) + 1;
            return Ok(());
        }
    }
    Err(Exit::new(FAILURE, "mqbroker: no free port found for listenPort=0"))
}

/// Settings that are accepted so that files go on working, whose feature is not there.
fn without_effect(options: &BrokerOptions) -> impl Iterator<Item = String> {
    let named = [
        (options.broker.metrics_exporter_type != MetricsExporterType::Disable, "metricsExporterType"),
        (options.broker.fetch_namesrv_addr_by_address_server, "fetchNamesrvAddrByAddressServer"),
        (options.broker.enable_property_filter, "enablePropertyFilter (SQL92)"),
        (options.client.use_tls, "useTLS"),
        (options.broker.pop_consumer_kv_service_enable, "popConsumerKVServiceEnable (POP in RocksDB)"),
        (options.broker.enable_pop_buffer_merge, "enablePopBufferMerge"),
        (options.broker.skip_when_ck_re_put_reach_max_times, "skipWhenCKRePutReachMaxTimes"),
        (options.broker.enable_skip_long_awaiting_ack, "enableSkipLongAwaitingAck"),
        (options.store.transient_store_pool_enable, "transientStorePoolEnable"),
        (
            options.store.enable_multi_dispatch && !options.store.enable_lmq,
            "enableMultiDispatch without enableLmq (light queues need both)",
        ),
        (
            options.store.enable_lmq && !options.store.enable_multi_dispatch,
            "enableLmq without enableMultiDispatch (light queues need both)",
        ),
    ];
    named.into_iter().filter(|(is_set, _)| *is_set).map(|(_, key)| format!("{key} has no effect in this release"))
}

/// What stands between log directories instead of a comma. Source: MixAll.MULTI_PATH_SPLITTER.
const MULTI_PATH_SPLITTER: &str = "rocketmq.broker.multiPathSplitter";
const LOCK_MAX_LIVE_TIME: &str = "rocketmq.broker.rebalance.lockMaxLiveTime";

/// `-D` keys that change settings of the store: disk ratios, as ratios of 1, and what log directories are split at. Source:
/// DefaultMessageStore.getDiskSpaceWarningLevelRatio.
fn disk_flags(environment: &Environment, options: &mut BrokerOptions) -> Result<(), Exit> {
    let flag = |name: &str| {
        let key = format!("rocketmq.broker.{name}");
        let Some(text) = environment.jvm.property(&key) else { return Ok(None) };
        let percent = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).map(|ratio| ratio * 100.0);
        match percent {
            #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
            Some(percent) => Ok(Some(percent.round() as i32)),
            None => Err(Exit::new(FAILURE, format!("-D{key}={text} is refused: give a ratio such as 0.90"))),
        }
    };
    let store = &mut options.store;
    if let Some(splitter) = environment.jvm.property(MULTI_PATH_SPLITTER).filter(|splitter| !splitter.is_empty()) {
        for paths in [&mut store.store_path_commit_log, &mut store.read_only_commit_log_store_paths] {
            *paths = paths.as_ref().map(|paths| paths.replace(splitter, ","));
        }
    }
    store.disk_space_warning_level_ratio =
        flag("diskSpaceWarningLevelRatio")?.unwrap_or(store.disk_space_warning_level_ratio);
    store.disk_space_clean_forcibly_ratio =
        flag("diskSpaceCleanForciblyRatio")?.unwrap_or(store.disk_space_clean_forcibly_ratio);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(flags: &str) -> Environment {
        Environment::read(|name| (name == "JAVA_OPT").then(|| flags.to_owned()), None)
    }

    #[test]
    fn jvm_flags_mean_what_they_mean() {
        let mut options = BrokerOptions::default();
        let flags = "-Drocketmq.broker.diskSpaceWarningLevelRatio=0.95 -Dcom.rocketmq.remoting.socket.backlog=77";
        disk_flags(&environment(flags), &mut options).unwrap();
        options.server.take_flags(&environment(flags).jvm).unwrap();
        assert_eq!(options.store.disk_space_warning_level_ratio, 95);
        assert_eq!(options.store.disk_space_clean_forcibly_ratio, 85);
        assert_eq!(options.server.server_socket_backlog, 77);
        options.store.store_path_commit_log = Some("/a:/b".to_owned());
        disk_flags(&environment("-Drocketmq.broker.multiPathSplitter=:"), &mut options).unwrap();
        assert_eq!(options.store.store_path_commit_log.as_deref(), Some("/a,/b"));
        let bad = environment("-Drocketmq.broker.diskSpaceWarningLevelRatio=95");
        assert!(disk_flags(&bad, &mut options).unwrap_err().message.contains("0.90"));
    }

    #[test]
    fn what_cannot_be_kept_is_not_promised() {
        let refuse = |set: fn(&mut BrokerOptions)| {
            let mut options = BrokerOptions::default();
            assert!(supported(&options).is_ok());
            set(&mut options);
            supported(&options).unwrap_err().code
        };
        assert_eq!(refuse(|options| options.store.in_sync_replicas = 2), INITIALIZATION);
        assert_eq!(refuse(|options| options.broker.acl_enable = true), INITIALIZATION);
        assert_eq!(refuse(|options| options.store.enable_dleger_commit_log = true), INITIALIZATION);
        assert_eq!(refuse(|options| options.broker.enable_controller_mode = true), INITIALIZATION);
        assert_eq!(refuse(|options| options.store.store_type = "defaultRocksDB".to_owned()), INITIALIZATION);
    }
}
