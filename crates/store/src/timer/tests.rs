use std::collections::BTreeSet;
use std::path::Path;

use codec::properties::{Properties, names};
use codec::timer::{LogItem, UNIT_LEN};

use super::*;
use crate::{FakeClock, Message, NoListener, RealFileSystem, StoreConfig};

/// A whole second.
const START: i64 = 1_700_000_000_000;

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Arc<MessageStore>,
    config: TimerConfig,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(START));
        let store = open_store(dir.path(), &clock);
        let config = TimerConfig { mapped_file_size_timer_log: 1024, ..TimerConfig::default() };
        Bench { dir, clock, store, config }
    }

    fn engine(&self) -> Engine {
        let mut engine = recover::open(&self.store, &self.config, Arc::default()).unwrap();
        engine.first_job().unwrap();
        engine
    }

    /// Brings everything to the disk as the other thread does.
    fn flush(&self, engine: &mut Engine, clean: bool) {
        let flusher = TimerFlusher {
            flusher: self.store.checkpointer.flusher.clone(),
            checkpoint: Arc::clone(&engine.checkpoint),
            shared: Arc::clone(&engine.shared),
        };
        engine.dirty = true;
        let job = engine.flush_job(clean).unwrap().unwrap();
        flusher.run(&job).unwrap();
    }

    /// Puts a message that is due at `due_ms`, as the broker does.
    fn put(&self, key: &str, due_ms: i64, more: &[(&str, &str)]) {
        let precision = self.config.precision_ms;
        let out = if due_ms % precision == 0 { due_ms - precision } else { due_ms / precision * precision };
        let mut properties = Properties::new();
        properties.set(names::UNIQ_KEY, key);
        properties.set(names::TIMER_DELIVER_MS, due_ms.to_string());
        properties.set(names::TIMER_OUT_MS, out.to_string());
        properties.set(names::REAL_TOPIC, "T");
        properties.set(names::REAL_QID, "3");
        more.iter().for_each(|(name, value)| properties.set(name, *value));
        let properties = properties.encode();
        let message = Message::new(TIMER_TOPIC, 0, key.as_bytes());
        self.store.put(&Message { properties: &properties, born_timestamp: due_ms, ..message }).unwrap();
        self.settle();
    }

    /// Waits until queues have what was put.
    fn settle(&self) {
        while self.store.status().dispatch_behind_bytes > 0 {
            std::thread::yield_now();
        }
    }

    /// Works until nothing is left to do at this moment.
    fn work(&self, engine: &mut Engine) {
        loop {
            self.settle();
            if !engine.step().unwrap() {
                return;
            }
        }
    }

    /// Lets time pass second by second to `to_ms`, at half past each.
    fn pass(&self, engine: &mut Engine, to_ms: i64) {
        let mut now = self.clock.now_ms();
        while now < to_ms {
            now = (now + 500).min(to_ms);
            self.clock.set(now);
            self.work(engine);
        }
    }

    /// What was delivered: key, when, properties.
    fn delivered(&self) -> Vec<(String, i64, Properties)> {
        self.settle();
        let units = self.store.queue_units("T", 3, 0, 10_000);
        let records = units.iter().map(|unit| self.store.record_at(unit.physical_offset).unwrap());
        records
            .map(|bytes| {
                let record = codec::message::MessageRecord::parse(&bytes).unwrap();
                let key = String::from_utf8_lossy(record.body).into_owned();
                let due = record.born_timestamp;
                assert!(record.store_timestamp >= due, "{key}: early by {} ms", due - record.store_timestamp);
                (key, record.store_timestamp, Properties::parse(&record.properties_str()))
            })
            .collect()
    }

    fn keys(&self) -> Vec<String> {
        self.delivered().into_iter().map(|(key, ..)| key).collect()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

fn open_store(dir: &Path, clock: &Arc<FakeClock>) -> Arc<MessageStore> {
    let config = StoreConfig { mapped_file_size_commit_log: 1 << 20, ..StoreConfig::at(dir) };
    let fs = Arc::new(RealFileSystem);
    Arc::new(MessageStore::open_with(config, Arc::new(NoListener), fs, Arc::clone(clock) as Arc<dyn Clock>).unwrap())
}

use crate::clock::Clock;

#[test]
fn messages_come_in_time_in_order_and_with_the_marks_of_java() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    for (key, due) in [("a", START + 2500), ("b", START + 3000), ("c", START + 2001), ("d", START + 10_000)] {
        bench.put(key, due, &[]);
    }
    bench.work(&mut engine);
    let status = engine.shared.status();
    assert_eq!((status.waiting, status.queue_offset), (4, 4));
    assert_eq!(engine.next_due_ms(), Some(START + 3000));
    bench.pass(&mut engine, START + 20_000);
    let delivered = bench.delivered();
    let times: Vec<_> = delivered.iter().map(|(key, at, _)| (key.as_str(), at - START)).collect();
    assert_eq!(times, [("a", 3000), ("b", 3000), ("c", 3000), ("d", 10_000)]);
    let properties = &delivered[3].2;
    let read = |name| properties.get(name).map(str::to_owned);
    assert_eq!(read(names::TIMER_OUT_MS), Some((START + 9000).to_string()));
    assert_eq!(read(names::TIMER_ENQUEUE_MS), Some(START.to_string()));
    assert_eq!(read(names::TIMER_DEQUEUE_MS), Some((START + 10_000).to_string()));
    assert_eq!((read(names::REAL_TOPIC), read(names::REAL_QID)), (Some("T".into()), Some("3".into())));
    assert_eq!((read(names::TIMER_ROLL_TIMES), read(names::WAIT)), (None, None));
    assert_eq!((engine.shared.status().waiting, engine.next_due_ms()), (0, None));
    assert_eq!(engine.shared.counts().1["T"].count, 0);
}

#[test]
fn what_is_due_when_it_comes_is_delivered_at_once() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    bench.put("late", START - 5000, &[]);
    bench.work(&mut engine);
    let delivered = bench.delivered();
    assert_eq!(delivered[0].2.get(names::TIMER_ENQUEUE_MS), Some("9223372036854775807"));
    assert_eq!(engine.shared.counts().0, 0, "it never waited");
}

#[test]
fn far_messages_go_round() {
    let mut bench = Bench::new();
    bench.config.timer_roll_window_slot = 10;
    let mut engine = bench.engine();
    bench.put("far", START + 34_500, &[]);
    bench.put("near", START + 9500, &[]);
    bench.pass(&mut engine, START + 34_000);
    assert_eq!(bench.keys(), ["near"]);
    bench.pass(&mut engine, START + 40_000);
    let (key, at, properties) = &bench.delivered()[1];
    assert_eq!((key.as_str(), at - START), ("far", 35_000));
    // 10 s, 10 s, then 14 s are left: a whole window less a third counts as one, so half of it comes first.
    assert!(properties.get(names::TIMER_ROLL_TIMES).unwrap().parse::<i32>().unwrap() >= 3);
    assert_eq!(engine.shared.counts().1["T"].count, 0);
}

#[test]
fn a_message_is_taken_back() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    for key in ["a", "b", "c"] {
        bench.put(key, START + 5500, &[]);
    }
    bench.work(&mut engine);
    bench.put("b", START + 5001, &[(names::TIMER_DEL_UNIQKEY, "b")]);
    bench.put("x", START + 5001, &[(names::TIMER_DEL_UNIQKEY, "nobody")]);
    bench.pass(&mut engine, START + 10_000);
    assert_eq!(bench.keys(), ["a", "c"]);
    // Too late.
    bench.put("c", START + 5001, &[(names::TIMER_DEL_UNIQKEY, "c")]);
    bench.work(&mut engine);
    assert_eq!(bench.keys(), ["a", "c"]);
}

#[test]
fn the_key_that_takes_back_may_carry_the_topic() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    engine.shared.key_with_topic.store(true, Ordering::Relaxed);
    bench.put("a", START + 5500, &[]);
    bench.put("b", START + 5500, &[]);
    bench.put("a", START + 5500, &[(names::TIMER_DEL_UNIQKEY, "T+a")]);
    bench.put("b", START + 5500, &[(names::TIMER_DEL_UNIQKEY, "b")]);
    bench.pass(&mut engine, START + 10_000);
    assert_eq!(bench.keys(), ["b"]);
}

/// Puts 60 messages over 30 seconds; after each step the process dies, and `harm` is done to its files.
fn dies_at_every_step(harm: impl Fn(&Bench, usize)) -> (Bench, Vec<String>) {
    let mut bench = Bench::new();
    bench.config.timer_roll_window_slot = 12;
    let mut steps = 0;
    for second in 0..45 {
        if second < 15 {
            for at in 0..4 {
                let key = format!("{second}-{at}");
                bench.put(&key, START + second * 1000 + 1 + at * 5000, &[]);
            }
            if second % 3 == 0 {
                let key = format!("{second}-3");
                bench.put(&key, START + second * 1000 + 1 + 15_000, &[(names::TIMER_DEL_UNIQKEY, &key)]);
            }
        }
        bench.clock.set(START + second * 1000 + 600);
        loop {
            bench.settle();
            let mut engine = bench.engine();
            let more = engine.step().unwrap();
            if steps % 5 == 0 {
                bench.flush(&mut engine, steps % 2 == 0);
            }
            drop(engine);
            harm(&bench, steps);
            steps += 1;
            if !more {
                break;
            }
        }
    }
    assert!(steps > 80, "{steps}");
    let keys = bench.keys();
    (bench, keys)
}

fn expected() -> BTreeSet<String> {
    let all = (0..15).flat_map(|second| (0..4).map(move |at| (second, at)));
    all.filter(|(second, at)| !(second % 3 == 0 && *at == 3)).map(|(second, at)| format!("{second}-{at}")).collect()
}

fn assert_once(keys: &[String]) {
    let unique: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(unique, expected());
    assert_eq!(keys.len(), unique.len(), "doubles: {keys:?}");
}

#[test]
fn a_process_that_dies_at_every_step_delivers_once() {
    let (_, keys) = dies_at_every_step(|_, _| {});
    assert_once(&keys);
}

#[test]
fn a_wheel_that_is_lost_or_broken_is_made_again() {
    let (_, keys) = dies_at_every_step(|bench, step| match step % 3 {
        0 => std::fs::remove_file(bench.path("timerwheel")).unwrap(),
        1 => {
            let file = std::fs::File::options().write(true).open(bench.path("timerwheel")).unwrap();
            let tick = START / 1000 + i64::try_from(step).unwrap() % 30;
            let at = u64::try_from(tick).unwrap() % 1_209_600 * 32;
            let slot = codec::timer::Slot { tick, first: 52, last: 1 << 40, num: 9, magic: 0 };
            std::os::unix::fs::FileExt::write_all_at(&file, &slot.encode(), at).unwrap();
        }
        _ => std::fs::write(bench.path("timerwheel"), b"short").unwrap(),
    });
    assert_once(&keys);
}

#[test]
fn a_log_that_is_lost_is_taken_from_the_topic_again() {
    let (_, keys) = dies_at_every_step(|bench, step| {
        if step % 4 == 0 {
            std::fs::remove_dir_all(bench.path("timerlog")).unwrap();
        }
    });
    let unique: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(unique, expected(), "nothing is lost");
}

#[test]
fn a_log_that_is_torn_is_cut() {
    let (bench, keys) = dies_at_every_step(|bench, step| {
        let mut files: Vec<_> =
            std::fs::read_dir(bench.path("timerlog")).unwrap().map(|item| item.unwrap().path()).collect();
        files.sort();
        if step % 7 == 0
            && let Some(last) = files.last()
        {
            let bytes = std::fs::read(last).unwrap();
            let units = bytes.chunks(UNIT_LEN).take_while(|unit| matches!(LogItem::parse(unit), LogItem::Unit(_)));
            let end = units.count() * UNIT_LEN;
            let mut bytes = bytes;
            bytes[end.saturating_sub(30)..end].fill(0xEE);
            std::fs::write(last, bytes).unwrap();
        }
    });
    let unique: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(unique, expected(), "nothing is lost");
    assert!(!bench.path("abort").is_dir());
}

#[test]
fn without_our_part_of_the_checkpoint_java_s_holds() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    for at in 1..20 {
        bench.put(&format!("m{at}"), START + at * 1000 + 500, &[]);
    }
    bench.pass(&mut engine, START + 8000);
    bench.flush(&mut engine, true);
    drop(engine);
    let path = bench.path("config/timercheck");
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 4096);
    let java = TimerCheckpoint::parse(&bytes).unwrap();
    assert_eq!((java.last_read_time_ms, java.last_timer_queue_offset), (START + 8000, 19));
    assert_eq!(java.master_timer_queue_offset, 19);
    bytes[2048..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_file(bench.path("timerwheel")).unwrap();
    let mut engine = bench.engine();
    bench.pass(&mut engine, START + 30_000);
    assert_eq!(bench.keys(), (1..20).map(|at| format!("m{at}")).collect::<Vec<_>>());
}

#[test]
fn without_a_checkpoint_nothing_is_lost() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    for at in 1..10 {
        bench.put(&format!("m{at}"), START + at * 1000 + 500, &[]);
    }
    bench.pass(&mut engine, START + 4000);
    drop(engine);
    std::fs::remove_file(bench.path("config/timercheck")).unwrap();
    bench.put("m10", START + 10_500, &[]);
    let mut engine = bench.engine();
    bench.pass(&mut engine, START + 30_000);
    let unique: BTreeSet<_> = bench.keys().into_iter().collect();
    assert_eq!(unique, (1..=10).map(|at| format!("m{at}")).collect());
}

#[test]
fn units_of_messages_that_the_commit_log_lost_are_cut_off() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    bench.put("kept", START + 5500, &[]);
    bench.work(&mut engine);
    engine
        .log
        .push(&codec::timer::LogUnit {
            previous: 0,
            magic: 1,
            write_ms: START,
            delay_ms: 5000,
            physical_offset: 1 << 30,
            size: 200,
            topic_hash: 0,
        })
        .unwrap();
    engine.log.commit().unwrap();
    drop(engine);
    let mut engine = bench.engine();
    assert_eq!(engine.log.end(), UNIT_LEN as u64);
    bench.pass(&mut engine, START + 10_000);
    assert_eq!(bench.keys(), ["kept"]);
}

#[test]
fn another_precision_links_the_log_anew() {
    let mut bench = Bench::new();
    bench.config.precision_ms = 100;
    let mut engine = bench.engine();
    for at in 0..40 {
        bench.put(&format!("m{at}"), START + 1000 + at * 130, &[]);
    }
    bench.work(&mut engine);
    bench.flush(&mut engine, true);
    drop(engine);
    bench.config.precision_ms = 1000;
    let mut engine = bench.engine();
    bench.pass(&mut engine, START + 3000);
    bench.flush(&mut engine, true);
    drop(engine);
    std::fs::remove_file(bench.path("timerwheel")).unwrap();
    let mut engine = bench.engine();
    bench.pass(&mut engine, START + 20_000);
    assert_eq!(bench.keys(), (0..40).map(|at| format!("m{at}")).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    bench.put("before", START + 2500, &[]);
    bench.pass(&mut engine, START + 10_000);
    bench.clock.set(START + 4000);
    bench.put("after", START + 5500, &[]);
    bench.pass(&mut engine, START + 20_000);
    assert_eq!(bench.keys(), ["before", "after"]);
}

#[test]
fn stopped_it_takes_in_or_delivers_nothing() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    engine.shared.stop_enqueue.store(true, Ordering::Relaxed);
    bench.put("a", START + 1500, &[]);
    bench.pass(&mut engine, START + 1000);
    assert_eq!(engine.shared.status().waiting, 0);
    engine.shared.stop_enqueue.store(false, Ordering::Relaxed);
    engine.shared.stop_dequeue.store(true, Ordering::Relaxed);
    bench.pass(&mut engine, START + 5000);
    assert_eq!((engine.shared.status().waiting, bench.keys().len(), engine.next_due_ms()), (1, 0, None));
    engine.shared.stop_dequeue.store(false, Ordering::Relaxed);
    bench.work(&mut engine);
    assert_eq!(bench.keys(), ["a"]);
}

#[test]
fn files_of_the_log_go_with_the_messages_they_name() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    for at in 0..100 {
        bench.put(&format!("m{at}"), START + 1500, &[]);
    }
    bench.pass(&mut engine, START + 5000);
    let before = std::fs::read_dir(bench.path("timerlog")).unwrap().count();
    assert!(before > 4, "{before}");
    let middle = bench.store.queue_units(TIMER_TOPIC, 0, 50, 1)[0].physical_offset;
    engine.log.delete_before(middle).unwrap();
    let after = std::fs::read_dir(bench.path("timerlog")).unwrap().count();
    assert!((before / 2 - 1..=before / 2 + 1).contains(&after), "{before} {after}");
    engine.log.delete_before(u64::MAX).unwrap();
    assert_eq!(std::fs::read_dir(bench.path("timerlog")).unwrap().count(), 1, "the last stays");
    drop(engine);
    bench.put("new", START + 9500, &[]);
    let mut engine = bench.engine();
    bench.pass(&mut engine, START + 12_000);
    assert_eq!(bench.keys().len(), 101);
}

#[test]
fn threads_deliver_sleep_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let wake = Arc::new(TimerWake::default());
    struct Listener(Arc<TimerWake>);
    impl crate::MessageArrivingListener for Listener {
        fn arriving(&self, arrival: &crate::Arrival<'_>) {
            if arrival.topic == TIMER_TOPIC {
                self.0.arrived();
            }
        }
    }
    let config = StoreConfig { mapped_file_size_commit_log: 1 << 20, ..StoreConfig::at(dir.path()) };
    let store = Arc::new(MessageStore::open(config, Arc::new(Listener(Arc::clone(&wake)))).unwrap());
    let config = TimerConfig { precision_ms: 20, flush_interval_ms: 10, ..TimerConfig::default() };
    let timer = TimerStore::open(&store, &config, wake).unwrap();
    let clock = crate::SystemClock;
    for at in 0..50 {
        let out = (clock.now_ms() + at * 7) / 20 * 20;
        let properties =
            format!("TIMER_OUT_MS\u{1}{out}\u{2}REAL_TOPIC\u{1}T\u{2}REAL_QID\u{1}0\u{2}UNIQ_KEY\u{1}k{at}\u{2}");
        store.put(&Message { properties: &properties, ..Message::new(TIMER_TOPIC, 0, b"x") }).unwrap();
    }
    let deadline = crate::clock::instant() + Duration::from_secs(30);
    while store.max_offset("T", 0) < 50 {
        assert!(crate::clock::instant() < deadline, "{:?}", timer.status());
        std::thread::sleep(Duration::from_millis(1));
    }
    timer.shutdown();
    assert_eq!((timer.status().waiting, timer.status().queue_offset), (0, 50));
    store.shutdown();
    let bytes = std::fs::read(dir.path().join("config/timercheck")).unwrap();
    assert_eq!(TimerCheckpoint::parse(&bytes).unwrap().last_timer_queue_offset, 50);
}
