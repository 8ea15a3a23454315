//! Sends messages to one broker as fast as the window allows and prints what it took.
//!
//! `cargo run --release -p ferrocket-client --example produce_load -- 127.0.0.1:10911 64x1 1024 500000 [PID]`
//!
//! Arguments: broker, connections × requests in flight on each, bytes of a body, messages, and the broker's process,
//! whose CPU time per message and resident memory are printed too (Linux). Every answer must be SEND_OK: the first
//! other one ends the run. The topic `ProduceLoad` must exist or be created by the first send.

use bytes::Bytes;
use bytestring::ByteString;
use client::clock::{instant, now_ms};
use protocol::header::send::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::operation::SendMessageV2;
use protocol::response_code;
use remoting::client::{Client, ClientConfig};
use remoting::routes::Routes;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: produce_load BROKER CONNECTIONSxIN_FLIGHT BODY_BYTES MESSAGES [PID]";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Queues of the topic when the first send creates it; sends go round them.
const QUEUES: i32 = 8;
/// Unit of the times in /proc/PID/stat: USER_HZ is 100.
const TICK_US: u64 = 10_000;

/// What is sent where; shared by all senders.
struct Load {
    broker: String,
    connections: usize,
    in_flight: usize,
    body: Bytes,
    messages: u64,
    /// The next message to send.
    next: AtomicU64,
}

impl Load {
    fn parse(args: &[String]) -> Result<(Load, Option<u32>), Failure> {
        let [broker, window, body_bytes, messages, pid @ ..] = args else { return Err(USAGE.into()) };
        let (connections, in_flight) = window.split_once('x').ok_or(USAGE)?;
        let load = Load {
            broker: broker.clone(),
            connections: connections.parse()?,
            in_flight: in_flight.parse()?,
            body: vec![b'x'; body_bytes.parse()?].into(),
            messages: messages.parse()?,
            next: AtomicU64::new(0),
        };
        if load.connections == 0 || load.in_flight == 0 || load.messages == 0 {
            return Err(format!("no number may be 0; {USAGE}").into());
        }
        Ok((load, pid.first().map(|pid| pid.parse()).transpose()?))
    }

    /// One place of one connection's window: sends until no message is left.
    async fn send(&self, client: &Client) -> Result<(), Failure> {
        loop {
            match self.next.fetch_add(1, Ordering::Relaxed) {
                number if number < self.messages => self.send_one(client, number).await?,
                _ => return Ok(()),
            }
        }
    }

    async fn send_one(&self, client: &Client, number: u64) -> Result<(), Failure> {
        let header = SendMessageRequestHeaderV2 {
            producer_group: ByteString::from_static("produce_load"),
            topic: ByteString::from_static("ProduceLoad"),
            default_topic: ByteString::from_static("TBW102"),
            default_topic_queue_nums: QUEUES,
            queue_id: i32::try_from(number % u64::from(QUEUES.unsigned_abs()))?,
            sys_flag: 0,
            born_timestamp: now_ms(),
            flag: 0,
            properties: None,
            reconsume_times: Some(0),
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        };
        let answer = client.call::<SendMessageV2>(&self.broker, &header, self.body.clone(), TIMEOUT).await?;
        if answer.code != response_code::SUCCESS {
            return Err(format!("message {number} is not SEND_OK: code {}, {:?}", answer.code, answer.remark).into());
        }
        Ok(answer.header::<SendMessageResponseHeader>().map(drop)?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (load, pid) = Load::parse(&args)?;
    let load = Arc::new(load);
    let clients: Vec<_> = (0..load.connections)
        .map(|_| Arc::new(Client::new(ClientConfig::default(), Arc::new(Routes::new()), Arc::new(()))))
        .collect();
    for client in &clients {
        client.channel(&load.broker).await?;
    }
    let idle = pid.map(Usage::of).transpose()?;
    let begin = instant();
    let mut senders = tokio::task::JoinSet::new();
    for client in &clients {
        for _ in 0..load.in_flight {
            let (load, client) = (load.clone(), client.clone());
            senders.spawn(async move { load.send(&client).await });
        }
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    let rate = u128::from(load.messages) * 1_000_000 / begin.elapsed().as_micros().max(1);
    print!("{}x{} {} B: {rate} msg/s", load.connections, load.in_flight, load.body.len());
    if let (Some(pid), Some(idle)) = (pid, idle) {
        let now = Usage::of(pid)?;
        let cpu_ns = (now.cpu_us - idle.cpu_us) * 1000 / load.messages;
        print!(", {}.{:02} us CPU/msg", cpu_ns / 1000, cpu_ns % 1000 / 10);
        print!(", RSS {} -> {} KiB, anonymous {} -> {} KiB", idle.rss_kb, now.rss_kb, idle.anon_kb, now.anon_kb);
    }
    println!();
    Ok(())
}

/// What a process has used so far, from /proc.
struct Usage {
    cpu_us: u64,
    rss_kb: u64,
    anon_kb: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Usage, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        // The name of the program may contain anything, so fields are counted from behind it; 14 and 15 are the times.
        let mut fields = stat.rsplit_once(')').ok_or("no name in stat")?.1.split_whitespace().skip(11);
        let mut ticks = || Ok::<u64, Failure>(fields.next().ok_or("stat is short")?.parse()?);
        let field = |name: &str| -> Result<u64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("no {name} in status"))?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Usage { cpu_us: (ticks()? + ticks()?) * TICK_US, rss_kb: field("VmRSS:")?, anon_kb: field("RssAnon:")? })
    }
}
