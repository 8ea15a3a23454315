//! The protocol where no client goes: unknown codes, broken frames, silence, the VIP port.

use it::wire::{call, frame, parse, read_raw, request};
use it::{Cluster, on_both};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

on_both! {
    shared: unknown_codes_are_answered, a_oneway_request_is_never_answered, bad_frames_close_only_their_connection,
        many_requests_in_one_write_are_all_answered, a_request_in_single_bytes_is_answered,
        an_oversized_body_is_refused, the_vip_port_does_not_pull;
}

fn servers(cluster: &Cluster) -> [String; 2] {
    [cluster.nameservers[0].addr(), cluster.broker().addr()]
}

fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    stream
}

fn unknown_codes_are_answered(cluster: &Cluster) {
    for addr in servers(cluster) {
        let answer = call(&addr, 31_999, &json!({}), b"").expect("an answer");
        assert_eq!(answer.header["code"], 3);
        assert_eq!(answer.header["remark"], " request type 31999 not supported");
        assert_eq!(answer.header["opaque"], 1);
        assert_eq!(answer.header["flag"], 1);
    }
}

fn a_oneway_request_is_never_answered(cluster: &Cluster) {
    for addr in servers(cluster) {
        let mut stream = connect(&addr);
        let oneway = json!({ "code": 31_999, "flag": 2, "language": "JAVA", "opaque": 7, "version": 495 });
        stream.write_all(&frame(oneway.to_string().as_bytes(), b"")).expect("written");
        stream.write_all(&request(31_998, 8, &json!({}), b"")).expect("written");
        let answer = parse(&read_raw(&mut stream).expect("an answer")).expect("a frame");
        assert_eq!(answer.header["opaque"], 8, "the first answer is to the second request");
    }
}

fn bad_frames_close_only_their_connection(cluster: &Cluster) {
    let bad: [&[u8]; 6] = [
        b"\xff\xff\xff\xff\x00\x00\x00\x00",
        b"\x7f\xff\xff\xff\x00\x00\x00\x10",
        // The header claims to be longer than the frame.
        b"\x00\x00\x00\x08\x00\x00\x00\xff\x00\x00\x00\x00",
        // No such serialisation.
        b"\x00\x00\x00\x06\x07\x00\x00\x02{}",
        b"\x00\x00\x00\x08\x00\x00\x00\x04{nix",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for addr in servers(cluster) {
        let mut bystander = connect(&addr);
        for bytes in bad {
            let mut stream = connect(&addr);
            // Java decides nothing before it has seen 12 bytes, for a proxy's preface may come first.
            stream.write_all(&[bytes, &[0; 16]].concat()).expect("written");
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => assert!(answer.is_empty(), "{bytes:?} is answered with {answer:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{bytes:?}"),
            }
        }
        bystander.write_all(&request(31_999, 3, &json!({}), b"")).expect("still open");
        let answer = parse(&read_raw(&mut bystander).expect("still answered")).expect("a frame");
        assert_eq!(answer.header["opaque"], 3);
    }
}

fn many_requests_in_one_write_are_all_answered(cluster: &Cluster) {
    for addr in servers(cluster) {
        let mut stream = connect(&addr);
        let all: Vec<u8> = (0..500).flat_map(|opaque| request(31_999, opaque, &json!({}), b"body")).collect();
        stream.write_all(&all).expect("written");
        let mut answered = vec![false; 500];
        for _ in 0..500 {
            let answer = parse(&read_raw(&mut stream).expect("an answer")).expect("a frame");
            let opaque = answer.header["opaque"].as_u64().and_then(|opaque| usize::try_from(opaque).ok());
            answered[opaque.expect("a number")] = true;
        }
        assert!(answered.into_iter().all(|is| is));
    }
}

fn a_request_in_single_bytes_is_answered(cluster: &Cluster) {
    for addr in servers(cluster) {
        let mut stream = connect(&addr);
        stream.set_nodelay(true).expect("an option can be set");
        for byte in request(31_999, 11, &json!({}), b"b") {
            stream.write_all(&[byte]).expect("written");
        }
        let answer = parse(&read_raw(&mut stream).expect("an answer")).expect("a frame");
        assert_eq!(answer.header["opaque"], 11);
    }
}

fn send_fields(topic: &str) -> serde_json::Value {
    json!({ "producerGroup": "raw", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0", "properties": "",
        "reconsumeTimes": "0", "unitMode": "false", "batch": "false" })
}

fn an_oversized_body_is_refused(cluster: &Cluster) {
    let topic = cluster.topic("oversized", 1);
    let body = vec![b'x'; (4 << 20) + 1];
    let answer = call(&cluster.broker().addr(), 10, &send_fields(&topic), &body).expect("an answer");
    assert_eq!(answer.header["code"], 13, "{}", answer.header);
    let answer = call(&cluster.broker().addr(), 10, &send_fields(&topic), b"small").expect("an answer");
    assert_eq!(answer.header["code"], 0, "{}", answer.header);
}

fn the_vip_port_does_not_pull(cluster: &Cluster) {
    let topic = cluster.topic("vippull", 1);
    let vip = format!("127.0.0.1:{}", cluster.broker().port() - 2);
    let answer = call(&vip, 10, &send_fields(&topic), b"by the other door").expect("an answer");
    assert_eq!(answer.header["code"], 0, "{}", answer.header);
    let pull = json!({ "consumerGroup": "raw", "topic": topic, "queueId": "0", "queueOffset": "0", "maxMsgNums": "1",
        "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0" });
    let answer = call(&vip, 11, &pull, b"").expect("an answer");
    assert_eq!(answer.header["code"], 3, "{}", answer.header);
}
