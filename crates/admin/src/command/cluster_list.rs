//! clusterList: all brokers with their load.

use super::broker::runtime_info;
use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, flag, opt};
use crate::say;
use client::clock::now_ms;
use protocol::body::route::ClusterInfo;
use std::collections::BTreeMap;
use std::time::Duration;

/// Options of clusterList.
pub const OPTIONS: &[Opt] = &[
    flag("m", "moreStats", "Print more stats"),
    opt("i", "interval", "specify intervals numbers, it is in seconds"),
    opt("c", "clusterName", "which cluster"),
];

/// clusterList. With an interval it prints again and again until it is interrupted.
///
/// # Errors
/// [`AdminError`].
pub async fn run(c: &Context) -> Result<(), AdminError> {
    let interval: Option<u64> = c.number("interval")?;
    loop {
        let info = c.cluster_info().await?;
        let clusters: Vec<String> = match c.values.get("clusterName").filter(|name| !name.is_empty()) {
            Some(name) => vec![name.to_owned()],
            None => info.cluster_addr_table.keys().cloned().collect(),
        };
        if c.values.has("moreStats") {
            print_totals(c, &info, &clusters).await?;
        } else {
            print_load(c, &info, &clusters).await?;
        }
        let Some(seconds) = interval else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
    }
}

struct Replica<'a> {
    cluster: &'a str,
    broker_name: &'a str,
    id: i64,
    addr: &'a str,
    /// Empty when the broker does not answer.
    figures: BTreeMap<String, String>,
}

async fn replicas<'a>(c: &Context, info: &'a ClusterInfo, clusters: &'a [String]) -> Vec<Replica<'a>> {
    let mut replicas = Vec::new();
    for cluster in clusters {
        let mut names: Vec<&String> = info.cluster_addr_table.get(cluster).into_iter().flatten().collect();
        names.sort();
        for broker in names.into_iter().filter_map(|name| info.broker_addr_table.get(name)) {
            for (id, addr) in &broker.broker_addrs {
                let figures = runtime_info(c, addr).await.unwrap_or_else(|error| {
                    eprintln!("{addr}: {error}");
                    BTreeMap::new()
                });
                replicas.push(Replica { cluster, broker_name: &broker.broker_name, id: *id, addr, figures });
            }
        }
    }
    replicas
}

async fn print_totals(c: &Context, info: &ClusterInfo, clusters: &[String]) -> Result<(), AdminError> {
    say!(
        c,
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
        "#Cluster Name",
        "#Broker Name",
        "#InTotalYest",
        "#OutTotalYest",
        "#InTotalToday",
        "#OutTotalToday"
    )?;
    for replica in replicas(c, info, clusters).await {
        let number = |key: &str| replica.figures.get(key).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let since = |kind: &str, from: &str, to: &str| {
            number(&format!("msg{kind}Total{to}")).saturating_sub(number(&format!("msg{kind}Total{from}")))
        };
        say!(
            c,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            replica.cluster,
            replica.broker_name,
            since("Put", "YesterdayMorning", "TodayMorning"),
            since("Get", "YesterdayMorning", "TodayMorning"),
            since("Put", "TodayMorning", "TodayNow"),
            since("Get", "TodayMorning", "TodayNow")
        )?;
    }
    Ok(())
}

async fn print_load(c: &Context, info: &ClusterInfo, clusters: &[String]) -> Result<(), AdminError> {
    say!(
        c,
        "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}",
        "#Cluster Name",
        "#Broker Name",
        "#BID",
        "#Addr",
        "#Version",
        "#InTPS(LOAD)",
        "#OutTPS(LOAD)",
        "#Timer(Progress)",
        "#PCWait(ms)",
        "#Hour",
        "#SPACE",
        "#ACTIVATED"
    )?;
    for replica in replicas(c, info, clusters).await {
        let load = load(&replica.figures);
        say!(
            c,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:>11}  {:<12}  {:<8}  {:>10}",
            replica.cluster,
            replica.broker_name,
            replica.id,
            replica.addr,
            load.version,
            load.in_tps,
            load.out_tps,
            load.timer,
            load.page_cache_wait,
            load.hours,
            load.space,
            load.active
        )?;
    }
    Ok(())
}

struct Load {
    version: String,
    in_tps: String,
    out_tps: String,
    timer: String,
    page_cache_wait: String,
    hours: String,
    space: String,
    active: bool,
}

fn load(figures: &BTreeMap<String, String>) -> Load {
    let text = |key: &str| figures.get(key).cloned().unwrap_or_default();
    let ack =
        |key: &str| if figures.is_empty() { String::new() } else { figures.get(key).cloned().unwrap_or("N".into()) };
    let number = |key: &str| figures.get(key).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let whole = |key: &str| figures.get(key).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    // The last ten seconds, minute and ten minutes are given: the first counts.
    let tps = |key: &str| text(key).split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
    let hours = match figures.get("earliestMessageTimeStamp").and_then(|ms| ms.parse::<i64>().ok()) {
        Some(ms) => hours_since(ms),
        None => 0.0,
    };
    Load {
        version: text("brokerVersionDesc"),
        in_tps: format!(
            "{:9.2}({},{}ms)",
            tps("putTps"),
            text("sendThreadPoolQueueSize"),
            text("sendThreadPoolQueueHeadWaitTimeMills")
        ),
        out_tps: format!(
            "{:9.2}({},{}ms|{},{}ms)",
            tps("getTransferredTps"),
            text("pullThreadPoolQueueSize"),
            text("pullThreadPoolQueueHeadWaitTimeMills"),
            ack("ackThreadPoolQueueSize"),
            ack("ackThreadPoolQueueHeadWaitTimeMills")
        ),
        timer: format!(
            "{}-{}({:.1}w, {:.1}, {:.1})",
            whole("timerReadBehind"),
            whole("timerOffsetBehind"),
            number("timerCongestNum") / 10_000.0,
            number("timerEnqueueTps"),
            number("timerDequeueTps")
        ),
        page_cache_wait: text("pageCacheLockTimeMills"),
        hours: format!("{hours:.2}"),
        space: format!("{:.4}", number("commitLogDiskRatio")),
        active: figures.get("brokerActive").is_some_and(|active| active.eq_ignore_ascii_case("true")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "hours with two digits are exact enough")]
fn hours_since(ms: i64) -> f64 {
    now_ms().saturating_sub(ms) as f64 / 3_600_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_laid_out_as_java() {
        let figures = BTreeMap::from(
            [
                ("putTps", "12.5 1.0 0.1"),
                ("sendThreadPoolQueueSize", "3"),
                ("sendThreadPoolQueueHeadWaitTimeMills", "7"),
                ("getTransferredTps", "1.0 1.0 1.0"),
                ("pullThreadPoolQueueSize", "0"),
                ("pullThreadPoolQueueHeadWaitTimeMills", "0"),
                ("timerCongestNum", "15000"),
                ("commitLogDiskRatio", "0.2"),
                ("brokerActive", "true"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let load = load(&figures);
        assert_eq!(load.in_tps, "    12.50(3,7ms)");
        assert_eq!(load.out_tps, "     1.00(0,0ms|N,Nms)");
        assert_eq!(load.timer, "0-0(1.5w, 0.0, 0.0)");
        assert_eq!((load.space.as_str(), load.active), ("0.2000", true));
    }
}
