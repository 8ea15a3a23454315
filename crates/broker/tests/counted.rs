//! What one send and one pull cost the thread that serves them, counted in heap allocations: connection, decoding, handler, store
//! and reply together. Counted figures do not depend on how busy the machine is, so these are gates.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use broker::Broker;
use bytes::BytesMut;
use codec::command::{self, Preamble};
use codec::fields::CommandHeader;
use codec::frame::SerializeType;
use protocol::body::static_topic::TopicQueueMappingDetail;
use protocol::header::pull::PullMessageRequestHeader;
use protocol::header::send::SendMessageRequestHeaderV2;
use protocol::operation::{Operation, PullMessage, SendMessageV2};
use protocol::sys_flag::pull;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Requests that are written, and answered, together.
const WINDOW: usize = 16;
const WARM_UP: usize = 200;
const ROUNDS: usize = 200;
const BODY: [u8; 1024] = [b'x'; 1024];

#[test]
fn a_send_allocates_little() {
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, _broker, addr) = start(dir.path());
        let header = SendMessageRequestHeaderV2 {
            producer_group: "p".into(),
            topic: "Counted".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: 0,
            sys_flag: 0,
            born_timestamp: 1,
            flag: 0,
            properties: Some(
                "UNIQ_KEY\u{1}7F000001000018B4AAC26BF5D7F00001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}a\u{2}".into(),
            ),
            reconsume_times: Some(0),
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        };
        let frame = frame::<SendMessageV2>(serialize_type, &header, &BODY);
        assert_at_most(&format!("a send, {serialize_type:?}"), allocations(&runtime, &addr, &frame), 5.5);
    }
}

#[test]
fn a_pull_allocates_little() {
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, broker, addr) = start(dir.path());
        let parts = broker.parts();
        parts.topics.create_in_send("Counted", "TBW102", 4, 0, true).unwrap();
        for _ in 0..32 {
            parts.store.put(&store::Message::new("Counted", 0, &BODY)).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while parts.store.max_offset("Counted", 0) < 32 {
            assert!(Instant::now() < deadline, "the messages are not dispatched");
            std::thread::yield_now();
        }
        let header = PullMessageRequestHeader {
            consumer_group: "g".into(),
            topic: "Counted".into(),
            queue_id: 0,
            queue_offset: 0,
            max_msg_nums: 32,
            sys_flag: pull::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_millis: 0,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        let frame = frame::<PullMessage>(serialize_type, &header, &[]);
        assert_at_most(&format!("a pull of 32, {serialize_type:?}"), allocations(&runtime, &addr, &frame), 22.5);
    }
}

fn assert_at_most(what: &str, found: f64, limit: f64) {
    println!("{what}: {found} allocations");
    assert!(found <= limit, "{what} makes {found} allocations, {limit} are allowed");
}

fn start(dir: &Path) -> (Runtime, Broker, String) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut options = common::options(dir);
    options.store.mapped_file_size_commit_log = 64 << 20;
    let (broker, addr) = runtime.block_on(common::start(options));
    // Ordinary topics must not pay for static ones beside them.
    let topic = "Static".to_owned();
    let bname = broker.parts().config.get().broker.broker_name.clone();
    let mapping = TopicQueueMappingDetail { topic, bname, ..TopicQueueMappingDetail::default() };
    broker.parts().mappings.put(mapping, false).unwrap();
    (runtime, broker, addr)
}

fn frame<O: Operation>(serialize_type: SerializeType, header: &O::Request, body: &[u8]) -> Vec<u8> {
    let preamble = Preamble { code: O::CODE, version: 495, opaque: 7, flag: 0, remark: None, serialize_type };
    let mut out = BytesMut::new();
    command::encode(&mut out, &preamble, |writer| header.encode(writer), body.len()).unwrap();
    out.extend_from_slice(body);
    out.to_vec()
}

/// Allocations for each request on the thread of the runtime, which alone runs the server, after a warm-up.
fn allocations(runtime: &Runtime, addr: &str, frame: &[u8]) -> f64 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let window = frame.repeat(WINDOW);
    let mut ask = |rounds: usize| {
        let (done, served) = tokio::sync::oneshot::channel();
        std::thread::scope(|scope| {
            let (stream, window) = (&mut stream, &window);
            scope.spawn(move || {
                for _ in 0..rounds {
                    stream.write_all(window).unwrap();
                    (0..WINDOW).for_each(|_| answer(stream));
                }
                done.send(()).unwrap();
            });
            let measured = allocation_counter::measure(|| runtime.block_on(served).unwrap());
            measured.count_total
        })
    };
    ask(WARM_UP);
    let count = ask(ROUNDS);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = count as f64 / (ROUNDS * WINDOW) as f64;
    each
}

/// Reads one answer, which must be a success: a header that says code 0 in either serialisation.
fn answer(stream: &mut TcpStream) {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut rest).unwrap();
    let header = &rest[4..];
    let is_success = header.starts_with(b"{\"code\":0,") || header.starts_with(&[0, 0]);
    assert!(is_success, "{}", String::from_utf8_lossy(header));
}
