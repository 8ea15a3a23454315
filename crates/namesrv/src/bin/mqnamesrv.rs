//! The daemon mqnamesrv.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use codec::frame::DEFAULT_MAX_FRAME_LEN;
use daemon::cli::{self, Print, Program};
use daemon::environment::Environment;
use daemon::exit::{Exit, FAILURE, print_line};
use daemon::memory::{self, MemoryBudget};
use daemon::options::Config;
use daemon::sd_notify::{Notify, notify};
use daemon::signals::Signals;
use daemon::{logging, panic};
use namesrv::Namesrv;
use namesrv::config::{NamesrvConfiguration, NamesrvOptions};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

fn run() -> Result<(), Exit> {
    let environment = Environment::of_process();
    let (config, memory) = configure(&environment)?;
    environment.jvm.refuse_tls_only()?;
    let max_frame_len = environment.jvm.frame_max_length(DEFAULT_MAX_FRAME_LEN)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::new(FAILURE, format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(config, memory, max_frame_len, environment.serialize_type_name()))
}

/// Defaults, then the file, then the command line; prints what was asked for.
fn configure(environment: &Environment) -> Result<(NamesrvConfiguration, MemoryBudget), Exit> {
    let mut config = Config::new(NamesrvOptions::in_environment(environment));
    config.options.server.take_flags(&environment.jvm)?;
    let line = cli::parse(Program::Namesrv, std::env::args_os().skip(1), &config)?;
    let notices = line.configure(&mut config)?;
    if let Some(file) = &line.config_file {
        print_line(&format!("load config properties file OK, {}", file.display()));
    }
    if let Some(print) = line.print {
        return Err(Exit::on_stdout(0, config.print(print == Print::Important).trim_end()));
    }
    let filter = logging::init();
    panic::install_hook();
    for remark in filter.err().iter().chain(&line.remarks) {
        tracing::warn!("{remark}");
    }
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    if let Some(flags) = environment.jvm.notice() {
        tracing::info!("{flags}");
    }
    config.options.check()?;
    let budget = config.options.namesrv.memory_budget.map(|size| size.0);
    let memory = memory::memory_budget(line.memory, budget, environment.jvm.max_heap, memory::cgroup_limit());
    Ok((NamesrvOptions::share(config), memory))
}

async fn serve(
    config: NamesrvConfiguration,
    memory: MemoryBudget,
    max_frame_len: usize,
    serialize_type: &str,
) -> Result<(), Exit> {
    let mut signals = Signals::new().map_err(|error| Exit::new(FAILURE, format!("cannot take signals: {error}")))?;
    let namesrv = Namesrv::start(config, memory, max_frame_len)?;
    print_line(&format!("The Name Server boot success. serializeType={serialize_type}"));
    notify(Notify::Ready);
    notify(Notify::Status(&format!("listening on {}", namesrv.local_addr())));
    signals.stop().await;
    notify(Notify::Stopping);
    tracing::info!("name server stops");
    namesrv.shutdown().await;
    Ok(())
}
