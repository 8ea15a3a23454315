//! A producer against nameservers and brokers of this process that answer as told.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use bytes::Bytes;
use bytestring::ByteString;
use client::{ClientConfig, ClientError, Message, Producer, ProducerConfig, SendStatus};
use codec::fields::NoHeader;
use parking_lot::Mutex;
use protocol::body::route::{BrokerData, QueueData, TopicRouteData};
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::header::send::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::operation::{GetRouteInfoByTopic, SendBatchMessage, SendMessageV2};
use protocol::response_code as code;
use remoting::budget::Budget;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::{Lane, Processor, Routes};
use remoting::server::{Server, ServerConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a broker was sent.
type Seen = Arc<Mutex<Vec<(SendMessageRequestHeaderV2, Bytes)>>>;

struct Broker {
    /// Answers every send with this code; `None` never answers.
    code: Option<i32>,
    seen: Seen,
}

impl Broker {
    fn answer(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        let queue_id = request.header.queue_id;
        self.seen.lock().push((request.header, request.body));
        let Some(code) = self.code else { return Outcome::Silent };
        let stored = matches!(code, code::SUCCESS | code::FLUSH_DISK_TIMEOUT);
        let header = stored.then(|| SendMessageResponseHeader {
            msg_id: ByteString::from_static("7F00000100002A9F0000000000000000"),
            queue_id,
            queue_offset: 5,
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            msg_region: None,
            trace_on: None,
        });
        Reply { code, remark: Some("told so".into()), header, body: remoting::reply::Body::Empty }.into()
    }
}

impl Processor<SendMessageV2> for Broker {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.answer(request)
    }
}

impl Processor<SendBatchMessage> for Broker {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.answer(request)
    }
}

struct Nameserver(BTreeMap<String, TopicRouteData>);

impl Processor<GetRouteInfoByTopic> for Nameserver {
    fn process(&self, request: Request<GetRouteInfoRequestHeader>) -> Outcome<NoHeader> {
        match self.0.get(&*request.header.topic) {
            Some(route) => Reply::body(protocol::body::encode(route)).into(),
            None => Reply::error(code::TOPIC_NOT_EXIST, "No topic route info in name server").into(),
        }
    }
}

fn serve(routes: Routes) -> Server {
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into());
    let budget = Budget::new(64 << 20, config.max_frame_len);
    Server::start(&config, Arc::new(routes), budget, Arc::new(())).unwrap()
}

/// Servers that must live as long as the test, the nameserver's address, and what each broker is sent.
struct Cluster {
    _servers: Vec<Server>,
    namesrv: String,
    seen: Vec<Seen>,
}

/// Brokers with these answers hold `topic`, one queue each.
fn cluster(topic: &str, codes: &[Option<i32>]) -> Cluster {
    let mut route = TopicRouteData::default();
    let (mut servers, mut seen) = (Vec::new(), Vec::new());
    for (n, code) in codes.iter().enumerate() {
        let broker = Arc::new(Broker { code: *code, seen: Seen::default() });
        seen.push(broker.seen.clone());
        let routes = Routes::new()
            .on::<SendMessageV2>(Lane::Connection, broker.clone())
            .on::<SendBatchMessage>(Lane::Connection, broker);
        let server = serve(routes);
        let broker_name = format!("broker-{n}");
        route.broker_datas.push(BrokerData {
            broker_addrs: BTreeMap::from([(0, server.local_addr().to_string())]),
            broker_name: broker_name.clone(),
            ..BrokerData::default()
        });
        route.queue_datas.push(QueueData {
            broker_name,
            perm: 6,
            read_queue_nums: 8,
            write_queue_nums: 8,
            topic_sys_flag: 0,
        });
        servers.push(server);
    }
    let nameserver = Arc::new(Nameserver(BTreeMap::from([(topic.to_owned(), route)])));
    servers.push(serve(Routes::new().on::<GetRouteInfoByTopic>(Lane::Connection, nameserver)));
    let namesrv = servers.last().unwrap().local_addr().to_string();
    Cluster { _servers: servers, namesrv, seen }
}

fn producer(cluster: &Cluster, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new("g");
    change(&mut config);
    Producer::start(ClientConfig::new(&cluster.namesrv), config).unwrap()
}

fn counts(cluster: &Cluster) -> Vec<usize> {
    cluster.seen.iter().map(|seen| seen.lock().len()).collect()
}

#[tokio::test]
async fn another_broker_is_tried_for_javas_codes() {
    for retried in [
        code::TOPIC_NOT_EXIST,
        code::SERVICE_NOT_AVAILABLE,
        code::SYSTEM_ERROR,
        code::SYSTEM_BUSY,
        code::NO_PERMISSION,
        code::GO_AWAY,
    ] {
        let cluster = cluster("T", &[Some(retried), Some(code::SUCCESS)]);
        let producer = producer(&cluster, |_| {});
        // Two brokers with eight queues each: 16 sends in turn reach both.
        for _ in 0..16 {
            let result = producer.send(&mut Message::new("T", "x")).await.unwrap();
            assert_eq!(result.message_queue.broker_name, "broker-1", "code {retried}");
        }
        let counts = counts(&cluster);
        assert!(counts[0] >= 1 && counts[1] == 16, "code {retried}: {counts:?}");
    }
}

#[tokio::test]
async fn other_codes_end_the_send_at_once() {
    let cluster = cluster("T", &[Some(code::MESSAGE_ILLEGAL), Some(code::MESSAGE_ILLEGAL)]);
    let error = producer(&cluster, |_| {}).send(&mut Message::new("T", "x")).await.unwrap_err();
    assert_eq!(error.code(), Some(code::MESSAGE_ILLEGAL));
    assert_eq!(counts(&cluster).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn all_tries_are_told_when_all_fail_and_carry_one_id() {
    let cluster = cluster("T", &[Some(code::SYSTEM_BUSY), Some(code::SYSTEM_BUSY)]);
    let error = producer(&cluster, |_| {}).send(&mut Message::new("T", "x")).await.unwrap_err();
    assert!(error.to_string().starts_with("Send [3] times, still failed, cost ["), "{error}");
    assert_eq!(error.code(), Some(code::SYSTEM_BUSY));
    let seen: Vec<_> = cluster.seen.iter().flat_map(|seen| seen.lock().clone()).collect();
    assert_eq!(seen.len(), 3);
    let first = seen[0].0.properties.clone().unwrap();
    assert!(first.contains("UNIQ_KEY") && seen.iter().all(|(header, _)| header.properties.as_ref() == Some(&first)));
}

#[tokio::test]
async fn a_silent_broker_costs_the_time_of_the_send() {
    let cluster = cluster("T", &[None]);
    let producer = producer(&cluster, |config| config.send_timeout = Duration::from_millis(200));
    let error = producer.send(&mut Message::new("T", "x")).await.unwrap_err();
    assert!(matches!(&error, ClientError::SendFailed { times: 1, .. }), "{error}");
    assert!(error.to_string().contains("did not answer"), "{error}");
}

#[tokio::test]
async fn a_message_not_flushed_in_time_is_stored_all_the_same() {
    let cluster = cluster("T", &[Some(code::FLUSH_DISK_TIMEOUT)]);
    let result = producer(&cluster, |_| {}).send(&mut Message::new("T", "x")).await.unwrap();
    assert_eq!((result.send_status, result.queue_offset), (SendStatus::FlushDiskTimeout, 5));
    let retrying = producer(&cluster, |config| config.retry_another_broker_when_not_store_ok = true);
    let result = retrying.send(&mut Message::new("T", "x")).await.unwrap();
    assert_eq!(result.send_status, SendStatus::FlushDiskTimeout);
    assert_eq!(counts(&cluster), [4]);
}

#[tokio::test]
async fn unknown_topics_go_where_new_topics_are_made() {
    let cluster = cluster("TBW102", &[Some(code::SUCCESS)]);
    let producer = producer(&cluster, |_| {});
    let queues = producer.fetch_publish_message_queues("New").await.unwrap();
    assert_eq!(queues.len(), 4);
    producer.send(&mut Message::new("New", "x")).await.unwrap();
    let (header, _) = cluster.seen[0].lock()[0].clone();
    assert_eq!((&*header.topic, &*header.default_topic, header.default_topic_queue_nums), ("New", "TBW102", 4));
}

#[tokio::test]
async fn missing_topics_and_nameservers_are_named() {
    let cluster = cluster("T", &[Some(code::SUCCESS)]);
    let error = producer(&cluster, |_| {}).send(&mut Message::new("New", "x")).await.unwrap_err();
    assert!(error.to_string().starts_with("No route info of this topic: New"), "{error}");
    let config = ClientConfig::new("127.0.0.1:1");
    let nobody = Producer::start(config, ProducerConfig::new("g")).unwrap();
    let error = nobody.send(&mut Message::new("T", "x")).await.unwrap_err();
    assert!(error.to_string().starts_with("connect to 127.0.0.1:1 failed"), "{error}");
    assert!(matches!(Producer::start(ClientConfig::new(""), ProducerConfig::new("g")), Err(ClientError::NoNameserver)));
}

#[tokio::test]
async fn the_next_nameserver_is_asked_when_one_is_down() {
    let cluster = cluster("T", &[Some(code::SUCCESS)]);
    for list in [format!("127.0.0.1:1;{}", cluster.namesrv), format!("{};127.0.0.1:1", cluster.namesrv)] {
        let producer = Producer::start(ClientConfig::new(&list), ProducerConfig::new("g")).unwrap();
        producer.send(&mut Message::new("T", "x")).await.unwrap();
    }
}

#[tokio::test]
async fn batches_selected_queues_asynchronous_and_one_way_sends() {
    let cluster = cluster("T", &[Some(code::SUCCESS)]);
    let producer = producer(&cluster, |_| {});
    let mut batch = vec![Message::new("T", "a"), Message::new("T", "b")];
    let result = producer.send_batch(&mut batch).await.unwrap();
    assert_eq!(result.msg_id.split(',').count(), 2);
    assert!(cluster.seen[0].lock()[0].0.batch);

    let select = |queues: &[client::MessageQueue], _: &Message| queues.get(3).cloned();
    let result = producer.send_select(&mut Message::new("T", "x"), select).await.unwrap();
    assert_eq!(result.message_queue.queue_id, 3);

    let (tell, told) = tokio::sync::oneshot::channel();
    producer.send_async(Message::new("T", "x"), |result| drop(tell.send(result))).await.unwrap();
    assert_eq!(told.await.unwrap().unwrap().send_status, SendStatus::SendOk);

    let before = counts(&cluster)[0];
    producer.send_oneway(&mut Message::new("T", "x")).await.unwrap();
    let deadline = client::clock::instant() + Duration::from_secs(10);
    while counts(&cluster)[0] == before {
        assert!(client::clock::instant() < deadline, "the one-way send did not arrive");
        tokio::task::yield_now().await;
    }
    producer.shutdown().await;
    let error = producer.send(&mut Message::new("T", "x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Closed(_)), "{error}");
}
