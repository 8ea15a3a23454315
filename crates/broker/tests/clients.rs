//! A whole broker in this process, spoken to over its port: offsets that must not go astray, and cold reads, where Java's
//! broker does something else or has no limit.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use broker::Broker;
use broker::config::BrokerOptions;
use bytes::Bytes;
use codec::command::Command;
use codec::fields::NoHeader;
use protocol::header::offset::{
    CloneGroupOffsetRequestHeader, OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueryCorrectionOffsetHeader,
    QueueRequestHeader, ResetOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::header::send::SendMessageRequestHeaderV2;
use protocol::operation::{
    CloneGroupOffset, GetColdDataFlowCtrInfo, GetMaxOffset, InvokeBrokerToResetOffset, Operation, PullMessage,
    QueryConsumerOffset, QueryCorrectionOffset, SendMessageV2, UpdateAndCreateSubscriptionGroup,
    UpdateColdDataFlowCtrConfig, UpdateConsumerOffset,
};
use protocol::response_code::{PULL_OFFSET_MOVED, SUCCESS, SYSTEM_ERROR};
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
    set(&mut options);
    let (broker, addr) = common::start(options).await;
    let client = Client::new(ClientConfig::default(), Arc::default(), Arc::new(()));
    let running = Running { broker, client, addr };
    for group in ["g", "h", "i"] {
        let body = format!(r#"{{"groupName":"{group}"}}"#);
        let made = running.ask_with::<UpdateAndCreateSubscriptionGroup>(&NoHeader, body.into()).await;
        assert_eq!(made.code, SUCCESS, "{:?}", made.remark);
    }
    running
}

impl Running {
    async fn ask<O: Operation>(&self, header: &O::Request) -> Command {
        self.ask_with::<O>(header, Bytes::new()).await
    }

    async fn ask_with<O: Operation>(&self, header: &O::Request, body: Bytes) -> Command {
        self.client.call::<O>(&self.addr, header, body, PATIENCE).await.unwrap()
    }

    /// Sends five messages to each of these topics and waits until they can be got.
    async fn fill(&self, topics: &[&str]) {
        for topic in topics {
            for _ in 0..5 {
                let header = SendMessageRequestHeaderV2 {
                    producer_group: "p".into(),
                    topic: (*topic).into(),
                    default_topic: "TBW102".into(),
                    default_topic_queue_nums: 1,
                    queue_id: 0,
                    sys_flag: 0,
                    born_timestamp: remoting::clock::now_ms(),
                    flag: 0,
                    properties: None,
                    reconsume_times: None,
                    unit_mode: false,
                    max_reconsume_times: None,
                    batch: false,
                    broker_name: None,
                };
                let sent = self.ask_with::<SendMessageV2>(&header, Bytes::from_static(b"hello")).await;
                assert_eq!(sent.code, SUCCESS, "{:?}", sent.remark);
            }
            let header = QueueRequestHeader { topic: (*topic).into(), queue_id: 0 };
            let filled = async {
                while self.ask::<GetMaxOffset>(&header).await.header::<OffsetResponseHeader>().unwrap().offset < 5 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, filled).await.expect("the queue is written within the deadline");
        }
    }

    async fn commit(&self, group: &str, topic: &str, commit_offset: i64) {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: Some(0),
            commit_offset: Some(commit_offset),
        };
        assert_eq!(self.ask::<UpdateConsumerOffset>(&header).await.code, SUCCESS);
    }

    async fn committed(&self, group: &str, topic: &str) -> Option<i64> {
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: 0,
            set_zero_if_not_found: Some(false),
        };
        let answer = self.ask::<QueryConsumerOffset>(&header).await;
        (answer.code == SUCCESS).then(|| answer.header::<OffsetResponseHeader>().unwrap().offset)
    }

    /// A pull that says along which offset is consumed.
    async fn pull(&self, topic: &str, queue_offset: i64, commit_offset: i64) -> Command {
        let header = PullMessageRequestHeader {
            consumer_group: "g".into(),
            topic: topic.into(),
            queue_id: 0,
            queue_offset,
            max_msg_nums: 32,
            sys_flag: pull::SUBSCRIPTION | pull::COMMIT_OFFSET,
            commit_offset,
            suspend_timeout_millis: 0,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        self.ask::<PullMessage>(&header).await
    }

    async fn cold_info(&self) -> serde_json::Value {
        let answer = self.ask::<GetColdDataFlowCtrInfo>(&NoHeader).await;
        serde_json::from_slice(&answer.body).unwrap()
    }
}

#[tokio::test]
async fn a_reset_wins_over_what_the_consumer_still_believes() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    running.fill(&["T"]).await;
    running.commit("g", "T", 4).await;
    let header = ResetOffsetRequestHeader {
        topic: "T".into(),
        group: "g".into(),
        queue_id: 0,
        offset: Some(1),
        timestamp: -1,
        is_force: false,
    };
    assert_eq!(running.ask::<InvokeBrokerToResetOffset>(&header).await.code, SUCCESS);
    running.commit("g", "T", 5).await;
    assert_eq!(running.committed("g", "T").await, Some(1));
    // The pull that is told of it brings its old offset along, which Java's broker commits.
    let told = running.pull("T", 4, 4).await;
    assert_eq!(told.code, PULL_OFFSET_MOVED);
    assert_eq!(told.header::<PullMessageResponseHeader>().unwrap().next_begin_offset, 1);
    assert_eq!(running.committed("g", "T").await, Some(1));
    // From then on the consumer is believed again.
    assert_eq!(running.pull("T", 1, 1).await.code, SUCCESS);
    running.commit("g", "T", 3).await;
    assert_eq!(running.committed("g", "T").await, Some(3));
    running.broker.shutdown().await;
}

#[tokio::test]
async fn questions_about_offsets_change_none() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    running.fill(&["T", "U"]).await;
    for (group, offset) in [("g", 2), ("h", 1)] {
        running.commit(group, "T", offset).await;
        running.commit(group, "U", offset).await;
    }
    // Java's broker forgets the offsets of the groups that are to be left out, in every topic.
    let header =
        QueryCorrectionOffsetHeader { filter_groups: Some("h".into()), compare_group: "g".into(), topic: "T".into() };
    let answer = running.ask::<QueryCorrectionOffset>(&header).await;
    assert_eq!(answer.body, r#"{"correctionOffsets":{0:2}}"#);
    assert_eq!((running.committed("h", "T").await, running.committed("h", "U").await), (Some(1), Some(1)));
    // Without a topic all are cloned, where Java's clones none.
    let clone = |topic: Option<&str>| CloneGroupOffsetRequestHeader {
        src_group: "g".into(),
        dest_group: "i".into(),
        topic: topic.map(Into::into),
        offline: true,
    };
    assert_eq!(running.ask::<CloneGroupOffset>(&clone(None)).await.code, SUCCESS);
    assert_eq!((running.committed("i", "T").await, running.committed("i", "U").await), (Some(2), Some(2)));
    running.broker.shutdown().await;
}

#[tokio::test]
async fn what_the_kernel_has_in_memory_is_not_cold() {
    for (scan, control) in [(false, true), (true, true), (false, false)] {
        let dir = tempfile::tempdir().unwrap();
        let running = start(dir.path(), |options| {
            options.store.cold_data_flow_control_enable = control;
            options.store.cold_data_scan_enable = scan;
            options.store.access_message_in_memory_hot_ratio = 0;
        })
        .await;
        running.fill(&["T"]).await;
        assert_eq!(running.pull("T", 0, 0).await.code, SUCCESS);
        let read_cold = running.cold_info().await["runtimeTable"]["g"].is_object();
        assert_eq!(read_cold, control && !scan, "coldDataScanEnable={scan}, coldDataFlowControlEnable={control}");
        running.broker.shutdown().await;
    }
}

#[tokio::test]
async fn thresholds_of_cold_reads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), |_| {}).await;
    let many: String = (0..10_001).map(|group| format!("g{group}=1\n")).collect();
    let answer = running.ask_with::<UpdateColdDataFlowCtrConfig>(&NoHeader, many.into()).await;
    assert_eq!(answer.code, SYSTEM_ERROR);
    assert!(answer.remark.unwrap().contains("g10000"));
    let hostile = Bytes::from_static(b"\xff\\u12=1\n=\n  \n==");
    let answer = running.ask_with::<UpdateColdDataFlowCtrConfig>(&NoHeader, hostile).await;
    assert_eq!(answer.code, SYSTEM_ERROR, "{:?}", answer.remark);
    let table = &running.cold_info().await["configTable"];
    assert_eq!(table.as_object().unwrap().len(), 10_000);
    running.broker.shutdown().await;
}
