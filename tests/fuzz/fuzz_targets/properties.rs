//! Properties strings: every way to read them says the same.
#![no_main]

use codec::properties::{self, Properties};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for (name, value) in properties::iter_bytes(data) {
        assert!(!name.is_empty() && !value.is_empty());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = Properties::parse(text);
    for (name, value) in parsed.iter() {
        assert_eq!(properties::get(text, name), Some(value));
        assert_eq!(properties::get_bytes(data, name), Some(value));
    }
    let again = Properties::parse(&parsed.encode());
    assert_eq!(again, parsed);
    let mut changed = parsed.clone();
    changed.set("TAGS", "t");
    assert_eq!(properties::get(&changed.encode(), "TAGS"), Some("t"));
    assert!(properties::index_keys(text).count() <= data.len() + 1);
});
