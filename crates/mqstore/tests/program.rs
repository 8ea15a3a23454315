//! The program itself: exit codes, streams, and another process that holds the lock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{config, fill, made, metadata, open};
use serde_json::Value;

fn run(root: &Path, words: &str) -> (i32, String, String) {
    let mut words: Vec<&str> = words.split(' ').collect();
    words.extend(["--store", root.to_str().unwrap()]);
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_mqstore")).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn exit_codes() {
    let root = tempfile::tempdir().unwrap();
    made(root.path(), 60);
    assert_eq!(run(root.path(), "verify").0, 0);
    let (code, out, _) = run(root.path(), "verify --json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["sound"], &report["records"]), (0, &Value::Bool(true), &Value::from(60)));
    let (code, out, _) = run(root.path(), "inspect --json");
    let inventory: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &inventory["topics"]["TopicA"]["0"]["maxOffset"]), (0, &Value::from(12)));
    let (code, out, _) = run(root.path(), "dump --json --limit 3");
    assert_eq!((code, out.lines().count()), (0, 3));

    fs::write(root.path().join("config/topics.json"), "{").unwrap();
    let (code, out, _) = run(root.path(), "verify --json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["findings"][0]["kind"]), (1, &Value::from("metadata-broken")));
    assert_eq!(run(root.path(), "rebuild-metadata --apply").0, 0);
    assert_eq!(run(root.path(), "verify").0, 0);

    let (code, _, err) = run(&root.path().join("nowhere"), "verify");
    assert_eq!(code, 2);
    assert!(err.contains("is no directory"), "{err}");
    let (code, _, err) = run(root.path(), "verify --nonsense");
    assert_eq!(code, 2);
    assert!(err.contains("--nonsense"), "{err}");
}

#[test]
fn the_process_that_has_the_store_open_is_named() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    fill(&store, 60);
    metadata(root.path());
    let me = std::process::id().to_string();
    let (code, out, _) = run(root.path(), "inspect");
    assert!(code == 0 && out.contains(&format!("by process {me}")), "{out}");
    let (code, out, _) = run(root.path(), "verify");
    assert!(code == 0 && out.contains("a broker has this store open"), "{out}");
    for words in
        ["rebuild queues --apply", "rebuild index", "rebuild metadata --apply", "bridge", "cut --apply --at 100"]
    {
        let (code, _, err) = run(root.path(), words);
        assert!(code == 2 && err.contains(&format!("in use by process {me}")), "{words}: {err}");
    }
    store.shutdown();
    assert_eq!(run(root.path(), "verify").0, 0);
}
