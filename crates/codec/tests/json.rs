//! Properties of fastjson's dialect.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use codec::frame::{DEFAULT_MAX_FRAME_LEN, layout};
use codec::json::{Dialect, from_slice, normalize, to_vec};
use common::{damaged, damages, frames};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s:.){0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("(?s:.){0,8}", inner), 0..6).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

/// Text that looks like what fastjson writes and people type, and often is not.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "\\",
        "/*",
        "*/",
        "//",
        "\n",
        " ",
        "null",
        "true",
        "NaN",
        "12L",
        "-1.5e3",
        "name",
        "\\u4e2d",
        "\\ud83d",
        "\\x",
        "{\"queueId\":0}",
        "\"a\"",
        "\0",
        "1e999",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
}

/// Normalises, never panics, and holds what is promised of the result.
fn check(text: &[u8]) {
    let _ = from_slice::<Value>(text);
    let Ok(once) = normalize(text) else { return };
    assert!(once.len() <= 16 * text.len() + 16, "{} bytes out of {}", once.len(), text.len());
    let twice = normalize(&once).unwrap();
    assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
    let read: Result<Value, _> = serde_json::from_slice(&once);
    assert!(read.is_ok(), "{}: {read:?}", String::from_utf8_lossy(&once));
}

proptest! {
    #[test]
    fn standard_json_is_taken_and_kept(value in any_value()) {
        let text = serde_json::to_vec(&value).unwrap();
        let normal = normalize(&text).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&normal).unwrap(), serde_json::from_slice::<Value>(&text).unwrap());
        let pretty = normalize(&serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        prop_assert_eq!(normal, pretty);
        check(&text);
    }

    #[test]
    fn what_is_written_in_the_standard_dialect_is_read_back(value in any_value()) {
        let read: Value = serde_json::from_slice(&to_vec(&value, Dialect::Standard).unwrap()).unwrap();
        prop_assert_eq!(read, serde_json::from_slice::<Value>(&serde_json::to_vec(&value).unwrap()).unwrap());
    }

    #[test]
    fn nearly_json_never_panics(text in near_json()) {
        check(&text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&text);
    }

    #[test]
    fn damaged_headers_and_bodies_never_panic(which in any::<Index>(), damages in damages()) {
        let frame = which.get::<Vec<u8>>(frames());
        let at = layout(frame, DEFAULT_MAX_FRAME_LEN).unwrap().unwrap();
        check(&damaged(&frame[at.header], &damages));
        check(&damaged(&frame[at.body], &damages));
    }
}

/// Each level of quoting doubles the backslashes of the one inside it: a few hundred bytes would become gigabytes.
#[test]
fn keys_within_keys_do_not_grow_without_bound() {
    for depth in 1..60 {
        let text = format!("{}\"a\":1{}", "{".repeat(depth), "}:1".repeat(depth - 1) + "}");
        check(text.as_bytes());
        assert_eq!(normalize(text.as_bytes()).is_ok(), depth <= 2, "{text}");
    }
}
