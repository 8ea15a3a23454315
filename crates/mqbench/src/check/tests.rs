use super::*;
use crate::body;
use codec::message::RecordParts;
use std::net::SocketAddr;

fn queue(start: i64) -> Queue {
    Queue { topic: "T".to_owned(), queue_id: 2, start }
}

fn message_of<T: std::fmt::Debug>(result: Result<T, BenchError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
    error.to_string()
}

#[test]
fn offsets_in_any_order_are_dense() {
    let mut book = OffsetBook::new(vec![queue(100), queue(0)]);
    for offset in [103, 100, 102, 101].into_iter().chain(104..300) {
        book.acknowledge(0, offset, 1).unwrap();
    }
    book.acknowledge(1, 4, 4).unwrap();
    book.acknowledge(1, 0, 4).unwrap();
    book.finish().unwrap();
}

#[test]
fn a_gap_is_found() {
    for missing in [0, 1, 63, 64, 65, 200] {
        let mut book = OffsetBook::new(vec![queue(1000)]);
        for offset in (0..=201).filter(|offset| *offset != missing) {
            book.acknowledge(0, 1000 + offset, 1).unwrap();
        }
        let text = message_of(book.finish());
        assert!(text.contains(&format!("topic T queue 2: offset {} is missing", 1000 + missing)), "{text}");
    }
}

#[test]
fn an_offset_that_comes_twice_or_from_before_or_from_afar_is_found() {
    let mut book = OffsetBook::new(vec![queue(10)]);
    book.acknowledge(0, 10, 3).unwrap();
    assert!(message_of(book.acknowledge(0, 11, 1)).contains("offset 11 is acknowledged twice"));
    assert!(message_of(book.acknowledge(0, 9, 1)).contains("at offset 9, the queue already went to 10"));
    assert!(message_of(book.acknowledge(0, 1 << 40, 1)).contains("far beyond"));
    assert!(message_of(book.acknowledge(0, i64::MIN, 1)).contains("already went to 10"));
    assert!(message_of(book.acknowledge(5, 0, 1)).contains("no queue 5"));
}

#[test]
fn a_delivery_that_is_missing_or_comes_twice_is_found() {
    let mut book = OffsetBook::new(vec![queue(10)]);
    for offset in [12, 10, 13] {
        book.delivered(0, offset).unwrap();
    }
    assert!(message_of(book.finish()).contains("offset 11 is missing"));
    assert!(message_of(book.delivered(0, 12)).contains("offset 12 was delivered twice"));
    assert!(message_of(book.delivered(0, 9)).contains("the run began at 10"));
    book.delivered(0, 11).unwrap();
    book.finish().unwrap();
}

/// Records at these offsets, as a broker lays them out, each changed by `change`.
fn stored(topic: &str, offsets: &[i64], mut change: impl FnMut(i64, &mut Vec<u8>)) -> Vec<u8> {
    let mut page = Vec::new();
    for offset in offsets {
        let mut content = body::blank(100);
        body::stamp(&mut content, 7_000 + offset.unsigned_abs(), 0);
        let host: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let parts = RecordParts {
            queue_id: 2,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &content,
            topic,
            properties: "",
        };
        let mut record = Vec::new();
        let head = parts.encode_around_body(&mut record).unwrap();
        let tail = record.split_off(head);
        record.extend_from_slice(&content);
        record.extend_from_slice(&tail);
        record[message::QUEUE_OFFSET_POSITION..][..8].copy_from_slice(&offset.to_be_bytes());
        change(*offset, &mut record);
        page.extend_from_slice(&record);
    }
    page
}

fn look(from: i64, body: &[u8]) -> Result<(Page, Vec<u64>), BenchError> {
    let mut times = Vec::new();
    page(&queue(0), from, body, true, &mut Reader::default(), |time| times.push(time)).map(|page| (page, times))
}

#[test]
fn a_sound_page() {
    let (page, times) = look(5, &stored("T", &[5, 6, 7], |_, _| {})).unwrap();
    assert_eq!(page, Page { messages: 3, bytes: 300, end: 8 });
    assert_eq!(times, [7005, 7006, 7007]);
}

#[test]
fn pages_that_are_not_sound() {
    let body_at = 88;
    let cases: [(&str, Vec<u8>); 7] = [
        ("offset 6 was delivered where 5 comes next", stored("T", &[6], |_, _| {})),
        ("offset 7 was delivered where 6 comes next", stored("T", &[5, 7], |_, _| {})),
        ("holds a message of topic U queue 2", stored("U", &[5], |_, _| {})),
        // One bit of a body, and the CRC as it was.
        ("offset 6: message body: checksum says", {
            stored("T", &[5, 6], |offset, record| record[body_at + 40] ^= u8::from(offset == 6))
        }),
        // One bit of a body that arrived wrong at the broker, whose CRC is right.
        ("offset 6: the body is not what mqbench sent", {
            stored("T", &[5, 6], |offset, record| {
                record[body_at + 40] ^= u8::from(offset == 6);
                let crc = message::body_crc(&record[body_at..body_at + 100]);
                record[8..12].copy_from_slice(&crc.to_be_bytes());
            })
        }),
        ("what was pulled from offset 6 on", {
            let mut page = stored("T", &[5, 6], |_, _| {});
            page.truncate(page.len() - 1);
            page
        }),
        ("says FOUND and holds no message", Vec::new()),
    ];
    for (expect, body) in cases {
        let text = message_of(look(5, &body));
        assert!(text.contains("topic T queue 2") && text.contains(expect), "{text} does not say: {expect}");
    }
}

#[test]
fn a_wrong_code_is_named() {
    let answer = Command {
        code: 14,
        language: codec::command::Language::JAVA,
        version: 0,
        opaque: 0,
        flag: 1,
        remark: Some("disk full".into()),
        fields: codec::fields::Fields::default(),
        body: bytes::Bytes::new(),
        serialize_type: codec::frame::SerializeType::Json,
    };
    let text = message_of(wrong_code::<()>("send to topic T queue 2", &answer));
    assert_eq!(text, "wrong answer: send to topic T queue 2: code 14 SERVICE_NOT_AVAILABLE: disk full");
    assert!(is_busy(2) && is_busy(215) && !is_busy(14) && !is_busy(0));
}
