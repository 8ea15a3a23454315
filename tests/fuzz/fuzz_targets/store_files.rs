//! A whole store directory of arbitrary files: verified, listed and dumped without being changed.
//!
//! The input is cut into the files of [`FILES`]: each begins with its length, two bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqstore::dump::{Form, Selection, dump};
use mqstore::files::StoreDir;
use std::fs;

const FILES: [&str; 15] = [
    "commitlog/00000000000000000000",
    "consumequeue/TopicTest/0/00000000000000000000",
    "index/20260101000000000",
    "checkpoint",
    "config/topics.json",
    "config/consumerOffset.json",
    "commitlog/00000000000000004096",
    "consumequeue_ext/TopicTest/0/00000000000000000000",
    "consumequeue_ext/TopicTest/0/00000000000000001024",
    "batchconsumequeue/TopicBatch/0/00000000000000000000",
    "timerwheel",
    "timerlog/00000000000000000000",
    "compaction/compactionLog/TopicTest/0/00000000000000000000",
    "compaction/compactionCq/TopicTest/0/00000000000000000000",
    "compaction/position-checkpoint",
];

fuzz_target!(|data: &[u8]| {
    let parent = if fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm".into() } else { std::env::temp_dir() };
    let root = parent.join(format!("ferrocket-fuzz-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let mut rest = data;
    let mut written = Vec::new();
    for name in FILES {
        let Some((len, behind)) = rest.split_first_chunk::<2>() else { break };
        let (bytes, behind) = behind.split_at(usize::from(u16::from_be_bytes(*len)).min(behind.len()));
        rest = behind;
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("each name has a directory")).expect("room for a small file");
        fs::write(&path, bytes).expect("room for a small file");
        written.push((path, bytes));
    }
    if let Ok(store) = StoreDir::new(&root, &[]) {
        let report = mqstore::verify::verify(&store).expect("its files can be read");
        assert_eq!(report.sound, report.findings.is_empty());
        let _ = report.text();
        let _ = mqstore::inspect::inspect(&store).expect("its files can be read").text();
        let all = Selection { limit: u64::MAX, ..Selection::default() };
        dump(&store, &all, Form::Text, &mut std::io::sink()).expect("its files can be read");
    }
    for (path, bytes) in written {
        assert_eq!(fs::read(&path).expect("it was just written"), bytes, "looking changes nothing");
    }
    let _ = fs::remove_dir_all(&root);
});
