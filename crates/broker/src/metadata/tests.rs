//! The files under `config/` as Java's brokers left them (`tests/golden`): read, and written in the form that Java reads.

use super::*;
use crate::config::BrokerOptions;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::parts::PartsError;
use crate::schedule::{DelayLevels, DelayOffsets, ScheduleOffsets};
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::encode;
use protocol::body::group::SubscriptionGroupWrapper;
use protocol::body::topic::TopicConfigSerializeWrapper;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offsets {
    offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

fn golden(store: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(store).join("config")
}

/// A store directory with these files.
fn copied(store: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("config")).unwrap();
    for name in ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"] {
        fs::copy(golden(store).join(name), dir.path().join("config").join(name)).unwrap();
    }
    dir
}

/// Java's text without the white space between its parts.
fn minified(path: &Path) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for char in fs::read_to_string(path).unwrap().chars() {
        if in_string || !char.is_whitespace() {
            out.push(char);
        }
        in_string ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
    }
    out
}

fn java<T: DeserializeOwned>(store: &str, name: &str) -> T {
    codec::json::from_slice(&fs::read(golden(store).join(name)).unwrap()).unwrap()
}

const STORES: [&str; 4] = ["4.5.2/store", "4.9.7/store", "5.5.0/store", "5.5.0-formats"];

/// Every member of a table stands in the text, written as `encode` does.
fn check_members<V: Serialize>(table: &BTreeMap<String, V>, text: &str) {
    assert!(!table.is_empty());
    for (name, value) in table {
        let member = String::from_utf8(encode(&BTreeMap::from([(name, value)]))).unwrap();
        let member = &member[1..member.len() - 1];
        assert!(text.contains(member), "{member}\nis not in\n{text}");
    }
}

#[test]
fn what_java_wrote_is_read_and_written_in_its_form() {
    for store in STORES {
        let dir = copied(store);
        let file = |name: &str| dir.path().join("config").join(name);
        let offsets = ConsumerOffsetManager::open(dir.path(), false).unwrap();
        offsets.persist();
        let expect = java::<Offsets>(store, "consumerOffset.json").offset_table;
        check_members(&expect, &minified(&file("consumerOffset.json")));
        check_members(&expect, &minified(&golden(store).join("consumerOffset.json")));

        let topics = TopicConfigManager::open(dir.path(), &BrokerOptions::default()).unwrap();
        topics.persist();
        let topics_of_java = java::<TopicConfigSerializeWrapper>(store, "topics.json");
        check_members(&topics_of_java.topic_config_table, &minified(&file("topics.json")));
        assert_eq!(topics.data_version(), topics_of_java.data_version);

        let groups = SubscriptionGroupManager::open(dir.path()).unwrap();
        groups.put([]).unwrap();
        let groups_of_java = java::<SubscriptionGroupWrapper>(store, "subscriptionGroup.json");
        check_members(&groups_of_java.subscription_group_table, &minified(&file("subscriptionGroup.json")));

        let delays = ScheduleOffsets::open(dir.path(), &DelayLevels::parse("1s 5s").unwrap()).unwrap();
        delays.persist();
        let before = java::<DelayOffsets>(store, "delayOffset.json");
        assert_eq!(delays.snapshot().offset_table, before.offset_table);

        if store.starts_with("5.") {
            // The members of earlier releases lack what came later.
            let java = |name: &str| minified(&golden(store).join(name));
            check_members(&topics_of_java.topic_config_table, &java("topics.json"));
            check_members(&groups_of_java.subscription_group_table, &java("subscriptionGroup.json"));
            assert_eq!(minified(&file("delayOffset.json")), java("delayOffset.json"));
        }
    }
}

#[test]
fn broken_files_are_refused_with_the_remedy() {
    for (broken, content) in
        [("topics.json", ""), ("subscriptionGroup.json", "{\"dataVersion\":"), ("consumerOffset.json", "")]
    {
        let dir = copied("5.5.0/store");
        let path = dir.path().join("config").join(broken);
        fs::write(&path, content).unwrap();
        let error = match broken {
            "topics.json" => TopicConfigManager::open(dir.path(), &BrokerOptions::default()).map(drop),
            "subscriptionGroup.json" => SubscriptionGroupManager::open(dir.path()).map(drop),
            _ => ConsumerOffsetManager::open(dir.path(), false).map(drop),
        };
        let text = PartsError::from(error.unwrap_err()).to_string();
        let remedy = format!("mqstore rebuild-metadata --store {} --apply", dir.path().display());
        assert!(text.contains(path.to_str().unwrap()) && text.contains(&remedy), "{text}");
    }
}

#[test]
fn missing_files_are_named_unless_their_backup_is_there() {
    let dir = copied("5.5.0/store");
    assert_eq!(missing(dir.path()), []);
    let offsets = dir.path().join("config/consumerOffset.json");
    fs::rename(&offsets, persist::backup_of(&offsets)).unwrap();
    assert_eq!(missing(dir.path()), []);
    fs::remove_file(persist::backup_of(&offsets)).unwrap();
    assert_eq!(missing(dir.path()).iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["consumerOffset.json"]);
    assert_eq!(missing(&dir.path().join("elsewhere")).len(), FILES.len());
}
