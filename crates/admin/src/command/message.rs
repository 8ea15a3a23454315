//! Sending, consuming and printing messages.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, opt, required};
use crate::output::parse_time;
use crate::say;
use client::message::JavaQueue;
use client::{Message, MessageExt, MessageQueue, Producer, ProducerConfig, PullConsumer, PullResult, PullStatus};

/// Options of sendMessage.
pub const SEND: &[Opt] = &[
    required("t", "topic", "Topic name"),
    required("p", "body", "UTF-8 string format of the message body"),
    opt("k", "key", "Message keys"),
    opt("c", "tags", "Message tags"),
    opt("b", "broker", "Send message to target broker"),
    opt("i", "qid", "Send message to target queue"),
    opt("m", "msgTraceEnable", "Message Trace Enable, Default: false"),
];

/// Options of consumeMessage.
pub const CONSUME: &[Opt] = &[
    required("t", "topic", "Topic name"),
    opt("b", "brokerName", "Broker name"),
    opt("i", "queueId", "Queue Id"),
    opt("o", "offset", "Queue offset"),
    opt("g", "consumerGroup", "Consumer group name"),
    opt("s", "beginTimestamp", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
    opt("e", "endTimestamp", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
    opt("c", "MessageNumber", "Number of message to be consumed"),
];

/// Options of printMsg.
pub const PRINT: &[Opt] = &[
    required("t", "topic", "topic name"),
    opt("c", "charsetName", "CharsetName(eg: UTF-8,GBK)"),
    opt("s", "subExpression", "Subscribe Expression(eg: TagA || TagB)"),
    opt("b", "beginTimestamp", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
    opt("e", "endTimestamp", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
    opt("d", "printBody", "print body"),
    opt("l", "lmqParentTopic", "Lmq parent topic, lmq is used to find the route."),
];

/// The group that Java's tools pull with.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Messages consumeMessage prints unless told otherwise.
const DEFAULT_COUNT: i64 = 128;
const PULL_BATCH: i64 = 32;

/// sendMessage.
///
/// # Errors
/// [`AdminError`].
pub async fn send(c: &Context) -> Result<(), AdminError> {
    let mut message = Message::new(c.need("topic")?, c.need("body")?.to_owned());
    if let Some(keys) = c.values.get("key") {
        message = message.with_keys(keys);
    }
    if let Some(tags) = c.values.get("tags") {
        message = message.with_tags(tags);
    }
    let queue = match (c.values.get("broker"), c.number::<i32>("qid")?) {
        (None, Some(_)) => {
            return Err(AdminError::Usage("Broker name must be set if the queue is chosen!".to_owned()));
        }
        (Some(broker), Some(queue_id)) => {
            Some(MessageQueue { broker_name: broker.to_owned(), queue_id, topic: message.topic.clone() })
        }
        _ => None,
    };
    let producer = Producer::start(c.client_config(), ProducerConfig::new("PID_SMSC"))?;
    let sent = match &queue {
        Some(queue) => producer.send_to(&mut message, queue).await,
        None => producer.send(&mut message).await,
    };
    producer.shutdown().await;
    let sent = sent?;
    say!(c, "{:<32}  {:<4}  {:<20}    #MsgId", "#Broker Name", "#QID", "#Send Result")?;
    let status = sent.send_status.to_string();
    let queue = &sent.message_queue;
    say!(c, "{:<32}  {:<4}  {status:<20}    {}", queue.broker_name, queue.queue_id, sent.msg_id)
}

/// The times of an option in milliseconds.
fn time(c: &Context, long: &str) -> Result<Option<i64>, AdminError> {
    c.values.get(long).map(parse_time).transpose().map_err(AdminError::Usage)
}

/// First and end offset of a queue, narrowed by the two times.
async fn range(
    consumer: &PullConsumer,
    queue: &MessageQueue,
    begin: Option<i64>,
    end: Option<i64>,
) -> Result<(i64, i64), AdminError> {
    let instance = consumer.instance();
    let first = match begin {
        Some(ms) => instance.search_offset(queue, ms).await?,
        None => instance.min_offset(queue).await?,
    };
    let last = match end {
        Some(ms) => instance.search_offset(queue, ms).await?,
        None => instance.max_offset(queue).await?,
    };
    Ok((first, last))
}

fn print_messages(c: &Context, messages: &[MessageExt], body: bool) -> Result<(), AdminError> {
    for message in messages {
        let text = if body { String::from_utf8_lossy(message.body()) } else { "NOT PRINT BODY".into() };
        say!(c, "MSGID: {} {message} BODY: {text}", message.msg_id())?;
    }
    Ok(())
}

/// Prints why a pull brought nothing; false at the end of the queue.
fn print_nothing(c: &Context, queue: &MessageQueue, result: &PullResult) -> Result<bool, AdminError> {
    let (queue, offset) = (JavaQueue(queue), result.next_begin_offset);
    let status = match result.pull_status {
        PullStatus::Found => return Ok(true),
        PullStatus::NoMatchedMsg => {
            say!(c, "{queue} no matched msg. status=NO_MATCHED_MSG, offset={offset}")?;
            return Ok(true);
        }
        PullStatus::NoNewMsg => "NO_NEW_MSG",
        PullStatus::OffsetIllegal => "OFFSET_ILLEGAL",
    };
    say!(c, "{queue} print msg finished. status={status}, offset={offset}")?;
    Ok(false)
}

/// printMsg.
///
/// # Errors
/// [`AdminError`].
pub async fn print(c: &Context) -> Result<(), AdminError> {
    if let Some(name) = c.values.get("charsetName").filter(|name| !name.eq_ignore_ascii_case("utf-8")) {
        return Err(AdminError::Usage(format!("-c {name}: bodies are printed as UTF-8 only")));
    }
    let consumer = PullConsumer::start(c.client_config(), TOOLS_GROUP)?;
    let printed = print_all(c, &consumer).await;
    consumer.shutdown().await;
    printed
}

async fn print_all(c: &Context, consumer: &PullConsumer) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    let expression = c.values.get("subExpression").unwrap_or("*");
    let body = !c.values.has("printBody") || c.values.is_true("printBody");
    let mut queues = consumer.fetch_subscribe_message_queues(c.values.get("lmqParentTopic").unwrap_or(topic)).await?;
    queues.iter_mut().for_each(|queue| topic.clone_into(&mut queue.topic));
    for queue in &queues {
        let (first, end) = range(consumer, queue, time(c, "beginTimestamp")?, time(c, "endTimestamp")?).await?;
        say!(c, "minOffset={first}, maxOffset={end}, {}", JavaQueue(queue))?;
        let mut offset = first;
        while offset < end {
            let result = consumer.pull(queue, expression, offset, 32).await?;
            offset = result.next_begin_offset.max(offset);
            print_messages(c, &result.messages, body)?;
            if !print_nothing(c, queue, &result)? {
                break;
            }
        }
        say!(c, "--------------------------------------------------------")?;
    }
    Ok(())
}

/// consumeMessage: prints messages without committing.
///
/// # Errors
/// [`AdminError`].
pub async fn consume(c: &Context) -> Result<(), AdminError> {
    let usage = |text: &str| Err(AdminError::Usage(text.to_owned()));
    let count = c.number::<i64>("MessageNumber")?.unwrap_or(DEFAULT_COUNT);
    if count <= 0 {
        return usage("Please input a positive messageNumber!");
    }
    if c.values.has("queueId") && !c.values.has("brokerName") {
        return usage("Please set the brokerName before queueId!");
    }
    if c.values.has("offset") && !c.values.has("queueId") {
        return usage("Please set queueId before offset!");
    }
    let (begin, end) = (time(c, "beginTimestamp")?, time(c, "endTimestamp")?);
    if let (Some(begin), Some(end)) = (begin, end)
        && begin > end
    {
        return usage("Please make sure that the beginTimestamp is less than or equal to the endTimestamp");
    }
    let group = c.values.get("consumerGroup").unwrap_or(TOOLS_GROUP);
    let consumer = PullConsumer::start(c.client_config(), group)?;
    let consumed = consume_from(c, &consumer, count, (begin, end)).await;
    consumer.shutdown().await;
    consumed
}

async fn consume_from(
    c: &Context,
    consumer: &PullConsumer,
    count: i64,
    (begin, end): (Option<i64>, Option<i64>),
) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    let mut queues = consumer.fetch_subscribe_message_queues(topic).await?;
    if let (Some(broker), Some(queue_id)) = (c.values.get("brokerName"), c.number::<i32>("queueId")?) {
        queues = vec![MessageQueue { topic: topic.to_owned(), broker_name: broker.to_owned(), queue_id }];
    } else if let Some(broker) = c.values.get("brokerName") {
        queues.retain(|queue| queue.broker_name == broker);
    }
    let from = c.number::<i64>("offset")?;
    let mut left = count;
    for queue in &queues {
        let (first, max) = range(consumer, queue, begin, end).await?;
        let first = first.max(from.unwrap_or(0));
        if first > max {
            say!(c, "{} no matched msg, offset={first}", JavaQueue(queue))?;
            continue;
        }
        if max - first > left {
            say!(c, "The older {left} message of the {} queue will be provided", queue.queue_id)?;
        }
        let mut offset = first;
        // One pull past the end says so, as in Java.
        while offset <= max && left > 0 {
            let wanted = left.min(PULL_BATCH).min(max - offset + 1);
            let result = consumer.pull(queue, "*", offset, i32::try_from(wanted).unwrap_or(1)).await?;
            offset = result.next_begin_offset.max(offset);
            left -= i64::try_from(result.messages.len()).unwrap_or(left);
            if result.pull_status == PullStatus::Found {
                c.out.print(format_args!("Consume ok\n"))?;
                print_messages(c, &result.messages, true)?;
            }
            if !print_nothing(c, queue, &result)? {
                break;
            }
        }
    }
    Ok(())
}
