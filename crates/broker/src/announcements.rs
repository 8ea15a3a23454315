//! Which changes of the topic table every nameserver has been told.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Whoever waits gives up after this long; the change is announced later then.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of the last change each nameserver was told, or could not be told for now.
#[derive(Debug)]
pub struct Announcements {
    told: watch::Sender<BTreeMap<String, u64>>,
}

impl Announcements {
    /// Nobody was told anything.
    pub fn new(namesrvs: &[String]) -> Announcements {
        Announcements { told: watch::Sender::new(namesrvs.iter().map(|namesrv| (namesrv.clone(), 0)).collect()) }
    }

    /// A nameserver was told all changes up to `change`.
    pub fn report(&self, namesrv: &str, change: u64) {
        self.told.send_modify(|told| {
            told.insert(namesrv.to_owned(), change);
        });
    }

    /// A nameserver does not answer: nobody needs to wait for it.
    pub fn report_unreachable(&self, namesrv: &str) {
        self.report(namesrv, u64::MAX);
    }

    /// Waits until every nameserver that answers was told `change`.
    pub async fn announced(&self, change: u64) {
        let mut told = self.told.subscribe();
        let all = told.wait_for(|told| told.values().all(|at| *at >= change));
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!(change, "a nameserver does not answer; the change is announced to it later");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_those_that_answer() {
        Announcements::new(&[]).announced(7).await;
        let announcements = Announcements::new(&["a".to_owned(), "b".to_owned()]);
        announcements.report_unreachable("a");
        let waiting = announcements.announced(2);
        let telling = async {
            announcements.report("b", 1);
            tokio::task::yield_now().await;
            announcements.report("b", 2);
        };
        tokio::join!(waiting, telling);
    }
}
