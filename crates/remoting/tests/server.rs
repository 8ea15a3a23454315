//! A server and a client over real sockets: answers, refusals, bad frames, panics, held requests.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use bytes::Bytes;
use codec::command::Command;
use protocol::header::offset::{OffsetResponseHeader, QueueRequestHeader};
use protocol::operation::{GetMaxOffset, GetMinOffset, HeartBeat, UnregisterClient};
use protocol::response_code;
use remoting::budget::Budget;
use remoting::channel::{CallError, Channel};
use remoting::client::{Client, ClientConfig};
use remoting::reply::{Outcome, Reply, ReplySlot, Request};
use remoting::routes::{Lane, Processor, Routes};
use remoting::server::{ChannelListener, Server, ServerConfig};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the queue id; panics, holds or forgets on special ones.
#[derive(Default)]
struct Handler {
    held: Mutex<Vec<ReplySlot<OffsetResponseHeader>>>,
}

impl Processor<GetMaxOffset> for Handler {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        match request.header.queue_id {
            -1 => panic!("queue -1"),
            -2 => {
                self.held.lock().unwrap().push(request.slot());
                Outcome::Parked
            }
            -3 => {
                drop(request.slot::<OffsetResponseHeader>());
                Outcome::Parked
            }
            -4 => Outcome::Later(Box::pin(async { Reply::ok(OffsetResponseHeader { offset: 44 }) })),
            -5 => {
                Reply::ok(OffsetResponseHeader { offset: if request.channel.peer().is_ipv4() { 4 } else { 6 } }).into()
            }
            id => Reply::ok(OffsetResponseHeader { offset: id.into() }).with_body(request.body).into(),
        }
    }
}

impl Processor<GetMinOffset> for Handler {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        for slot in self.held.lock().unwrap().drain(..) {
            slot.send(Reply::ok(OffsetResponseHeader { offset: 22 }));
        }
        Processor::<GetMaxOffset>::process(self, request)
    }
}

#[derive(Default)]
struct Closed(AtomicUsize);

impl ChannelListener for Closed {
    fn closed(&self, channel: &Arc<Channel>) {
        assert!(channel.is_closed());
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn start(config: impl FnOnce(&mut ServerConfig)) -> (Server, Arc<Closed>) {
    let handler = Arc::new(Handler::default());
    let routes = Routes::new()
        .on::<GetMaxOffset>(Lane::Connection, handler.clone())
        .on::<GetMinOffset>(Lane::pool("test", 2, 16), handler);
    let mut server = ServerConfig::new("127.0.0.1:0".parse().unwrap());
    config(&mut server);
    let closed = Arc::<Closed>::default();
    let budget = Budget::new(1 << 20, server.max_frame_len);
    (Server::start(&server, Arc::new(routes), budget, closed.clone()).unwrap(), closed)
}

fn client() -> Client {
    Client::new(ClientConfig::default(), Arc::new(Routes::new()), Arc::new(()))
}

fn queue(queue_id: i32) -> QueueRequestHeader {
    QueueRequestHeader { topic: "T".into(), queue_id }
}

async fn max_offset(client: &Client, server: &Server, queue_id: i32, body: Bytes) -> Result<Command, CallError> {
    client.call::<GetMaxOffset>(&server.local_addr().to_string(), &queue(queue_id), body, PATIENCE).await
}

fn offset(command: &Command) -> i64 {
    command.header::<OffsetResponseHeader>().unwrap().offset
}

#[tokio::test]
async fn answers_with_header_and_body_of_any_size() {
    let (server, _) = start(|_| {});
    let client = client();
    for len in [0, 1, 4096, 4097, 70_000, 9_000_000] {
        let body = Bytes::from(vec![7; len]);
        let answer = max_offset(&client, &server, 5, body.clone()).await.unwrap();
        assert_eq!((answer.code, offset(&answer)), (0, 5));
        assert!(answer.body == body, "{len}");
    }
}

#[tokio::test]
async fn the_unspecified_address_is_all_of_both_kinds() {
    let (server, _) = start(|config| config.bind = "0.0.0.0:0".parse().unwrap());
    let client = client();
    let port = server.local_addr().port();
    let kind = async |host: &str| {
        let addr = format!("{host}:{port}");
        client.call::<GetMaxOffset>(&addr, &queue(-5), Bytes::new(), PATIENCE).await.map(|answer| offset(&answer))
    };
    assert_eq!(kind("127.0.0.1").await.unwrap(), 4, "and of an IPv4 address");
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(kind("[::1]").await.unwrap(), 6);
    }
    let again = start_again(port);
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

/// A second server on a port of all addresses.
fn start_again(port: u16) -> std::io::Result<Server> {
    let config = ServerConfig::new(format!("0.0.0.0:{port}").parse().unwrap());
    let budget = Budget::new(1 << 20, config.max_frame_len);
    Server::start(&config, Arc::new(Routes::new()), budget, Arc::new(()))
}

#[tokio::test]
async fn many_requests_in_flight_each_find_their_answer() {
    let (server, _) = start(|_| {});
    let client = Arc::new(client());
    let addr = server.local_addr().to_string();
    let calls = (0..500).map(|i| {
        let (client, addr) = (client.clone(), addr.clone());
        tokio::spawn(async move {
            let body = Bytes::from(vec![1; usize::try_from(i).unwrap() * 13]);
            let answer = client.call::<GetMaxOffset>(&addr, &queue(i), body.clone(), PATIENCE).await.unwrap();
            assert_eq!((offset(&answer), answer.body), (i64::from(i), body));
        })
    });
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn unknown_codes_and_missing_fields_are_told() {
    let (server, _) = start(|_| {});
    let client = client();
    let addr = server.local_addr().to_string();
    let none = codec::fields::NoHeader;
    let answer = client.call::<HeartBeat>(&addr, &none, Bytes::new(), PATIENCE).await.unwrap();
    assert_eq!(answer.code, response_code::REQUEST_CODE_NOT_SUPPORTED);
    assert_eq!(answer.remark.as_deref(), Some(" request type 34 not supported"));
    let mut raw = std::net::TcpStream::connect(server.local_addr()).unwrap();
    let header = br#"{"code":30,"opaque":9,"flag":0,"extFields":{"topic":"T"}}"#;
    let answer = tokio::task::spawn_blocking(move || {
        raw.write_all(&frame(header)).unwrap();
        read_frame(&mut raw)
    });
    let answer = String::from_utf8_lossy(&answer.await.unwrap()).into_owned();
    assert!(answer.contains("\"code\":1") && answer.contains("the custom field <queueId> is null"), "{answer}");
    assert!(answer.contains("\"opaque\":9"), "{answer}");
}

#[tokio::test]
async fn a_panic_answers_closes_that_connection_and_is_counted() {
    let (server, closed) = start(|_| {});
    let (victim, bystander) = (client(), client());
    max_offset(&bystander, &server, 1, Bytes::new()).await.unwrap();
    let answer = max_offset(&victim, &server, -1, Bytes::new()).await.unwrap();
    assert_eq!(answer.code, response_code::SYSTEM_ERROR);
    assert!(answer.remark.unwrap().contains("queue -1"));
    until(|| closed.0.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.stats().panics.load(Ordering::SeqCst), 1);
    assert_eq!(offset(&max_offset(&bystander, &server, 2, Bytes::new()).await.unwrap()), 2);
    assert_eq!(offset(&max_offset(&victim, &server, 3, Bytes::new()).await.unwrap()), 3);
}

#[tokio::test]
async fn requests_can_be_held_finished_later_or_on_a_pool() {
    let (server, _) = start(|_| {});
    let client = Arc::new(client());
    assert_eq!(offset(&max_offset(&client, &server, -4, Bytes::new()).await.unwrap()), 44);
    let held = tokio::spawn({
        let (client, addr) = (client.clone(), server.local_addr().to_string());
        async move { client.call::<GetMaxOffset>(&addr, &queue(-2), Bytes::new(), PATIENCE).await.unwrap() }
    });
    let addr = server.local_addr().to_string();
    while !held.is_finished() {
        let answer = client.call::<GetMinOffset>(&addr, &queue(6), Bytes::new(), PATIENCE).await.unwrap();
        assert_eq!(offset(&answer), 6);
    }
    assert_eq!(offset(&held.await.unwrap()), 22);
    let forgotten = max_offset(&client, &server, -3, Bytes::new()).await.unwrap();
    assert_eq!(forgotten.code, response_code::SYSTEM_ERROR);
    assert_eq!(server.stats().unanswered.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bad_frames_close_their_connection_only() {
    let (server, closed) = start(|config| config.max_frame_len = 100_000);
    let client = client();
    max_offset(&client, &server, 1, Bytes::new()).await.unwrap();
    let bad: [&[u8]; 6] = [
        &[0x16, 3, 1, 0, 50, 1],
        b"PROXY TCP4 1.2.3.4",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 3, 1, 2, 3],
        &[0, 0, 0, 5, 9, 0, 0, 0, 1],
        &frame(b"{\"code\":"),
    ];
    for (i, bytes) in bad.iter().enumerate() {
        let mut raw = std::net::TcpStream::connect(server.local_addr()).unwrap();
        raw.set_read_timeout(Some(PATIENCE)).unwrap();
        let bytes = bytes.to_vec();
        let rest = tokio::task::spawn_blocking(move || {
            raw.write_all(&bytes).unwrap();
            let mut rest = Vec::new();
            let _ = raw.read_to_end(&mut rest);
            rest
        });
        assert!(rest.await.unwrap().is_empty());
        until(|| closed.0.load(Ordering::SeqCst) == i + 1).await;
    }
    assert_eq!(server.stats().bad_frames.load(Ordering::SeqCst), 6);
    max_offset(&client, &server, 1, Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed_and_calls_to_silent_servers_end() {
    let (server, closed) = start(|config| config.idle_timeout = Duration::from_millis(100));
    let client = client();
    let addr = server.local_addr().to_string();
    let channel = client.channel(&addr).await.unwrap();
    until(|| closed.0.load(Ordering::SeqCst) == 1 && channel.is_closed()).await;
    let short = Duration::from_millis(50);
    let error = client.call::<GetMaxOffset>(&addr, &queue(-2), Bytes::new(), short).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { addr: addr.clone(), timeout_ms: 50 });
    server.shutdown(PATIENCE).await;
    let error = client.oneway::<UnregisterClient>(&addr, &unregister(), Bytes::new()).await;
    assert!(error.is_ok() || matches!(error, Err(CallError::Connect { .. })), "{error:?}");
}

fn unregister() -> protocol::header::client::UnregisterClientRequestHeader {
    protocol::header::client::UnregisterClientRequestHeader {
        client_id: "c".into(),
        producer_group: None,
        consumer_group: None,
    }
}

fn frame(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&u32::try_from(4 + header.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
    out.extend_from_slice(header);
    out
}

fn read_frame(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut rest).unwrap();
    rest
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("condition within the deadline");
}
