//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use codec::frame::SerializeType;
use serde::{Serialize, Serializer};

/// Puts load on a RocketMQ broker or nameserver (Apache's or Ferrocket's) and checks every answer.
///
/// Exit code 0: all answers were right; 1: a wrong answer, which is named; 2: the run could not be made.
#[derive(Debug, Parser)]
#[command(name = "mqbench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send messages: as fast as the window allows, or at a fixed rate
    Produce(Produce),
    /// Pull what a topic holds, or wait for what comes (--tail)
    Consume(Consume),
    /// Send and receive at once; latency from the intended send time to the receipt
    Mixed(Mixed),
    /// Ask a nameserver for routes
    Route(Route),
    /// Open connections, leave them alone, and see that all still answer
    Idle(Idle),
    /// Be the least a server can be: read frames, answer canned successes. What a broker costs above it is the broker
    NullServer(NullServer),
    /// Make tables and plots of many reports, as scripts/bench does
    Tables(Tables),
}

/// Which server, and how to speak to it.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Server {
    /// Nameservers, which know the broker: host:port, several joined by ;
    #[arg(short, long, value_name = "ADDRS")]
    pub(crate) namesrv: Option<String>,
    /// The broker itself: host:port
    #[arg(short, long, value_name = "ADDR", conflicts_with = "namesrv")]
    pub(crate) broker: Option<String>,
    /// Of several brokers that the nameserver knows, this one
    #[arg(long, value_name = "NAME", requires = "namesrv")]
    pub(crate) broker_name: Option<String>,
    /// The server's process, to measure it; found by its port when it runs on this machine
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// How the headers of requests are serialised
    #[arg(long, value_enum, default_value_t = Header::Json)]
    pub(crate) header: Header,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Time without any answer after which the run fails
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) timeout: Duration,
    /// Write the report as JSON to this file (- is standard output, instead of the text)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Header {
    /// What Java clients use unless told otherwise
    Json,
    /// The binary form
    Rocketmq,
}

impl From<Header> for SerializeType {
    fn from(header: Header) -> SerializeType {
        match header {
            Header::Json => SerializeType::Json,
            Header::Rocketmq => SerializeType::RocketMq,
        }
    }
}

/// Which queues.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Topics {
    /// Topic; made when it is not there
    #[arg(short, long, default_value = "mqbench")]
    pub(crate) topic: String,
    /// So many topics: TOPIC-0, TOPIC-1, …
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) topics: u32,
    /// Queues of each topic [default: those it has, 8 for a new one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queues: Option<u16>,
    /// Leave queue offsets unchecked: others use the topic too, or the server is mqbench null-server
    #[arg(long)]
    pub(crate) no_offset_check: bool,
}

impl Topics {
    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            count => (0..count).map(|number| format!("{}-{number}", self.topic)).collect(),
        }
    }
}

/// How long.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Amount {
    /// Measure for this long [default: 10s]
    #[arg(short, long, value_name = "TIME", value_parser = duration, conflicts_with = "messages")]
    #[serde(serialize_with = "optional_seconds")]
    pub(crate) duration: Option<Duration>,
    /// Measure so many messages instead
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// Run for this long before measuring
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) warmup: Duration,
}

/// What is sent.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Load {
    /// Connections
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Requests without answer on each connection at most [default: 1; with --rate 1024]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: Option<u32>,
    /// Bytes of a message's body
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=8_388_608))]
    pub(crate) body: u32,
    /// Messages in one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,
    /// Open loop: send at this rate (messages a second), whether answers come or not; latency counts from the time at which a
    /// message was meant to be sent
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rate: Option<u64>,
    /// Count answers that say the server is busy (codes 2 and 215) instead of failing
    #[arg(long)]
    pub(crate) count_busy: bool,
    /// Have messages delivered so long after they were meant to be sent (TIMER_DELIVER_MS)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    #[serde(serialize_with = "optional_seconds")]
    pub(crate) delay: Option<Duration>,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Produce {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) topics: Topics,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) amount: Amount,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Ask for no answers; at the end the queues must have grown by what was sent
    #[arg(long)]
    pub(crate) oneway: bool,
}

/// How messages are pulled.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Pull {
    /// Messages of one pull at most
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) max_messages: u32,
    /// Consumer group; no offset is committed
    #[arg(short, long, default_value = "mqbench")]
    pub(crate) group: String,
    /// How long the server may hold a pull that finds nothing
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) suspend: Duration,
    /// Pop instead of pulling, and acknowledge: the group's offsets are set to the ends of the queues; each connection has one
    /// pop of all queues under way
    #[arg(long)]
    pub(crate) pop: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Consume {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) topics: Topics,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) amount: Amount,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) pull: Pull,
    /// Connections; queues are dealt out to them, and each queue has one pull under way
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Begin at the end and wait for new messages (long polling)
    #[arg(long)]
    pub(crate) tail: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Mixed {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) topics: Topics,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) amount: Amount,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) pull: Pull,
    /// Connections that pull
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) consumers: u32,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Route {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) topics: Topics,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) amount: Amount,
    /// Connections
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Requests without answer on each connection at most
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: u32,
    /// Open loop: ask at this rate (requests a second)
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rate: Option<u64>,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Idle {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) server: Server,
    /// Connections
    #[arg(short, long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Leave them alone for this long
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) duration: Duration,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NullServer {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:10911")]
    pub(crate) listen: String,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Messages in the answer to a pull
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) page_messages: u16,
    /// Bytes of the body of each
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) page_body: u16,
    /// The topic that these messages, and routes, are of
    #[arg(short, long, default_value = "mqbench")]
    pub(crate) topic: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Tables {
    /// Directory of ROW.SERVER.ROUND.json
    pub(crate) results: PathBuf,
    /// Put the tables into this file, between the lines for them [default: print them]
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    /// Of several pairs of such lines those that have this word
    #[arg(long, value_name = "WORD", requires = "into")]
    pub(crate) section: Option<String>,
    /// Put plots (SVG) into this directory, and links to them behind the tables
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
}

/// `10`, `10s`, `500ms`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let ms = match unit {
        "ms" => Some(1.0),
        "" | "s" => Some(1000.0),
        "m" => Some(60_000.0),
        "h" => Some(3_600_000.0),
        _ => None,
    };
    let value = digits.parse::<f64>().ok().filter(|value| (0.0..1e9).contains(value));
    match (value, ms) {
        (Some(value), Some(ms)) => Ok(Duration::from_secs_f64(value * ms / 1000.0)),
        _ => Err("a time is a number and ms, s, m or h, such as 10s or 500ms".to_owned()),
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        for (text, ms) in [("10", 10_000), ("1.5s", 1500), ("500ms", 500), ("2m", 120_000), ("0", 0), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "5 s", "-1", "1d", "ten", "1e99", "inf", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
