//! Bytes recorded from Java, and ways to damage them.
#![allow(dead_code, reason = "each test program uses a part of it")]

use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Every recorded frame, with its length prefix.
pub fn frames() -> &'static [Vec<u8>] {
    static FRAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FRAMES.get_or_init(|| read_all(|path| path.extension().is_some_and(|extension| extension == "bin")))
}

/// Every recorded commit log, cut after what is used.
pub fn commit_logs() -> &'static [Vec<u8>] {
    static LOGS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LOGS.get_or_init(|| read_all(|path| path.parent().is_some_and(|dir| dir.ends_with("commitlog"))))
}

fn read_all(wanted: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden"), &mut paths);
    paths.sort();
    let found: Vec<_> = paths.iter().filter(|path| wanted(path)).map(|path| fs::read(path).unwrap()).collect();
    assert!(!found.is_empty(), "tests/golden holds nothing of the kind");
    found
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// One way to damage bytes.
#[derive(Debug, Clone)]
pub enum Damage {
    /// Another value at one place.
    Set(Index, u8),
    /// A 32-bit number, such as a length, at one place.
    Number(Index, i32),
    /// The end is missing.
    Cut(Index),
    /// Something stands in between.
    Insert(Index, Vec<u8>),
}

/// A few damages, to be applied one after the other.
pub fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let length = prop_oneof![
        any::<i32>(),
        -4..300,
        Just(i32::MAX),
        Just(i32::MIN),
        Just(-1),
        (0..31u32).prop_map(|bit| 1 << bit)
    ];
    let one = prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        3 => (any::<Index>(), length).prop_map(|(at, number)| Damage::Number(at, number)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ];
    prop::collection::vec(one, 1..6)
}

/// `bytes` damaged.
pub fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let len = bytes.len();
        match damage {
            Damage::Set(at, byte) if len > 0 => bytes[at.index(len)] = *byte,
            Damage::Number(at, number) if len >= 4 => {
                let at = at.index(len - 3);
                bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            Damage::Cut(at) => bytes.truncate(at.index(len + 1)),
            Damage::Insert(at, more) => {
                let at = at.index(len + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            _ => {}
        }
    }
    bytes
}
