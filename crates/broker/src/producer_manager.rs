//! Which producers are connected, in which groups.

use crate::consumer_manager::ClientChannelInfo;
use foldhash::HashMap;
use parking_lot::RwLock;
use protocol::body::client::{Connection, ProducerInfo};
use remoting::channel::Channel;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Groups that have at least one connected member.
#[derive(Debug, Default)]
pub struct ProducerManager {
    /// By group, then channel id.
    groups: RwLock<HashMap<String, BTreeMap<u64, ClientChannelInfo>>>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl ProducerManager {
    /// No groups.
    pub fn new() -> ProducerManager {
        ProducerManager::default()
    }

    /// Takes in one producer of a heartbeat.
    pub fn register(&self, group: &str, client: ClientChannelInfo) {
        let mut groups = self.groups.write();
        let clients = match groups.get_mut(group) {
            Some(clients) => clients,
            None => groups.entry(group.to_owned()).or_default(),
        };
        clients.insert(client.channel.id(), client);
    }

    /// Takes a client out of a group.
    pub fn unregister(&self, group: &str, channel: &Channel) {
        let mut groups = self.groups.write();
        if let Some(clients) = groups.get_mut(group) {
            clients.remove(&channel.id());
            if clients.is_empty() {
                groups.remove(group);
            }
        }
    }

    /// Takes a closed connection out of all groups.
    pub fn close(&self, channel: &Channel) {
        self.retain(|client| client.channel.id() != channel.id());
    }

    /// Takes out and closes the connections that were silent since `deadline_ms`.
    pub fn expire(&self, deadline_ms: i64) {
        self.retain(|client| {
            let alive = client.last_update_timestamp >= deadline_ms;
            if !alive {
                client.channel.close();
            }
            alive
        });
    }

    fn retain(&self, keep: impl Fn(&ClientChannelInfo) -> bool) {
        self.groups.write().retain(|_, clients| {
            clients.retain(|_, client| keep(client));
            !clients.is_empty()
        });
    }

    /// The members of a group; `None` without any.
    pub fn connections(&self, group: &str) -> Option<Vec<Connection>> {
        let groups = self.groups.read();
        groups.get(group).map(|clients| clients.values().map(ClientChannelInfo::connection).collect())
    }

    /// The connections of a group, another one first each time.
    pub fn in_turn(&self, group: &str) -> Vec<Arc<Channel>> {
        let groups = self.groups.read();
        let Some(clients) = groups.get(group) else { return Vec::new() };
        let mut channels: Vec<_> = clients.values().map(|client| client.channel.clone()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % channels.len().max(1);
        channels.rotate_left(turn);
        channels
    }

    /// The connection of the client with this id; of several the newest.
    pub fn find(&self, client_id: &str) -> Option<Arc<Channel>> {
        let groups = self.groups.read();
        let clients = groups.values().flat_map(BTreeMap::values).filter(|client| client.client_id == client_id);
        clients.max_by_key(|client| client.channel.id()).map(|client| client.channel.clone())
    }

    /// All producers by group.
    pub fn table(&self) -> BTreeMap<String, Vec<ProducerInfo>> {
        let info = |client: &ClientChannelInfo| ProducerInfo {
            client_id: client.client_id.clone(),
            language: client.language.name().to_owned(),
            last_update_timestamp: client.last_update_timestamp,
            // As Java writes an address without a name.
            remote_ip: format!("/{}", client.channel.peer()),
            version: client.version,
        };
        let groups = self.groups.read();
        groups.iter().map(|(group, clients)| (group.clone(), clients.values().map(info).collect())).collect()
    }
}
