//! Random damage to small stores: verifying never fails or hangs and never takes a damaged record for a sound one; what
//! the store serves after opening what is left is what was put, or has a checksum that says it is not.
//!
//! `MQSTORE_CASES` sets how many cases are tried, `MQSTORE_SEED` with which seed to begin; a failure prints its seed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use codec::message::MessageRecord;
use common::{Put, check, config, config_of_formats, contents, fill, fill_formats, log_place};
use mqstore::dump::{Form, Selection, dump};
use mqstore::inspect::inspect;
use mqstore::verify::{Kind, Report};
use store::{AllMessages, FakeClock, GetQuery, MessageStore, NoListener, RealFileSystem, StoreConfig};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Base {
    files: Files,
    puts: Vec<Put>,
    config: fn(&Path) -> StoreConfig,
}

/// The last two have extensions of queues and queues of batches.
fn bases() -> Vec<Base> {
    [(12, 0), (60, 0), (230, 0), (40, 10), (160, 40)]
        .map(|(count, batches)| {
            let config = if batches == 0 { config } else { config_of_formats };
            let root = tempfile::tempdir().unwrap();
            // Bases are the same at each run, and so is what a seed does to them.
            let clock = Arc::new(FakeClock::new(1_700_000_000_000));
            let store =
                MessageStore::open_with(config(root.path()), Arc::new(NoListener), Arc::new(RealFileSystem), clock);
            let store = store.unwrap();
            let puts = if batches == 0 { fill(&store, count) } else { fill_formats(&store, count, batches) };
            store.shutdown();
            common::metadata(root.path());
            if batches > 0 {
                let topics = root.path().join("config/topics.json");
                let text = fs::read_to_string(&topics).unwrap();
                let batch =
                    r#""topicConfigTable":{"TopicBatch":{"topicName":"TopicBatch","readQueueNums":2,"perm":6},"#;
                fs::write(topics, text.replace(r#""topicConfigTable":{"#, batch)).unwrap();
            }
            if count < 60 {
                fs::remove_file(root.path().join("config/consumerOffset.json")).unwrap();
            }
            Base { files: contents(root.path()), puts, config }
        })
        .into()
}

/// Damages one file; returns what was done.
fn mutate(files: &mut Files, random: &mut Random) -> String {
    let mut groups =
        vec!["commitlog", "commitlog", "commitlog", "consumequeue", "consumequeue", "index", "checkpoint", "config"];
    let formats = ["batchconsumequeue", "batchconsumequeue", "consumequeue_ext", "consumequeue_ext"];
    groups.extend(formats.into_iter().filter(|group| files.keys().any(|path| path.starts_with(group))));
    let group = groups[random.below(groups.len())];
    let paths: Vec<PathBuf> = files.keys().filter(|path| path.starts_with(group)).cloned().collect();
    if paths.is_empty() {
        return format!("{group} is gone");
    }
    let path = paths[random.below(paths.len())].clone();
    let bytes = files.get_mut(&path).unwrap();
    // Most of a file is not used: most damage goes where something is.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let room = if random.below(8) == 0 { bytes.len() } else { used };
    let at = random.below(room);
    let len = [1, 4, 20, 91, 512, 4096][random.below(6)].min(bytes.len() - at.min(bytes.len()));
    let what = match random.below(12) {
        0..=4 => {
            let mask = 1 << random.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
            format!("bit {mask:#x} at {at}")
        }
        5 | 6 => {
            bytes[at..at + len].fill(0);
            format!("{len} zeroes at {at}")
        }
        7 => {
            bytes[at..at + len].iter_mut().for_each(|byte| *byte = random.next().to_le_bytes()[0]);
            format!("{len} random bytes at {at}")
        }
        8 => {
            let from = random.below(bytes.len() - len + 1);
            bytes.copy_within(from..from + len, at);
            format!("{len} bytes from {from} at {at}")
        }
        9 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        // A lone index file may be of any length: only the broker's settings say which is right.
        10 if group != "index" => {
            bytes.extend((0..len).map(|_| 7));
            format!("{len} bytes more")
        }
        _ => {
            files.remove(&path);
            "removed".to_owned()
        }
    };
    format!("{}: {what}", path.display())
}

fn lay_out(files: &Files, root: &Path) {
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Only in fields that nothing in the store can vouch for.
    Unprotected,
    /// In fields that queues or index vouch for.
    Placed,
    /// In what makes it a record, or in its body.
    Damaged,
}

fn state(base: &Base, files: &Files, put: &Put) -> State {
    let (path, position) = log_place(Path::new(""), put.place.physical_offset);
    let (at, len) = (usize::try_from(position).unwrap(), put.place.len as usize);
    let before = &base.files[&path][at..at + len];
    // A log whose first files are missing is one whose first files have expired.
    let first = files.keys().find(|path| path.starts_with("commitlog"));
    if first.is_some_and(|first| path < *first) {
        return State::Unprotected;
    }
    let Some(now) = files.get(&path).and_then(|bytes| bytes.get(at..at + len)) else { return State::Damaged };
    let changed = |range: std::ops::Range<usize>| before[range.clone()] != now[range];
    let body_end = 88 + put.body.len();
    let topic_end = body_end + 1 + put.topic.len();
    if changed(0..12) || changed(28..36) || changed(84..body_end + 1) || changed(topic_end..topic_end + 2) {
        State::Damaged
    } else if changed(12..16) || changed(20..28) || changed(body_end + 1..topic_end) {
        State::Placed
    } else if changed(16..20) || changed(36..84) || changed(topic_end + 2..len) {
        State::Unprotected
    } else {
        State::Whole
    }
}

fn case(bases: &[Base], seed: u64, root: &Path) -> Report {
    let mut random = Random(seed);
    let base = &bases[random.below(bases.len())];
    let mut files = base.files.clone();
    (0..=random.below(3)).for_each(|_| drop(mutate(&mut files, &mut random)));
    if random.below(4) == 0 {
        files.insert("abort".into(), b"1".to_vec());
    }
    lay_out(&files, root);
    let report = check(root);
    let _ = inspect(&common::dir(root)).unwrap().text();
    let all = Selection { limit: u64::MAX, ..Selection::default() };
    dump(&common::dir(root), &all, Form::JsonLines, &mut std::io::sink()).unwrap();
    assert_eq!(fs::exists(root.join("lock")).unwrap(), files.contains_key(Path::new("lock")));

    let states: Vec<State> = base.puts.iter().map(|put| state(base, &files, put)).collect();
    let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count() as u64;
    let possible = count(&[State::Whole, State::Unprotected, State::Placed]);
    assert!(report.records <= possible, "{} of {possible} records are sound, it says", report.records);
    if count(&[State::Damaged, State::Placed]) > 0 {
        assert!(!report.sound, "damaged records, and nothing found");
    }
    // Opening takes longer than all the rest.
    if seed.is_multiple_of(3) {
        serve(base, &report, &states, root);
    }
    report
}

/// Opens what is left and reads everything.
fn serve(base: &Base, report: &Report, states: &[State], root: &Path) {
    let opened = MessageStore::open((base.config)(root), Arc::new(NoListener));
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            // How long a lone file should be only the broker's settings say.
            let lone = |dir| fs::read_dir(root.join(dir)).into_iter().flatten().count() == 1;
            let names = |key| error.to_string().contains(key);
            let of_settings =
                lone("commitlog") && names("mappedFileSizeCommitLog") || lone("index") && names("maxHashSlotNum");
            assert!(!report.sound || of_settings, "sound, it says, but it does not open: {error}");
            return;
        }
    };
    let by_offset: BTreeMap<u64, (&Put, State)> =
        base.puts.iter().zip(states).map(|(put, state)| (put.place.physical_offset, (put, *state))).collect();
    let mut served = 0;
    for (topic, queue_ids) in store.topics() {
        for queue_id in queue_ids {
            let (mut at, max) = (store.min_offset(&topic, queue_id), store.max_offset(&topic, queue_id));
            // A queue whose end was damaged may say that it is very long.
            for _ in 0..1000 {
                if at >= max {
                    break;
                }
                let result = store.get(&GetQuery::new(&topic, queue_id, at, 32), &AllMessages);
                for slice in &result.messages {
                    let offset = slice.physical_offset();
                    let told = report.bad_records + report.lost_bytes > 0 || report.has(Kind::LogTail);
                    // As Java, the store does not read a record through before it hands it out: clients refuse this one.
                    let Ok(record) = MessageRecord::parse(slice) else {
                        assert!(told, "served from {offset} what is no record");
                        continue;
                    };
                    let Some((put, state)) = by_offset.get(&offset) else {
                        panic!("served from {offset}, where nothing was put")
                    };
                    let honest = record.check_body_crc().is_err() && told;
                    assert!(record.body == put.body || honest, "served from {offset} with another body");
                    served += u64::from(*state == State::Whole);
                }
                at = result.next_begin_offset.max(at + 1);
            }
        }
    }
    if report.sound {
        let whole = states.iter().filter(|state| **state == State::Whole).count() as u64;
        assert!(served >= whole, "sound, it says, but {served} of {whole} are served");
    }
    store.shutdown();
}

#[test]
fn random_damage() {
    let number = |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (cases, first) = (number("MQSTORE_CASES", 2000), number("MQSTORE_SEED", 1));
    let bases = bases();
    let parent = ["/dev/shm", "/tmp"].into_iter().find(|dir| Path::new(dir).is_dir()).unwrap();
    let begun = Instant::now();
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let told: Vec<(u64, BTreeMap<Kind, u64>)> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| try_all(&bases, &next, first + cases, parent))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut findings = BTreeMap::new();
    for (kind, count) in told.iter().flat_map(|(_, findings)| findings) {
        *findings.entry(*kind).or_insert(0) += count;
    }
    let sound: u64 = told.iter().map(|(sound, _)| sound).sum();
    println!("{cases} stores damaged in {:?}: {sound} without consequence, findings {findings:?}", begun.elapsed());
    assert!(cases < 1000 || findings.len() > 15, "the damage is too tame: {findings:?}");
}

/// Tries one seed after the other; returns how many stores were sound all the same, and the findings of the others.
fn try_all(bases: &[Base], next: &AtomicU64, end: u64, parent: &str) -> (u64, BTreeMap<Kind, u64>) {
    let (mut sound, mut findings) = (0, BTreeMap::new());
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return (sound, findings);
        }
        let root = tempfile::tempdir_in(parent).unwrap();
        let started = Instant::now();
        let Ok(report) = catch_unwind(AssertUnwindSafe(|| case(bases, seed, root.path()))) else {
            let mut random = Random(seed);
            let mut files = bases[random.below(bases.len())].files.clone();
            let done: Vec<String> = (0..=random.below(3)).map(|_| mutate(&mut files, &mut random)).collect();
            panic!("MQSTORE_SEED={seed} MQSTORE_CASES=1: {}", done.join("; "));
        };
        assert!(started.elapsed() < Duration::from_secs(30), "MQSTORE_SEED={seed} takes too long");
        sound += u64::from(report.sound);
        report.counts.keys().for_each(|kind| *findings.entry(*kind).or_insert(0) += 1);
    }
}
