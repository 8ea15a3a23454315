//! Whether a group gets the messages of a topic by pull or by pop: `messageRequestMode.json`.

use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use parking_lot::RwLock;
use protocol::body::pop::SetMessageRequestModeRequestBody;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestModes {
    /// By topic, then group.
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>,
}

/// Modes that administrators have set.
#[derive(Debug)]
pub struct RequestModeManager {
    file: MetadataFile,
    modes: RwLock<RequestModes>,
}

impl RequestModeManager {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path) -> Result<RequestModeManager, LoadError> {
        let file = MetadataFile::new(store_root, "messageRequestMode.json");
        let modes = RwLock::new(file.load()?.unwrap_or_default());
        Ok(RequestModeManager { file, modes })
    }

    /// What was set for a topic and group.
    pub fn get(&self, topic: &str, group: &str) -> Option<SetMessageRequestModeRequestBody> {
        self.modes.read().message_request_mode_map.get(topic)?.get(group).cloned()
    }

    /// All that was set.
    pub fn snapshot(&self) -> RequestModes {
        self.modes.read().clone()
    }

    /// Sets it and waits until it is on disk.
    ///
    /// # Errors
    /// What the file system says; the mode is set in memory.
    pub fn set(&self, mode: SetMessageRequestModeRequestBody) -> std::io::Result<()> {
        let snapshot = {
            let mut modes = self.modes.write();
            let groups = modes.message_request_mode_map.entry(mode.topic.clone()).or_default();
            groups.insert(mode.consumer_group.clone(), mode);
            modes.clone()
        };
        self.file.save(&snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::pop::RequestMode;

    #[test]
    fn modes_survive_in_javas_shape() {
        let dir = tempfile::tempdir().unwrap();
        let modes = RequestModeManager::open(dir.path()).unwrap();
        let pop = SetMessageRequestModeRequestBody {
            consumer_group: "g".into(),
            mode: RequestMode::Pop,
            pop_share_queue_num: 2,
            topic: "T".into(),
        };
        modes.set(pop.clone()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("config/messageRequestMode.json")).unwrap();
        let java = r#"{"messageRequestModeMap":{"T":{"g":{"consumerGroup":"g","mode":"POP","popShareQueueNum":2,"topic":"T"}}}}"#;
        assert_eq!(text, java);
        let again = RequestModeManager::open(dir.path()).unwrap();
        assert_eq!((again.get("T", "g"), again.get("T", "h")), (Some(pop), None));
    }
}
