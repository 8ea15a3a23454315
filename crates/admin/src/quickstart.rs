//! RocketMQ's quick start: a producer of 1000 messages and a consumer that prints them, with Java's output.

use clap::Parser;
use client::{
    ClientConfig, ConsumeContext, ConsumeStatus, Message, MessageExt, Producer, ProducerConfig, PushConsumer,
    PushConsumerConfig,
};
use protocol::body::client::ConsumeFromWhere;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

const TOPIC: &str = "TopicTest";
const PRODUCER_GROUP: &str = "please_rename_unique_group_name";
const CONSUMER_GROUP: &str = "please_rename_unique_group_name_4";
/// As Java's example waits after a failed send.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

#[derive(Parser)]
#[command(name = "quickstart.Producer", about = "Sends messages `Hello RocketMQ N` with tag TagA")]
struct ProducerArgs {
    /// Name servers: host:port, several joined by semicolons
    #[arg(short = 'n', long = "namesrvAddr", env = "NAMESRV_ADDR")]
    namesrv_addr: Option<String>,
    /// Topic
    #[arg(short = 't', long, default_value = TOPIC)]
    topic: String,
    /// Producer group
    #[arg(short = 'g', long, default_value = PRODUCER_GROUP)]
    group: String,
    /// How many messages to send
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// End at the first message that cannot be sent, instead of trying the next one after a second
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Parser)]
#[command(name = "quickstart.Consumer", about = "Prints the messages of a topic until it is interrupted")]
struct ConsumerArgs {
    /// Name servers: host:port, several joined by semicolons
    #[arg(short = 'n', long = "namesrvAddr", env = "NAMESRV_ADDR")]
    namesrv_addr: Option<String>,
    /// Topic
    #[arg(short = 't', long, default_value = TOPIC)]
    topic: String,
    /// Consumer group
    #[arg(short = 'g', long, default_value = CONSUMER_GROUP)]
    group: String,
    /// End after so many messages
    #[arg(long, alias = "count")]
    exit_after: Option<u64>,
    /// End with status 1 when --exit-after messages have not come within so many seconds
    #[arg(long, requires = "exit_after")]
    timeout: Option<u64>,
}

/// Options of `args`; what clap has to say otherwise is printed and the status returned.
fn parse<T: Parser>(args: &[String]) -> Result<T, ExitCode> {
    T::try_parse_from(std::iter::once("quickstart").chain(args.iter().map(String::as_str))).map_err(|error| {
        let _ = error.print();
        ExitCode::from(u8::from(error.use_stderr()))
    })
}

/// `org.apache.rocketmq.example.quickstart.Producer`. Status 0 when every message was stored.
pub async fn producer(args: &[String]) -> ExitCode {
    let args: ProducerArgs = match parse(args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let config = ClientConfig::new(args.namesrv_addr.as_deref().unwrap_or_default());
    let producer = match Producer::start(config, ProducerConfig::new(&args.group)) {
        Ok(producer) => producer,
        Err(error) => return refuse(&error),
    };
    let mut failed = false;
    for n in 0..args.count {
        let mut message = Message::new(&args.topic, format!("Hello RocketMQ {n}")).with_tags("TagA");
        match producer.send(&mut message).await {
            Ok(result) => {
                if writeln!(io::stdout(), "{result}").is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = true;
                eprintln!("{}", java_exception(&error));
                if args.fail_fast {
                    break;
                }
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    producer.shutdown().await;
    ExitCode::from(u8::from(failed))
}

/// `org.apache.rocketmq.example.quickstart.Consumer`. Status 0 when interrupted, or when all awaited messages came.
pub async fn consumer(args: &[String]) -> ExitCode {
    let args: ConsumerArgs = match parse(args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let config = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..PushConsumerConfig::new(&args.group)
    };
    let enough = Arc::new(Notify::new());
    let listener = printer(args.exit_after.unwrap_or(u64::MAX), enough.clone());
    let client = ClientConfig::new(args.namesrv_addr.as_deref().unwrap_or_default());
    let consumer = match PushConsumer::start(client, config, &[(&args.topic, "*")], listener).await {
        Ok(consumer) => consumer,
        Err(error) => return refuse(&error),
    };
    let _ = writeln!(io::stdout(), "Consumer Started.");
    let limit = args.timeout.map_or(Duration::MAX, Duration::from_secs);
    let in_time = tokio::select! {
        () = interrupted() => true,
        () = enough.notified() => true,
        () = tokio::time::sleep(limit) => false,
    };
    consumer.shutdown().await;
    if !in_time {
        eprintln!(
            "{} messages of {} did not come within {} s",
            args.exit_after.unwrap_or(0),
            args.topic,
            limit.as_secs()
        );
    }
    ExitCode::from(u8::from(!in_time))
}

/// Prints messages as Java's example does, up to `limit` of them.
fn printer(limit: u64, enough: Arc<Notify>) -> impl client::MessageListener {
    let seen = AtomicU64::new(0);
    move |messages: &[MessageExt], context: &ConsumeContext| {
        let before = seen.fetch_add(messages.len() as u64, Ordering::Relaxed);
        if before >= limit {
            return ConsumeStatus::Later;
        }
        let list: Vec<String> = messages.iter().map(MessageExt::to_string).collect();
        let line = format!("{} Receive New Messages: [{}] \n", context.thread_name, list.join(", "));
        // One write, so that lines of other threads do not come between.
        let printed = io::stdout().lock().write_all(line.as_bytes());
        if printed.is_err() || before + messages.len() as u64 >= limit {
            enough.notify_one();
        }
        ConsumeStatus::Success
    }
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn refuse(error: &client::ClientError) -> ExitCode {
    eprintln!("{}", java_exception(error));
    ExitCode::from(1)
}

/// The error under the name of the exception that Java throws.
fn java_exception(error: &client::ClientError) -> String {
    let class = match error {
        client::ClientError::Refused { .. } => "client.exception.MQBrokerException",
        client::ClientError::Call(_) => "remoting.exception.RemotingException",
        client::ClientError::SendTimeout { .. } => "remoting.exception.RemotingTooMuchRequestException",
        _ => "client.exception.MQClientException",
    };
    format!("org.apache.rocketmq.{class}: {error}")
}
