//! Chooses frames from a tape and writes them as files.

use super::codes;
use crate::proxy::{Seen, Tape};
use crate::wire;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Frames of one code and kind differ in shape: which fields, whether a body, which answer. One of each is kept, up to
/// this many.
const PER_KIND: usize = 3;
/// Larger ones say nothing that a smaller one does not.
const MAX_LEN: usize = 12 * 1024;

/// Writes one file per kept frame, `CODE-NAME-req|resp-json|rocketmq-N.bin`, and a line for each in `index.tsv`.
pub fn write(tape: &Tape, dir: &Path, wanted: impl Fn(i64) -> bool) {
    std::fs::create_dir_all(dir).expect("tests/golden is writable");
    let index_path = dir.join("index.tsv");
    let mut index = std::fs::read_to_string(&index_path).unwrap_or_else(|_| {
        "file\tfrom\tto\tkind\trequest code\tname\tserialisation\tanswer code\theader length\tbody length\n".to_owned()
    });
    let mut asked: HashMap<(usize, bool, i64), i64> = HashMap::new();
    let mut shapes: BTreeSet<String> = BTreeSet::new();
    let mut counts: BTreeMap<(i64, bool, u8), usize> = BTreeMap::new();
    for seen in tape.frames() {
        let Ok(frame) = wire::parse(&seen.raw) else { panic!("a frame on the tape does not parse: {:?}", seen.raw) };
        let number = |key: &str| frame.header[key].as_i64().unwrap_or(0);
        let is_answer = number("flag") & 1 == 1;
        // An opaque belongs to the side that asked.
        let asker_forward = if is_answer { !seen.forward } else { seen.forward };
        let key = (seen.connection, asker_forward, number("opaque"));
        let code = if is_answer {
            match asked.get(&key) {
                Some(code) => *code,
                None => continue,
            }
        } else {
            asked.insert(key, number("code"));
            number("code")
        };
        // A ROCKETMQ header cuts codes to 16 bits; those frames are of no use to anyone.
        if !wanted(code) || seen.raw.len() > MAX_LEN || codes::name(code) == "UNKNOWN" {
            continue;
        }
        let shape = shape(&seen, &frame, code, is_answer);
        let count = counts.entry((code, is_answer, frame.serialize)).or_default();
        if *count >= PER_KIND || !shapes.insert(shape) {
            continue;
        }
        *count += 1;
        let kind = if is_answer { "resp" } else { "req" };
        let serialize = if frame.serialize == 0 { "json" } else { "rocketmq" };
        let file = format!("{code}-{}-{kind}-{serialize}-{count}.bin", codes::name(code));
        std::fs::write(dir.join(&file), &seen.raw).expect("tests/golden is writable");
        let (from, to) = if seen.forward { (seen.from, seen.to) } else { (seen.to, seen.from) };
        let answer = if is_answer { number("code").to_string() } else { "-".to_owned() };
        let header_len = seen.raw.len() - 8 - frame.body.len();
        index.push_str(&format!(
            "{file}\t{from}\t{to}\t{kind}\t{code}\t{}\t{serialize}\t{answer}\t{header_len}\t{}\n",
            codes::name(code),
            frame.body.len()
        ));
    }
    std::fs::write(index_path, index).expect("tests/golden is writable");
}

fn shape(seen: &Seen, frame: &wire::Frame, code: i64, is_answer: bool) -> String {
    let fields: Vec<_> = frame.header["extFields"].as_object().into_iter().flatten().map(|(key, _)| key).collect();
    let answer = if is_answer { frame.header["code"].as_i64() } else { None };
    let remark = frame.header["remark"].as_str().is_some_and(|remark| !remark.is_empty());
    let oneway = frame.header["flag"].as_i64().unwrap_or(0) & 2;
    let body = body_shape(&frame.body);
    format!("{code} {is_answer} {} {} {fields:?} {answer:?} {remark} {oneway} {body}", seen.from, seen.forward)
}

/// The names at the top of a JSON body; of any other, whether there is one.
fn body_shape(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(map)) => {
            map.iter().map(|(key, value)| format!("{key}{}", value.as_array().is_some_and(Vec::is_empty))).collect()
        }
        _ => (!body.is_empty()).to_string(),
    }
}
