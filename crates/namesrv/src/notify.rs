//! Tells the brokers of a group that its smallest id changed (NOTIFY_MIN_BROKER_ID_CHANGE, 905).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::header::namesrv::NotifyMinBrokerIdChangeRequestHeader;
use protocol::operation::NotifyMinBrokerIdChange;
use remoting::client::Client;
use tokio::runtime::Handle;

use crate::route_info::MinBrokerIdChange;

/// A broker that cannot be reached within this time is not told. Source: RouteInfoManager.notifyMinBrokerIdChanged waits 300 ms.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends the news, from any thread.
pub struct MinBrokerIdNotifier {
    client: Arc<Client>,
    runtime: Handle,
}

impl MinBrokerIdNotifier {
    /// Sends by `client` on `runtime`.
    pub fn new(client: Arc<Client>, runtime: Handle) -> Self {
        Self { client, runtime }
    }

    /// Tells everybody, in the background and one-way.
    pub fn notify(&self, change: MinBrokerIdChange) {
        let header = NotifyMinBrokerIdChangeRequestHeader {
            min_broker_id: Some(change.min_broker_id),
            broker_name: None,
            min_broker_addr: Some(change.min_broker_addr.as_str().into()),
            offline_broker_addr: change.offline_broker_addr.map(Into::into),
            ha_broker_addr: change.ha_broker_addr.map(Into::into),
        };
        tracing::info!(min_broker_id = change.min_broker_id, notify = ?change.notify, "smallest broker id changed");
        for addr in change.notify {
            let (client, header) = (self.client.clone(), header.clone());
            self.runtime.spawn(async move {
                let sent = client.oneway::<NotifyMinBrokerIdChange>(&addr, &header, Bytes::new());
                match tokio::time::timeout(PATIENCE, sent).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(addr, %error, "broker was not told of the smallest id"),
                    Err(_) => tracing::warn!(addr, "broker was not told of the smallest id in time"),
                }
            });
        }
    }
}
