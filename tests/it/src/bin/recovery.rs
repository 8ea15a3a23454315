//! How long brokers with a full store take to start, ours beside Java's. Run it as `scripts/recovery`.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use it::clock::wait_for;
use it::link::Link;
use it::scratch;
use it::{Broker, Kind, Launch, Nameserver};
use serde_json::{Map, json};
use std::io::Error;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 1024;
const BATCH: usize = 32;
const SENDERS: usize = 4;
/// The log's store: a few topics with many messages.
const FEW_TOPICS: usize = 8;
const QUEUES_OF_TOPIC: usize = 8;
const ROUNDS: usize = 3;
const PATIENCE_SECONDS: u64 = 600;
/// What Java has open besides the files of queues.
const DESCRIPTORS_BESIDES: usize = 1000;

/// What one broker was seen to do with one store.
struct Figures {
    killed: Vec<Duration>,
    stopped: Vec<Duration>,
    /// VmRSS and RssAnon in KiB, descriptors, maps: after a start from a clean stop, before any load.
    memory: [u64; 4],
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [gib, queues @ ..] = args.as_slice() else { panic!("recovery GIB QUEUES…") };
    let gib: u64 = gib.parse().expect("GIB is a number");
    it::jvm::prepare();
    println!("| store | figure | ours | Java | Java / ours |\n|---|---|---:|---:|---:|");
    let of =
        |kind, measure: &dyn Fn(Kind) -> Figures| catch_unwind(std::panic::AssertUnwindSafe(|| measure(kind))).ok();
    let long = |kind| of(kind, &|kind| long_log(kind, gib));
    let store = format!("{gib} GiB of log, {} queues", FEW_TOPICS * QUEUES_OF_TOPIC);
    table(&store, (long(Kind::Ferrocket), long(Kind::Java)));
    for queues in queues {
        let count: usize = queues.parse().expect("QUEUES is a number");
        let many = |kind| of(kind, &|kind| many_queues(kind, count));
        let ours = many(Kind::Ferrocket);
        // It would refuse messages one by one, each after long, and be waited for in vain.
        let fits = count + DESCRIPTORS_BESIDES < descriptors();
        if !fits {
            eprintln!(
                "Java keeps a file open for each queue: {queues} and {DESCRIPTORS_BESIDES} are more than the {} \
                descriptors allowed here, so it is left out",
                descriptors()
            );
        }
        table(&format!("{queues} queues"), (ours, if fits { many(Kind::Java) } else { None }));
    }
}

/// How many files a process may have open here.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the process knows its limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(usize::MAX)
}

fn long_log(kind: Kind, gib: u64) -> Figures {
    let nameserver = Nameserver::start(Launch::of(kind));
    let broker = start(kind, &nameserver, &[]);
    let mut link = Link::new(&broker.addr()).expect("the broker accepts connections");
    for topic in 0..FEW_TOPICS {
        link.create_topic(&format!("Topic{topic}"), 8).expect("the broker answers").expect("the topic is made");
    }
    let batches = usize::try_from(gib << 30).expect("a store fits") / (BATCH * (BODY_BYTES + 100));
    load(&broker, batches / SENDERS, None);
    measure(&broker, || {
        let mut link = Link::new(&broker.addr()).expect("the broker accepts connections");
        let (_, max) = link.range("Topic0", 0).expect("the broker answers");
        assert!(!link.pull("Topic0", 0, max - 1, 1).expect("it answers").is_empty(), "the last message can be read");
    })
}

fn many_queues(kind: Kind, queues: usize) -> Figures {
    let nameserver = Nameserver::start(Launch::of(kind));
    let topics = queues / QUEUES_OF_TOPIC;
    let dir = scratch::dir(&format!("many-{kind:?}"));
    topics_json(&dir, topics);
    let (root, log) = (dir.display().to_string(), dir.join("commitlog").display().to_string());
    let broker = start(kind, &nameserver, &[("storePathRootDir", &root), ("storePathCommitLog", &log)]);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let addr = broker.addr();
            scope.spawn(move || {
                let mut link = Link::new(&addr).expect("the broker accepts connections");
                for topic in (sender..topics).step_by(SENDERS) {
                    for queue in 0..8 {
                        let sent = link.send(&format!("Many{topic}"), queue, "k", &[b'x'; 100]).expect("it answers");
                        sent.expect("the message is taken");
                    }
                }
            });
        }
    });
    let last = format!("Many{}", topics - 1);
    let complete = || {
        let mut link = Link::new(&broker.addr()).expect("the broker accepts connections");
        wait_for("the last queue has its message", PATIENCE_SECONDS, || {
            (!link.pull(&last, 7, 0, 1).ok()?.is_empty()).then_some(())
        });
    };
    complete();
    let figures = measure(&broker, complete);
    std::fs::remove_dir_all(dir).ok();
    figures
}

/// A broker with the file sizes of a default configuration.
fn start(kind: Kind, nameserver: &Nameserver, more: &[(&str, &str)]) -> Broker {
    let mut settings = vec![
        ("mappedFileSizeCommitLog", "1073741824"),
        ("mappedFileSizeConsumeQueue", "6000000"),
        ("maxHashSlotNum", "5000000"),
        ("maxIndexNum", "20000000"),
    ];
    settings.extend(more);
    Broker::start(Launch::of(kind), "broker-a", &nameserver.addr(), &settings)
}

/// Kills and starts, stops and starts; `answered` returns when the broker serves what it holds.
fn measure(broker: &Broker, answered: impl Fn()) -> Figures {
    let timed = || {
        let began = Instant::now();
        broker.boot_within(PATIENCE_SECONDS);
        answered();
        began.elapsed()
    };
    let killed = (0..ROUNDS).map(|_| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| load(broker, 2000, Some(&stop)));
            std::thread::sleep(Duration::from_secs(1));
            broker.kill9();
            stop.store(true, Ordering::Release);
        });
        timed()
    });
    let killed = killed.collect();
    let stopped = (0..ROUNDS).map(|_| {
        broker.stop_within(PATIENCE_SECONDS);
        timed()
    });
    let stopped = stopped.collect();
    let memory = memory(broker.id());
    broker.kill9();
    std::fs::remove_dir_all(broker.store_dir()).ok();
    Figures { killed, stopped, memory }
}

/// Batches on several connections; errors are expected when the broker is about to be killed (`stop`).
fn load(broker: &Broker, batches: usize, stop: Option<&AtomicBool>) {
    let (addr, bodies) = (broker.addr(), vec![vec![7; BODY_BYTES]; BATCH]);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (addr, bodies) = (&addr, &bodies);
            scope.spawn(move || {
                let send = || {
                    let mut link = Link::new(addr)?;
                    for batch in 0..batches {
                        let topic = format!("Topic{}", (sender + batch) % FEW_TOPICS);
                        let queue = i64::try_from(batch / FEW_TOPICS % QUEUES_OF_TOPIC).map_err(Error::other)?;
                        link.send_batch(&topic, queue, bodies)?.map_err(|refused| Error::other(refused.remark))?;
                    }
                    Ok::<_, Error>(())
                };
                if let (Err(error), None) = (send(), stop) {
                    panic!("the load: {error}");
                }
            });
        }
    });
}

/// `config/topics.json` with that many topics, in Java's shape.
fn topics_json(dir: &Path, topics: usize) {
    let topic = |name: String| {
        let settings = json!({ "attributes": {}, "order": false, "perm": 6, "readQueueNums": QUEUES_OF_TOPIC,
            "topicFilterType": "SINGLE_TAG", "topicName": name, "topicSysFlag": 0, "writeQueueNums": QUEUES_OF_TOPIC });
        (name, settings)
    };
    let few = (0..FEW_TOPICS).map(|number| topic(format!("Topic{number}")));
    let table: Map<_, _> = (0..topics).map(|number| topic(format!("Many{number}"))).chain(few).collect();
    let text = json!({ "dataVersion": { "counter": 1, "stateVersion": 0, "timestamp": 1_700_000_000_000_i64 },
        "topicConfigTable": table });
    std::fs::create_dir_all(dir.join("config")).expect("the scratch directory is writable");
    std::fs::write(dir.join("config/topics.json"), text.to_string()).expect("the scratch directory is writable");
}

fn memory(pid: u32) -> [u64; 4] {
    let proc = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(proc.join("status")).expect("the broker runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let fds = std::fs::read_dir(proc.join("fd")).map_or(0, |entries| entries.count() as u64);
    let maps = std::fs::read_to_string(proc.join("maps")).map_or(0, |text| text.lines().count() as u64);
    [field("VmRSS:"), field("RssAnon:"), fds, maps]
}

fn table(store: &str, (ours, java): (Option<Figures>, Option<Figures>)) {
    let row = |figure: &str, value: &dyn Fn(&Figures) -> f64, decimals: usize| {
        let of = |figures: &Option<Figures>| figures.as_ref().map(value);
        let text = |value: Option<f64>| value.map_or("fails".to_owned(), |value| format!("{value:.decimals$}"));
        let ratio = of(&java).zip(of(&ours)).map_or("–".to_owned(), |(java, ours)| format!("{:.1}", java / ours));
        println!("| {store} | {figure} | {} | {} | {ratio} |", text(of(&ours)), text(of(&java)));
    };
    row("start to first message read after kill -9, s", &|figures| median(&figures.killed), 2);
    row("the same after a clean stop, s", &|figures| median(&figures.stopped), 2);
    row("resident memory, MiB", &|figures| figures.memory[0] as f64 / 1024.0, 1);
    row("of that anonymous, MiB", &|figures| figures.memory[1] as f64 / 1024.0, 1);
    row("descriptors", &|figures| figures.memory[2] as f64, 0);
    row("maps", &|figures| figures.memory[3] as f64, 0);
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
