//! How long a writer is held up while a log file of 1 GiB is deleted: at once, or in the steps in which the store does it.
//!
//!     cargo run --release -p ferrocket-store --example deletion -- DIR [ROUNDS]
#![allow(clippy::disallowed_methods, reason = "an example that measures time")]

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const FILE: u64 = 1 << 30;
/// As in `release.rs`.
const STEP: u64 = 64 << 20;
const PAUSE: Duration = Duration::from_millis(10);
const AROUND: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let dir = args.next().ok_or("DIR [ROUNDS]")?;
    let rounds: usize = args.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let dir = Path::new(&dir).join("deletion");
    fs::create_dir_all(&dir)?;
    println!(
        "| deleted | flush: writes | p50 ms | p99 ms | longest ms | the deletion, ms |\n|---|---:|---:|---:|---:|---:|"
    );
    for round in 0..rounds * 3 {
        let file = full(&dir.join("old"))?;
        let (name, remove): (_, fn(&Path, &File) -> io::Result<()>) = match round % 3 {
            0 => ("not", |_, _| Ok(())),
            1 => ("at once", |path, file| fs::remove_file(path).and_then(|()| file.set_len(0))),
            _ => ("in steps", in_steps),
        };
        let (mut times, took) = writes_meanwhile(&dir, || remove(&dir.join("old"), &file))?;
        times.sort_unstable();
        let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).map_or(0.0, ms);
        println!("| {name} | {} | {:.2} | {:.2} | {:.2} | {:.1} |", times.len(), at(50), at(99), at(100), ms(&took));
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A file as the log leaves it, all of it on the disk.
fn full(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let chunk = vec![7; 1 << 20];
    for position in (0..FILE).step_by(chunk.len()) {
        file.write_all_at(&chunk, position)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn in_steps(path: &Path, file: &File) -> io::Result<()> {
    fs::remove_file(path)?;
    let mut len = FILE;
    while len > 0 {
        len -= STEP;
        file.set_len(len)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// How long each write and flush at the end of a file took while `remove` ran, and for a while before and behind; and `remove`.
fn writes_meanwhile(dir: &Path, remove: impl FnOnce() -> io::Result<()>) -> io::Result<(Vec<Duration>, Duration)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let file = File::create(dir.join("new"))?;
            let mut times = Vec::new();
            for position in (0..).step_by(4096) {
                if done.load(Ordering::Acquire) {
                    break;
                }
                let began = Instant::now();
                file.write_all_at(&[7; 4096], position)?;
                file.sync_data()?;
                times.push(began.elapsed());
            }
            Ok::<_, io::Error>(times)
        });
        thread::sleep(AROUND);
        let began = Instant::now();
        let removed = remove();
        let took = began.elapsed();
        thread::sleep(AROUND);
        done.store(true, Ordering::Release);
        let times = writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
        removed.map(|()| (times, took))
    })
}
