//! Frames recorded from Java: every one is read, and what is written in its place says the same.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use bytes::{Bytes, BytesMut};
use codec::command::{Command, Preamble, encode};
use codec::fields::Fields;
use codec::frame::{DEFAULT_MAX_FRAME_LEN, layout};
use codec::json;
use protocol::body;
use protocol::operation::{self, OperationInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Fields that every request may carry and no header has.
const COMMON: [&str; 10] =
    ["ReqT", "ns", "nsd", "bname", "oway", "lo", "AccessKey", "Signature", "__ZONE_NAME", "__ZONE_MODE"];

struct Frame {
    name: String,
    code: i32,
    is_request: bool,
    bytes: Bytes,
}

fn frames() -> Vec<Frame> {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut frames = Vec::new();
    for version in std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(entries) = std::fs::read_dir(version.join("frames")) else { continue };
        for path in
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "bin"))
        {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            frames.push(Frame {
                code: file.split('-').next().unwrap().parse().unwrap(),
                is_request: file.contains("-req-"),
                name: format!("{}/{file}", version.file_name().unwrap().to_string_lossy()),
                bytes: std::fs::read(&path).unwrap().into(),
            });
        }
    }
    assert!(frames.len() > 500, "only {} golden frames found", frames.len());
    frames
}

fn decode(frame: &Frame) -> Command {
    let at = layout(&frame.bytes, DEFAULT_MAX_FRAME_LEN).unwrap().unwrap_or_else(|| panic!("{}", frame.name));
    assert_eq!(at.total_len, frame.bytes.len(), "{}", frame.name);
    let command = Command::decode(at.serialize_type, frame.bytes.slice(at.header), frame.bytes.slice(at.body));
    command.unwrap_or_else(|error| panic!("{}: {error}", frame.name))
}

fn pairs(fields: &Fields) -> BTreeMap<String, String> {
    fields.pairs().unwrap().into_iter().map(|(key, value)| (key, value.to_string())).collect()
}

fn operation(code: i32) -> Option<&'static OperationInfo> {
    operation::ALL.iter().find(|info| info.code == code)
}

#[test]
fn every_frame_is_read_and_written_again() {
    for frame in frames() {
        let command = decode(&frame);
        assert_eq!(command.is_response(), !frame.is_request, "{}", frame.name);
        let preamble = Preamble {
            code: command.code,
            version: command.version,
            opaque: command.opaque,
            flag: command.flag,
            remark: command.remark.as_deref(),
            serialize_type: command.serialize_type,
        };
        let mut out = BytesMut::new();
        let fields = pairs(&command.fields);
        encode(&mut out, &preamble, |w| fields.iter().for_each(|(k, v)| w.put(k, v)), command.body.len()).unwrap();
        out.extend_from_slice(&command.body);
        let again = decode(&Frame { bytes: out.freeze(), name: frame.name.clone(), ..frame });
        assert_eq!((again.code, again.opaque, again.flag), (command.code, command.opaque, command.flag));
        assert_eq!(again.remark, command.remark, "{}", frame.name);
        assert_eq!((pairs(&again.fields), again.body), (fields, command.body), "{}", frame.name);
    }
}

#[test]
fn typed_headers_lose_nothing() {
    let (mut seen, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for frame in frames() {
        let command = decode(&frame);
        let Some(info) = operation(frame.code) else { continue };
        if !frame.is_request && command.code != 0 {
            continue;
        }
        let read = if frame.is_request { info.request } else { info.response };
        let typed = read(&command.fields).unwrap_or_else(|error| panic!("{}: {error}", frame.name));
        let (typed, wire) = (pairs(&typed), pairs(&command.fields));
        for (key, value) in &wire {
            let known = typed.get(key);
            let common =
                value.is_empty() || COMMON.contains(&key.as_str()) || ALLOWED.contains(&(frame.code, key.as_str()));
            if !(known == Some(value) || common) {
                lost.insert(format!("{}: field {key}={value} reads as {known:?}", frame.name));
            }
        }
        seen.insert(frame.code);
    }
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(seen.len() > 50, "typed headers of {} codes were seen", seen.len());
}

/// Fields that are knowingly passed over: Java 5.5.0 does not look at it either.
const ALLOWED: [(i32, &str); 1] = [(30, "committed")];

/// Members that Java writes and that are knowingly not written: getters that no reader looks at, old names.
const DERIVED: [&str; 4] = ["topicSynFlag", "consumeTimeStampStr", "maxTimeStampStr", "minTimeStampStr"];

#[test]
fn bodies_lose_nothing() {
    let mut seen = BTreeSet::new();
    for frame in frames() {
        let command = decode(&frame);
        if command.body.is_empty() || (!frame.is_request && command.code != 0) {
            continue;
        }
        let check: Check = match (frame.code, frame.is_request) {
            (34, true) => both::<body::client::HeartbeatData>,
            (41 | 42, true) => both::<body::client::LockBatchRequestBody>,
            (41, false) => both::<body::client::LockBatchResponseBody>,
            (38, false) => both::<body::client::GetConsumerListByGroupResponseBody>,
            (46, true) => both::<body::client::CheckClientRequestBody>,
            (103, true) => both::<body::topic::RegisterBrokerBody>,
            (105, false) => both::<body::route::TopicRouteData>,
            (106, false) => both::<body::route::ClusterInfo>,
            (21, false) => both::<body::topic::TopicConfigSerializeWrapper>,
            (206 | 224 | 304 | 305 | 311 | 312 | 313, false) => both::<body::topic::TopicList>,
            (28 | 219, false) | (103, false) => both::<body::topic::KvTable>,
            (200, true) | (352, false) => both::<body::group::SubscriptionGroupConfig>,
            (201, false) => both::<body::group::SubscriptionGroupWrapper>,
            (202, false) => both::<body::admin::TopicStatsTable>,
            (203, false) => both::<body::client::ConsumerConnection>,
            (204, false) => both::<body::client::ProducerConnection>,
            (208, false) => both::<body::admin::ConsumeStats>,
            (222, false) | (220, true) => both::<body::client::ResetOffsetBody>,
            (300, false) => both::<body::admin::GroupList>,
            (303, false) => both::<body::admin::QueryConsumeTimeSpanBody>,
            (315, false) => both::<body::admin::BrokerStatsData>,
            (317, false) => both::<body::admin::ConsumeStatsList>,
            (328, false) => both::<body::client::ProducerTableInfo>,
            (351, false) => both::<body::topic::TopicConfigAndQueueMapping>,
            (901, false) => both::<body::route::GetBrokerMemberGroupResponseBody>,
            _ => continue,
        };
        let (java, ours) = check(&command.body)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", frame.name, String::from_utf8_lossy(&command.body)));
        compare(&frame.name, "", &java, &ours);
        seen.insert(frame.code);
    }
    assert!(seen.len() > 20, "bodies of {} codes were seen", seen.len());
}

/// A body as Java wrote it and as we write it.
type Check = fn(&[u8]) -> Result<(Value, Value), json::JsonError>;

fn both<T: DeserializeOwned + Serialize>(text: &[u8]) -> Result<(Value, Value), json::JsonError> {
    let typed: T = json::from_slice(text)?;
    Ok((json::from_slice(text)?, json::from_slice(&body::encode(&typed))?))
}

/// Whatever Java wrote must be in ours; sets may come in another order.
fn compare(name: &str, path: &str, java: &Value, ours: &Value) {
    match (java, ours) {
        (Value::Object(java), Value::Object(ours)) => {
            for (key, value) in java.iter().filter(|(key, _)| !DERIVED.contains(&key.as_str())) {
                let other = ours.get(key).unwrap_or(&Value::Null);
                compare(name, &format!("{path}.{key}"), value, other);
            }
        }
        (Value::Array(java), Value::Array(ours)) => {
            assert_eq!(java.len(), ours.len(), "{name}: {path}");
            let text = |values: &[Value]| {
                let mut text: Vec<String> = values.iter().map(Value::to_string).collect();
                text.sort();
                text
            };
            if java.iter().all(|value| !value.is_object()) {
                assert_eq!(text(java), text(ours), "{name}: {path}");
            } else {
                java.iter().zip(ours).for_each(|(java, ours)| compare(name, path, java, ours));
            }
        }
        _ if java.as_f64().is_some() && java.as_f64() == ours.as_f64() => {}
        // Java writes a rate that is no number as null.
        (Value::Null, Value::Number(ours)) if ours.as_f64() == Some(0.0) => {}
        _ => assert_eq!(java, ours, "{name}: {path}"),
    }
}
