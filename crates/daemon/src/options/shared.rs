//! A configuration that requests read and change while the process runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Config, OptionGroup, UpdateOutcome};
use crate::error::ConfigError;
use crate::properties::Properties;

/// A [`Config`] behind a lock, with a snapshot of its options that is read without one.
#[derive(Debug)]
pub struct SharedConfig<G> {
    snapshot: ArcSwap<G>,
    config: Mutex<Config<G>>,
}

impl<G: OptionGroup> SharedConfig<G> {
    /// Shares a configuration.
    pub fn new(config: Config<G>) -> Self {
        Self { snapshot: ArcSwap::from_pointee(config.options.clone()), config: Mutex::new(config) }
    }

    /// The options as they are now.
    pub fn options(&self) -> Arc<G> {
        self.snapshot.load_full()
    }

    /// The options as they are now, for the hot path: to be dropped before anything waits.
    pub fn load(&self) -> arc_swap::Guard<Arc<G>> {
        self.snapshot.load()
    }

    /// See [`Config::update`]. Writes a file: not for threads that serve sockets.
    ///
    /// # Errors
    /// See [`Config::update`].
    pub fn update(&self, update: &Properties, black_list: &[&str]) -> Result<UpdateOutcome, ConfigError> {
        let mut config = self.config.lock();
        let outcome = config.update(update, black_list)?;
        self.snapshot.store(Arc::new(config.options.clone()));
        Ok(outcome)
    }

    /// See [`Config::dump`].
    pub fn dump(&self) -> String {
        self.config.lock().dump()
    }

    /// See [`Config::get`].
    pub fn get(&self, key: &str) -> Option<String> {
        self.config.lock().get(key)
    }
}
