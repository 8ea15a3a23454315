use daemon::options::{Class, Notice};

use super::*;

fn environment() -> Environment {
    Environment {
        rocketmq_home: Some("/opt/rocketmq".into()),
        user_home: "/home/rocketmq".into(),
        ..Environment::default()
    }
}

fn configuration() -> BrokerConfiguration {
    Config::new(BrokerOptions::in_environment(&environment(), "10.0.0.7"))
}

/// Every key of the Java 5.5.0 classes, with its default there, as getBrokerConfig shows it (null and what depends on the
/// machine left out).
const JAVA_DEFAULTS: &str = include_str!("java_defaults.properties");

#[test]
fn every_java_option_has_javas_default() {
    let configuration = configuration();
    let mut wrong = Vec::new();
    for line in JAVA_DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
        let (key, expect) = line.split_once('=').unwrap();
        let value = configuration.get(key);
        if value.as_deref() != Some(expect) {
            wrong.push(format!("{key}: {value:?}, in Java {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(JAVA_DEFAULTS.lines().count() > 450);
}

#[test]
fn keys_are_unique_within_a_set_and_documented() {
    let options = BrokerOptions::default();
    let mut count = 0;
    for set in options.sets() {
        let mut seen = std::collections::BTreeSet::new();
        for info in set.infos() {
            assert!(seen.insert(info.key), "{} twice", info.key);
            assert!(!info.doc.is_empty() && info.doc.len() < 100, "{}: {}", info.key, info.doc);
            count += 1;
        }
    }
    assert!(count > 500, "{count}");
    assert_eq!(options.broker.infos().iter().find(|i| i.key == "brokerPermission").unwrap().class, Class::Y);
}

#[test]
fn defaults_from_the_surroundings() {
    let mut options = BrokerOptions::in_environment(&environment(), "10.0.0.7");
    options.derive().unwrap();
    assert_eq!(options.broker.broker_ip1, "10.0.0.7");
    assert_eq!(options.store.store_path_root_dir, "/home/rocketmq/store");
    assert_eq!((options.server.listen_port, options.store.ha_listen_port), (10911, 10912));
    assert_eq!(options.auth.auth_config_path.as_deref(), Some("/home/rocketmq/store/config"));
}

#[test]
fn spellings_of_old_configurations() {
    let mut configuration = configuration();
    let notice = configuration.apply("mapedFileSizeCommitLog", "1048576", "b.conf:1").unwrap();
    assert!(matches!(notice, Some(Notice::OtherSpelling { key: "mappedFileSizeCommitLog", .. })), "{notice:?}");
    assert_eq!(configuration.options.store.mapped_file_size_commit_log, 1048576);
    configuration.apply("advertisedAddress", "broker.example.org", "b.conf:2").unwrap();
    assert_eq!(configuration.options.broker.broker_ip1, "broker.example.org");
    let near = configuration.apply("autoCreateTopicEnabled", "true", "b.conf:3").unwrap();
    assert!(matches!(near, Some(Notice::UnknownKey { nearest: Some("autoCreateTopicEnable"), .. })), "{near:?}");
}

#[test]
fn java_exit_codes() {
    let check = |change: &dyn Fn(&mut BrokerOptions), code: i32, part: &str| {
        let mut options = BrokerOptions::in_environment(&environment(), "10.0.0.7");
        change(&mut options);
        let exit = options.derive().unwrap_err();
        assert_eq!(exit.code, code, "{}", exit.message);
        assert!(exit.message.contains(part), "{}", exit.message);
    };
    check(&|o| o.broker.rocketmq_home = None, -2, "ROCKETMQ_HOME");
    check(&|o| o.broker.namesrv_addr = Some("localhost".into()), -3, "The Name Server Address[localhost] illegal");
    check(&|o| o.broker.namesrv_addr = Some("a:1,b:2".into()), -3, "127.0.0.1:9876;192.168.0.1:9876");
    check(&|o| o.store.broker_role = BrokerRole::Slave, -3, "Slave's brokerId must be > 0");
    check(
        &|o| {
            o.store.enable_dleger_commit_log = true;
            o.broker.enable_controller_mode = true;
        },
        -4,
        "cannot both be true",
    );
}

#[test]
fn roles() {
    let mut options = BrokerOptions::in_environment(&environment(), "10.0.0.7");
    options.broker.broker_id = 5;
    options.broker.namesrv_addr = Some("a:1; [::1]:2;".into());
    options.derive().unwrap();
    assert_eq!(options.broker.broker_id, 0);
    assert_eq!(options.namesrv_list(), ["a:1", "[::1]:2"]);
    options.store.broker_role = BrokerRole::Slave;
    options.broker.broker_id = 1;
    options.derive().unwrap();
    assert_eq!(options.broker.broker_id, 1);
}

#[test]
fn sizes_that_cannot_work_are_refused() {
    let mut options = BrokerOptions::default();
    assert!(options.validate().is_ok());
    options.store.mapped_file_size_consume_queue = 30;
    assert!(options.validate().unwrap_err().to_string().contains("multiple of 20"));
    options = BrokerOptions::default();
    options.store.mapped_file_size_commit_log = 4 * 1024 * 1024;
    assert!(options.validate().unwrap_err().to_string().contains("mappedFileSizeCommitLog=4194304"));
}

#[test]
fn black_list() {
    let options = BrokerOptions::default();
    for key in ["configBlackList", "brokerConfigPath"] {
        assert!(options.black_list().contains(&key));
    }
}
