//! Static topics over the ports of two brokers and a nameserver in this process: logic queues move from one broker to the other.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use broker::Broker;
use broker::static_topic::clean::MappingClean;
use broker::static_topic::peers::Peers;
use bytes::Bytes;
use codec::command::Command;
use codec::fields::{CommandHeader, FieldError, FieldWriter, Fields};
use codec::json;
use codec::message::{MessageRecord, records};
use common::free_port;
use daemon::environment::Environment;
use daemon::memory::memory_budget;
use daemon::options::Config;
use namesrv::Namesrv;
use namesrv::config::NamesrvOptions;
use protocol::body::admin::ConsumeStats;
use protocol::body::encode;
use protocol::body::route::TopicRouteData;
use protocol::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail};
use protocol::body::topic::{TopicConfigAndQueueMapping, TopicConfigSerializeWrapper};
use protocol::header::admin::GetConsumeStatsRequestHeader;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::header::offset::*;
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::header::send::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::header::topic::{
    CreateTopicRequestHeader, GetAllTopicConfigRequestHeader, GetTopicConfigRequestHeader, TopicRequestHeader,
};
use protocol::operation::*;
use protocol::response_code::*;
use protocol::sys_flag::pull as pull_flag;
use remoting::client::{Client, ClientConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "Static";
const GROUP: &str = "g";

fn namesrv(dir: &Path) -> Namesrv {
    let environment =
        Environment { rocketmq_home: Some("/opt".into()), user_home: dir.to_owned(), ..Environment::default() };
    let mut config = Config::new(NamesrvOptions::in_environment(&environment));
    for (key, value) in [("listenPort", "0"), ("bindAddress", "127.0.0.1")] {
        config.apply(key, value, "test").unwrap();
    }
    Namesrv::start(NamesrvOptions::share(config), memory_budget(None, None, None, None), 16 << 20).unwrap()
}

async fn start(dir: &Path, name: &str, namesrv: &str, port: u16) -> Broker {
    let mut options = common::options(&dir.join(name));
    options.broker.broker_name = name.to_owned();
    options.broker.namesrv_addr = Some(namesrv.to_owned());
    options.server.listen_port = port.into();
    let (broker, _) = common::start(options).await;
    // As the heartbeat of a consumer makes it.
    broker.parts().groups.find(GROUP, true).unwrap();
    broker
}

/// A request with `lo` set, as other brokers and administrators send it.
struct Lo<O>(std::marker::PhantomData<fn(O)>);
struct WithLo<H>(H, &'static str);

impl<O: Operation> Operation for Lo<O> {
    const CODE: i32 = O::CODE;
    const NAME: &'static str = O::NAME;
    type Request = WithLo<O::Request>;
    type Response = O::Response;
}

impl<H: CommandHeader> CommandHeader for WithLo<H> {
    fn decode(fields: &Fields) -> Result<Self, FieldError> {
        Ok(WithLo(H::decode(fields)?, "true"))
    }
    fn encode(&self, out: &mut FieldWriter<'_>) {
        self.0.encode(out);
        out.put("lo", self.1);
    }
}

struct Peer<'a> {
    client: &'a Client,
    addr: String,
}

impl Peer<'_> {
    async fn call<O: Operation>(&self, header: &O::Request, body: impl Into<Bytes>) -> Command {
        self.client.call::<O>(&self.addr, header, body.into(), PATIENCE).await.unwrap()
    }

    async fn map(&self, detail: &TopicQueueMappingDetail, queues: i32, force: bool) -> Command {
        let header = CreateTopicRequestHeader {
            topic: detail.topic.as_str().into(),
            default_topic: None,
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: None,
            topic_sys_flag: None,
            order: false,
            attributes: None,
            force,
        };
        self.call::<UpdateAndCreateStaticTopic>(&header, encode(detail)).await
    }

    async fn map_ok(&self, detail: &TopicQueueMappingDetail, queues: i32) {
        let answer = self.map(detail, queues, false).await;
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
    }

    async fn send(&self, queue_id: i32) -> Command {
        let header = SendMessageRequestHeaderV2 {
            producer_group: "p".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            queue_id,
            sys_flag: 0,
            born_timestamp: remoting::clock::now_ms(),
            flag: 0,
            properties: Some("".into()),
            reconsume_times: None,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        };
        self.call::<SendMessageV2>(&header, Bytes::from_static(b"hello")).await
    }

    /// Sends and returns queue and offset as the sender learns them.
    async fn sent(&self, queue_id: i32) -> (i32, i64) {
        let answer = self.send(queue_id).await;
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
        let header = answer.header::<SendMessageResponseHeader>().unwrap();
        (header.queue_id, header.queue_offset)
    }

    async fn pull(&self, queue_id: i32, queue_offset: i64, sys_flag: i32, commit_offset: i64) -> Command {
        let header = PullMessageRequestHeader {
            consumer_group: GROUP.into(),
            topic: TOPIC.into(),
            queue_id,
            queue_offset,
            max_msg_nums: 32,
            sys_flag: sys_flag | pull_flag::SUBSCRIPTION,
            commit_offset,
            suspend_timeout_millis: 15_000,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        self.call::<PullMessage>(&header, Bytes::new()).await
    }

    /// Code, next, min, max, delta, and the logic offsets of what came.
    async fn pulled(&self, queue_id: i32, queue_offset: i64) -> (i32, [i64; 4], Vec<i64>) {
        seen(&self.pull(queue_id, queue_offset, 0, 0).await)
    }

    async fn offset<O>(&self, queue_id: i32) -> i64
    where
        O: Operation<Request = QueueRequestHeader, Response = OffsetResponseHeader>,
    {
        let answer = self.call::<O>(&QueueRequestHeader { topic: TOPIC.into(), queue_id }, Bytes::new()).await;
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
        answer.header::<OffsetResponseHeader>().unwrap().offset
    }

    async fn search(&self, timestamp: i64, boundary: &str) -> i64 {
        let boundary_type = Some(boundary.into());
        let header = SearchOffsetRequestHeader { topic: TOPIC.into(), queue_id: 0, timestamp, boundary_type };
        let answer = self.call::<SearchOffsetByTimestamp>(&header, Bytes::new()).await;
        assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
        answer.header::<OffsetResponseHeader>().unwrap().offset
    }

    async fn commit(&self, queue_id: i32, commit_offset: i64) -> Command {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: GROUP.into(),
            topic: TOPIC.into(),
            queue_id: Some(queue_id),
            commit_offset: Some(commit_offset),
        };
        self.call::<UpdateConsumerOffset>(&header, Bytes::new()).await
    }

    async fn committed(&self, queue_id: i32) -> Option<i64> {
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: GROUP.into(),
            topic: TOPIC.into(),
            queue_id,
            set_zero_if_not_found: Some(false),
        };
        let answer = self.call::<QueryConsumerOffset>(&header, Bytes::new()).await;
        match answer.code {
            SUCCESS => Some(answer.header::<OffsetResponseHeader>().unwrap().offset),
            QUERY_NOT_FOUND => None,
            code => panic!("{code} {:?}", answer.remark),
        }
    }
}

fn seen(answer: &Command) -> (i32, [i64; 4], Vec<i64>) {
    let header = answer.header::<PullMessageResponseHeader>().unwrap();
    let delta = header.offset_delta.unwrap();
    let offset = |record: MessageRecord<'_>| record.queue_offset + delta;
    let offsets = records(&answer.body).map(|record| offset(record.unwrap())).collect();
    (answer.code, [header.next_begin_offset, header.min_offset, header.max_offset, delta], offsets)
}

fn item(generation: i32, bname: &str, queue_id: i32, logic_offset: i64) -> LogicQueueMappingItem {
    LogicQueueMappingItem {
        generation,
        bname: bname.to_owned(),
        queue_id,
        logic_offset,
        ..LogicQueueMappingItem::default()
    }
}

fn detail(bname: &str, epoch: i64, queues: &[(i32, Vec<LogicQueueMappingItem>)]) -> TopicQueueMappingDetail {
    TopicQueueMappingDetail {
        topic: TOPIC.to_owned(),
        bname: bname.to_owned(),
        epoch,
        total_queues: 2,
        hosted_queues: queues.iter().cloned().collect(),
        ..TopicQueueMappingDetail::default()
    }
}

/// Waits until `queue_id` of the topic holds `count` messages here.
async fn dispatched(broker: &Broker, queue_id: i32, count: i64) {
    let stored = async {
        while broker.parts().store.max_offset(TOPIC, queue_id) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
}

fn client() -> Client {
    Client::new(ClientConfig::default(), Arc::default(), Arc::new(()))
}

#[tokio::test]
async fn a_logic_queue_is_a_queue_and_other_brokers_refuse_it() {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, client, port) = (namesrv(dir.path()), client(), free_port());
    let addr = namesrv.local_addr().to_string();
    let broker = start(dir.path(), "a", &addr, port).await;
    let a = Peer { client: &client, addr: format!("127.0.0.1:{port}") };
    // Logic queue 1 is the physical queue 0, and the other way round; queue 7 is led by a broker that is not there.
    let queues = [(0, vec![item(0, "a", 1, 0)]), (1, vec![item(0, "a", 0, 0)]), (7, vec![item(0, "x", 0, 0)])];
    let mapping = detail("a", 5, &queues);
    a.map_ok(&mapping, 2).await;
    assert_eq!([a.sent(0).await, a.sent(0).await, a.sent(1).await], [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(a.sent(-1).await, (0, 2), "a sender that names no queue");
    dispatched(&broker, 1, 3).await;
    assert_eq!(a.pulled(0, 0).await, (SUCCESS, [3, 0, 3, 0], vec![0, 1, 2]));
    assert_eq!((a.offset::<GetMaxOffset>(0).await, a.offset::<GetMinOffset>(0).await), (3, 0));
    assert_eq!(a.commit(0, 2).await.code, SUCCESS);
    assert_eq!(a.committed(0).await, Some(2));
    assert_eq!(broker.parts().offsets.query(GROUP, TOPIC, 1), Some(2), "kept for the physical queue");
    // An offset beyond the end is corrected as in an ordinary topic.
    assert_eq!(a.pulled(0, 9).await, (PULL_OFFSET_MOVED, [3, 0, 3, 0], vec![]));
    // Refused: queues of another broker, and of nobody.
    for queue_id in [7, 9] {
        let remark = format!("{TOPIC}-{queue_id} does not exit in request process of current broker a");
        let queue = QueueRequestHeader { topic: TOPIC.into(), queue_id };
        for answer in [
            a.send(queue_id).await,
            a.pull(queue_id, 0, 0, 0).await,
            a.commit(queue_id, 0).await,
            a.call::<GetMaxOffset>(&queue, Bytes::new()).await,
            a.call::<GetEarliestMsgStoretime>(&queue, Bytes::new()).await,
        ] {
            let told = answer.remark.unwrap_or_default().to_string();
            assert_eq!((answer.code, told), (NOT_LEADER_FOR_QUEUE, remark.clone()));
        }
    }
    // `lo=false` names the physical queue.
    let physical = WithLo(QueueRequestHeader { topic: TOPIC.into(), queue_id: 1 }, "false");
    let answer = a.call::<Lo<GetMaxOffset>>(&physical, Bytes::new()).await;
    assert_eq!(answer.header::<OffsetResponseHeader>().unwrap().offset, 3);
    // What is told of the mapping.
    let route = GetRouteInfoRequestHeader {
        topic: TOPIC.into(),
        accept_standard_json_only: true,
        zone_mode: false,
        zone_name: None,
    };
    let answer = client.call::<GetRouteInfoByTopic>(&addr, &route, Bytes::new(), PATIENCE).await.unwrap();
    let route: TopicRouteData = json::from_slice(&answer.body).unwrap();
    let told = &route.topic_queue_mapping_by_broker.unwrap()["a"];
    assert_eq!(told["currIdMap"], serde_json::json!({"0": 1, "1": 0}));
    assert_eq!((told["totalQueues"].as_i64(), told["scope"].as_str()), (Some(2), Some("__global__")));
    for (lo, expected) in [(Some(true), Some(&mapping)), (Some(false), None), (None, None)] {
        let header = GetTopicConfigRequestHeader { topic: TOPIC.into(), lo };
        let answer = a.call::<GetTopicConfig>(&header, Bytes::new()).await;
        let config: TopicConfigAndQueueMapping = json::from_slice(&answer.body).unwrap();
        assert_eq!((config.config.write_queue_nums, config.mapping_detail.as_ref()), (2, expected));
    }
    let all = GetAllTopicConfigRequestHeader { topic_seq: None, data_version: None, max_topic_num: None };
    let answer = a.call::<GetAllTopicConfig>(&all, Bytes::new()).await;
    let all: TopicConfigSerializeWrapper = json::from_slice(&answer.body).unwrap();
    assert_eq!(all.topic_queue_mapping_detail_map.unwrap()[TOPIC], mapping);
    // A broken mapping changes nothing, and says why.
    let answer = a.map(&detail("a", 4, &queues), 3, false).await;
    assert_eq!((answer.code, answer.remark.unwrap().contains("small epoch 4 < 5")), (SYSTEM_ERROR, true));
    assert_eq!(broker.parts().topics.get(TOPIC).unwrap().write_queue_nums, 2);
    let answer = a.map(&detail("b", 6, &queues), 2, true).await;
    assert!(answer.remark.unwrap().contains("for broker b, this is a"));
    // It goes with the topic.
    let file = dir.path().join("a/config/topicQueueMapping.json");
    assert!(std::fs::read_to_string(&file).unwrap().contains(r#""hostedQueues":{0:[{"bname":"a""#));
    let answer = a.call::<DeleteTopicInBroker>(&TopicRequestHeader { topic: TOPIC.into() }, Bytes::new()).await;
    assert_eq!(answer.code, SUCCESS);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(TOPIC));
    assert_eq!(a.sent(0).await, (0, 0), "an ordinary topic by now");
    broker.shutdown().await;
    namesrv.shutdown().await;
}

#[tokio::test]
async fn a_queue_moves_to_another_broker() {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, client) = (namesrv(dir.path()), client());
    let addr = namesrv.local_addr().to_string();
    let ports = (free_port(), free_port());
    let broker_a = start(dir.path(), "a", &addr, ports.0).await;
    let broker_b = start(dir.path(), "b", &addr, ports.1).await;
    let peer = |port: u16| Peer { client: &client, addr: format!("127.0.0.1:{port}") };
    let (a, b) = (peer(ports.0), peer(ports.1));
    a.map_ok(&detail("a", 1, &[(0, vec![item(0, "a", 0, 0)])]), 1).await;
    b.map_ok(&detail("b", 1, &[(1, vec![item(0, "b", 0, 0)])]), 1).await;
    for offset in 0..3 {
        assert_eq!(a.sent(0).await, (0, offset));
    }
    dispatched(&broker_a, 0, 3).await;
    assert_eq!(a.commit(0, 1).await.code, SUCCESS);
    // A pull that waits at the old leader, while the queue moves in the order of mqadmin: new leader, old leader, logic offset.
    let held = a.pull(0, 3, pull_flag::SUSPEND, 0);
    let moved = |logic_offset| vec![item(0, "a", 0, 0), item(1, "b", 1, logic_offset)];
    let moving = async {
        let parked = async {
            while broker_a.parts().hold.is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, parked).await.unwrap();
        b.map_ok(&detail("b", 2, &[(0, moved(-1)), (1, vec![item(0, "b", 0, 0)])]), 2).await;
        a.map_ok(&detail("a", 2, &[(0, moved(-1))]), 1).await;
    };
    let (held, ()) = tokio::join!(held, moving);
    let held_header = held.header::<PullMessageResponseHeader>().unwrap();
    assert_eq!((held.code, held_header.next_begin_offset), (PULL_RETRY_IMMEDIATELY, 3));
    for refused in [a.send(0).await, a.pull(0, 0, 0, 0).await] {
        assert_eq!(refused.code, NOT_LEADER_FOR_QUEUE);
    }
    // The new leader takes messages whose logic offset is not known yet, and hands out the old ones.
    assert_eq!([b.sent(0).await, b.sent(0).await], [(0, -1), (0, -1)]);
    dispatched(&broker_b, 1, 2).await;
    assert_eq!(b.pulled(0, 1).await, (SUCCESS, [3, 0, 3, 0], vec![1, 2]));
    assert_eq!(b.pulled(0, 3).await, (PULL_NOT_FOUND, [3, 0, 3, 0], vec![]));
    assert_eq!(b.offset::<GetMaxOffset>(0).await, 3);
    b.map_ok(&detail("b", 2, &[(0, moved(10_000)), (1, vec![item(0, "b", 0, 0)])]), 2).await;
    assert_eq!(b.sent(0).await, (0, 10_002));
    dispatched(&broker_b, 1, 3).await;
    // One queue over both brokers.
    assert_eq!(b.pulled(0, 0).await, (SUCCESS, [3, 0, 10_000, 0], vec![0, 1, 2]));
    assert_eq!(b.pulled(0, 3).await, (PULL_RETRY_IMMEDIATELY, [10_000, 10_000, 10_000, 10_000], vec![]));
    let rest = (SUCCESS, [10_003, 10_000, 10_003, 10_000], vec![10_000, 10_001, 10_002]);
    assert_eq!(b.pulled(0, 10_000).await, rest);
    assert_eq!((b.offset::<GetMinOffset>(0).await, b.offset::<GetMaxOffset>(0).await), (0, 10_003));
    let store_time =
        |broker: &Broker, queue_id, offset| broker.parts().store.store_time(TOPIC, queue_id, offset).unwrap();
    let first = store_time(&broker_a, 0, 0);
    assert_eq!((b.search(first, "LOWER").await, b.search(first - 1, "UPPER").await), (0, 0));
    let last_here = store_time(&broker_b, 1, 2);
    assert_eq!((b.search(last_here + 1, "LOWER").await, b.search(last_here + 1, "UPPER").await), (10_003, 10_002));
    let between = store_time(&broker_b, 1, 0);
    if store_time(&broker_a, 0, 2) < between {
        assert_eq!((b.search(between, "LOWER").await, b.search(between - 1, "UPPER").await), (10_000, 2));
    }
    let queue = QueueRequestHeader { topic: TOPIC.into(), queue_id: 0 };
    let answer = b.call::<GetEarliestMsgStoretime>(&queue, Bytes::new()).await;
    assert_eq!(answer.header::<GetEarliestMsgStoretimeResponseHeader>().unwrap().timestamp, first);
    // Offsets of the group are kept where the generation is.
    assert_eq!(b.committed(0).await, Some(1), "committed before the queue moved");
    assert_eq!(b.commit(0, 2).await.code, SUCCESS);
    assert_eq!((b.committed(0).await, broker_a.parts().offsets.query(GROUP, TOPIC, 0)), (Some(2), Some(2)));
    // A pull of the new generation says that the old one is not finished: nothing of the new one is committed.
    b.pull(0, 10_000, pull_flag::COMMIT_OFFSET, 3).await;
    assert_eq!(broker_b.parts().offsets.query(GROUP, TOPIC, 1), None);
    b.pull(0, 10_002, pull_flag::COMMIT_OFFSET, 10_001).await;
    assert_eq!(broker_b.parts().offsets.query(GROUP, TOPIC, 1), Some(1));
    assert_eq!(b.commit(0, 10_002).await.code, SUCCESS);
    assert_eq!(b.committed(0).await, Some(10_002));
    let all =
        GetConsumeStatsRequestHeader { consumer_group: GROUP.into(), topic: Some(TOPIC.into()), topic_list: None };
    let stats: ConsumeStats = json::from_slice(&b.call::<GetConsumeStats>(&all, Bytes::new()).await.body).unwrap();
    let progress = stats.offset_table.values().map(|of| (of.broker_offset, of.consumer_offset));
    assert_eq!(progress.collect::<Vec<_>>(), [(0, -1), (3, 2)]);
    // The mapping outlives a restart; while the old leader is away only its generation cannot be read.
    broker_b.shutdown().await;
    let broker_b = start(dir.path(), "b", &addr, ports.1).await;
    assert_eq!(b.pulled(0, 10_000).await, rest);
    broker_a.shutdown().await;
    assert_eq!(b.pulled(0, 10_000).await, rest);
    let unreachable = b.pull(0, 0, 0, 0).await;
    assert_eq!(unreachable.code, SYSTEM_ERROR);
    assert!(unreachable.remark.unwrap().contains("cannot find addr for broker a"));
    let broker_a = start(dir.path(), "a", &addr, ports.0).await;
    assert_eq!(b.pulled(0, 0).await, (SUCCESS, [3, 0, 10_000, 0], vec![0, 1, 2]));
    for broker in [broker_a, broker_b] {
        broker.shutdown().await;
    }
    namesrv.shutdown().await;
}

#[tokio::test]
async fn generations_without_messages_and_queues_that_moved_on_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, client) = (namesrv(dir.path()), Arc::new(client()));
    let addr = namesrv.local_addr().to_string();
    let ports = [free_port(), free_port(), free_port()];
    let mut brokers = Vec::new();
    for (name, port) in ["a", "b", "c"].into_iter().zip(ports) {
        brokers.push(start(dir.path(), name, &addr, port).await);
    }
    let peer = |at: usize| Peer { client: &client, addr: format!("127.0.0.1:{}", ports[at]) };
    let first = vec![item(0, "a", 0, 0), item(1, "b", 0, 10_000)];
    let second = [first.clone(), vec![item(2, "c", 0, 20_000)]].concat();
    // Logic queue 1 stays where it is, with messages in its first generation.
    let stays = vec![item(0, "a", 1, 0), item(1, "c", 1, 10_000)];
    peer(0).map_ok(&detail("a", 1, &[(1, vec![item(0, "a", 1, 0)])]), 2).await;
    assert_eq!(peer(0).sent(1).await, (1, 0));
    dispatched(&brokers[0], 1, 1).await;
    peer(0).map_ok(&detail("a", 3, &[(0, first.clone()), (1, stays.clone())]), 2).await;
    peer(1).map_ok(&detail("b", 3, &[(0, second.clone())]), 1).await;
    peer(2).map_ok(&detail("c", 3, &[(0, second.clone()), (1, stays.clone())]), 2).await;
    for broker in &brokers {
        let parts = broker.parts();
        let (mappings, store) = (parts.mappings.clone(), parts.store.clone());
        let peers = Peers::new(client.clone(), parts.config.clone());
        MappingClean { mappings, store, peers }.clean().await;
    }
    let left = |at: usize| brokers[at].parts().mappings.get(TOPIC).unwrap().hosted_queues.clone();
    assert_eq!(left(0), [(1, stays.clone())].into(), "c leads queue 0 by now, b is no longer of interest");
    assert_eq!(left(1), [(0, second.clone())].into(), "given to c, which leads it");
    assert_eq!(left(2), [(0, second[1..].to_vec()), (1, stays)].into(), "the generation on a was empty");
    for broker in brokers {
        broker.shutdown().await;
    }
    namesrv.shutdown().await;
}
