//! A nameserver over sockets, as brokers, clients and operators see it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::command::Command;
use codec::fields::NoHeader;
use daemon::environment::Environment;
use daemon::memory::memory_budget;
use daemon::options::Config;
use namesrv::Namesrv;
use namesrv::config::NamesrvOptions;
use protocol::body::route::{GetBrokerMemberGroupResponseBody, TopicRouteData};
use protocol::body::topic::{DataVersion, KvTable, RegisterBrokerBody, TopicConfig, TopicList};
use protocol::header::namesrv::*;
use protocol::operation::*;
use protocol::response_code;
use remoting::client::{Client, ClientConfig};
use remoting::reply::{Outcome, Request};
use remoting::routes::{Lane, Processor, Routes};
use remoting::server::Server;

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    namesrv: Namesrv,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn start(set: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let namesrv = start_in(dir.path(), set);
        Self { namesrv, dir }
    }

    fn addr(&self) -> String {
        self.namesrv.local_addr().to_string()
    }

    async fn call<O: Operation>(&self, client: &Client, header: &O::Request, body: impl Into<Bytes>) -> Command {
        client.call::<O>(&self.addr(), header, body.into(), PATIENCE).await.unwrap()
    }

    async fn route(&self, client: &Client, topic: &str) -> Command {
        self.call::<GetRouteInfoByTopic>(client, &route_of(topic), Bytes::new()).await
    }

    /// Asks until the route answers `code`.
    async fn wait_for_route(&self, client: &Client, topic: &str, code: i32) {
        let asked = async {
            while self.route(client, topic).await.code != code {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("route of {topic} never answered {code}"));
    }

    async fn register(&self, client: &Client, name: &str, id: i64, topics: &[&str]) -> Command {
        let body = protocol::body::encode(&registration(topics));
        self.call::<RegisterBroker>(client, &register_header(name, id), body).await
    }
}

fn start_in(dir: &Path, set: &[(&str, &str)]) -> Namesrv {
    let environment =
        Environment { rocketmq_home: Some("/opt".into()), user_home: dir.to_owned(), ..Environment::default() };
    let mut config = Config::new(NamesrvOptions::in_environment(&environment));
    for (key, value) in [("listenPort", "0"), ("bindAddress", "127.0.0.1")].iter().chain(set) {
        assert!(config.is_option(key), "{key}");
        config.apply(key, value, "test").unwrap();
    }
    Namesrv::start(NamesrvOptions::share(config), memory_budget(None, None, None, None), 16 << 20).unwrap()
}

fn client() -> Client {
    Client::new(ClientConfig::default(), Arc::new(Routes::new()), Arc::new(()))
}

fn route_of(topic: &str) -> GetRouteInfoRequestHeader {
    GetRouteInfoRequestHeader {
        topic: topic.into(),
        accept_standard_json_only: false,
        zone_mode: false,
        zone_name: None,
    }
}

fn register_header(name: &str, id: i64) -> RegisterBrokerRequestHeader {
    RegisterBrokerRequestHeader {
        broker_name: name.into(),
        broker_addr: format!("{name}-{id}:10911").into(),
        cluster_name: "DefaultCluster".into(),
        ha_server_addr: Some(format!("{name}-{id}:10912").into()),
        broker_id: id,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: 0,
        zone_name: None,
    }
}

fn identity(name: &str, id: i64) -> BrokerIdentityRequestHeader {
    BrokerIdentityRequestHeader {
        broker_name: name.into(),
        broker_addr: format!("{name}-{id}:10911").into(),
        cluster_name: "DefaultCluster".into(),
        broker_id: id,
    }
}

fn registration(topics: &[&str]) -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version = DataVersion { counter: 1, state_version: 0, timestamp: 7 };
    for topic in topics.iter().chain(&["TBW102", "SELF_TEST_TOPIC"]) {
        let config = TopicConfig { topic_name: (*topic).to_owned(), ..TopicConfig::default() };
        wrapper.topic_config_table.insert((*topic).to_owned(), config);
    }
    body
}

fn json<T: serde::de::DeserializeOwned>(command: &Command) -> T {
    assert_eq!(command.code, 0, "{:?}", command.remark);
    codec::json::from_slice(&command.body).unwrap()
}

#[tokio::test]
async fn brokers_register_and_clients_find_them() {
    let fixture = Fixture::start(&[]);
    let (broker, slave, client) = (client(), client(), client());
    let none = fixture.route(&client, "T").await;
    assert_eq!(none.code, response_code::TOPIC_NOT_EXIST);
    let remark = none.remark.unwrap();
    assert!(remark.starts_with("No topic route info in name server for the topic: T\nSee https://"), "{remark}");
    assert!(remark.contains("no broker is registered"), "{remark}");

    assert_eq!(fixture.register(&broker, "a", 0, &["T"]).await.code, 0);
    let told = fixture.register(&slave, "a", 1, &["T"]).await;
    let told: RegisterBrokerResponseHeader = told.header().unwrap();
    assert_eq!(told.master_addr.as_deref(), Some("a-0:10911"));
    assert_eq!(told.ha_server_addr.as_deref(), Some("a-0:10912"));

    let route: TopicRouteData = json(&fixture.route(&client, "T").await);
    assert_eq!(route.broker_datas[0].broker_addrs.len(), 2);
    let list: TopicList = json(&fixture.call::<GetAllTopicListFromNameserver>(&client, &NoHeader, Bytes::new()).await);
    assert_eq!(list.topic_list, ["SELF_TEST_TOPIC", "T", "TBW102"]);
    let header = GetBrokerMemberGroupRequestHeader { cluster_name: "DefaultCluster".into(), broker_name: "a".into() };
    let group: GetBrokerMemberGroupResponseBody =
        json(&fixture.call::<GetBrokerMemberGroup>(&client, &header, Bytes::new()).await);
    assert_eq!(group.broker_member_group.broker_addrs.len(), 2);

    // The master's process dies: its connection closes.
    broker.close(&fixture.addr()).await;
    let gone = async {
        loop {
            let route: TopicRouteData = json(&fixture.route(&client, "T").await);
            if !route.broker_datas[0].broker_addrs.contains_key(&0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    fixture.call::<UnregisterBroker>(&slave, &identity("a", 1), Bytes::new()).await;
    fixture.wait_for_route(&client, "T", response_code::TOPIC_NOT_EXIST).await;
    fixture.namesrv.shutdown().await;
}

#[tokio::test]
async fn a_broker_that_reconnected_stays_when_its_old_connection_closes() {
    let fixture = Fixture::start(&[]);
    let (old, new, asker) = (client(), client(), client());
    fixture.register(&old, "a", 0, &["T"]).await;
    fixture.register(&new, "a", 0, &["T"]).await;
    // A request by the old connection, and then its end, both come late.
    assert_eq!(fixture.call::<UnregisterBroker>(&old, &identity("a", 0), Bytes::new()).await.code, 0);
    old.close(&fixture.addr()).await;
    // Another broker's unregistration runs through the same queue behind them.
    fixture.register(&asker, "b", 0, &["U"]).await;
    fixture.call::<UnregisterBroker>(&asker, &identity("b", 0), Bytes::new()).await;
    fixture.wait_for_route(&asker, "U", response_code::TOPIC_NOT_EXIST).await;
    assert_eq!(fixture.route(&asker, "T").await.code, 0);
}

#[tokio::test]
async fn a_silent_broker_is_forgotten_and_its_connection_closed() {
    let fixture = Fixture::start(&[("scanNotActiveBrokerInterval", "20")]);
    let (broker, asker) = (client(), client());
    let header = RegisterBrokerRequestHeader { heartbeat_timeout_millis: Some(60), ..register_header("a", 0) };
    let body = protocol::body::encode(&registration(&["T"]));
    fixture.call::<RegisterBroker>(&broker, &header, body).await;
    let channel = broker.channel(&fixture.addr()).await.unwrap();
    fixture.wait_for_route(&asker, "T", response_code::TOPIC_NOT_EXIST).await;
    let closed = async {
        while !channel.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn a_damaged_registration_is_refused() {
    let fixture = Fixture::start(&[]);
    let broker = client();
    let body = protocol::body::encode(&registration(&["T"]));
    let wrong = RegisterBrokerRequestHeader { body_crc32: 1, ..register_header("a", 0) };
    let refused = fixture.call::<RegisterBroker>(&broker, &wrong, body.clone()).await;
    assert_eq!((refused.code, refused.remark.as_deref()), (1, Some("crc32 not match")));
    let compressed = RegisterBrokerRequestHeader { compressed: true, ..register_header("a", 0) };
    assert_eq!(fixture.call::<RegisterBroker>(&broker, &compressed, body).await.code, 1);
    let mut single = registration(&[]);
    single.topic_config_serialize_wrapper.topic_config_table.remove("SELF_TEST_TOPIC");
    let single = protocol::body::encode(&single);
    let refused = fixture.call::<RegisterBroker>(&broker, &register_header("a", 0), single).await;
    assert_eq!((refused.code, refused.remark.as_deref()), (1, Some("register broker failed")));
}

#[tokio::test]
async fn versions_and_heartbeats() {
    let fixture = Fixture::start(&[]);
    let broker = client();
    let version = registration(&[]).topic_config_serialize_wrapper.data_version;
    let query = async |version: &DataVersion| {
        let body = protocol::body::encode(version);
        let answer = fixture.call::<QueryDataVersion>(&broker, &identity("a", 0), body).await;
        (answer.header::<QueryDataVersionResponseHeader>().unwrap().changed, answer.body)
    };
    assert_eq!(query(&version).await, (true, Bytes::new()));
    fixture.register(&broker, "a", 0, &[]).await;
    assert_eq!(query(&version).await, (false, protocol::body::encode(&version).into()));
    assert!(query(&version.next(9)).await.0);
    let heartbeat = BrokerHeartbeatRequestHeader {
        cluster_name: "DefaultCluster".into(),
        broker_addr: "a-0:10911".into(),
        broker_name: None,
        broker_id: None,
    };
    assert_eq!(fixture.call::<BrokerHeartbeat>(&broker, &heartbeat, Bytes::new()).await.code, 0);
}

#[tokio::test]
async fn kv_and_order_configuration() {
    let fixture = Fixture::start(&[("orderMessageEnable", "true")]);
    let (broker, admin) = (client(), client());
    fixture.register(&broker, "a", 0, &["T"]).await;
    let order = async || json::<TopicRouteData>(&fixture.route(&admin, "T").await).order_topic_conf;
    assert_eq!(order().await, None);
    let put = PutKvConfigRequestHeader {
        namespace: Some("ORDER_TOPIC_CONFIG".into()),
        key: Some("T".into()),
        value: Some("a:4".into()),
    };
    assert_eq!(fixture.call::<PutKvConfig>(&admin, &put, Bytes::new()).await.code, 0);
    assert_eq!(order().await.as_deref(), Some("a:4"));
    let table: KvTable = json(&fixture.register(&broker, "a", 0, &["T"]).await);
    assert_eq!(table.table["T"], "a:4");
    let none = PutKvConfigRequestHeader { namespace: None, key: None, value: None };
    let refused = fixture.call::<PutKvConfig>(&admin, &none, Bytes::new()).await;
    assert_eq!((refused.code, refused.remark.as_deref()), (1, Some("namespace or key is null")));
    let key = KvConfigKeyRequestHeader { namespace: "ORDER_TOPIC_CONFIG".into(), key: "T".into() };

    // It survives a restart.
    fixture.namesrv.shutdown().await;
    let again = Fixture { namesrv: start_in(fixture.dir.path(), &[]), dir: fixture.dir };
    let got = again.call::<GetKvConfig>(&admin, &key, Bytes::new()).await;
    assert_eq!(got.header::<GetKvConfigResponseHeader>().unwrap().value.as_deref(), Some("a:4"));
    assert_eq!(again.call::<DeleteKvConfig>(&admin, &key, Bytes::new()).await.code, 0);
    assert_eq!(again.call::<GetKvConfig>(&admin, &key, Bytes::new()).await.code, response_code::QUERY_NOT_FOUND);
    let namespace = GetKvListByNamespaceRequestHeader { namespace: "unknown".into() };
    let absent = again.call::<GetKvListByNamespace>(&admin, &namespace, Bytes::new()).await;
    assert_eq!(absent.remark.as_deref(), Some("No config item, Namespace: unknown"));
}

#[tokio::test]
async fn configuration_over_the_wire() {
    let fixture = Fixture::start(&[]);
    let admin = client();
    let get = async || {
        let body = fixture.call::<GetNamesrvConfig>(&admin, &NoHeader, Bytes::new()).await.body;
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert!(get().await.contains("\nenableTopicList=true\n"));
    let update = async |text: &'static str| fixture.call::<UpdateNamesrvConfig>(&admin, &NoHeader, text).await;
    assert_eq!(update("enableTopicList=false\nenableAllTopicList=false\nnobody=1").await.code, 0);
    assert!(get().await.contains("\nenableTopicList=false\n"));
    assert!(!get().await.contains("nobody"));
    let file = fixture.dir.path().join("namesrv/namesrv.properties");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "enableAllTopicList=false\nenableTopicList=false\n");
    let lists = fixture.call::<GetUnitTopicList>(&admin, &NoHeader, Bytes::new()).await;
    assert_eq!((lists.code, lists.remark.as_deref()), (1, Some("disable")));
    let all = fixture.call::<GetAllTopicListFromNameserver>(&admin, &NoHeader, Bytes::new()).await;
    assert_eq!(all.remark.as_deref(), Some("disable"));
    let black = update("kvConfigPath=/etc/passwd").await;
    assert_eq!(
        (black.code, black.remark.as_deref()),
        (response_code::NO_PERMISSION, Some("Can not update config in black list."))
    );
    let wrong = update("enableTopicList=perhaps").await;
    assert!(wrong.code == 1 && wrong.remark.unwrap().contains("true or false"));
}

#[tokio::test]
async fn routes_in_both_dialects_and_by_zone() {
    let fixture = Fixture::start(&[]);
    let broker = client();
    let zoned = RegisterBrokerRequestHeader { zone_name: Some("z1".into()), ..register_header("a", 0) };
    fixture.call::<RegisterBroker>(&broker, &zoned, protocol::body::encode(&registration(&["T"]))).await;
    fixture.register(&broker, "b", 0, &["T"]).await;
    // Our own client says it is 5.5.0.
    let standard = fixture.route(&broker, "T").await.body;
    assert!(standard.windows(6).any(|w| w == b"{\"0\":\""), "{standard:?}");
    let in_zone = GetRouteInfoRequestHeader { zone_mode: true, zone_name: Some("z1".into()), ..route_of("T") };
    let zone = fixture.call::<GetRouteInfoByTopic>(&broker, &in_zone, Bytes::new()).await;
    assert!(zone.body.windows(4).any(|w| w == b"{0:\""), "{:?}", zone.body);
    let route: TopicRouteData = json(&zone);
    assert_eq!((route.broker_datas.len(), route.queue_datas.len()), (1, 1));
}

#[tokio::test]
async fn permissions_and_topics() {
    let fixture = Fixture::start(&[]);
    let broker = client();
    fixture.register(&broker, "a", 0, &["T"]).await;
    let perm = async || json::<TopicRouteData>(&fixture.route(&broker, "T").await).queue_datas[0].perm;
    let header = WritePermOfBrokerRequestHeader { broker_name: "a".into() };
    let wiped = fixture.call::<WipeWritePermOfBroker>(&broker, &header, Bytes::new()).await;
    assert_eq!(wiped.header::<WipeWritePermOfBrokerResponseHeader>().unwrap().wipe_topic_count, 3);
    assert_eq!(perm().await, 4);
    let added = fixture.call::<AddWritePermOfBroker>(&broker, &header, Bytes::new()).await;
    assert_eq!(added.header::<AddWritePermOfBrokerResponseHeader>().unwrap().add_topic_count, 3);
    assert_eq!(perm().await, 6);

    let body = r#"{"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1,"writeQueueNums":1}]}"#;
    let register = RegisterTopicRequestHeader { topic: "N".into() };
    assert_eq!(fixture.call::<RegisterTopicInNamesrv>(&broker, &register, body).await.code, 0);
    assert_eq!(fixture.route(&broker, "N").await.code, 0);
    let delete = DeleteTopicFromNamesrvRequestHeader { topic: "N".into(), cluster_name: None };
    assert_eq!(fixture.call::<DeleteTopicInNamesrv>(&broker, &delete, Bytes::new()).await.code, 0);
    let gone = fixture.route(&broker, "N").await;
    assert!(gone.remark.unwrap().contains("no broker that is registered here has this topic"));
}

#[tokio::test]
async fn the_window_of_need_wait_for_service() {
    let fixture = Fixture::start(&[("needWaitForService", "true"), ("waitSecondsForService", "3600")]);
    let waiting = fixture.route(&client(), "T").await;
    assert_eq!((waiting.code, waiting.remark.as_deref()), (1, Some("name server not ready")));
}

struct Told(tokio::sync::mpsc::Sender<NotifyMinBrokerIdChangeRequestHeader>);

impl Processor<NotifyMinBrokerIdChange> for Told {
    fn process(&self, request: Request<NotifyMinBrokerIdChangeRequestHeader>) -> Outcome {
        self.0.try_send(request.header).unwrap();
        Outcome::Silent
    }
}

#[tokio::test]
async fn slaves_are_told_that_the_master_went() {
    let fixture = Fixture::start(&[("notifyMinBrokerIdChanged", "true")]);
    let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    let routes = Routes::new().on::<NotifyMinBrokerIdChange>(Lane::Connection, Arc::new(Told(sender)));
    let listen = remoting::server::ServerConfig::new("127.0.0.1:0".parse().unwrap());
    let budget = remoting::budget::Budget::new(1 << 20, 1 << 20);
    let slave_server = Server::start(&listen, Arc::new(routes), budget, Arc::new(())).unwrap();
    let (master, slave) = (client(), client());
    let slave_header = RegisterBrokerRequestHeader {
        broker_addr: slave_server.local_addr().to_string().into(),
        enable_acting_master: Some(true),
        ..register_header("a", 1)
    };
    let body = protocol::body::encode(&registration(&["T"]));
    fixture.call::<RegisterBroker>(&slave, &slave_header, body).await;
    let came = fixture.register(&master, "a", 0, &["T"]).await;
    assert_eq!(came.code, 0);
    let told = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
    assert_eq!((told.min_broker_id, told.min_broker_addr.as_deref()), (Some(0), Some("a-0:10911")));
    assert_eq!((told.ha_broker_addr.as_deref(), told.offline_broker_addr), (Some("a-0:10912"), None));
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_remedy() {
    let fixture = Fixture::start(&[]);
    let port = fixture.namesrv.local_addr().port().to_string();
    let environment = Environment { rocketmq_home: Some("/opt".into()), ..Environment::default() };
    let mut config = Config::new(NamesrvOptions::in_environment(&environment));
    for (key, value) in [
        ("listenPort", port.as_str()),
        ("bindAddress", "127.0.0.1"),
        ("kvConfigPath", fixture.dir.path().join("kv.json").to_str().unwrap()),
    ] {
        config.apply(key, value, "test").unwrap();
    }
    let exit =
        Namesrv::start(NamesrvOptions::share(config), memory_budget(None, None, None, None), 16 << 20).err().unwrap();
    assert_eq!(exit.code, -3);
    assert!(exit.message.contains(&port) && exit.message.contains("ss -ltnp"), "{}", exit.message);
}
