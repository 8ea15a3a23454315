//! Records golden bytes from Java into `tests/golden` (run by `scripts/golden`).
//!
//! Per version a folder with `frames/` (one file per frame, with its length prefix), `frames/index.tsv`, and `store/`
//! (the files that a broker of that version left behind, trimmed to what is used).

mod codes;
mod exercise;
mod frames;
mod store;

use crate::driver::{Serialize, Version};
use crate::scratch::root;

/// Records anew: every version, or those that are named; both serialisations, then the stores.
pub fn all(only: &[String]) {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    for version in Version::ALL.into_iter().filter(|version| wanted(version.name())) {
        let dir = root().join("tests/golden").join(version.name());
        std::fs::remove_dir_all(&dir).ok();
        for serialize in [Serialize::Json, Serialize::RocketMq] {
            let tape = exercise::run(version, version, serialize, exercise::everything);
            frames::write(&tape, &dir.join("frames"), |_| true);
        }
        store::record(version, &dir.join("store"));
    }
    if wanted("5.5.0-formats") {
        let dir = root().join("tests/golden/5.5.0-formats");
        std::fs::remove_dir_all(&dir).ok();
        store::record_formats(&dir);
    }
    // An old client asks a new nameserver: the other JSON dialect of the same answers.
    for client in [Version::V4_5_2, Version::V4_9_7] {
        let name = format!("{}-for-{}", Version::V5_5_0.name(), client.name());
        if !wanted(&name) {
            continue;
        }
        let dir = root().join("tests/golden").join(name);
        std::fs::remove_dir_all(&dir).ok();
        let tape = exercise::run(client, Version::V5_5_0, Serialize::Json, exercise::routes);
        frames::write(&tape, &dir.join("frames"), |code| matches!(code, 105 | 106 | 34 | 206));
    }
}
