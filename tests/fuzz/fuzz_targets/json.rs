//! Text in fastjson's dialect: what is normalised is standard JSON, not much longer than the text, and stays as it is.
#![no_main]

use codec::json::{Dialect, from_slice, normalize, to_vec};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = from_slice::<Value>(data) {
        for dialect in [Dialect::Fastjson, Dialect::Standard] {
            let _ = to_vec(&value, dialect).expect("text keys can be written");
        }
        let standard = to_vec(&value, Dialect::Standard).expect("text keys can be written");
        let again: Value = serde_json::from_slice(&standard).expect("it was just written");
        assert_eq!(again.as_object().map(|o| o.len()), value.as_object().map(|o| o.len()));
    }
    let Ok(once) = normalize(data) else { return };
    assert!(once.len() <= 16 * data.len() + 16, "{} bytes out of {}", once.len(), data.len());
    assert!(serde_json::from_slice::<Value>(&once).is_ok(), "not standard: {}", String::from_utf8_lossy(&once));
    assert_eq!(normalize(&once).as_ref(), Ok(&once));
});
