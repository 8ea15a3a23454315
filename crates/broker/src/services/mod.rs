//! What runs by itself: each service is one task that ends when the broker stops.

mod delivery;
mod housekeeping;
mod persistence;
mod registration;
mod revive;
mod transaction_check;

use self::delivery::Delivery;
use self::housekeeping::Housekeeping;
use self::persistence::Persistence;
use self::registration::Registrar;
use self::revive::Reviver;
use self::transaction_check::TransactionCheck;
use crate::parts::Parts;
use crate::processor::client_manage::ClientManageProcessor;
use crate::static_topic::clean::MappingClean;
use crate::static_topic::peers::Peers;
use parking_lot::Mutex;
use remoting::client::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const FIRST_REGISTRATION: Duration = Duration::from_secs(5);

/// The tasks of a broker.
pub struct Services {
    stop: CancellationToken,
    tasks: TaskTracker,
    registrar: Arc<Registrar>,
    persistence: Arc<Persistence>,
}

impl Services {
    /// Starts everything that needs no nameserver and no client, then registration.
    pub fn start(parts: &Parts, clients: &Arc<ClientManageProcessor>, client: Arc<Client>) -> Services {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let registrar = Arc::new(Registrar {
            config: parts.config.clone(),
            topics: parts.topics.clone(),
            mappings: parts.mappings.clone(),
            announcements: parts.announcements.clone(),
            client: client.clone(),
            attempts: watch::Sender::new(0),
        });
        let persistence = Arc::new(Persistence {
            config: parts.config.clone(),
            topics: parts.topics.clone(),
            groups: parts.groups.clone(),
            offsets: parts.offsets.clone(),
            broadcasts: parts.broadcasts.clone(),
            consumers: parts.consumers.clone(),
            filters: parts.filters.clone(),
            schedule: parts.schedule.clone(),
            transactions: parts.transactions.clone(),
            pop: parts.pop.clone(),
            timer: parts.timer.clone(),
            written: Mutex::default(),
        });
        let run = |future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! { () = future => {}, () = stop.cancelled() => {} }
            });
        };
        let hold = parts.hold.clone();
        run(Box::pin(async move { hold.run(remoting::clock::now_ms).await }));
        let housekeeping = Housekeeping { stats: parts.stats.clone(), clients: clients.clone() };
        run(Box::pin(async move { housekeeping.run().await }));
        let mapping_clean = MappingClean {
            mappings: parts.mappings.clone(),
            store: parts.store.clone(),
            peers: Peers::new(client, parts.config.clone()),
        };
        run(Box::pin(async move { mapping_clean.run().await }));
        let persisting = persistence.clone();
        run(Box::pin(async move { persisting.run().await }));
        for level in 1..=parts.levels.max_level() {
            let delivery = Delivery {
                store: parts.store.clone(),
                schedule: parts.schedule.clone(),
                levels: parts.levels.clone(),
                level,
            };
            run(Box::pin(async move { delivery.run().await }));
        }
        let check = Arc::new(TransactionCheck {
            store: parts.store.clone(),
            transactions: parts.transactions.clone(),
            topics: parts.topics.clone(),
            offsets: parts.offsets.clone(),
            producers: parts.producers.clone(),
            config: parts.config.clone(),
            store_host: parts.store_host,
        });
        let deciding = check.clone();
        run(Box::pin(async move { deciding.write_decisions().await }));
        run(Box::pin(async move { check.run().await }));
        for queue_id in parts.pop.arrivals.revive.queue_ids() {
            let reviver = Reviver {
                store: parts.store.clone(),
                topics: parts.topics.clone(),
                groups: parts.groups.clone(),
                stats: parts.stats.clone(),
                config: parts.config.clone(),
                pop: parts.pop.clone(),
                store_host: parts.store_host,
                queue_id,
            };
            run(Box::pin(async move { reviver.run().await }));
        }
        for notifications in [false, true] {
            let waiting = parts.pop.arrivals.clone();
            run(Box::pin(async move {
                let polling = if notifications { &waiting.notifications } else { &waiting.pops };
                polling.run(remoting::clock::now_ms).await;
            }));
        }
        let pop = parts.pop.clone();
        run(Box::pin(async move {
            loop {
                let key = pop.orders.freed(remoting::clock::now_ms).await;
                pop.freed(&key);
            }
        }));
        for namesrv in parts.config.get().namesrv_list() {
            let registrar = registrar.clone();
            run(Box::pin(async move { registrar.keep_registered(&namesrv).await }));
        }
        Services { stop, tasks, registrar, persistence }
    }

    /// Waits until every nameserver was tried once, so that whoever reads the boot line finds a route.
    pub async fn first_registration(&self) {
        self.registrar.first_attempts(FIRST_REGISTRATION).await;
    }

    /// Leaves the nameservers, stops the tasks, writes the metadata.
    pub async fn shutdown(&self) {
        self.registrar.unregister_all().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.persistence.write_all().await;
    }
}
