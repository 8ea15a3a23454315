//! The broker's configuration as handlers see it: a snapshot that UPDATE_BROKER_CONFIG replaces.

use crate::config::{BrokerConfiguration, BrokerOptions};
use arc_swap::{ArcSwap, Guard};
use daemon::error::ConfigError;
use daemon::options::UpdateOutcome;
use daemon::properties::Properties;
use parking_lot::Mutex;
use protocol::body::topic::DataVersion;
use remoting::clock;
use std::sync::Arc;

/// Options, their file and their version.
#[derive(Debug)]
pub struct BrokerConfigManager {
    current: ArcSwap<BrokerOptions>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    configuration: BrokerConfiguration,
    version: DataVersion,
}

impl BrokerConfigManager {
    /// Takes over what was read at boot.
    pub fn new(configuration: BrokerConfiguration) -> BrokerConfigManager {
        let version = DataVersion { timestamp: clock::now_ms(), ..DataVersion::default() };
        let current = ArcSwap::from_pointee(configuration.options.clone());
        BrokerConfigManager { current, state: Mutex::new(State { configuration, version }) }
    }

    /// The options now.
    pub fn get(&self) -> Guard<Arc<BrokerOptions>> {
        self.current.load()
    }

    /// All keys and values as properties text, and the version they have.
    pub fn dump(&self) -> (String, DataVersion) {
        let state = self.state.lock();
        (state.configuration.dump(), state.version)
    }

    /// Applies properties text, all of it or nothing, and rewrites the file.
    ///
    /// # Errors
    /// A key that may not be changed or a value that is not permitted.
    pub fn update(&self, text: &str) -> Result<UpdateOutcome, ConfigError> {
        let update = Properties::from_text(text, "request")?;
        let mut state = self.state.lock();
        let options = state.configuration.options.clone();
        let outcome = state.configuration.update(&update, &options.black_list())?;
        state.version = state.version.next(clock::now_ms());
        self.current.store(Arc::new(state.configuration.options.clone()));
        Ok(outcome)
    }
}
