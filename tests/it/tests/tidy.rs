//! Reads the source tree and holds it to the rules that it gives itself.

use it::scratch::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates in dependency order: each may use only those before it, and of the first three rows only what is named.
const ORDER: [&str; 12] = [
    "codec", "filter", "protocol", "remoting", "store", "daemon", "mqstore", "mqbench", "namesrv", "broker", "client",
    "admin",
];
/// Crates that may use less than what comes before them.
const NARROW: [(&str, &[&str]); 6] = [
    ("codec", &[]),
    ("filter", &[]),
    ("store", &["codec"]),
    ("daemon", &["codec"]),
    ("mqstore", &["codec", "protocol", "store", "daemon"]),
    ("mqbench", &["codec", "protocol", "remoting"]),
];
/// Folders of Rust sources.
const SOURCES: [&str; 2] = ["crates", "tests"];
/// Where a file is too long to be one thing.
const MAX_LINES: usize = 800;
/// Where it is time to think about it.
const MANY_LINES: usize = 600;

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn all_rust_files() -> Vec<PathBuf> {
    SOURCES.iter().flat_map(|dir| rust_files(&root().join(dir))).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The part of a source that is not its tests: what comes before the last `#[cfg(test)]` module.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// The crates of this workspace that a manifest names in `[dependencies]` (not those for tests).
fn used_crates(manifest: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut section = "";
    for line in manifest.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        } else if matches!(section, "[dependencies]" | "[build-dependencies]")
            && let Some(name) = line.split(['.', '=', ' ']).next()
            && ORDER.contains(&name)
        {
            used.insert(name.to_owned());
        }
    }
    used
}

/// What is wrong with the arrows of one crate.
fn bad_arrows(name: &str, used: &BTreeSet<String>) -> Vec<String> {
    let place = ORDER.iter().position(|one| *one == name);
    let Some(place) = place else { return vec![format!("crate {name} has no place in the order of crates")] };
    let narrow = NARROW.iter().find(|(one, _)| *one == name).map(|(_, allowed)| *allowed);
    let allowed = narrow.unwrap_or(&ORDER[..place]);
    used.iter()
        .filter(|one| !allowed.contains(&one.as_str()))
        .map(|one| format!("crate {name} may not use {one}"))
        .collect()
}

#[test]
fn crate_arrows_point_up() {
    let mut bad = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("there are crates").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        bad.extend(bad_arrows(&name, &used_crates(&read(&entry.path().join("Cargo.toml")))));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_wrong_arrow_is_seen() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nbroker.workspace = true\nbytes.workspace = true\n\
                    [dev-dependencies]\nadmin.workspace = true\n";
    let used = used_crates(manifest);
    assert_eq!(used.iter().collect::<Vec<_>>(), ["broker"]);
    assert_eq!(bad_arrows("store", &used), ["crate store may not use broker"]);
    assert_eq!(bad_arrows("admin", &used), [""; 0]);
    assert_eq!(bad_arrows("namesrv", &used).len(), 1);
    assert_eq!(bad_arrows("stray", &used).len(), 1);
}

/// Everything that a package of Cargo.lock is made of, what its tests need included.
fn dependencies(lock: &str, package: &str) -> BTreeSet<String> {
    let mut uses = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for block in lock.split("[[package]]") {
        let Some(name) = block.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) else {
            continue;
        };
        // Two versions of a package stand together here, and are named with the version where they are used.
        let used = block.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        uses.entry(name).or_default().extend(used.filter_map(|used| used.split(' ').next()));
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![package]);
    while let Some(name) = next.pop() {
        for used in uses.get(name).into_iter().flatten() {
            if found.insert((*used).to_owned()) {
                next.push(used);
            }
        }
    }
    found
}

#[test]
fn the_store_needs_neither_a_runtime_nor_sockets() {
    let lock = read(&root().join("Cargo.lock"));
    let of = |package: &str| dependencies(&lock, package);
    let store = of("ferrocket-store");
    for expect in ["ferrocket-codec", "memmap2", "rustix", "parking_lot_core"] {
        assert!(store.contains(expect), "Cargo.lock is not read as it should: {store:?}");
    }
    for runtime in ["tokio", "mio", "socket2", "async-std", "smol", "futures-executor", "ferrocket-remoting"] {
        assert!(!store.contains(runtime), "the store uses {runtime}");
    }
    assert!(of("ferrocket-broker").contains("mio"));
}

/// Whether a line of code names the type `Parts` (and not, say, a variant of that name).
fn names_parts(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.match_indices("Parts").any(|(at, word)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        !before.ends_with(part_of_word)
            && !after.starts_with(part_of_word)
            && (!before.ends_with("::") || before.ends_with("parts::"))
    })
}

#[test]
fn naming_parts_is_seen() {
    for (line, expect) in [
        ("use crate::parts::Parts;", true),
        ("fn new(parts: &Parts) -> Self {", true),
        ("StartError::Parts(error) => 1,", false),
        ("struct SpareParts; // Parts", false),
    ] {
        assert_eq!(names_parts(line), expect, "{line}");
    }
}

#[test]
fn only_the_wiring_of_the_broker_names_parts() {
    let wiring = ["parts.rs", "routes.rs", "services/mod.rs", "services.rs", "lib.rs"];
    let src = root().join("crates/broker/src");
    let bad: Vec<_> = rust_files(&src)
        .into_iter()
        .filter(|path| {
            let own = path.strip_prefix(&src).expect("below src");
            !wiring.iter().any(|name| own == Path::new(name))
        })
        .filter(|path| read(path).lines().any(names_parts))
        .map(|path| shown(&path))
        .collect();
    assert!(bad.is_empty(), "these take the whole of Parts instead of what they need:\n{}", bad.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut lengths: Vec<_> = all_rust_files().into_iter().map(|path| (read(&path).lines().count(), path)).collect();
    lengths.sort();
    let over = |limit| lengths.iter().filter(move |(lines, _)| *lines > limit);
    for (lines, path) in over(MANY_LINES) {
        println!("think about splitting {} ({lines} lines)", shown(path));
    }
    let bad: Vec<_> = over(MAX_LINES).map(|(lines, path)| format!("{}: {lines} lines", shown(path))).collect();
    assert!(bad.is_empty(), "longer than {MAX_LINES} lines:\n{}", bad.join("\n"));
}

#[test]
fn every_crate_says_where_it_stands_on_unsafe() {
    let mut bad = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("there are crates").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = read(&entry.path().join("src/lib.rs"));
        let may_deny = ["store", "remoting", "daemon"].contains(&name.as_str());
        let forbids = text.contains("#![forbid(unsafe_code)]");
        if !(forbids || may_deny && text.contains("#![deny(unsafe_code)]")) {
            bad.push(format!("crates/{name}/src/lib.rs does not forbid unsafe code"));
        }
    }
    for path in all_rust_files() {
        let name = shown(&path);
        let may = ["crates/store/src/mmap.rs", "crates/remoting/src/sendfile.rs"].contains(&name.as_str())
            || name.starts_with("crates/store/src/mmap/")
            || read(&path).contains("#![allow(unsafe_code, reason = ");
        let uses = read(&path).lines().any(|line| {
            let code = line.split("//").next().unwrap_or(line);
            ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word)) && !code.contains('"')
        });
        if uses && !may {
            bad.push(format!("{name} has unsafe code outside of the two files for it"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Every `NAME: … = NUMBER` of the list of request codes.
fn request_codes(text: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("pub ").trim_start_matches("const ");
        let Some((left, right)) = line.split_once('=') else { continue };
        let name: String = left.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let digits: String = right.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '_').collect();
        let rest = right.trim().trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        if let Ok(number) = digits.replace('_', "").parse()
            && !name.is_empty()
            && (rest.starts_with(';') || rest.starts_with(',') || rest.is_empty())
        {
            found.push((name, number));
        }
    }
    found
}

#[test]
fn every_request_code_has_a_row_in_compat() {
    let codes = request_codes(&read(&root().join("crates/protocol/src/request_code.rs")));
    assert!(codes.len() > 100, "RocketMQ has more request codes than {}", codes.len());
    let compat = read(&root().join("docs/compat.md"));
    let rows: BTreeSet<u64> = compat
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_start_matches('|').split('|').next()?.trim().parse().ok())
        .collect();
    let missing: Vec<_> =
        codes.iter().filter(|(_, code)| !rows.contains(code)).map(|(name, code)| format!("{code} {name}")).collect();
    assert!(missing.is_empty(), "no row in docs/compat.md for:\n{}", missing.join("\n"));
}

#[test]
fn codes_are_read_in_either_form() {
    let text = "/// x\npub const SEND_MESSAGE: i32 = 10;\n    PullMessage = 11,\nlet x = 5 + 3;\npub const POP: i32 = 200_050;\n";
    let found = request_codes(text);
    let expect = [("SEND_MESSAGE", 10), ("PullMessage", 11), ("POP", 200_050)];
    assert_eq!(found, expect.map(|(name, code)| (name.to_owned(), code)));
}

#[test]
fn nothing_is_put_off() {
    // Written in two halves, so that this file is not its own finding.
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
    let mut bad = Vec::new();
    for path in all_rust_files() {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && words.iter().any(|word| line.contains(word)) {
                bad.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn allowances_and_todos_say_why() {
    let mut bad = Vec::new();
    let todo = concat!("TO", "DO");
    for path in all_rust_files() {
        let text = read(&path);
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.contains(todo) && !line.contains("issue") && !line.contains('"') {
                bad.push(format!("{}:{}: names no issue: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
