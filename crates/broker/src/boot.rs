//! From the command line to a running broker, and to its end.

use crate::config::{BrokerConfiguration, BrokerOptions, BrokerRole};
use crate::config_manager::BrokerConfigManager;
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
    let line = cli::parse(Program::Broker, args, &configuration)?;
    let notices = line.configure(&mut configuration)?;
    if let Some(print) = line.print {
        return Err(Exit::on_stdout(CLEAN, configuration.print(print == Print::Important).trim_end()));
    }
    let problem = logging::init().err();
    panic::install_hook();
    problem.iter().chain(&line.remarks).chain(&environment.jvm.notice()).for_each(|text| tracing::warn!("{text}"));
    notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    configuration.options.derive()?;
    supported(&configuration.options)?;
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
        max_frame_len: max_frame_len(&environment)?,
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

fn max_frame_len(environment: &Environment) -> Result<usize, Exit> {
    const KEY: &str = "com.rocketmq.remoting.frameMaxLength";
    let Some(text) = environment.jvm.property(KEY) else { return Ok(DEFAULT_MAX_FRAME_LEN) };
    text.parse().ok().filter(|bytes| (1024..=1 << 30).contains(bytes)).ok_or_else(|| {
        Exit::new(FAILURE, format!("-D{KEY}={text} is refused: give a number of bytes from 1024 to 1073741824"))
    })
}
