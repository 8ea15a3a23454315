//! A whole broker in this process, spoken to over its port: what is refused and how, flushing, delays, restarts.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use broker::Broker;
use broker::config::{BrokerOptions, FlushDiskType};
use bytes::Bytes;
use codec::command::Command;
use codec::fields::NoHeader;
use codec::message::{MessageRecord, parse_message_id, records, sys_flag};
use protocol::body::topic::KvTable;
use protocol::header::offset::{OffsetResponseHeader, QueueRequestHeader};
use protocol::header::pop::PopMessageRequestHeader;
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::header::send::{ConsumerSendMsgBackRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::header::topic::CreateTopicRequestHeader;
use protocol::header::transaction::EndTransactionRequestHeader;
use protocol::names::{TRANS_GROUP, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC};
use protocol::operation::{
    ConsumerSendMsgBack, EndTransaction, GetBrokerRuntimeInfo, GetMaxOffset, PopMessage, PullMessage, SendMessageV2,
    UpdateAndCreateTopic, UpdateBrokerConfig,
};
use protocol::response_code::{
    LMQ_QUOTA_EXCEEDED, MESSAGE_ILLEGAL, PULL_NOT_FOUND, SERVICE_NOT_AVAILABLE, SUBSCRIPTION_GROUP_NOT_EXIST, SUCCESS,
    SYSTEM_ERROR, TOPIC_NOT_EXIST,
};
use protocol::sys_flag::pull;
use remoting::client::{Client, ClientConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    broker: Broker,
    client: Client,
    addr: String,
}

async fn start(dir: &Path, set: impl FnOnce(&mut BrokerOptions)) -> Running {
    let mut options = common::options(dir);
    options.store.message_delay_level = "1s 1s 1s 1s".to_owned();
    set(&mut options);
    let (broker, addr) = common::start(options).await;
    let client = Client::new(ClientConfig::default(), Arc::default(), Arc::new(()));
    Running { broker, client, addr }
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
            born_timestamp: remoting::clock::now_ms(),
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

    /// Decides over a half message.
    async fn end_transaction(&self, sent: &Command, commit_or_rollback: i32) -> Command {
        assert_eq!(sent.code, SUCCESS, "{:?}", sent.remark);
        let sent = sent.header::<SendMessageResponseHeader>().unwrap();
        let header = EndTransactionRequestHeader {
            topic: None,
            producer_group: "p".into(),
            tran_state_table_offset: sent.queue_offset,
            commit_log_offset: parse_message_id(&sent.msg_id).unwrap().1,
            commit_or_rollback,
            from_transaction_check: false,
            msg_id: None,
            transaction_id: None,
        };
        self.client.call::<EndTransaction>(&self.addr, &header, Bytes::new(), PATIENCE).await.unwrap()
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
    for late in ["DELAY\u{1}1\u{2}", "TIMER_DELAY_SEC\u{1}5\u{2}"] {
        refused(&running.send("T", &format!("TRAN_MSG\u{1}true\u{2}{late}")).await, MESSAGE_ILLEGAL, "transaction");
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
async fn limits_of_the_disk_are_obeyed_at_once_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    let call_update = async |value: &str| {
        let text = format!("diskSpaceWarningLevelFreeBytes={value}");
        let (client, addr) = (&running.client, &running.addr);
        let answer = client.call::<UpdateBrokerConfig>(addr, &NoHeader, text.into(), PATIENCE).await.unwrap();
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
    };
    let info = async || {
        let (client, addr) = (&running.client, &running.addr);
        let answer = client.call::<GetBrokerRuntimeInfo>(addr, &NoHeader, Bytes::new(), PATIENCE).await.unwrap();
        codec::json::from_slice::<KvTable>(&answer.body).unwrap().table
    };
    let until = async |code: i32| {
        let waiting = async {
            loop {
                let answer = running.send("T", "").await;
                if answer.code == code {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("within the deadline")
    };
    let table = info().await;
    for (key, value) in [
        ("storeWritable", "true"),
        ("storeReadOnlyReason", ""),
        ("storeDiskFullReason", ""),
        ("storeDamagedRecords", "0"),
        ("storeDeletedBytesHeld", "0"),
    ] {
        assert_eq!(table.get(key).map(String::as_str), Some(value), "{key}");
    }
    let root = dir.path().display();
    assert!(table[&format!("storeDiskFreeBytes_{root}/commitlog")].parse::<u64>().unwrap() > 0);
    // No disk has as much.
    call_update("1000t").await;
    let refusal = until(SERVICE_NOT_AVAILABLE).await;
    for part in ["limit 1099511627776000 bytes", "diskSpaceWarningLevelFreeBytes", &root.to_string()] {
        refused(&refusal, SERVICE_NOT_AVAILABLE, part);
    }
    let table = info().await;
    assert_eq!((table["storeWritable"].as_str(), table["storeDiskLevel"].as_str()), ("false", "full"));
    assert_eq!(table[&format!("storeDiskLevel_{root}")], "full");
    assert!(table["storeDiskFullReason"].contains("diskSpaceWarningLevelFreeBytes"));
    call_update("1k").await;
    until(SUCCESS).await;
    assert_eq!(info().await["storeWritable"], "true");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_over_the_original_counts_for_the_copies_behind() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |options| {
        options.broker.transaction_time_out = 100;
        options.broker.transaction_check_interval = 100;
        options.broker.transaction_op_batch_interval = 10;
    })
    .await;
    let half = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}3600\u{2}";
    let sent = running.send("T", half).await;
    // Nobody is to be asked for an hour: it is put behind the others, round after round.
    let offsets = running.broker.parts().offsets.clone();
    let committed = |topic: &str| offsets.query(TRANS_GROUP, topic, 0).unwrap_or(0);
    let until = |what: &'static str, done: Box<dyn Fn() -> bool>| async move {
        let waiting = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
    };
    until("it is put behind", Box::new(|| committed(TRANS_HALF_TOPIC) > 2)).await;
    let call = running.end_transaction(&sent, sys_flag::TRANSACTION_COMMIT_TYPE).await;
    assert_eq!(call.code, SUCCESS, "{:?}", call.remark);
    running.until_max_offset("T", 1).await;
    let store = running.broker.parts().store.clone();
    let end = |topic: &str| store.max_offset(topic, 0);
    let settled = |topic: &str| committed(topic) == end(topic);
    until("no copy is left", Box::new(|| settled(TRANS_HALF_TOPIC) && settled(TRANS_OP_HALF_TOPIC))).await;
    assert_eq!((end("T"), end(TRANS_OP_HALF_TOPIC)), (1, 1));
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_were_gathered_are_written_at_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |options| options.broker.transaction_op_batch_interval = 3_600_000).await;
    for end in 1..=2 {
        let sent = running.send("T", "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}").await;
        let answer = running.end_transaction(&sent, sys_flag::TRANSACTION_COMMIT_TYPE).await;
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
        running.until_max_offset("T", end).await;
    }
    assert_eq!(running.max_offset(TRANS_OP_HALF_TOPIC).await, 0);
    running.broker.shutdown().await;
    let running = start(dir.path(), |_| {}).await;
    let answer = running.pull(TRANS_OP_HALF_TOPIC, 0, |_| {}).await;
    assert_eq!(only_record(&answer).body, b"0,1,");
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_queues_need_not_be_made_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let lmq = |options: &mut BrokerOptions| {
        (options.store.enable_lmq, options.store.enable_multi_dispatch) = (true, true);
        options.broker.auto_create_subscription_group = false;
    };
    let running = start(dir.path(), lmq).await;
    let naming = |lmqs: &str| format!("INNER_MULTI_DISPATCH\u{1}{lmqs}\u{2}");
    let light = |header: &mut PullMessageRequestHeader| header.consumer_group = "%LMQ%g".into();
    assert_eq!(running.send("T", &naming("%LMQ%a")).await.code, SUCCESS);
    for wrong in ["a", "%LMQ%a,b", "%LMQ%a,%LMQ%a", "%LMQ%a/b"] {
        refused(&running.send("T", &naming(wrong)).await, MESSAGE_ILLEGAL, "INNER_MULTI_DISPATCH");
    }
    running.until_max_offset("%LMQ%a", 1).await;
    let both = naming("%LMQ%b,%LMQ%a");
    let (held, sent) = tokio::join!(running.pull("%LMQ%a", 1, light), running.send("T", &both));
    assert_eq!(sent.code, SUCCESS, "{:?}", sent.remark);
    assert_eq!(only_record(&held).property("INNER_MULTI_QUEUE_OFFSET"), Some("0,1"));
    // A half message is in them once it is committed.
    let half = running.send("T", &format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}{}", naming("%LMQ%a"))).await;
    running.until_max_offset(TRANS_HALF_TOPIC, 1).await;
    assert_eq!(running.max_offset("%LMQ%a").await, 2);
    assert_eq!(running.end_transaction(&half, sys_flag::TRANSACTION_COMMIT_TYPE).await.code, SUCCESS);
    running.until_max_offset("%LMQ%a", 3).await;
    // And one that waits, when it comes. What comes again is in none.
    assert_eq!(running.send("T", &format!("DELAY\u{1}1\u{2}{}", naming("%LMQ%a"))).await.code, SUCCESS);
    running.until_max_offset("%LMQ%a", 4).await;
    // No more than the quota, which holds at once when it is set.
    let quota = Bytes::from_static(b"enableLmqQuota=true\nmaxLmqConsumeQueueNum=2\n");
    let set = running.client.call::<UpdateBrokerConfig>(&running.addr, &NoHeader, quota, PATIENCE).await.unwrap();
    assert_eq!(set.code, SUCCESS, "{:?}", set.remark);
    let over = running.send("T", &naming("%LMQ%c")).await;
    refused(&over, LMQ_QUOTA_EXCEEDED, "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded.");
    running.broker.shutdown().await;
    let running = start(dir.path(), lmq).await;
    assert_eq!(running.max_offset("%LMQ%a").await, 4);
    assert_eq!(only_record(&running.pull("%LMQ%a", 3, light).await).property("INNER_MULTI_QUEUE_OFFSET"), Some("3"));
    running.broker.shutdown().await;
    let topics = std::fs::read_to_string(dir.path().join("config/topics.json")).unwrap();
    assert!(!topics.contains("%LMQ%"), "{topics}");
}

/// A check point that stays pending has a start read all behind it again: what came again from there before has done so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_popped_and_came_again_does_not_with_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let one_queue = |options: &mut BrokerOptions| options.broker.revive_queue_num = 1;
    let running = start(dir.path(), one_queue).await;
    for (name, invisible_time) in [("long", 60_000), ("later", 2_500), ("soon", 100)] {
        assert_eq!(running.send("T", &format!("KEYS\u{1}{name}\u{2}")).await.code, SUCCESS);
        let header = PopMessageRequestHeader {
            consumer_group: "g".into(),
            topic: "T".into(),
            queue_id: 0,
            max_msg_nums: 1,
            invisible_time,
            poll_time: 15_000,
            born_time: remoting::clock::now_ms(),
            init_mode: 0,
            exp_type: None,
            exp: None,
            order: false,
            attempt_id: None,
        };
        let client = &running.client;
        let popped = client.call::<PopMessage>(&running.addr, &header, Bytes::new(), PATIENCE).await.unwrap();
        assert_eq!(only_record(&popped).property("KEYS"), Some(name));
    }
    running.until_max_offset("%RETRY%g_T", 1).await;
    running.broker.shutdown().await;
    let running = start(dir.path(), one_queue).await;
    let again = running.pull("%RETRY%g_T", 1, |_| {}).await;
    assert_eq!(only_record(&again).property("KEYS"), Some("later"));
    running.broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_compacted_by_keys_needs_keys_and_has_its_own_log() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    let make = async |topic: &str, attributes: &str| {
        let header = CreateTopicRequestHeader {
            topic: topic.into(),
            default_topic: None,
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: 6,
            topic_filter_type: None,
            topic_sys_flag: None,
            order: false,
            attributes: Some(attributes.into()),
            force: false,
        };
        running.client.call::<UpdateAndCreateTopic>(&running.addr, &header, Bytes::new(), PATIENCE).await.unwrap()
    };
    refused(&make("T", "+cleanup.policy=NEVER").await, SYSTEM_ERROR, "value is not in set: [DELETE, COMPACTION]");
    assert_eq!(make("T", "+cleanup.policy=COMPACTION").await.code, SUCCESS);
    refused(&make("T", "+cleanup.policy=DELETE").await, SYSTEM_ERROR, "unchangeable");
    for properties in ["", "KEYS\u{1} \u{2}"] {
        refused(&running.send("T", properties).await, MESSAGE_ILLEGAL, "Required message key is missing");
    }
    // Held before the queue is there, and answered from the log that comes with the first message.
    let (held, sent) = tokio::join!(running.pull("T", 0, |_| {}), running.send("T", "KEYS\u{1}k\u{2}"));
    assert_eq!(sent.code, SUCCESS, "{:?}", sent.remark);
    let held = if held.code == SUCCESS { held } else { running.pull("T", 0, |_| {}).await };
    assert_eq!(only_record(&held).property("KEYS"), Some("k"));
    assert!(dir.path().join("compaction/compactionLog/T/0").is_dir());
    running.broker.shutdown().await;
    // Its settings are known again before anything is read.
    let running = start(dir.path(), |_| {}).await;
    assert_eq!(only_record(&running.pull("T", 0, |_| {}).await).property("KEYS"), Some("k"));
    running.until_max_offset("T", 1).await;
    running.broker.shutdown().await;
}
