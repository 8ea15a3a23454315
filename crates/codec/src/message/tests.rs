use super::*;
use crate::properties::names;

const V4: &str = "127.0.0.1:10911";
const V6: &str = "[fe80::1]:10911";

fn parts<'a>(born: &str, store: &str, topic: &'a str, body: &'a [u8], properties: &'a str) -> RecordParts<'a> {
    RecordParts {
        queue_id: 3,
        flag: 7,
        sys_flag: sys_flag::COMPRESSED,
        born_timestamp: 1_700_000_000_000,
        born_host: born.parse().unwrap(),
        store_host: store.parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 11,
        body,
        topic,
        properties,
    }
}

#[test]
fn round_trip() {
    let long_topic = "t".repeat(128);
    for born in [V4, V6] {
        for store in [V4, V6] {
            for topic in ["TopicTest", long_topic.as_str()] {
                let parts = parts(born, store, topic, b"hello", "TAGS\u{1}TagA\u{2}");
                let mut bytes = parts.encode().unwrap();
                assert_eq!(bytes.len(), parts.encoded_len());
                patch(&mut bytes, 5, 4096, 99).unwrap();
                bytes.extend_from_slice(b"rest");
                let record = MessageRecord::parse(&bytes).unwrap();
                assert_eq!(record.total_size, bytes.len() - 4);
                assert_eq!(record.topic, topic.as_bytes());
                assert_eq!(record.body, b"hello");
                assert_eq!(record.property(names::TAGS), Some("TagA"));
                assert_eq!((record.queue_offset, record.physical_offset, record.store_timestamp), (5, 4096, 99));
                assert_eq!((record.queue_id, record.flag, record.reconsume_times), (3, 7, 2));
                assert_eq!(record.prepared_transaction_offset, 11);
                assert_eq!(record.born_host, born.parse().unwrap());
                assert_eq!(record.store_host, store.parse().unwrap());
                assert_eq!(record.version, MessageVersion::for_topic_len(topic.len()));
                record.check_body_crc().unwrap();
            }
        }
    }
}

#[test]
fn smallest_record_has_91_bytes() {
    assert_eq!(parts(V4, V4, "", b"", "").encode().unwrap().len(), RECORD_MIN_LEN);
}

#[test]
fn every_prefix_is_short() {
    let bytes = parts(V4, V6, "TopicTest", b"hello", "TAGS\u{1}TagA\u{2}").encode().unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(MessageRecord::parse(&bytes[..len]), Err(CodecError::Short { .. })), "{len}");
    }
}

#[test]
fn wrong_total_size_is_refused() {
    let mut bytes = parts(V4, V4, "T", b"hello", "").encode().unwrap();
    bytes.push(0);
    let len = i32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    assert!(matches!(MessageRecord::parse(&bytes), Err(CodecError::SizeMismatch { .. })));
    bytes[..4].copy_from_slice(&(-1i32).to_be_bytes());
    assert!(matches!(MessageRecord::parse(&bytes), Err(CodecError::Range { .. })));
    bytes[..4].copy_from_slice(&7i32.to_be_bytes());
    assert!(MessageRecord::parse(&bytes).is_err());
}

#[test]
fn any_flipped_length_bit_never_panics() {
    let bytes = parts(V4, V4, "TopicTest", b"hello", "TAGS\u{1}TagA\u{2}").encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(record) = MessageRecord::parse(&changed) {
            assert_eq!(record.total_size, bytes.len());
        }
    }
}

#[test]
fn flipped_body_fails_the_crc() {
    let mut bytes = parts(V4, V4, "T", b"hello", "").encode().unwrap();
    let at = bytes.len() - 2 - 2 - 1;
    bytes[at] ^= 1;
    assert!(matches!(MessageRecord::parse(&bytes).unwrap().check_body_crc(), Err(CodecError::Checksum { .. })));
}

#[test]
fn blank_magic_is_no_record() {
    let mut bytes = vec![0, 0, 1, 0];
    bytes.extend_from_slice(&BLANK_MAGIC_CODE.to_be_bytes());
    assert!(matches!(MessageRecord::parse(&bytes), Err(CodecError::Magic { magic: BLANK_MAGIC_CODE, .. })));
}

#[test]
fn lengths_beyond_the_format_are_refused() {
    let long = "p".repeat(MAX_PROPERTIES_LEN + 1);
    let mut out = Vec::new();
    assert!(parts(V4, V4, "T", b"", &long).encode_around_body(&mut out).is_err());
    assert!(parts(V4, V4, &long, b"", "").encode_around_body(&mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn message_ids() {
    let v4 = message_id("10.1.2.255:10911".parse().unwrap(), 4096);
    assert_eq!(v4, "0A0102FF00002A9F0000000000001000");
    assert_eq!(parse_message_id(&v4).unwrap(), ("10.1.2.255:10911".parse().unwrap(), 4096));
    let v6 = message_id(V6.parse().unwrap(), -1);
    assert_eq!(v6.len(), 56);
    assert_eq!(parse_message_id(&v6.to_lowercase()).unwrap(), (V6.parse().unwrap(), -1));
    assert!(parse_message_id("0A").is_err());
    assert!(parse_message_id(&"g".repeat(32)).is_err());
    assert!(parse_message_id(&"F".repeat(32)).is_err());
    assert!(parse_message_id(&"é".repeat(16)).is_err());
}

#[test]
fn batches() {
    let first = BatchMessage { flag: 1, body: b"one", properties: "A\u{1}b\u{2}" };
    let second = BatchMessage { flag: 0, body: b"", properties: "" };
    let mut body = Vec::new();
    first.encode_into(&mut body).unwrap();
    second.encode_into(&mut body).unwrap();
    let read: Result<Vec<_>, _> = BatchMessages::new(&body).collect();
    assert_eq!(read.unwrap(), [first, second]);
    for len in 1..body.len() {
        let items: Vec<_> = BatchMessages::new(&body[..len]).collect();
        let whole = len == 29 || len == body.len();
        assert_eq!(items.iter().all(Result::is_ok), whole, "{len}");
    }
    assert_eq!(BatchMessages::new(&[]).count(), 0);
}

#[test]
fn records_one_behind_the_other() {
    let mut bytes = parts(V4, V4, "T", b"1", "").encode().unwrap();
    bytes.extend(parts(V4, V4, "T", b"22", "").encode().unwrap());
    let bodies: Vec<_> = records(&bytes).map(|r| r.unwrap().body.to_vec()).collect();
    assert_eq!(bodies, [b"1".to_vec(), b"22".to_vec()]);
    bytes.pop();
    assert_eq!(records(&bytes).filter(Result::is_err).count(), 1);
}
