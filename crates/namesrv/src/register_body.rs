//! The body of a registration: JSON, or deflated (`compressedRegister=true` at the broker).
//!
//! Deflated (zlib) it holds, all numbers i32 big-endian: length and DataVersion JSON; number of topics, then for each length
//! and text `name readQueues writeQueues perm filterType {attributes}`; length and JSON array of filter servers; from brokers
//! of V5_0_0 on the number of queue mappings, then for each length and JSON. Order flag and system flag of topics are lost.
//! Source: remoting/protocol/body/RegisterBrokerBody.java, common/TopicConfig.java.

use std::collections::BTreeMap;
use std::io::Read;

use codec::json;
use flate2::read::ZlibDecoder;
use protocol::body::topic::{RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper, TopicFilterType};
use protocol::version;

/// A body inflates to no more than this: a million topics.
const MAX_INFLATED: u64 = 64 * 1024 * 1024;
/// One part of it.
const MAX_PART: usize = 1024 * 1024;

/// A body that is none.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The JSON, or the JSON of one part.
    #[error("registration body: {0}")]
    Json(#[from] json::JsonError),
    /// The deflated form ends early or is damaged.
    #[error("compressed registration body: {0}")]
    Inflate(#[from] std::io::Error),
    /// A length or a number out of bounds, or a topic that is none.
    #[error("compressed registration body: {0}")]
    Malformed(String),
}

/// Reads the body of a registration. Brokers before V3_0_11 send their topics only; no body is no topics.
///
/// # Errors
/// [`BodyError`].
pub fn decode(body: &[u8], compressed: bool, broker_version: i32) -> Result<RegisterBrokerBody, BodyError> {
    if body.is_empty() {
        return Ok(RegisterBrokerBody::default());
    }
    if broker_version < version::V3_0_11 {
        let topics = json::from_slice::<TopicConfigSerializeWrapper>(body)?;
        return Ok(RegisterBrokerBody { topic_config_serialize_wrapper: topics, ..RegisterBrokerBody::default() });
    }
    if compressed { inflate(body, broker_version) } else { Ok(json::from_slice(body)?) }
}

fn inflate(body: &[u8], broker_version: i32) -> Result<RegisterBrokerBody, BodyError> {
    let mut parts = Parts { input: ZlibDecoder::new(body).take(MAX_INFLATED) };
    let mut wrapper = TopicConfigSerializeWrapper { data_version: parts.json()?, ..Default::default() };
    for _ in 0..parts.count()? {
        let config = topic_config(&parts.text()?)?;
        wrapper.topic_config_table.insert(config.topic_name.clone(), config);
    }
    let filter_server_list = parts.json()?;
    if broker_version >= version::V5_0_0 {
        let mut mappings = BTreeMap::new();
        for _ in 0..parts.count()? {
            let mapping: serde_json::Value = parts.json()?;
            let topic = mapping.get("topic").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            mappings.insert(topic, mapping);
        }
        wrapper.topic_queue_mapping_info_map = Some(mappings);
    }
    // Reading to the end checks the checksum behind the data.
    std::io::copy(&mut parts.input, &mut std::io::sink())?;
    Ok(RegisterBrokerBody { filter_server_list, topic_config_serialize_wrapper: wrapper })
}

struct Parts<R> {
    input: R,
}

impl<R: Read> Parts<R> {
    fn count(&mut self) -> Result<i32, BodyError> {
        let mut bytes = [0; 4];
        self.input.read_exact(&mut bytes)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn part(&mut self) -> Result<Vec<u8>, BodyError> {
        let len = self.count()?;
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= MAX_PART)
            .ok_or_else(|| BodyError::Malformed(format!("a part of {len} bytes, at most {MAX_PART} are taken")))?;
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, BodyError> {
        Ok(json::from_slice(&self.part()?)?)
    }

    fn text(&mut self) -> Result<String, BodyError> {
        String::from_utf8(self.part()?).map_err(|_| BodyError::Malformed("a topic is not UTF-8".to_owned()))
    }
}

fn topic_config(text: &str) -> Result<TopicConfig, BodyError> {
    let mut words = text.splitn(6, ' ');
    let parsed = (|| {
        let topic_name = words.next().filter(|name| !name.is_empty())?.to_owned();
        let mut number = || words.next()?.parse::<i32>().ok();
        let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, number()?);
        let topic_filter_type = match words.next()? {
            "SINGLE_TAG" => TopicFilterType::SingleTag,
            "MULTI_TAG" => TopicFilterType::MultiTag,
            _ => return None,
        };
        // Java drops attributes that it cannot read: a space within them cuts its text short.
        let attributes = words.next().and_then(|text| json::from_slice(text.as_bytes()).ok()).unwrap_or_default();
        Some(TopicConfig {
            attributes,
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..TopicConfig::default()
        })
    })();
    parsed.ok_or_else(|| BodyError::Malformed(format!("{text:?} is no topic")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Java 5.5.0: RegisterBrokerBody.encode(true) for two topics, one filter server, one static topic.
    const JAVA_COMPRESSED: &str = "\
        78da6d4f4d4bc340145cbdf82b8465aeaed2d40f646f15a414da8a36e84164d96c5f6b30c986ddcda184fc775f72ee616098\
        3733cc1342a81ece774da2003d5388c926faa4104bdf4c422a6b62b16ea11f0721c425e33af76de972d6e5837c964f72b7da\
        2ed7af265f2c653f9ae6f9cb57369b9fb9e286eba23dd25d3ab5048deddbc766b1c698bafac64167f8617ac1a87a148dad47\
        5311fc1f855b0b05d785b0da6f2cefe907857d19d209fa60ab480ad47af70b9df11fce4ff5c61c2b5fd8ca18cea671368bbb\
        89275bbd77d45184be1ffe0191014ca3";

    fn deflate(parts: &[&[u8]]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        for part in parts {
            std::io::Write::write_all(&mut encoder, part).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn java_compressed() {
        let body = decode(&hex(JAVA_COMPRESSED), true, protocol::CURRENT_VERSION).unwrap();
        assert_eq!(body.filter_server_list, ["f:1"]);
        let wrapper = body.topic_config_serialize_wrapper;
        assert_eq!((wrapper.data_version.counter, wrapper.data_version.timestamp), (0, 5));
        let topic = &wrapper.topic_config_table["TopicTest"];
        assert_eq!((topic.read_queue_nums, topic.write_queue_nums, topic.perm), (4, 8, 6));
        assert_eq!(wrapper.topic_config_table["TBW102"].attributes["+message.type"], "NORMAL");
        assert_eq!(wrapper.topic_queue_mapping_info_map.unwrap()["S"]["bname"], "broker-a");
    }

    #[test]
    fn java_json() {
        let text = r#"{"filterServerList":["f:1"],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":5},"topicConfigTable":{"TopicTest":{"attributes":{},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"TopicTest","topicSysFlag":0,"writeQueueNums":8}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}"#;
        let body = decode(text.as_bytes(), false, protocol::CURRENT_VERSION).unwrap();
        assert_eq!(body.topic_config_serialize_wrapper.topic_config_table["TopicTest"].write_queue_nums, 8);
        let old = decode(br#"{"topicConfigTable":{"T":{"topicName":"T"}}}"#, false, version::V3_0_11 - 1).unwrap();
        assert!(old.topic_config_serialize_wrapper.topic_config_table.contains_key("T"));
        assert_eq!(decode(b"", false, protocol::CURRENT_VERSION).unwrap(), RegisterBrokerBody::default());
    }

    #[test]
    fn damaged_bodies_are_refused() {
        let check = |bytes: &[u8], part: &str| {
            let error = decode(bytes, true, protocol::CURRENT_VERSION).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"not zlib", "compressed registration body");
        check(&deflate(&[&(-1i32).to_be_bytes()]), "a part of -1 bytes");
        check(&deflate(&[&i32::MAX.to_be_bytes()]), "at most 1048576");
        check(&deflate(&[&2i32.to_be_bytes(), b"{}", &i32::MAX.to_be_bytes()]), "compressed registration body");
        let bad_topic: &[&[u8]] = &[&2i32.to_be_bytes(), b"{}", &1i32.to_be_bytes(), &3i32.to_be_bytes(), b"T 1"];
        check(&deflate(bad_topic), "is no topic");
        let whole = hex(JAVA_COMPRESSED);
        for len in 1..whole.len() {
            assert!(decode(&whole[..len], true, protocol::CURRENT_VERSION).is_err(), "cut at {len}");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
