//! Finding the server, and the topics that the load goes to.

use crate::check::Queue;
use crate::cli;
use crate::error::BenchError;
use bytes::Bytes;
use codec::command::Command;
use codec::fields::NoHeader;
use protocol::body::route::ClusterInfo;
use protocol::body::topic::TopicConfigSerializeWrapper;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::header::offset::{OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueueRequestHeader};
use protocol::header::pull::PullMessageRequestHeader;
use protocol::header::topic::{CreateTopicRequestHeader, GetAllTopicConfigRequestHeader};
use protocol::operation::{
    GetAllTopicConfig, GetBrokerClusterInfo, GetBrokerConfig, GetMaxOffset, GetMinOffset, GetRouteInfoByTopic,
    Operation, PullMessage, QueryConsumerOffset, UpdateAndCreateTopic,
};
use protocol::response_code;
use protocol::sys_flag::pull as pull_flag;
use remoting::client::{Client, ClientConfig};
use remoting::routes::Routes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Queues of a topic that is made.
const NEW_QUEUES: i32 = 8;
/// More are of no use, and what a broker says must not fill our memory.
const MAX_QUEUES: usize = 1_000_000;
/// The slowest broker has dispatched what it acknowledged by then.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_ROUNDS: usize = 100;

/// A server, and a connection for all that is not load.
pub struct Target {
    /// Its address.
    pub addr: String,
    client: Client,
    timeout: Duration,
}

/// What to do about a topic that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Make,
    /// Say so.
    Refuse,
}

/// Nameservers of a list joined by `;`.
pub fn nameservers(list: &str) -> Vec<String> {
    list.split([';', ',']).map(str::trim).filter(|addr| !addr.is_empty()).map(str::to_owned).collect()
}

impl Target {
    fn at(addr: &str, options: &cli::Server) -> Target {
        let config = ClientConfig { serialize_type: options.header.into(), ..ClientConfig::default() };
        let client = Client::new(config, Arc::new(Routes::new()), Arc::new(()));
        Target { addr: addr.to_owned(), client, timeout: options.timeout }
    }

    /// The broker that the options name, or that the nameserver they name knows.
    ///
    /// # Errors
    /// [`BenchError::Server`] when nobody answers, [`BenchError::Refused`] when the options leave it open.
    pub async fn broker(options: &cli::Server) -> Result<Target, BenchError> {
        if let Some(addr) = &options.broker {
            return Ok(Target::at(addr, options));
        }
        let nameserver = Target::nameserver(options)?;
        let answer = nameserver.call::<GetBrokerClusterInfo>(&NoHeader).await?;
        let info: ClusterInfo = nameserver.json(&answer)?;
        let masters: BTreeMap<&str, &str> = info
            .broker_addr_table
            .values()
            .filter_map(|data| Some((data.broker_name.as_str(), data.broker_addrs.get(&0)?.as_str())))
            .collect();
        let names = masters.keys().copied().collect::<Vec<_>>().join(", ");
        let found = match (&options.broker_name, masters.first_key_value()) {
            (Some(name), _) => masters.get_key_value(name.as_str()),
            (None, Some(one)) if masters.len() == 1 => Some(one),
            (None, Some(_)) => {
                let text = format!("nameserver {} knows {names}: choose one with --broker-name", nameserver.addr);
                return Err(BenchError::Refused(text));
            }
            (None, None) => None,
        };
        let Some((_, addr)) = found else {
            let wanted = options.broker_name.as_deref().map_or(String::new(), |name| format!(" of the name {name}"));
            let known = if names.is_empty() { "none at all".to_owned() } else { names };
            return Err(BenchError::Refused(format!(
                "nameserver {} knows no master{wanted}, it knows {known}; does the broker run with namesrvAddr={}?",
                nameserver.addr, nameserver.addr
            )));
        };
        Ok(Target::at(addr, options))
    }

    /// The first nameserver of the options.
    ///
    /// # Errors
    /// [`BenchError::Refused`] when there is none.
    pub fn nameserver(options: &cli::Server) -> Result<Target, BenchError> {
        let list = options.namesrv.as_deref().map(nameservers).unwrap_or_default();
        match list.first() {
            Some(addr) => Ok(Target::at(addr, options)),
            None => Err(BenchError::Refused(
                "which server? give a nameserver (-n host:9876) or a broker (-b host:10911)".to_owned(),
            )),
        }
    }

    async fn ask<O: Operation>(&self, header: &O::Request) -> Result<Command, BenchError> {
        self.client
            .call::<O>(&self.addr, header, Bytes::new(), self.timeout)
            .await
            .map_err(|error| BenchError::Server(format!("{error}; is the server there, and is this its port?")))
    }

    async fn call<O: Operation>(&self, header: &O::Request) -> Result<Command, BenchError> {
        let answer = self.ask::<O>(header).await?;
        if answer.code == response_code::SUCCESS {
            return Ok(answer);
        }
        let remark = answer.remark.as_deref().unwrap_or("no remark");
        let name = response_code::name(answer.code).unwrap_or("unknown");
        let remedy = match answer.code {
            response_code::REQUEST_CODE_NOT_SUPPORTED => "; is that a broker? a nameserver is named with -n",
            _ => "",
        };
        let (addr, code) = (&self.addr, answer.code);
        Err(BenchError::Server(format!("{addr} refuses {}: code {code} {name}: {remark}{remedy}", O::NAME)))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, answer: &Command) -> Result<T, BenchError> {
        codec::json::from_slice(&answer.body)
            .map_err(|error| BenchError::Server(format!("{} sent a body that is {error}", self.addr)))
    }

    /// The queues of the wanted topics, those of the first topic first.
    ///
    /// # Errors
    /// [`BenchError::Refused`] when a topic has other queues than asked for or is not there, and what a call may give.
    pub async fn queues(
        &self,
        wanted: &cli::Topics,
        missing: Missing,
        say: &mut dyn FnMut(String),
    ) -> Result<Vec<Queue>, BenchError> {
        let header = GetAllTopicConfigRequestHeader { topic_seq: None, data_version: None, max_topic_num: None };
        let answer = self.call::<GetAllTopicConfig>(&header).await?;
        let known = match answer.body.is_empty() {
            true => TopicConfigSerializeWrapper::default(),
            false => self.json(&answer)?,
        };
        let asked = wanted.queues.map(i32::from);
        let mut queues = Vec::new();
        let mut made = 0;
        for name in wanted.names() {
            let there = match known.topic_config_table.get(&name) {
                Some(config) => Some(config.write_queue_nums),
                // mqbench null-server has every topic.
                None if missing == Missing::Refuse && answer.body.is_empty() => Some(asked.unwrap_or(NEW_QUEUES)),
                None => None,
            };
            let count = match (there, asked) {
                (Some(there), Some(asked)) if there != asked => {
                    return Err(BenchError::Refused(format!(
                        "topic {name} has {there} queues, --queues asks for {asked}: leave --queues out, or take another \
                         topic with --topic"
                    )));
                }
                (Some(there), _) => there,
                (None, _) if missing == Missing::Refuse => {
                    return Err(BenchError::Refused(format!(
                        "{} has no topic {name}: name another one with --topic, or fill it first with mqbench produce",
                        self.addr
                    )));
                }
                (None, asked) => {
                    let count = asked.unwrap_or(NEW_QUEUES);
                    self.make_topic(&name, count).await?;
                    made += 1;
                    count
                }
            };
            for queue_id in 0..count {
                let mut queue = Queue { topic: name.clone(), queue_id, start: 0 };
                if there.is_some() {
                    queue.start = self.max_offset(&queue).await?;
                }
                if queues.len() >= MAX_QUEUES {
                    return Err(BenchError::Refused(format!("more than {MAX_QUEUES} queues: ask for fewer topics")));
                }
                queues.push(queue);
            }
        }
        if queues.is_empty() {
            return Err(BenchError::Refused(format!("topic {} has no queue to write to", wanted.topic)));
        }
        if made > 0 {
            let (count, what) = (asked.unwrap_or(NEW_QUEUES), if made == 1 { "topic" } else { "topics" });
            say(format!("made {made} {what} ({}) with {count} queues on {}", wanted.topic, self.addr));
        }
        if made < wanted.topics {
            self.settle(&mut queues).await?;
        }
        Ok(queues)
    }

    async fn make_topic(&self, name: &str, queues: i32) -> Result<(), BenchError> {
        let header = CreateTopicRequestHeader {
            topic: name.into(),
            default_topic: Some("TBW102".into()),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: Some("SINGLE_TAG".into()),
            topic_sys_flag: Some(0),
            order: false,
            attributes: None,
            force: false,
        };
        self.call::<UpdateAndCreateTopic>(&header).await.map(drop)
    }

    /// Waits until queues no longer grow: brokers tell of messages only some time after they acknowledged them.
    async fn settle(&self, queues: &mut [Queue]) -> Result<(), BenchError> {
        for _ in 0..SETTLE_ROUNDS {
            tokio::time::sleep(SETTLE).await;
            let mut still = true;
            for queue in queues.iter_mut() {
                let end = self.max_offset(queue).await?;
                still &= end == queue.start;
                queue.start = end;
            }
            if still {
                return Ok(());
            }
        }
        Err(BenchError::Refused(
            "somebody else writes to this topic: take another one (--topic), or wait until that load is over"
                .to_owned(),
        ))
    }

    /// Waits until this nameserver has a route for the topic: brokers tell it of new topics in their own time.
    ///
    /// # Errors
    /// [`BenchError::Server`] when that takes longer than `--timeout`, and what a call may give.
    pub async fn wait_route(&self, topic: &str) -> Result<(), BenchError> {
        let header = GetRouteInfoRequestHeader {
            topic: topic.into(),
            accept_standard_json_only: true,
            zone_mode: false,
            zone_name: None,
        };
        let mut waited = Duration::ZERO;
        while self.ask::<GetRouteInfoByTopic>(&header).await?.code != response_code::SUCCESS {
            if waited > self.timeout {
                let (addr, seconds) = (&self.addr, waited.as_secs_f64());
                let text =
                    format!("nameserver {addr} has no route for topic {topic} after {seconds:.0} s; see --timeout");
                return Err(BenchError::Server(text));
            }
            tokio::time::sleep(SETTLE).await;
            waited += SETTLE;
        }
        Ok(())
    }

    /// Makes a group go on at the end of a queue: a pull from there commits it, and makes the group where it is not there.
    ///
    /// # Errors
    /// What a call may give.
    pub async fn begin_at_end(&self, group: &str, queue: &Queue) -> Result<(), BenchError> {
        let header = PullMessageRequestHeader {
            consumer_group: group.into(),
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            queue_offset: queue.start,
            max_msg_nums: 1,
            sys_flag: pull_flag::SUBSCRIPTION | pull_flag::COMMIT_OFFSET,
            commit_offset: queue.start,
            suspend_timeout_millis: 0,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: Some("TAG".into()),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        self.ask::<PullMessage>(&header).await.map(drop)?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: group.into(),
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            set_zero_if_not_found: Some(false),
        };
        let answer: OffsetResponseHeader = match self.call::<QueryConsumerOffset>(&header).await?.header() {
            Ok(header) => header,
            Err(error) => return Err(BenchError::Server(format!("{}: {error}", self.addr))),
        };
        if answer.offset != queue.start {
            let (queue_id, end) = (queue.queue_id, queue.start);
            let text = format!("group {group} is at {} of queue {queue_id} after a commit of {end}", answer.offset);
            return Err(BenchError::Wrong(text));
        }
        Ok(())
    }

    /// The brokerName, which receipts of pops name.
    ///
    /// # Errors
    /// What a call may give, and [`BenchError::Wrong`] when its settings name none.
    pub async fn broker_name(&self) -> Result<String, BenchError> {
        let answer = self.call::<GetBrokerConfig>(&NoHeader).await?;
        let settings = String::from_utf8_lossy(&answer.body).into_owned();
        let name = settings.lines().find_map(|line| line.strip_prefix("brokerName="));
        name.map(|name| name.trim().to_owned())
            .ok_or_else(|| BenchError::Wrong(format!("{}: its settings have no brokerName", self.addr)))
    }

    /// The offset behind the last message of a queue.
    ///
    /// # Errors
    /// What a call may give.
    pub async fn max_offset(&self, queue: &Queue) -> Result<i64, BenchError> {
        self.offset::<GetMaxOffset>(queue).await
    }

    /// The offset of the first message of a queue.
    ///
    /// # Errors
    /// What a call may give.
    pub async fn min_offset(&self, queue: &Queue) -> Result<i64, BenchError> {
        self.offset::<GetMinOffset>(queue).await
    }

    async fn offset<O>(&self, queue: &Queue) -> Result<i64, BenchError>
    where
        O: Operation<Request = QueueRequestHeader, Response = OffsetResponseHeader>,
    {
        let header = QueueRequestHeader { topic: queue.topic.as_str().into(), queue_id: queue.queue_id };
        let answer = self.call::<O>(&header).await?;
        let header: OffsetResponseHeader =
            answer.header().map_err(|error| BenchError::Server(format!("{}: {}: {error}", self.addr, O::NAME)))?;
        Ok(header.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nameservers() {
        assert_eq!(nameservers(" a:1; b:2;;"), ["a:1", "b:2"]);
        assert!(nameservers("").is_empty());
    }
}
