//! Which consumers are connected, in which groups, and what they want.

use codec::command::Language;
use foldhash::HashMap;
use parking_lot::RwLock;
use protocol::body::client::{
    Connection, ConsumeFromWhere, ConsumeType, ConsumerConnection, ConsumerData, MessageModel, SubscriptionData,
};
use remoting::channel::Channel;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A subscription that requests bring along again and again is remembered anew after so long, ms: well before it expires.
const REFRESH_MS: i64 = 60_000;

/// One client of a group.
#[derive(Clone, Debug)]
pub struct ClientChannelInfo {
    /// Its connection.
    pub channel: Arc<Channel>,
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: Language,
    /// Ordinal of its release.
    pub version: i32,
    /// Last heartbeat, ms.
    pub last_update_timestamp: i64,
}

impl ClientChannelInfo {
    /// As administrators see it.
    pub fn connection(&self) -> Connection {
        Connection {
            client_addr: self.channel.peer().to_string(),
            client_id: self.client_id.clone(),
            language: self.language.name().to_owned(),
            version: self.version,
        }
    }
}

/// What changed in a group, for those who must be told.
#[derive(Debug, Default)]
pub struct GroupChange {
    /// Something changed.
    pub changed: bool,
    /// Members to notify; empty when nobody is to be told.
    pub notify: Vec<Arc<Channel>>,
    /// The last member is gone.
    pub gone: bool,
}

#[derive(Debug, Default)]
struct Group {
    consume_type: ConsumeType,
    message_model: MessageModel,
    consume_from_where: ConsumeFromWhere,
    /// By channel id.
    clients: BTreeMap<u64, ClientChannelInfo>,
    subscriptions: BTreeMap<String, SubscriptionData>,
    fingerprint: i32,
}

/// Groups that have at least one connected member.
#[derive(Debug, Default)]
pub struct ConsumerManager {
    groups: RwLock<HashMap<String, Group>>,
    /// Whether any group has ever consumed by broadcast: spares the pulls of others the look-up.
    broadcasting: AtomicBool,
    /// Subscriptions of pulls that bring their own, by group and topic.
    compensated: RwLock<HashMap<String, BTreeMap<String, SubscriptionData>>>,
}

impl ConsumerManager {
    /// No groups.
    pub fn new() -> ConsumerManager {
        ConsumerManager::default()
    }

    /// Takes in one consumer of a heartbeat. `without_sub`: its subscriptions did not change and are left out.
    pub fn register(&self, data: &ConsumerData, client: ClientChannelInfo, without_sub: bool) -> GroupChange {
        let mut groups = self.groups.write();
        let group = groups.entry(data.group_name.clone()).or_default();
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        if data.message_model == MessageModel::Broadcasting {
            self.broadcasting.store(true, Ordering::Relaxed);
        }
        group.consume_from_where = data.consume_from_where;
        let mut changed = group.put_client(client);
        if !without_sub {
            changed |= group.put_subscriptions(&data.subscription_data_set);
        }
        group.change(changed)
    }

    /// Remembers the fingerprint of a heartbeat and tells whether it differs from the one before.
    pub fn update_fingerprint(&self, group: &str, fingerprint: i32) -> bool {
        let mut groups = self.groups.write();
        let Some(group) = groups.get_mut(group) else { return false };
        let before = std::mem::replace(&mut group.fingerprint, fingerprint);
        before != 0 && before != fingerprint
    }

    /// Takes a client out of a group.
    pub fn unregister(&self, group_name: &str, channel: &Channel) -> GroupChange {
        let mut groups = self.groups.write();
        let Some(group) = groups.get_mut(group_name) else { return GroupChange::default() };
        let removed = group.clients.remove(&channel.id()).is_some();
        let change = group.change(removed);
        if group.clients.is_empty() {
            groups.remove(group_name);
        }
        change
    }

    /// Takes a closed connection out of all groups; the changes by group.
    pub fn close(&self, channel: &Channel) -> Vec<(String, GroupChange)> {
        self.remove_clients(|client| client.channel.id() == channel.id())
    }

    /// Takes out and closes the connections that were silent since `deadline_ms`.
    pub fn expire(&self, deadline_ms: i64) -> Vec<(String, GroupChange)> {
        self.remove_clients(|client| {
            let expired = client.last_update_timestamp < deadline_ms;
            if expired {
                client.channel.close();
            }
            expired
        })
    }

    /// Forgets subscriptions brought by pulls before `deadline_ms`.
    pub fn expire_compensated(&self, deadline_ms: i64) {
        self.compensated.write().retain(|_, topics| {
            topics.retain(|_, subscription| subscription.sub_version >= deadline_ms);
            !topics.is_empty()
        });
    }

    fn remove_clients(&self, gone: impl Fn(&ClientChannelInfo) -> bool) -> Vec<(String, GroupChange)> {
        let mut changes = Vec::new();
        self.groups.write().retain(|name, group| {
            let before = group.clients.len();
            group.clients.retain(|_, client| !gone(client));
            if group.clients.len() != before {
                changes.push((name.clone(), group.change(true)));
            }
            !group.clients.is_empty()
        });
        changes
    }

    /// Remembers the subscription that a pull or pop brought along.
    pub fn compensate(&self, group: &str, subscription: &SubscriptionData) {
        let known = |old: &SubscriptionData| {
            old.sub_string == subscription.sub_string
                && old.expression_type == subscription.expression_type
                && subscription.sub_version - old.sub_version < REFRESH_MS
        };
        if self.compensated.read().get(group).and_then(|topics| topics.get(&subscription.topic)).is_some_and(known) {
            return;
        }
        let mut compensated = self.compensated.write();
        let topics = compensated.entry(group.to_owned()).or_default();
        topics.insert(subscription.topic.clone(), subscription.clone());
    }

    /// Ids of the clients of a group; empty without any.
    pub fn client_ids(&self, group: &str) -> Vec<String> {
        let groups = self.groups.read();
        let ids = groups.get(group).into_iter().flat_map(|group| group.clients.values());
        ids.map(|client| client.client_id.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The client of a group with that id.
    pub fn client(&self, group: &str, client_id: &str) -> Option<ClientChannelInfo> {
        let groups = self.groups.read();
        groups.get(group)?.clients.values().find(|client| client.client_id == client_id).cloned()
    }

    /// The id of the client of a broadcasting group of push consumers behind a connection.
    pub fn broadcast_client(&self, group: &str, channel: &Channel) -> Option<String> {
        if !self.broadcasting.load(Ordering::Relaxed) {
            return None;
        }
        let groups = self.groups.read();
        let group = groups.get(group).filter(|group| {
            group.message_model == MessageModel::Broadcasting && group.consume_type == ConsumeType::ConsumePassively
        });
        group?.clients.get(&channel.id()).map(|client| client.client_id.clone())
    }

    /// All clients of a group.
    pub fn clients(&self, group: &str) -> Vec<ClientChannelInfo> {
        let groups = self.groups.read();
        groups.get(group).map(|group| group.clients.values().cloned().collect()).unwrap_or_default()
    }

    /// How a connected group consumes.
    pub fn model(&self, group: &str) -> Option<(ConsumeType, MessageModel)> {
        self.groups.read().get(group).map(|group| (group.consume_type, group.message_model))
    }

    /// What a connected group wants of a topic; `None` within `Some` when it did not subscribe.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<Option<SubscriptionData>> {
        self.groups.read().get(group).map(|group| group.subscriptions.get(topic).cloned())
    }

    /// Topics that a connected group subscribes, or those of pulls that brought their subscription.
    pub fn subscribed_topics(&self, group: &str) -> BTreeSet<String> {
        let groups = self.groups.read();
        let connected = groups.get(group).into_iter().flat_map(|group| group.subscriptions.keys().cloned());
        let compensated = self.compensated.read();
        let pulled = compensated.get(group).into_iter().flat_map(|topics| topics.keys().cloned());
        connected.chain(pulled).collect()
    }

    /// Connected groups that subscribe a topic.
    pub fn groups_of_topic(&self, topic: &str) -> BTreeSet<String> {
        let groups = self.groups.read();
        let subscribed = groups.iter().filter(|(_, group)| group.subscriptions.contains_key(topic));
        subscribed.map(|(name, _)| name.clone()).collect()
    }

    /// The group as administrators see it; `None` without members.
    pub fn describe(&self, group: &str) -> Option<ConsumerConnection> {
        let groups = self.groups.read();
        let group = groups.get(group)?;
        Some(ConsumerConnection {
            connection_set: group.clients.values().map(ClientChannelInfo::connection).collect(),
            consume_from_where: group.consume_from_where,
            consume_type: group.consume_type,
            message_model: group.message_model,
            subscription_table: group.subscriptions.clone(),
        })
    }
}

impl Group {
    fn put_client(&mut self, client: ClientChannelInfo) -> bool {
        let id = client.channel.id();
        let twin = self.clients.values().find(|other| {
            other.client_id == client.client_id && other.channel.peer().ip() != client.channel.peer().ip()
        });
        if let Some(twin) = twin {
            let (first, second) = (twin.channel.peer(), client.channel.peer());
            tracing::warn!(client_id = client.client_id, %first, %second,
                "two clients of one group have the same id and share queues; give each its own instanceName");
        }
        self.clients.insert(id, client).is_none()
    }

    /// Takes over newer subscriptions and drops those no longer wanted; true when topics came or went.
    fn put_subscriptions(&mut self, wanted: &[SubscriptionData]) -> bool {
        let mut changed = false;
        for subscription in wanted {
            match self.subscriptions.get_mut(&subscription.topic) {
                None => {
                    self.subscriptions.insert(subscription.topic.clone(), subscription.clone());
                    changed = true;
                }
                Some(old) if subscription.sub_version > old.sub_version => *old = subscription.clone(),
                Some(_) => {}
            }
        }
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| wanted.iter().any(|subscription| subscription.topic == *topic));
        changed || self.subscriptions.len() != before
    }

    fn change(&self, changed: bool) -> GroupChange {
        let told = changed && self.message_model != MessageModel::Broadcasting;
        let channels = self.clients.values().filter(|_| told).map(|client| client.channel.clone());
        GroupChange { changed, notify: channels.collect(), gone: self.clients.is_empty() }
    }
}
