//! What pulls of some groups are held to: those that read cold data wait, and those of broadcasting groups begin where
//! their client was.

use super::pull_message::{PullParts, PullReply};
use crate::broadcast_offset_manager::{BroadcastClient, broadcast_group};
use crate::config::BrokerOptions;
use protocol::body::client::ConsumeType;
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader, request_source};
use protocol::names::is_system_group;
use protocol::response_code::{PULL_OFFSET_MOVED, SYSTEM_BUSY};
use remoting::channel::Channel;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use store::ColdArea;
use tokio::sync::Semaphore;

/// How long a pull waits whose group has read too much cold data. Source: ColdDataPullRequestHoldService.
const COLD_HOLD: Duration = Duration::from_secs(3);
/// Such pulls that wait at a time; more are refused.
const COLD_HOLDS: usize = 10_000;
const COLD_REMARK: &str = "This consumer group is reading cold data. It has been flow control";

/// What counts as cold, while cold data is controlled.
pub(super) fn cold_area(options: &BrokerOptions) -> Option<ColdArea> {
    let store = &options.store;
    let hot_ratio = u8::try_from(store.access_message_in_memory_hot_ratio).unwrap_or(u8::MAX);
    store.cold_data_flow_control_enable.then_some(ColdArea { hot_ratio, ask_kernel: store.cold_data_scan_enable })
}

impl PullParts {
    /// Room for pulls that wait because their group reads cold data.
    pub fn cold_holds() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(COLD_HOLDS))
    }

    /// A group has read so many cold bytes.
    pub(super) fn read_cold(&self, group: &str, bytes: u64, options: &BrokerOptions) {
        if bytes > 0 && !is_system_group(group) {
            self.cold.read(group, bytes, &options.broker, clock::now_ms());
        }
    }

    /// Whether a pull would read more cold data than its group may.
    fn is_too_cold(&self, header: &PullMessageRequestHeader, options: &BrokerOptions) -> bool {
        let Some(area) = cold_area(options) else { return false };
        let (group, topic): (&str, &str) = (&header.consumer_group, &header.topic);
        !is_system_group(group)
            && self.cold.is_exhausted(group, &options.broker, clock::now_ms())
            && self.store.in_cold_area(topic, header.queue_id, header.queue_offset, area.hot_ratio)
    }

    /// The answer to a pull of a group that has read too much cold data: push consumers come again later by themselves,
    /// others wait and then get one message. Groups that are not connected count as the latter, where Java fails.
    pub(super) fn held_for_cold_data(
        parts: &Arc<PullParts>,
        request: &Request<PullMessageRequestHeader>,
        options: &BrokerOptions,
    ) -> Option<Outcome<PullMessageResponseHeader>> {
        if !parts.is_too_cold(&request.header, options) {
            return None;
        }
        let model = parts.consumers.model(&request.header.consumer_group);
        let permit = match model.map(|(consume_type, _)| consume_type) {
            Some(ConsumeType::ConsumePop) => return None,
            Some(ConsumeType::ConsumePassively) => None,
            Some(ConsumeType::ConsumeActively) | None => parts.cold_holds.clone().try_acquire_owned().ok(),
        };
        let Some(permit) = permit else { return Some(Reply::error(SYSTEM_BUSY, COLD_REMARK).into()) };
        let (parts, mut header, code) = (parts.clone(), request.header.clone(), request.code);
        Some(Outcome::Later(Box::pin(async move {
            tokio::time::sleep(COLD_HOLD).await;
            drop(permit);
            if parts.is_too_cold(&header, &parts.config.get()) {
                header.max_msg_nums = 1;
            }
            parts.resumed(&header, code)
        })))
    }

    /// The client of a broadcasting group that pulls.
    pub(super) fn broadcast_client(
        &self,
        header: &PullMessageRequestHeader,
        channel: &Channel,
        options: &BrokerOptions,
    ) -> Option<BroadcastClient> {
        if !options.broker.enable_broadcast_offset_store {
            return None;
        }
        if header.request_source == Some(request_source::PROXY_FOR_BROADCAST) {
            let client_id = header.proxy_forward_client_id.as_deref()?.to_owned();
            return Some(BroadcastClient { client_id, by_proxy: true });
        }
        let client_id = self.consumers.broadcast_client(&header.consumer_group, channel)?;
        Some(BroadcastClient { client_id, by_proxy: false })
    }

    /// Where a client of a broadcasting group has to begin instead of where it wants to.
    pub(super) fn broadcast_begin(&self, header: &PullMessageRequestHeader, client: &BroadcastClient) -> Option<i64> {
        let (group, topic, queue_id): (&str, &str, i32) = (&header.consumer_group, &header.topic, header.queue_id);
        if self.offsets.has_reset(group, topic, queue_id) {
            return None;
        }
        let last = self.broadcasts.must_begin(group, topic, client, (queue_id, header.queue_offset))?;
        let last = last.filter(|offset| *offset >= 0);
        let of_others = || self.offsets.query(&broadcast_group(group), topic, queue_id).filter(|offset| *offset >= 0);
        Some(last.or_else(of_others).unwrap_or_else(|| match self.store.in_memory(topic, queue_id, 0) {
            true => 0,
            false => self.store.max_offset(topic, queue_id),
        }))
    }

    /// Remembers where a client of a broadcasting group is.
    pub(super) fn broadcast_pulled(
        &self,
        header: &PullMessageRequestHeader,
        client: &BroadcastClient,
        reply: &PullReply,
    ) {
        let moved = reply.header.as_ref().filter(|_| reply.code == PULL_OFFSET_MOVED);
        let offset = moved.map_or(header.queue_offset, |moved| moved.next_begin_offset);
        let (group, topic) = (&header.consumer_group, &header.topic);
        self.broadcasts.pulled(group, topic, client, (header.queue_id, offset), clock::now_ms());
    }
}
