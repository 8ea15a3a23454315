//! Groups whose members are pushed messages by the client library: one by several threads, one in order. A second member of
//! each joins and leaves.

use super::planned;
use crate::clock::now_ms;
use crate::model::history::{Delivery, History, What};
use crate::model::plan::{ORDERLY_GROUP, PLAIN, PUSH_GROUP};
use crate::model::run::Site;
use client::{ClientConfig, ConsumeContext, ConsumeStatus, MessageExt, PushConsumer, PushConsumerConfig};
use protocol::body::client::ConsumeFromWhere;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The members.
pub struct Members {
    history: Arc<History>,
    namesrv: String,
    runtime: Runtime,
    first: Vec<PushConsumer>,
    second: Vec<PushConsumer>,
}

impl Members {
    /// One member of each group.
    /// # Panics
    /// When one does not start.
    pub fn start(site: &Site) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let (history, namesrv) = (site.history.clone(), site.namesrv.clone());
        let mut members = Self { history, namesrv, runtime, first: Vec::new(), second: Vec::new() };
        members.first = members.join();
        members
    }

    fn join(&self) -> Vec<PushConsumer> {
        [PUSH_GROUP, ORDERLY_GROUP].iter().map(|group| self.runtime.block_on(self.consumer(group))).collect()
    }

    async fn consumer(&self, group: &'static str) -> PushConsumer {
        let second = Duration::from_secs(1);
        let client = ClientConfig {
            poll_namesrv_interval: second,
            heartbeat_interval: second,
            persist_offset_interval: second,
            ..ClientConfig::new(&self.namesrv)
        };
        let config = PushConsumerConfig {
            consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
            orderly: group == ORDERLY_GROUP,
            consume_threads: 4,
            ..PushConsumerConfig::new(group)
        };
        let history = self.history.clone();
        let listener = move |messages: &[MessageExt], _: &ConsumeContext| {
            for message in messages {
                history.add(now_ms(), What::Pushed(delivery(group, message)));
            }
            ConsumeStatus::Success
        };
        PushConsumer::start(client, config, &[(PLAIN, "*")], listener).await.expect("a consumer starts")
    }

    /// The second member of each group leaves, or joins when it is not there.
    pub fn change(&mut self) {
        if self.second.is_empty() {
            self.second = self.join();
        } else {
            let leaving = std::mem::take(&mut self.second);
            self.leave(&leaving);
        }
    }

    /// Everyone leaves.
    pub fn stop(&mut self) {
        let leaving = [std::mem::take(&mut self.first), std::mem::take(&mut self.second)];
        leaving.iter().for_each(|leaving| self.leave(leaving));
    }

    fn leave(&self, leaving: &[PushConsumer]) {
        leaving.iter().for_each(|member| self.runtime.block_on(member.shutdown()));
    }
}

fn delivery(group: &str, message: &MessageExt) -> Delivery {
    let names = ["TAGS", "number", "colour"].map(str::to_owned);
    let value = |name: String| message.property(&name).map(|value| (name.clone(), value.to_owned()));
    Delivery {
        group: group.to_owned(),
        topic: message.topic().to_owned(),
        queue: i64::from(message.queue_id),
        offset: message.queue_offset,
        body: String::from_utf8_lossy(message.body()).into_owned(),
        properties: planned(names.into_iter().filter_map(value)),
        reconsumed: i64::from(message.reconsume_times),
        invisible_ms: None,
    }
}
