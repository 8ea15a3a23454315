//! The writing half of [`MessageStore`]: messages are checked and encoded here, before the append lock.

use std::cell::RefCell;
use std::sync::Arc;

use codec::index::filed;
use codec::message::{MAX_TOPIC_LEN_V1, RecordParts, reserve_prop_crc, sys_flag};
use codec::properties::{self, MAX_PROPERTIES_LEN, Properties, names};
use smallvec::SmallVec;

use crate::commit_log::{AppendError, EncodedRecord};
use crate::config::FlushDiskType;
use crate::consume_queue::Queue;
use crate::core::Counters;
use crate::error::PutError;
use crate::lmq::LMQ_QUEUE_ID;
use crate::message::{Message, PutResult};
use crate::record::{enters_queue, is_torn, key_hashes, message_count};
use crate::store::MessageStore;

/// A record may be longer than maxMessageSize by this. Source: MessageExtEncoder.
const RECORD_OVERHEAD: usize = 64 * 1024;
/// Queue directories are named after topics.
const MAX_FILE_NAME: usize = 255;
/// Topics of messages that are consumed again.
const RETRY_PREFIX: &str = "%RETRY%";

impl MessageStore {
    pub(crate) fn put_all(&self, messages: &[Message<'_>], mut done: impl FnMut(PutResult)) -> Result<(), PutError> {
        let result = loop {
            let put = match self.needs_completion(messages) {
                false => self.try_put_all(messages, &mut done),
                true => self.try_put_completed(messages, &mut done),
            };
            match put {
                Err(AppendError::Stale) => {}
                Err(AppendError::Put(error)) => break Err(error),
                Ok(()) => break Ok(()),
            }
        };
        if result.is_err() {
            Counters::add(&self.core.counters.put_failures, messages.len());
        }
        result
    }

    /// Whether the store has properties of its own to add to these messages.
    fn needs_completion(&self, messages: &[Message<'_>]) -> bool {
        self.core.config.enabled_append_prop_crc || messages.iter().any(is_inner_batch) || self.lmqs.concern(messages)
    }

    /// The slow way: properties are put together anew.
    fn try_put_completed(&self, messages: &[Message<'_>], done: &mut impl FnMut(PutResult)) -> Result<(), AppendError> {
        let _order = self.lmqs.order(messages);
        let alone = messages.len() == 1;
        let properties: Result<Vec<String>, _> =
            messages.iter().map(|message| self.completed(message, alone)).collect();
        let properties = properties?;
        if messages.len() > 1 && messages.iter().any(is_inner_batch) {
            return Err(AppendError::Put(PutError::Illegal { reason: "an inner batch goes alone" }));
        }
        let completed = messages.iter().zip(&properties);
        let completed: Vec<_> = completed.map(|(message, properties)| Message { properties, ..*message }).collect();
        self.try_put_all(&completed, done)
    }

    /// The properties of a message with those that the store adds: where an inner batch begins in its queue and where the
    /// message is in light queues, which may be too late when it is appended, and room for the CRC.
    fn completed(&self, message: &Message<'_>, alone: bool) -> Result<String, AppendError> {
        let mut properties = message.properties.to_owned();
        if is_inner_batch(message) {
            self.check(message).map_err(AppendError::Put)?;
            let queue = self.queue(message.topic, message.queue_id).map_err(AppendError::Put)?;
            if queue.batch().is_none() {
                let reason =
                    "the message is an inner batch, but the queues of its topic hold none (queue.type=BatchCQ)";
                return Err(AppendError::Put(PutError::Illegal { reason }));
            }
            let mut with_base = Properties::parse(&properties);
            with_base.set(names::INNER_BASE, queue.next_offset().to_string());
            properties = with_base.encode();
        }
        let lmq = |name: &str| self.queue(name, LMQ_QUEUE_ID);
        self.lmqs.complete(message, alone, &mut properties, &self.queues, lmq).map_err(AppendError::Put)?;
        Ok(if self.core.config.enabled_append_prop_crc { reserve_prop_crc(&properties) } else { properties })
    }

    fn try_put_all(&self, messages: &[Message<'_>], done: &mut impl FnMut(PutResult)) -> Result<(), AppendError> {
        thread_local! {
            /// Heads and tails of the records being put.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        self.core.check_writable().map_err(AppendError::Put)?;
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let result = self.encode_and_append(messages, &mut scratch, done);
        if scratch.capacity() <= 1 << 20 {
            SCRATCH.set(scratch);
        }
        result
    }

    fn encode_and_append(
        &self,
        messages: &[Message<'_>],
        scratch: &mut Vec<u8>,
        done: &mut impl FnMut(PutResult),
    ) -> Result<(), AppendError> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut frames = SmallVec::<[_; 1]>::with_capacity(messages.len());
        for message in messages {
            self.check(message).map_err(AppendError::Put)?;
            let start = scratch.len();
            let head_len = parts(message).encode_around_body(scratch);
            let head_len =
                head_len.map_err(|_| AppendError::Put(PutError::Illegal { reason: "too long to encode" }))?;
            frames.push((head_len, scratch.len() - start - head_len));
        }
        let mut rest = scratch.as_mut_slice();
        let mut records = SmallVec::<[_; 1]>::with_capacity(messages.len());
        for (message, (head_len, tail_len)) in messages.iter().zip(&frames) {
            let (head, behind) = std::mem::take(&mut rest).split_at_mut(*head_len);
            let (tail, behind) = behind.split_at_mut(*tail_len);
            rest = behind;
            records.push(self.encoded(message, head, tail)?);
        }
        self.log.append(&mut records)?;
        let core = &self.core;
        if core.config.flush_disk_type == FlushDiskType::AsyncFlush {
            core.dispatch.notify();
        }
        core.note_appended();
        Counters::add(&core.counters.puts, records.len());
        for record in records {
            Counters::add(&core.counters.put_bytes, usize::try_from(record.len).unwrap_or(0));
            done(record.place);
        }
        Ok(())
    }

    fn encoded<'a>(
        &self,
        message: &Message<'a>,
        head: &'a mut [u8],
        tail: &'a mut [u8],
    ) -> Result<EncodedRecord<'a>, AppendError> {
        let len = head.len() + message.body.len() + tail.len();
        let get = |name| properties::get(message.properties, name);
        let filed @ [.., tags] = filed(message.properties);
        let queue = self.queue(message.topic, message.queue_id).map_err(AppendError::Put)?;
        Ok(EncodedRecord {
            message_count: message_count(&queue, message.sys_flag, || get(names::INNER_NUM)),
            expects_offset: match is_inner_batch(message) {
                true => Some(get(names::INNER_BASE).and_then(|base| base.parse().ok()).unwrap_or(-1)),
                false => None,
            },
            queue,
            head,
            body: message.body,
            tail,
            properties_len: u32::try_from(message.properties.len()).unwrap_or(0),
            len: u32::try_from(len).unwrap_or(u32::MAX),
            in_queue: enters_queue(message.sys_flag),
            tags_code: self.delays.tags_code(message.topic, tags, || get(names::DELAY)),
            key_hashes: key_hashes(&self.core.config, message.topic, filed, message.sys_flag),
            lmqs: self.lmqs.places(message, |name| self.queue(name, LMQ_QUEUE_ID)).map_err(AppendError::Put)?,
            place: PutResult { physical_offset: 0, len: 0, queue_offset: 0, store_timestamp: 0 },
        })
    }

    fn queue(&self, topic: &str, queue_id: i32) -> Result<Arc<Queue>, PutError> {
        self.queues.get(topic, queue_id).map_err(|error| {
            self.core.poison(format!("cannot open the consume queue {queue_id} of {topic}: {error}"));
            self.core.check_writable().err().unwrap_or(PutError::Shutdown)
        })
    }

    fn check(&self, message: &Message<'_>) -> Result<(), PutError> {
        let config = &self.core.config;
        let topic = message.topic;
        // Source: HookUtils.checkBeforePutMessage.
        let limit = match topic.len() > MAX_TOPIC_LEN_V1 && topic.starts_with(RETRY_PREFIX) {
            true if config.auto_message_version_on_topic_len => MAX_FILE_NAME,
            _ => config.max_topic_length.min(MAX_TOPIC_LEN_V1),
        };
        if topic.len() > limit {
            return Err(PutError::TopicTooLong { len: topic.len(), limit });
        }
        if topic.is_empty() || topic == "." || topic == ".." || topic.contains(['/', '\0']) {
            return Err(PutError::Illegal { reason: "the topic cannot be the name of a directory" });
        }
        if is_torn(topic.as_bytes(), message.properties.as_bytes()) {
            return Err(PutError::Illegal { reason: "the properties end in, or largely are, NUL characters" });
        }
        if message.queue_id < 0 {
            return Err(PutError::Illegal { reason: "the queue id is negative" });
        }
        let (len, limit) = (message.properties.len(), MAX_PROPERTIES_LEN);
        if len > limit {
            return Err(PutError::PropertiesTooLarge { len, limit });
        }
        let (len, limit) = (message.body.len(), config.max_message_size);
        if len > limit {
            return Err(PutError::MessageTooLarge { len, limit });
        }
        let (len, limit) = (parts(message).encoded_len(), limit.saturating_add(RECORD_OVERHEAD));
        if len > limit {
            return Err(PutError::MessageTooLarge { len, limit });
        }
        Ok(())
    }
}

fn is_inner_batch(message: &Message<'_>) -> bool {
    message.sys_flag & sys_flag::INNER_BATCH != 0
}

fn parts<'a>(message: &Message<'a>) -> RecordParts<'a> {
    RecordParts {
        queue_id: message.queue_id,
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_timestamp: message.born_timestamp,
        born_host: message.born_host,
        store_host: message.store_host,
        reconsume_times: message.reconsume_times,
        prepared_transaction_offset: message.prepared_transaction_offset,
        body: message.body,
        topic: message.topic,
        properties: message.properties,
    }
}
