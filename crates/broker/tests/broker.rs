//! A whole broker in this process, spoken to over its port: what is refused and how, flushing, delays, restarts.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use broker::config::{BrokerConfiguration, BrokerOptions, FlushDiskType};
use broker::config_manager::BrokerConfigManager;
use broker::{Broker, BrokerStart};
use bytes::Bytes;
use codec::command::Command;
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType};
use codec::message::{MessageRecord, records};
use protocol::header::offset::{OffsetResponseHeader, QueueRequestHeader};
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::header::send::{ConsumerSendMsgBackRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::operation::{ConsumerSendMsgBack, GetMaxOffset, PullMessage, SendMessageV2};
use protocol::response_code::{
    MESSAGE_ILLEGAL, NO_PERMISSION, PULL_NOT_FOUND, SUBSCRIPTION_GROUP_NOT_EXIST, SUCCESS, SYSTEM_ERROR,
    TOPIC_NOT_EXIST,
};
use protocol::sys_flag::pull;
use remoting::client::{Client, ClientConfig};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    broker: Broker,
    client: Client,
    addr: String,
}

fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port - 2)).is_ok()
        {
            return port;
        }
    }
}

async fn start(dir: &Path, set: impl FnOnce(&mut BrokerOptions)) -> Running {
    let mut options = BrokerOptions::default();
    options.broker.broker_ip1 = "127.0.0.1".to_owned();
    options.server.listen_port = free_port().into();
    options.store.store_path_root_dir = dir.to_str().unwrap().to_owned();
    options.store.mapped_file_size_commit_log = 16 << 20;
    options.store.message_delay_level = "1s 1s 1s 1s".to_owned();
    set(&mut options);
    let addr = format!("127.0.0.1:{}", options.server.listen_port);
    let broker = Broker::start(BrokerStart {
        config: BrokerConfigManager::new(BrokerConfiguration::new(options)),
        memory_bytes: 64 << 20,
        max_frame_len: DEFAULT_MAX_FRAME_LEN,
        lock_max_live_ms: 60_000,
        serialize_type: SerializeType::Json,
    });
    let client = Client::new(ClientConfig::default(), Arc::default(), Arc::new(()));
    Running { broker: broker.await.unwrap(), client, addr }
}

impl Running {
    async fn send(&self, topic: &str, properties: &str) -> Command {
        let header = SendMessageRequestHeaderV2 {
            producer_group: "p".into(),
            topic: topic.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            queue_id: 0,
            sys_flag: 0,
            born_timestamp: 1,
            flag: 0,
            properties: Some(properties.into()),
            reconsume_times: None,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        };
        let body = Bytes::from_static(b"hello");
        self.client.call::<SendMessageV2>(&self.addr, &header, body, PATIENCE).await.unwrap()
    }

    async fn pull(&self, topic: &str, offset: i64, change: impl FnOnce(&mut PullMessageRequestHeader)) -> Command {
        let mut header = PullMessageRequestHeader {
            consumer_group: "g".into(),
            topic: topic.into(),
            queue_id: 0,
            queue_offset: offset,
            max_msg_nums: 32,
            sys_flag: pull::SUBSCRIPTION | pull::SUSPEND,
            commit_offset: 0,
            suspend_timeout_millis: 15_000,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        change(&mut header);
        self.client.call::<PullMessage>(&self.addr, &header, Bytes::new(), PATIENCE).await.unwrap()
    }

    async fn max_offset(&self, topic: &str) -> i64 {
        let header = QueueRequestHeader { topic: topic.into(), queue_id: 0 };
        let answer = self.client.call::<GetMaxOffset>(&self.addr, &header, Bytes::new(), PATIENCE).await.unwrap();
        answer.header::<OffsetResponseHeader>().unwrap().offset
    }
}

impl Running {
    /// Queues are written a moment after a send is answered.
    async fn until_max_offset(&self, topic: &str, offset: i64) {
        let waiting = async {
            while self.max_offset(topic).await != offset {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the queue is written within the deadline");
    }
}

fn refused(answer: &Command, code: i32, part: &str) {
    assert_eq!(answer.code, code, "{:?}", answer.remark);
    let remark = answer.remark.as_deref().unwrap_or_default();
    assert!(remark.contains(part), "{part:?} is missing in {remark:?}");
}

fn only_record(answer: &Command) -> MessageRecord<'_> {
    assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
    let all: Vec<_> = records(&answer.body).collect::<Result<_, _>>().unwrap();
    assert_eq!(all.len(), 1);
    all[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_refused_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    for half in ["TRAN_MSG\u{1}true\u{2}", "TRAN_MSG\u{1}true\u{2}DELAY\u{1}1\u{2}"] {
        refused(&running.send("T", half).await, NO_PERMISSION, "transaction");
    }
    for timer in ["TIMER_DELAY_SEC\u{1}259201\u{2}", "TIMER_DELAY_MS\u{1}soon\u{2}", "TIMER_DELIVER_MS\u{1}1.5\u{2}"] {
        refused(&running.send("T", timer).await, MESSAGE_ILLEGAL, "timer message illegal");
    }
    assert_eq!(running.max_offset("T").await, 0);
    let sql = running
        .pull("T", 0, |header| {
            header.expression_type = Some("SQL92".into());
            header.subscription = Some("a > 1".into());
        })
        .await;
    refused(&sql, SYSTEM_ERROR, "SQL92");
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_by_itself_where_that_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |options| {
        options.broker.auto_create_topic_enable = false;
        options.broker.auto_create_subscription_group = false;
    })
    .await;
    refused(&running.send("T", "").await, TOPIC_NOT_EXIST, "autoCreateTopicEnable=false");
    refused(&running.pull("BenchmarkTest", 0, |_| {}).await, SUBSCRIPTION_GROUP_NOT_EXIST, "g");
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_pull_gets_the_message_under_both_ways_of_flushing() {
    for flush in [FlushDiskType::AsyncFlush, FlushDiskType::SyncFlush] {
        let dir = tempfile::tempdir().unwrap();
        let running = start(dir.path(), |options| options.store.flush_disk_type = flush).await;
        let first = running.send("T", "TAGS\u{1}A\u{2}").await;
        assert_eq!(first.code, SUCCESS, "{:?}", first.remark);
        let sent = first.header::<SendMessageResponseHeader>().unwrap();
        assert_eq!((sent.queue_id, sent.queue_offset, sent.msg_id.len()), (0, 0, 32));
        running.until_max_offset("T", 1).await;
        let (held, second) = tokio::join!(running.pull("T", 1, |_| {}), running.send("T", "KEYS\u{1}k\u{2}"));
        assert_eq!(second.code, SUCCESS);
        assert_eq!(only_record(&held).property("KEYS"), Some("k"));
        let header = held.header::<PullMessageResponseHeader>().unwrap();
        assert_eq!((header.next_begin_offset, header.min_offset, header.max_offset), (2, 0, 2));
        let none = running.pull("T", 2, |header| header.suspend_timeout_millis = 50).await;
        assert_eq!(none.code, PULL_NOT_FOUND);
        running.broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_survives_a_restart_and_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    assert_eq!(running.send("T", "DELAY\u{1}1\u{2}").await.code, SUCCESS);
    running.until_max_offset("SCHEDULE_TOPIC_XXXX", 1).await;
    running.broker.shutdown().await;
    let running = start(dir.path(), |_| {}).await;
    let came = running.pull("T", 0, |_| {}).await;
    let record = only_record(&came);
    assert_eq!((record.body, record.property("DELAY")), (&b"hello"[..], None));
    running.broker.shutdown().await;
    let running = start(dir.path(), |_| {}).await;
    running.until_max_offset("T", 1).await;
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_back_too_often_ends_among_the_dead() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    assert_eq!(running.send("T", "").await.code, SUCCESS);
    let mut topic = "T".to_owned();
    for times in 0..3 {
        let pulled = running.pull(&topic, i64::from(times).saturating_sub(1).max(0), |_| {}).await;
        let record = only_record(&pulled);
        assert_eq!(record.reconsume_times, times);
        let header = ConsumerSendMsgBackRequestHeader {
            offset: record.physical_offset,
            group: "g".into(),
            delay_level: 0,
            origin_msg_id: None,
            origin_topic: Some(topic.as_str().into()),
            unit_mode: false,
            max_reconsume_times: Some(2),
        };
        let client = &running.client;
        let answer = client.call::<ConsumerSendMsgBack>(&running.addr, &header, Bytes::new(), PATIENCE).await.unwrap();
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
        topic = "%RETRY%g".to_owned();
    }
    let dead = running.pull("%DLQ%g", 0, |_| {}).await;
    let record = only_record(&dead);
    assert_eq!((record.property("RETRY_TOPIC"), record.reconsume_times), (Some("T"), 3));
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_tls_closes_the_connection_only() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    let addr = running.addr.clone();
    let closed = tokio::task::spawn_blocking(move || {
        let mut raw = std::net::TcpStream::connect(addr).unwrap();
        raw.set_read_timeout(Some(PATIENCE)).unwrap();
        raw.write_all(&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]).unwrap();
        raw.read(&mut [0; 1]).map(|len| len == 0).unwrap_or(true)
    });
    assert!(closed.await.unwrap());
    assert_eq!(running.send("T", "").await.code, SUCCESS);
    running.broker.shutdown().await;
}
