//! The least that a server of this protocol can do: it reads the same frames and answers canned successes. It looks up
//! request code and number and nothing else; bodies are not read over. What a broker costs above it is the broker's.

use crate::body;
use crate::cli::NullServer;
use crate::error::{BenchError, IoContext as _};
use bytes::{Buf as _, BytesMut};
use codec::command::{FLAG_ONEWAY, FLAG_RESPONSE, Preamble};
use codec::fields::FieldWriter;
use codec::frame::{self, DEFAULT_MAX_FRAME_LEN, SerializeType};
use codec::message::{QUEUE_OFFSET_POSITION, RecordParts};
use protocol::body::route::{BrokerData, QueueData, TopicRouteData};
use protocol::request_code;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const READ_LEN: usize = 64 * 1024;
/// A body below this joins the other answers; from here on a write of its own costs less than the copy.
const COPIED: usize = 8 * 1024;

/// Answers whose number is still to be put in: first JSON, then ROCKETMQ.
struct Answers {
    /// To whatever else there is: the fields that mqbench looks at in any answer.
    success: [Canned; 2],
    /// To the question for a queue's end: that of `page`.
    max_offset: [Canned; 2],
    /// To a pull; `page` follows.
    pull: [Canned; 2],
    page: Vec<u8>,
    /// To a route look-up; `route` follows.
    look_up: [Canned; 2],
    route: Vec<u8>,
}

/// A frame's beginning around its request number.
struct Canned {
    /// Up to the number.
    before: Vec<u8>,
    /// From there on.
    after: Vec<u8>,
    body_len: usize,
}

/// Serves until the process ends. Prints the address it listens on.
///
/// # Errors
/// [`BenchError::Io`] when it cannot listen there.
pub(crate) async fn run(options: &NullServer) -> Result<(), BenchError> {
    let listener = TcpListener::bind(&options.listen).await.on("listen on", options.listen.as_str())?;
    let addr = listener.local_addr().on("listen on", options.listen.as_str())?;
    let answers = Arc::new(Answers::new(options, addr)?);
    println!("mqbench null-server listens on {addr}");
    loop {
        // Out of descriptors, or a client that is gone already.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let answers = answers.clone();
        tokio::spawn(async move {
            // Whatever ends a connection ends only that.
            let _ = serve(stream, &answers).await;
        });
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(READ_LEN);
    let mut out = Vec::with_capacity(READ_LEN);
    let none = Vec::new();
    loop {
        let wanted = frame::announced_len(&input, DEFAULT_MAX_FRAME_LEN).map_err(std::io::Error::other)?;
        input.reserve(wanted.unwrap_or(0).saturating_sub(input.len()).max(READ_LEN / 2));
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some(layout) = frame::layout(&input, DEFAULT_MAX_FRAME_LEN).map_err(std::io::Error::other)? {
            let header = input.get(layout.header.clone()).unwrap_or_default();
            let request = look(layout.serialize_type, header)
                .ok_or_else(|| std::io::Error::other("a header without code and opaque"))?;
            input.advance(layout.total_len);
            if request.flag & FLAG_ONEWAY != 0 {
                continue;
            }
            let (canned, body) = match request.code {
                request_code::PULL_MESSAGE | request_code::LITE_PULL_MESSAGE => (&answers.pull, &answers.page),
                request_code::GET_ROUTEINFO_BY_TOPIC => (&answers.look_up, &answers.route),
                request_code::GET_MAX_OFFSET => (&answers.max_offset, &none),
                _ => (&answers.success, &none),
            };
            let [json, rocketmq] = canned;
            match layout.serialize_type {
                SerializeType::Json => json.json(request.opaque, &mut out),
                SerializeType::RocketMq => rocketmq.binary(request.opaque, &mut out),
            }
            if body.len() < COPIED {
                out.extend_from_slice(body);
            } else {
                write_both(&mut stream, &out, body).await?;
                out.clear();
            }
        }
        stream.write_all(&out).await?;
        out.clear();
    }
}

/// Writes one behind the other without joining them.
async fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> std::io::Result<()> {
    let written = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]).await?;
    stream.write_all(head.get(written..).unwrap_or_default()).await?;
    stream.write_all(body.get(written.saturating_sub(head.len())..).unwrap_or_default()).await
}

/// What is looked up of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    code: i32,
    opaque: i32,
    flag: i32,
}

/// Code, number and flag of a header. A JSON header is searched for their names, as mqbench and Java clients write them, and
/// not parsed.
fn look(serialize_type: SerializeType, header: &[u8]) -> Option<Request> {
    if serialize_type == SerializeType::RocketMq {
        let [c0, c1, _, _, _, o0, o1, o2, o3, f0, f1, f2, f3] = *header.first_chunk::<13>()?;
        let code = i16::from_be_bytes([c0, c1]).into();
        let (opaque, flag) = (i32::from_be_bytes([o0, o1, o2, o3]), i32::from_be_bytes([f0, f1, f2, f3]));
        return Some(Request { code, opaque, flag });
    }
    // Code comes first, flag and opaque behind extFields: the search goes backwards through the short part only.
    let code = digits(header.strip_prefix(b"{\"code\":")?);
    let end = header.len().saturating_sub(200);
    let rest = header.get(end..)?;
    let value = |name: &[u8]| {
        let at = rest.windows(name.len()).rposition(|window| window == name)?;
        rest.get(at + name.len()..).map(digits)
    };
    Some(Request { code, opaque: value(b"\"opaque\":")?, flag: value(b"\"flag\":")? })
}

fn digits(bytes: &[u8]) -> i32 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i32, |value, byte| value.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')))
}

impl Canned {
    fn both(fields: &[(&str, String)], body_len: usize) -> Result<[Canned; 2], BenchError> {
        Ok([
            Canned::new(SerializeType::Json, fields, body_len)?,
            Canned::new(SerializeType::RocketMq, fields, body_len)?,
        ])
    }

    fn new(serialize_type: SerializeType, fields: &[(&str, String)], body_len: usize) -> Result<Canned, BenchError> {
        let version = protocol::CURRENT_VERSION;
        let preamble = Preamble { code: 0, version, opaque: 0, flag: FLAG_RESPONSE, remark: None, serialize_type };
        let write = |writer: &mut FieldWriter<'_>| fields.iter().for_each(|(key, value)| writer.put(key, value));
        let mut out = BytesMut::new();
        codec::command::encode(&mut out, &preamble, write, body_len)
            .map_err(|error| BenchError::Refused(error.to_string()))?;
        let marker = b"\"opaque\":";
        let at = match serialize_type {
            SerializeType::Json => out.windows(marker.len()).rposition(|window| window == marker).map(|at| at + 9),
            SerializeType::RocketMq => Some(frame::PREFIX_LEN + 5),
        };
        let at = at.expect("every JSON header has an opaque");
        let width = if serialize_type == SerializeType::Json { 1 } else { 4 };
        let (before, after) = out.split_at(at);
        let after = after.get(width..).unwrap_or_default();
        Ok(Canned { before: before.to_vec(), after: after.to_vec(), body_len })
    }

    fn json(&self, opaque: i32, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.before);
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = opaque.unsigned_abs();
        while at == digits.len() || rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits[at..]);
        out.extend_from_slice(&self.after);
        let header_len = (out.len() - from - frame::PREFIX_LEN) as u32;
        let total = (4 + self.body_len) as u32 + header_len;
        let prefix = out.get_mut(from..from + frame::PREFIX_LEN).unwrap_or_default();
        let (total_at, header_at) = prefix.split_at_mut(4);
        total_at.copy_from_slice(&total.to_be_bytes());
        header_at.copy_from_slice(&header_len.to_be_bytes());
    }

    fn binary(&self, opaque: i32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(&opaque.to_be_bytes());
        out.extend_from_slice(&self.after);
    }
}

impl Answers {
    fn new(options: &NullServer, addr: SocketAddr) -> Result<Answers, BenchError> {
        let field = |key, value: &str| (key, value.to_owned());
        let page = page(options, addr)?;
        let end = options.page_messages.to_string();
        let route = protocol::body::encode(&route(options, addr));
        Ok(Answers {
            success: Canned::both(
                &[
                    field("msgId", "7F000001000000000000000000000000"),
                    field("queueId", "0"),
                    field("queueOffset", "0"),
                    field("offset", "0"),
                ],
                0,
            )?,
            max_offset: Canned::both(&[field("offset", &end)], 0)?,
            pull: Canned::both(
                &[
                    field("suggestWhichBrokerId", "0"),
                    field("nextBeginOffset", &end),
                    field("minOffset", "0"),
                    field("maxOffset", &i64::MAX.to_string()),
                ],
                page.len(),
            )?,
            page,
            look_up: Canned::both(&[], route.len())?,
            route,
        })
    }
}

/// Records of queue 0 at offsets from 0 on, as a broker stores them.
fn page(options: &NullServer, addr: SocketAddr) -> Result<Vec<u8>, BenchError> {
    let body = body::blank(usize::from(options.page_body));
    let mut page = Vec::new();
    for queue_offset in 0..i64::from(options.page_messages) {
        let parts = RecordParts {
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: addr,
            store_host: addr,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            topic: &options.topic,
            properties: "",
        };
        let mut record = Vec::new();
        let head = parts.encode_around_body(&mut record).map_err(|error| BenchError::Refused(error.to_string()))?;
        let tail = record.split_off(head);
        record.extend_from_slice(&body);
        record.extend_from_slice(&tail);
        if let Some(place) = record.get_mut(QUEUE_OFFSET_POSITION..QUEUE_OFFSET_POSITION + 8) {
            place.copy_from_slice(&queue_offset.to_be_bytes());
        }
        page.extend_from_slice(&record);
    }
    Ok(page)
}

fn route(options: &NullServer, addr: SocketAddr) -> TopicRouteData {
    let broker_name = options.topic.clone();
    TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: [(0, addr.to_string())].into(),
            broker_name: broker_name.clone(),
            cluster: "DefaultCluster".to_owned(),
            ..BrokerData::default()
        }],
        queue_datas: vec![QueueData {
            broker_name,
            perm: 6,
            read_queue_nums: 8,
            topic_sys_flag: 0,
            write_queue_nums: 8,
        }],
        ..TopicRouteData::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Input, Template};
    use protocol::header::offset::QueueRequestHeader;
    use protocol::operation::GetMaxOffset;

    #[test]
    fn finds_code_and_number_of_a_request() {
        for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
            let header = QueueRequestHeader { topic: "T".into(), queue_id: 3 };
            let template = Template::new::<GetMaxOffset>(&header, serialize_type, FLAG_ONEWAY, 0).unwrap();
            let mut bytes = Vec::new();
            template.append(&mut bytes, 1_234_567_890);
            let found = look(serialize_type, &bytes[frame::PREFIX_LEN..]);
            assert_eq!(found, Some(Request { code: 30, opaque: 1_234_567_890, flag: FLAG_ONEWAY }));
        }
        assert_eq!(look(SerializeType::Json, b"{}"), None);
        assert_eq!(look(SerializeType::RocketMq, b"short"), None);
    }

    #[test]
    fn answers_can_be_read() {
        let mut out = Vec::new();
        let [json, binary] = Canned::both(&[("queueId", "0".to_owned())], 2).unwrap();
        for opaque in [0, 9, 10, 1_234_567_890] {
            json.json(opaque, &mut out);
            out.extend_from_slice(b"xy");
            binary.binary(opaque, &mut out);
            out.extend_from_slice(b"xy");
        }
        let mut input = Input::new("null");
        input.buffer.extend_from_slice(&out);
        for opaque in [0, 0, 9, 9, 10, 10, 1_234_567_890, 1_234_567_890] {
            let answer = input.next_command().unwrap().unwrap();
            assert_eq!(
                (answer.code, answer.opaque, answer.is_response(), &answer.body[..]),
                (0, opaque, true, &b"xy"[..])
            );
            assert_eq!(answer.fields.get("queueId").unwrap().unwrap(), "0");
        }
    }
}
