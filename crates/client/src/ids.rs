//! Ids that clients make: of themselves and of messages.

use crate::clock;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

static COUNTER: AtomicU16 = AtomicU16::new(0);
static FIXED: OnceLock<String> = OnceLock::new();
/// Start of this month and of the next, ms.
static MONTH: Mutex<(i64, i64)> = Mutex::new((0, 0));

/// The address of this machine that peers would see: the one from which it reaches `towards`, else the one of its
/// default route; loopback when it has no other.
#[must_use]
pub fn local_ip(towards: Option<SocketAddr>) -> IpAddr {
    // Connecting a datagram socket sends nothing; it only makes the system choose the source address.
    let source = |peer: SocketAddr| {
        let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(peer).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    let outside = SocketAddr::from(([10, 255, 255, 255], 9));
    [source(outside), towards.and_then(source)]
        .into_iter()
        .flatten()
        .find(|ip| !ip.is_loopback())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A client id as Java makes it: `IP@PID#NANOS`, or `IP@INSTANCE` when an instance name is given.
#[must_use]
pub fn client_id(ip: IpAddr, instance_name: Option<&str>) -> String {
    match instance_name {
        Some(name) => format!("{ip}@{name}"),
        None => format!("{ip}@{}#{}", std::process::id(), clock::now_nanos()),
    }
}

/// A unique message id as Java makes it, upper-case hex of: address (4 or 16 bytes), process id (2), a number of this
/// process (4; in Java the hash of the class loader), milliseconds since the month began (4), counter (2).
#[must_use]
pub fn unique_message_id() -> String {
    let fixed = FIXED.get_or_init(fixed_part);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{fixed}{:08X}{count:04X}", ms_of_month(clock::now_ms()))
}

fn fixed_part() -> String {
    let mut bytes = match local_ip(None) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let [_, _, p0, p1] = std::process::id().to_be_bytes();
    let salt = clock::now_nanos().to_be_bytes();
    bytes.extend_from_slice(&[p0, p1]);
    // The lowest bytes of the start time tell processes apart that share address and process id, as containers may.
    bytes.extend_from_slice(salt.get(12..).unwrap_or(&[0; 4]));
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Milliseconds since the start of the month (UTC; Java takes its own zone, which only shifts the number).
fn ms_of_month(now_ms: i64) -> u32 {
    let mut month = MONTH.lock();
    if now_ms < month.0 || now_ms >= month.1 {
        *month = month_around(now_ms);
    }
    u32::try_from(now_ms - month.0).unwrap_or(0)
}

/// Start of the month that holds `now_ms` and of the next, both in ms.
fn month_around(now_ms: i64) -> (i64, i64) {
    const DAY_MS: i64 = 86_400_000;
    let (year, month, day) = civil(now_ms.div_euclid(DAY_MS));
    let start = (now_ms.div_euclid(DAY_MS) - (day - 1)) * DAY_MS;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (start, start + days * DAY_MS)
}

/// Year, month 1..=12 and day 1..=31 of a day counted from 1970-01-01 (the usual era arithmetic, March-based years).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn message_ids_are_unique_and_of_javas_length() {
        let ids: HashSet<_> = (0..10_000).map(|_| unique_message_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| matches!(id.len(), 32 | 56)));
        assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))));
    }

    #[test]
    fn months_begin_where_they_should() {
        let check = |now_ms: i64, start_ms: i64, days: i64| {
            assert_eq!(month_around(now_ms), (start_ms, start_ms + days * 86_400_000), "{now_ms}");
        };
        check(0, 0, 31);
        check(951_782_400_000, 949_363_200_000, 29); // 2000-02-29
        check(1_709_251_199_999, 1_706_745_600_000, 29); // 2024-02-29, last ms
        check(1_709_251_200_000, 1_709_251_200_000, 31); // 2024-03-01
        check(4_105_123_200_000, 4_105_123_200_000, 28); // 2100 is no leap year
    }

    #[test]
    fn client_ids_have_javas_form() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let id = client_id(ip, None);
        let (process, nanos) = id.strip_prefix("10.0.0.1@").unwrap().split_once('#').unwrap();
        assert_eq!(process, std::process::id().to_string());
        assert!(nanos.bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(client_id(ip, Some("DEFAULT")), "10.0.0.1@DEFAULT");
    }
}
