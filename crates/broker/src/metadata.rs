//! Files under `config/`: Java's JSON, replaced atomically, never read as empty when they are broken.

use daemon::persist::{self, LoadError, Loaded};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};

/// Metadata files, and what a broker without them does.
const FILES: [(&str, &str); 4] = [
    ("topics.json", "topics are restored from their queues, with default settings"),
    ("subscriptionGroup.json", "groups have default settings"),
    ("consumerOffset.json", "every group begins anew, at the first or the last message of each queue"),
    ("delayOffset.json", "delayed messages that were delivered may be delivered again"),
];

/// The files that are missing, backup and all, each with what the broker does without it.
pub fn missing(store_root: &Path) -> Vec<(&'static str, &'static str)> {
    let exists = |file: &str| {
        let path = store_root.join("config").join(file);
        path.exists() || persist::backup_of(&path).exists()
    };
    // With light queues offsets are in another file.
    let is_missing = |file: &str| !exists(file) && (file != "consumerOffset.json" || !exists("lmqConsumerOffset.json"));
    FILES.into_iter().filter(|(file, _)| is_missing(file)).collect()
}

/// One metadata file.
#[derive(Debug)]
pub struct MetadataFile {
    path: PathBuf,
    writing: Mutex<()>,
}

impl MetadataFile {
    /// `config/<name>` below the store's root.
    pub fn new(store_root: &Path, name: &str) -> MetadataFile {
        MetadataFile { path: store_root.join("config").join(name), writing: Mutex::new(()) }
    }

    /// The file's content; `None` when neither it nor its backup exists.
    ///
    /// # Errors
    /// When both are unusable: starting empty would lose what they held.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, LoadError> {
        let loaded = persist::load(&self.path, |bytes| codec::json::from_slice::<T>(bytes))?;
        Ok(loaded.map(|loaded| match loaded {
            Loaded::Main(value) => value,
            Loaded::Backup(value, reason) => {
                tracing::warn!(file = %self.path.display(), reason, "read the backup instead");
                value
            }
        }))
    }

    /// Replaces the content.
    ///
    /// # Errors
    /// What the file system says; the old content stays.
    pub fn save<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        persist::replace(&self.path, &protocol::body::encode(value))
    }

    /// Replaces the content; a failure is logged, since the next change or period tries again.
    pub fn save_or_log<T: Serialize>(&self, value: &T) {
        if let Err(error) = self.save(value) {
            tracing::error!(file = %self.path.display(), %error, "metadata not written");
        }
    }
}

#[cfg(test)]
mod tests;
