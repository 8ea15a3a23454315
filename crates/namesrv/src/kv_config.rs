//! Texts by namespace and key, among them the order configuration of topics; kept in one JSON file.
//!
//! Source: namesrv/kvconfig/KVConfigManager.java. Java answers with success when the file cannot be written, and starts empty
//! when it cannot be read; here both are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daemon::persist::{self, LoadError, Loaded};
use parking_lot::{Mutex, RwLock};
use protocol::body::topic::KvTable;
use serde::{Deserialize, Serialize};

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The file: `{"configTable":{"NAMESPACE":{"KEY":"VALUE"}}}`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KvConfigFile {
    config_table: Table,
}

/// The texts of this nameserver.
#[derive(Debug)]
pub struct KvConfigManager {
    path: PathBuf,
    table: RwLock<Table>,
    /// Keeps the file in the order of changes.
    writing: Mutex<()>,
}

/// A change that holds in memory only.
#[derive(Debug, thiserror::Error)]
#[error("kvConfigPath {} cannot be written: {source}; the change holds until this name server ends", path.display())]
pub struct NotPersisted {
    path: PathBuf,
    source: std::io::Error,
}

impl KvConfigManager {
    /// Reads the file; one that does not exist yet is an empty table.
    ///
    /// # Errors
    /// [`LoadError`] when there is a file, and neither it nor its backup can be read.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let table = match persist::load(path, codec::json::from_slice::<KvConfigFile>)? {
            None => Table::new(),
            Some(Loaded::Main(file)) => file.config_table,
            Some(Loaded::Backup(file, why)) => {
                tracing::error!(path = %path.display(), why, "KV configuration was read from its backup");
                file.config_table
            }
        };
        Ok(Self { path: path.to_owned(), table: RwLock::new(table), writing: Mutex::new(()) })
    }

    /// One text.
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    /// The texts of a namespace; none when it never had any.
    pub fn list(&self, namespace: &str) -> Option<KvTable> {
        self.table.read().get(namespace).map(|table| KvTable { table: table.clone() })
    }

    /// Sets a text; none removes it (Java keeps a null, which no request shows).
    ///
    /// # Errors
    /// [`NotPersisted`].
    pub fn put(&self, namespace: &str, key: &str, value: Option<&str>) -> Result<(), NotPersisted> {
        self.change(|table| {
            let entries = table.entry(namespace.to_owned()).or_default();
            match value {
                Some(value) => entries.insert(key.to_owned(), value.to_owned()),
                None => entries.remove(key),
            };
        })
    }

    /// Removes a text.
    ///
    /// # Errors
    /// [`NotPersisted`].
    pub fn delete(&self, namespace: &str, key: &str) -> Result<(), NotPersisted> {
        self.change(|table| {
            if let Some(entries) = table.get_mut(namespace) {
                entries.remove(key);
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Table)) -> Result<(), NotPersisted> {
        let _writing = self.writing.lock();
        change(&mut self.table.write());
        let file = KvConfigFile { config_table: self.table.read().clone() };
        let text = protocol::body::encode(&file);
        persist::replace(&self.path, &text).map_err(|source| NotPersisted { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv/kvConfig.json");
        let manager = KvConfigManager::load(&path).unwrap();
        assert!(manager.list("ORDER_TOPIC_CONFIG").is_none());
        manager.put("ORDER_TOPIC_CONFIG", "T", Some("a:1")).unwrap();
        manager.put("ORDER_TOPIC_CONFIG", "U", Some("b:1")).unwrap();
        manager.delete("ORDER_TOPIC_CONFIG", "U").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"a:1"}}}"#);
        let again = KvConfigManager::load(&path).unwrap();
        assert_eq!(again.get("ORDER_TOPIC_CONFIG", "T").as_deref(), Some("a:1"));
        again.put("ORDER_TOPIC_CONFIG", "T", None).unwrap();
        assert_eq!(again.get("ORDER_TOPIC_CONFIG", "T"), None);
        assert!(again.list("ORDER_TOPIC_CONFIG").is_some());
    }

    #[test]
    fn what_cannot_be_read_or_written_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvConfig.json");
        std::fs::write(&path, "{").unwrap();
        assert!(KvConfigManager::load(&path).is_err());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let manager = KvConfigManager::load(&dir.path().join("none/kvConfig.json")).unwrap();
        let beside = KvConfigManager { path: dir.path().join("file/kv.json"), ..manager };
        let error = beside.put("n", "k", Some("v")).unwrap_err().to_string();
        assert!(error.contains("cannot be written"), "{error}");
        assert_eq!(beside.get("n", "k").as_deref(), Some("v"));
    }
}
