//! Registration with nameservers: at boot, periodically, and at once after a topic change, a reconnect or a change of
//! the nameserver's address. Nameservers know nothing of each other, so each has a task of its own.

use crate::announcements::Announcements;
use crate::config::BrokerOptions;
use crate::config_manager::BrokerConfigManager;
use crate::topic_config_manager::TopicConfigManager;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use bytes::Bytes;
use codec::command::Command;
use codec::json;
use protocol::body::encode;
use protocol::body::topic::{KvTable, RegisterBrokerBody};
use protocol::header::namesrv::{BrokerIdentityRequestHeader, RegisterBrokerRequestHeader};
use protocol::operation::{RegisterBroker, UnregisterBroker};
use protocol::response_code::{SUCCESS, name};
use protocol::sys_flag::perm;
use remoting::channel::CallError;
use remoting::client::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(2);
/// Changes that follow each other closely are announced together.
const GATHER: Duration = Duration::from_millis(20);

/// Registers this broker.
pub(super) struct Registrar {
    pub(super) config: Arc<BrokerConfigManager>,
    pub(super) topics: Arc<TopicConfigManager>,
    pub(super) mappings: Arc<TopicQueueMappingManager>,
    pub(super) announcements: Arc<Announcements>,
    pub(super) client: Arc<Client>,
    /// How many nameservers were tried at least once.
    pub(super) attempts: watch::Sender<usize>,
}

#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("refused with {code} ({name}): {remark}", name = name(*code).unwrap_or("unknown code"))]
    Refused { code: i32, remark: String },
}

impl Registrar {
    /// Keeps this broker registered with one nameserver, for ever.
    pub(super) async fn keep_registered(&self, namesrv: &str) {
        let mut topics = self.topics.watch();
        let mut retry = FIRST_RETRY;
        let (mut failing, mut first) = (false, true);
        loop {
            let change = *topics.borrow_and_update();
            let registered = self.register(namesrv).await;
            if std::mem::take(&mut first) {
                self.attempts.send_modify(|attempts| *attempts += 1);
            }
            match registered {
                Ok(()) => {
                    if failing {
                        tracing::info!(namesrv, "registered again");
                    }
                    (retry, failing) = (FIRST_RETRY, false);
                    self.announcements.report(namesrv, change);
                    self.wait_for_news(namesrv, &mut topics).await;
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(namesrv, %error, "registration failed, trying again");
                    }
                    failing = true;
                    self.announcements.report_unreachable(namesrv);
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Returns when there is a reason to register again.
    async fn wait_for_news(&self, namesrv: &str, topics: &mut watch::Receiver<u64>) {
        let Ok(channel) = self.client.channel(namesrv).await else { return };
        let period = self.config.get().broker.register_name_server_period.clamp(10_000, 60_000);
        let period = Duration::from_millis(u64::try_from(period).unwrap_or(30_000));
        tokio::select! {
            () = tokio::time::sleep(period) => {
                // A name that means another machine by now: the next registration connects anew.
                if moved(namesrv, channel.peer()).await {
                    tracing::info!(namesrv, old = %channel.peer(), "the nameserver's address changed");
                    self.client.close(namesrv).await;
                }
            }
            changed = topics.changed() => {
                // The sender lives as long as the broker.
                let _ = changed;
                tokio::time::sleep(GATHER).await;
            }
            () = channel.gone() => {}
        }
    }

    /// Waits until every nameserver was tried once, however it answered, at most `patience`.
    pub(super) async fn first_attempts(&self, patience: Duration) {
        let all = self.config.get().namesrv_list().len();
        let mut attempts = self.attempts.subscribe();
        let done = attempts.wait_for(|attempts| *attempts >= all);
        if tokio::time::timeout(patience, done).await.is_err() {
            tracing::warn!("a nameserver does not answer; serving without it");
        }
    }

    async fn register(&self, namesrv: &str) -> Result<(), RegisterError> {
        let (header, body, timeout) = {
            let options = self.config.get();
            let body = self.body(&options);
            let timeout = u64::try_from(options.broker.register_broker_timeout_mills).unwrap_or(24_000);
            (register_header(&options, &body), body, Duration::from_millis(timeout))
        };
        let answer = self.client.call::<RegisterBroker>(namesrv, &header, body, timeout).await?;
        if answer.code != SUCCESS {
            let remark = answer.remark.map(|remark| remark.to_string()).unwrap_or_default();
            return Err(RegisterError::Refused { code: answer.code, remark });
        }
        self.take_order_conf(&answer);
        Ok(())
    }

    fn take_order_conf(&self, answer: &Command) {
        if answer.body.is_empty() {
            return;
        }
        match json::from_slice::<KvTable>(&answer.body) {
            Ok(conf) if !conf.table.is_empty() => self.topics.set_order_topics(&conf.table),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "order configuration of the nameserver cannot be read"),
        }
    }

    fn body(&self, options: &BrokerOptions) -> Bytes {
        let mut wrapper = self.topics.snapshot();
        let allowed = options.broker.broker_permission;
        if !(perm::is_writeable(allowed) && perm::is_readable(allowed)) {
            wrapper.topic_config_table.values_mut().for_each(|topic| topic.perm &= allowed);
        }
        wrapper.topic_queue_mapping_info_map = self.mappings.infos();
        let body = RegisterBrokerBody { filter_server_list: Vec::new(), topic_config_serialize_wrapper: wrapper };
        encode(&body).into()
    }

    /// Tells every nameserver that this broker leaves.
    pub(super) async fn unregister_all(&self) {
        let (namesrvs, header) = {
            let options = self.config.get();
            let broker = &options.broker;
            let header = BrokerIdentityRequestHeader {
                broker_name: broker.broker_name.as_str().into(),
                broker_addr: broker_addr(&options).into(),
                cluster_name: broker.broker_cluster_name.as_str().into(),
                broker_id: broker.broker_id,
            };
            (options.namesrv_list(), header)
        };
        let mut calls = JoinSet::new();
        for namesrv in namesrvs {
            let (client, header) = (self.client.clone(), header.clone());
            calls.spawn(async move {
                let left = client.call::<UnregisterBroker>(&namesrv, &header, Bytes::new(), UNREGISTER_TIMEOUT).await;
                if let Err(error) = left {
                    tracing::info!(namesrv, %error, "not unregistered");
                }
            });
        }
        calls.join_all().await;
    }
}

fn broker_addr(options: &BrokerOptions) -> String {
    format!("{}:{}", options.broker.broker_ip1, options.server.listen_port)
}

fn register_header(options: &BrokerOptions, body: &Bytes) -> RegisterBrokerRequestHeader {
    let broker = &options.broker;
    let crc = codec::message::body_crc(body);
    RegisterBrokerRequestHeader {
        broker_name: broker.broker_name.as_str().into(),
        broker_addr: broker_addr(options).into(),
        cluster_name: broker.broker_cluster_name.as_str().into(),
        ha_server_addr: Some(format!("{}:{}", broker.broker_ip2, options.store.ha_listen_port).into()),
        broker_id: broker.broker_id,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(broker.enable_slave_acting_master),
        compressed: false,
        body_crc32: i32::try_from(crc).unwrap_or(0),
        zone_name: None,
    }
}

/// True when the name of a server has addresses and none of them is `peer`.
async fn moved(namesrv: &str, peer: std::net::SocketAddr) -> bool {
    match tokio::net::lookup_host(namesrv).await {
        Ok(found) => {
            let found: Vec<_> = found.collect();
            !found.is_empty() && !found.contains(&peer)
        }
        Err(_) => false,
    }
}
