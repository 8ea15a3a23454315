use std::fs;

use super::*;
use crate::properties::Properties;

crate::option_enum! {
    /// A role.
    pub enum Role {
        /// First.
        AsyncMaster = "ASYNC_MASTER" [1],
        /// Second.
        Slave = "SLAVE",
    }
    allowed "ASYNC_MASTER or SLAVE"
}

crate::options! {
    /// A sample.
    pub struct Sample {
        brokerName => broker_name: String = "a".to_owned(); Plain, Boot, Y, important, "the name";
        listenPort => listen_port: i32 [0, 65535] = 10911; Port, Boot, Y, "the port";
        fileReservedTime => file_reserved_time: i32 = 72; Hours, Live, Y, "hours kept";
        ratio => ratio: f64 = 0.8; Plain, Live, T, "a ratio";
        traceOn => trace_on: bool = true; Plain, Live, Y, "traces";
        big => big: i64 = 1 << 40; Bytes, Live, N, "big";
        storePath => store_path: Option<String> = None; Plain, Boot, Y, "where";
        brokerRole => broker_role: Role = Role::AsyncMaster; Plain, Boot, Y, "role";
        memoryBudget => memory_budget: Option<ByteSize> = None; Plain, Boot, Y, "memory";
    }
}

crate::options! {
    /// A second set, with a key in common.
    pub struct Second {
        listenPort => listen_port: i32 [0, 65535] = 0; Port, Boot, Y, "the port again";
        other => other: i32 = 1; Plain, Live, Y, "other";
    }
}

#[derive(Debug, Clone, Default)]
struct Group {
    sample: Sample,
    second: Second,
}

impl OptionGroup for Group {
    fn sets(&self) -> Vec<&dyn OptionSet> {
        vec![&self.sample, &self.second]
    }

    fn sets_mut(&mut self) -> Vec<&mut dyn OptionSet> {
        vec![&mut self.sample, &mut self.second]
    }

    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[("fileReserveTime", "fileReservedTime")]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.second.other == 13 { Err(ConfigError::Conflict("other must not be 13".into())) } else { Ok(()) }
    }
}

fn config() -> Config<Group> {
    Config::new(Group::default())
}

#[test]
fn values_are_typed() {
    let mut config = config();
    for (key, value) in [
        ("brokerName", "b "),
        ("listenPort", " 0 "),
        ("ratio", "2"),
        ("traceOn", "FALSE"),
        ("big", "-1"),
        ("storePath", "/x"),
        ("brokerRole", "SLAVE"),
        ("memoryBudget", "1.5g"),
    ] {
        assert_eq!(config.apply(key, value, "f:1").unwrap(), None, "{key}");
    }
    let sample = &config.options.sample;
    assert_eq!((sample.broker_name.as_str(), sample.listen_port, sample.ratio), ("b", 0, 2.0));
    assert_eq!((sample.trace_on, sample.big, sample.broker_role), (false, -1, Role::Slave));
    assert_eq!((sample.store_path.as_deref(), sample.memory_budget), (Some("/x"), Some(ByteSize(1536 << 20))));
    assert_eq!(config.get("memoryBudget").as_deref(), Some("1536m"));
    config.apply("brokerRole", "1", "f:2").unwrap();
    assert_eq!(config.options.sample.broker_role, Role::AsyncMaster);
}

#[test]
fn refusals_name_key_value_and_what_is_allowed() {
    let check = |key: &str, value: &str, expect: &str| {
        let mut config = config();
        let before = config.dump();
        assert_eq!(config.apply(key, value, "b.conf:7").unwrap_err().to_string(), expect);
        assert_eq!(config.dump(), before);
    };
    check(
        "listenPort",
        "70000",
        "b.conf:7: listenPort=70000 is refused: listenPort takes a whole number from 0 to 65535 (port)",
    );
    check(
        "fileReservedTime",
        "48h",
        "b.conf:7: fileReservedTime=48h is refused: fileReservedTime takes a whole number (hours)",
    );
    check("traceOn", "yes", "b.conf:7: traceOn=yes is refused: traceOn takes true or false");
    check("brokerRole", "MASTER", "b.conf:7: brokerRole=MASTER is refused: brokerRole takes ASYNC_MASTER or SLAVE");
    check(
        "memoryBudget",
        "lots",
        "b.conf:7: memoryBudget=lots is refused: memoryBudget takes a size such as 256m or 2g",
    );
}

#[test]
fn notices() {
    let mut config = config();
    let unknown = config.apply("brokername", "x", "b.conf:1").unwrap().unwrap();
    assert_eq!(unknown.to_string(), "b.conf:1: unknown option brokername has no effect; did you mean brokerName?");
    assert_eq!(config.apply("brokername", "y", "b.conf:2").unwrap(), None);
    let other = config.apply("fileReserveTime", "1", "b.conf:3").unwrap().unwrap();
    assert_eq!(
        other,
        Notice::OtherSpelling {
            spelling: "fileReserveTime".into(),
            key: "fileReservedTime",
            origin: "b.conf:3".into()
        }
    );
    assert_eq!(config.options.sample.file_reserved_time, 1);
    let empty = config.apply("fileReservedTime", " ", "b.conf:4").unwrap();
    assert_eq!(empty, Some(Notice::EmptyValue { key: "fileReservedTime", origin: "b.conf:4".into() }));
    assert_eq!(config.options.sample.file_reserved_time, 1);
    assert!(config.apply("somethingElse", "x", "f:1").unwrap().unwrap().to_string().contains("--help-config"));
}

#[test]
fn dump_has_every_key_with_a_value() {
    let mut config = config();
    config.apply("unknownKey", "u", "f:1").unwrap();
    config.apply("listenPort", "5", "f:1").unwrap();
    assert_eq!(
        config.dump(),
        "big=1099511627776\nbrokerName=a\nbrokerRole=ASYNC_MASTER\nfileReservedTime=72\nlistenPort=5\nother=1\nratio=0.8\n\
         traceOn=true\nunknownKey=u\n"
    );
    assert_eq!(config.print(true), "brokerName=a\n");
    assert!(config.print(false).contains("storePath=\n"));
}

#[test]
fn update_changes_memory_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.conf");
    fs::write(&path, "# mine\nfileReserveTime = 48\nhouseKey=1\n").unwrap();
    let mut config = config();
    assert_eq!(config.load_file(&path).unwrap().len(), 2);
    let update = |text: &str| Properties::from_text(text, "update").unwrap();

    let outcome = config.update(&update("fileReservedTime=24\nlistenPort=7\nhouseKey=2\nnobody=3"), &[]).unwrap();
    assert_eq!(outcome.changed, ["fileReservedTime", "listenPort", "houseKey"]);
    assert_eq!(outcome.at_restart, ["listenPort"]);
    assert_eq!(outcome.dropped, ["nobody"]);
    assert!(outcome.not_persisted.is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\nfileReserveTime=24\nhouseKey=2\nlistenPort=7\n");
    assert_eq!(fs::read_to_string(persist_bak(&path)).unwrap(), "# mine\nfileReserveTime = 48\nhouseKey=1\n");
    assert_eq!(config.options.sample.file_reserved_time, 24);
    assert_eq!(config.get("houseKey").as_deref(), Some("2"));

    let before = config.dump();
    assert!(config.update(&update("fileReservedTime=1\ntraceOn=maybe"), &[]).is_err());
    assert!(config.update(&update("other=13"), &[]).is_err());
    let black = config.update(&update("fileReservedTime=1\nbrokerName=z"), &["brokerName"]).unwrap_err();
    assert!(matches!(black, ConfigError::BlackListed { .. }), "{black}");
    assert_eq!(config.dump(), before);
}

#[test]
fn update_of_a_toml_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.toml");
    fs::write(&path, "brokerName = \"b\"\n[more]\nfileReservedTime = 48\n").unwrap();
    let mut config = config();
    config.load_file(&path).unwrap();
    config.update(&Properties::from_text("listenPort=1", "u").unwrap(), &[]).unwrap();
    let mut again = self::config();
    again.load_file(&path).unwrap();
    assert_eq!(again.dump(), config.dump());
    assert_eq!(again.options.sample.listen_port, 1);
}

#[test]
fn an_update_that_cannot_be_persisted_still_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    fs::write(dir.path().join("not-a-directory"), "x").unwrap();
    config.set_file(dir.path().join("not-a-directory/b.conf"));
    let outcome = config.update(&Properties::from_text("other=2", "u").unwrap(), &[]).unwrap();
    assert!(outcome.not_persisted.is_some());
    assert_eq!(config.options.second.other, 2);
}

#[test]
fn help_texts() {
    let group = Group::default();
    let text = help(&group, "fileReserveTime").unwrap();
    assert_eq!(
        text,
        "fileReservedTime (int, default 72)\n    hours kept; a whole number (hours); a change takes effect at once\n"
    );
    assert_eq!(help(&group, "brokrName").unwrap_err(), "there is no option brokrName; did you mean brokerName?");
    assert_eq!(help_all(&group).lines().count(), 2 * 10);
}

#[test]
fn byte_sizes() {
    for (text, expect) in [
        ("1", Some(1)),
        ("256m", Some(256 << 20)),
        ("2G", Some(2 << 30)),
        ("1.5k", Some(1536)),
        ("3MiB", Some(3 << 20)),
        ("0", None),
        ("", None),
        ("m", None),
        ("-1m", None),
        ("1x", None),
        ("99999999t", None),
        ("18446744073709551615", None),
        ("1.m", Some(1 << 20)),
    ] {
        assert_eq!(parse_byte_size(text), expect, "{text}");
    }
}

fn persist_bak(path: &std::path::Path) -> std::path::PathBuf {
    crate::persist::backup_of(path)
}
