//! Losses of power and kills at every moment of recorded runs: docs/crash.md says what is promised and how to replay.
//!
//! `FERROCKET_CRASH_STATES` asks for so many states at least (a long run), `FERROCKET_CRASH_SEED` for the runs from that seed
//! on; a run that failed is kept as a file and tried again with `FERROCKET_CRASH_REPLAY=FILE:POSITION:VARIANT`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod history;
mod random;
mod recorder;
mod reduced;
mod scenario;
mod trial;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use disk::Disk;
use scenario::{Run, run};
use trial::Trial;

/// Steps of one run.
const STEPS: usize = 110;
/// States of the disk that are tried at each moment: one after a kill, the others after a loss of power.
const VARIANTS: u64 = 4;
/// States that the usual test run asks for.
const USUAL_STATES: usize = 4000;
/// The first seed, unless another is asked for.
const FIRST_SEED: u64 = 1;

/// A new directory, in memory where there is one in memory.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    moments: usize,
    states: usize,
    further: usize,
    different: BTreeSet<u64>,
    failures: Vec<(usize, u64, String)>,
}

/// Tries each moment of a run.
fn try_all(run: &Run) -> Tally {
    let tally = Mutex::new(Tally::default());
    let moments = run.record.events.len() + 1;
    // Starts and stops are mostly waiting for threads.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8) * 2;
    let share = moments.div_ceil(threads * 2);
    let shares: Vec<_> = (0..moments).step_by(share).collect();
    let next = Mutex::new(shares.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(from) = next.lock().unwrap().next() else { return };
                    try_some(run, from, (from + share).min(moments), &tally);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn try_some(run: &Run, from: usize, to: usize, tally: &Mutex<Tally>) {
    let mut disk = Disk::new(&run.record);
    run.record.events.iter().take(from).for_each(|event| disk.step(event));
    for position in from..to {
        for variant in 0..VARIANTS {
            let trial = Trial::new(run, &disk, variant);
            let mut hasher = DefaultHasher::new();
            (&trial.tree, variant == 0).hash(&mut hasher);
            let result = trial.run();
            let mut tally = tally.lock().unwrap();
            tally.states += 1;
            tally.different.insert(hasher.finish());
            match result {
                Ok(further) => tally.further += further,
                Err(error) => tally.failures.push((position, variant, error)),
            }
        }
        tally.lock().unwrap().moments += 1;
        if let Some(event) = run.record.events.get(position) {
            disk.step(event);
        }
    }
}

/// Keeps a run as a file, for replays.
fn keep(run: &Run) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(format!("crash-{}.json", run.seed));
    std::fs::write(&path, serde_json::to_vec(run).unwrap()).unwrap();
    path
}

fn replay(what: &str) {
    let mut parts = what.rsplitn(3, ':');
    let variant = parts.next().unwrap().parse().expect("FERROCKET_CRASH_REPLAY=FILE:POSITION:VARIANT");
    let position: usize = parts.next().unwrap().parse().expect("FERROCKET_CRASH_REPLAY=FILE:POSITION:VARIANT");
    let run: Run = serde_json::from_slice(&std::fs::read(parts.next().unwrap()).unwrap()).unwrap();
    let mut disk = Disk::new(&run.record);
    run.record.events.iter().take(position).for_each(|event| disk.step(event));
    let trial = Trial::new(&run, &disk, variant);
    if let Ok(dir) = std::env::var("FERROCKET_CRASH_IMAGE") {
        recorder::write_tree(Path::new(&dir), &trial.tree);
    }
    trial.run().unwrap();
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn power_losses_and_kills_at_every_moment() {
    if let Ok(what) = std::env::var("FERROCKET_CRASH_REPLAY") {
        return replay(&what);
    }
    let wanted = usize::try_from(number("FERROCKET_CRASH_STATES", USUAL_STATES as u64)).unwrap();
    let first = number("FERROCKET_CRASH_SEED", FIRST_SEED);
    let began = Instant::now();
    let (mut states, mut different, mut further, mut failed) = (0, 0, 0, 0);
    let mut seed = first;
    while states < wanted {
        let run = run(seed, STEPS);
        let tally = try_all(&run);
        states += tally.states + tally.further;
        different += tally.different.len();
        further += tally.further;
        println!(
            "seed {seed}: {} messages, {} moments, {} states ({} different), {} more after a second loss, {} failed",
            run.history.puts.len(),
            tally.moments,
            tally.states,
            tally.different.len(),
            tally.further,
            tally.failures.len()
        );
        if !tally.failures.is_empty() {
            failed += tally.failures.len();
            let path = keep(&run);
            let mut failures = tally.failures;
            failures.sort();
            for (position, variant, error) in
                failures.iter().take(usize::try_from(number("FERROCKET_CRASH_SHOW", 5)).unwrap())
            {
                println!("FERROCKET_CRASH_REPLAY={}:{position}:{variant}: {error}", path.display());
            }
        }
        seed += 1;
    }
    println!(
        "crash states: {states} tried from seeds {first}..{seed} ({different} different, {further} after a second loss) \
         in {} s, {failed} failed",
        began.elapsed().as_secs()
    );
    assert_eq!(failed, 0, "states that a start did not master");
}
