//! One run: servers, everyone who sends and consumes, faults, and the wait for what is to come.

use super::check::{Verdict, judge};
use super::drive::pop::Group;
use super::drive::pull::Reader;
use super::drive::push::Members;
use super::drive::{pop, pull, push, send, transaction};
use super::history::{Event, History, What};
use super::plan::{
    FIFO, FIFO_GROUP, Fault, FaultKind, Filter, HALF, LEVEL, LEVELS_S, POP, POP_GROUP, Plan, RETRY, RETRY_GROUP, TIMER,
    TOPICS,
};
use crate::clock::{Deadline, now_ms};
use crate::cluster::{Cluster, ClusterOptions, Kind, Launch};
use crate::scratch;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// After the last message was sent; the longest that one waits is some 25 s, and the machine may be busy.
const DRAIN_SECONDS: u64 = 60;
/// Threads of each group that pops.
const POPPERS: u64 = 3;

/// What all threads of a run share.
pub struct Site {
    /// The plan.
    pub plan: Plan,
    /// What happened.
    pub history: Arc<History>,
    /// The broker.
    pub addr: String,
    /// The nameserver.
    pub namesrv: String,
    /// When it began, ms.
    pub start_ms: u64,
    over: AtomicBool,
}

impl Site {
    /// Whether everyone is to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Until that time, or the end of the run.
    pub fn sleep_until(&self, at_ms: u64) {
        while !self.is_over() && now_ms() < at_ms {
            std::thread::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()).min(50)));
        }
    }
}

/// Ends the threads of a run also when it fails.
struct EndsAll<'s>(&'s Site);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Runs the plan on servers of that kind and judges it.
/// # Panics
/// When a server does not start, or logs an error.
pub fn run(kind: Kind, plan: Plan) -> Verdict {
    let levels = LEVELS_S.map(|seconds| format!("{seconds}s")).join(" ");
    let extra = [
        ("messageDelayLevel", levels.as_str()),
        ("enablePropertyFilter", "true"),
        ("recallMessageEnable", "true"),
        ("transactionTimeOut", "1000"),
        ("transactionCheckInterval", "1000"),
        ("transactionCheckMax", "1000"),
    ];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    for (topic, queues) in TOPICS {
        cluster.create(topic, u32::try_from(queues).expect("few queues"));
    }
    let site = Site {
        plan,
        history: Arc::default(),
        addr: cluster.broker().addr(),
        namesrv: cluster.namesrv(),
        start_ms: now_ms(),
        over: AtomicBool::new(false),
    };
    let readers = readers(&site.plan);
    let group = |name, topic, ordered| Group { name, topic, ordered, came: Mutex::default() };
    let groups = [group(POP_GROUP, POP, false), group(FIFO_GROUP, FIFO, true)];
    let asked = transaction::Asked::default();
    let mut members = push::Members::start(&site);
    std::thread::scope(|scope| {
        let ends = EndsAll(&site);
        let site = &site;
        for reader in &readers {
            scope.spawn(|| pull::run(site, reader));
        }
        for (group, member) in groups.iter().flat_map(|group| (0..POPPERS).map(move |member| (group, member))) {
            scope.spawn(move || pop::run(site, group, member));
        }
        let mut senders = Vec::new();
        for sendings in &site.plan.senders {
            let topic = sendings.first().and_then(|first| site.plan.message(*first.ids.first()?)).map(|one| one.topic);
            if topic == Some(HALF) {
                scope.spawn(|| transaction::run(site, sendings, &asked));
            } else {
                senders.push(scope.spawn(|| send::run(site, sendings)));
            }
        }
        for fault in &site.plan.faults {
            site.sleep_until(site.start_ms + fault.at_ms);
            befall(&cluster, site, &mut members, fault);
        }
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
        drain(site);
        members.stop();
        drop(ends);
    });
    cluster.assert_quiet();
    let events = site.history.events();
    let mut verdict = judge(&site.plan, &events);
    if !(verdict.violations.is_empty() && verdict.missing.is_empty()) {
        verdict.history = Some(write(&site, &events));
    }
    verdict
}

/// The history as a file, a line for each event, times since the start.
fn write(site: &Site, events: &[Event]) -> PathBuf {
    let path = scratch::dir("model").join(format!("history-{}", site.plan.seed));
    let line = |event: &Event| {
        let since = |at: u64| at.saturating_sub(site.start_ms);
        let mut what = event.what.clone();
        if let What::Delivered(delivery) | What::Pushed(delivery) = &mut what {
            delivery.body.truncate(delivery.body.find('|').unwrap_or(0));
        }
        format!("{:>6} {:>6} {what:?}\n", since(event.begun), since(event.ended))
    };
    let text: String = events.iter().map(line).collect();
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path
}

/// One thread reads one queue for one group.
fn readers(plan: &Plan) -> Vec<Reader> {
    let mut all = Vec::new();
    let mut add = |group: &str, topic: &str, queues: i64, filter: &Filter| {
        all.extend((0..queues).map(|queue| Reader {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue,
            filter: filter.clone(),
            sends_back: group == RETRY_GROUP,
            exists: !topic.starts_with('%'),
        }));
    };
    for (topic, queues) in TOPICS {
        match topic {
            LEVEL | TIMER | HALF => add("CG_all", topic, queues, &Filter::All),
            RETRY => add(RETRY_GROUP, topic, queues, &Filter::All),
            POP | FIFO => {}
            _ => plan.plain_readers().iter().for_each(|(group, filter)| add(group, topic, queues, filter)),
        }
    }
    add(RETRY_GROUP, &format!("%RETRY%{RETRY_GROUP}"), 1, &Filter::All);
    add("CG_dead", &format!("%DLQ%{RETRY_GROUP}"), 1, &Filter::All);
    all
}

fn befall(cluster: &Cluster, site: &Site, members: &mut Members, fault: &Fault) {
    let begun = now_ms();
    let pause = || site.sleep_until(now_ms() + fault.pause_ms);
    match fault.what {
        FaultKind::Kill | FaultKind::Stop => {
            let killed = fault.what == FaultKind::Kill;
            if killed {
                cluster.broker().kill9()
            } else {
                cluster.broker().stop()
            }
            pause();
            cluster.broker().boot();
            site.history.add(begun, What::Away { killed });
        }
        FaultKind::Nameserver => {
            cluster.nameservers[0].kill9();
            pause();
            cluster.nameservers[0].boot();
        }
        FaultKind::Member => {
            members.change();
            site.history.add(begun, What::Member);
        }
    }
}

/// Waits until nothing is missing any more, and then until nothing forbidden may come any more.
fn drain(site: &Site) {
    let deadline = Deadline::in_seconds(DRAIN_SECONDS);
    while !deadline.passed() {
        let verdict = judge(&site.plan, &site.history.events());
        if verdict.missing.is_empty() && verdict.quiet_at <= now_ms() {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
