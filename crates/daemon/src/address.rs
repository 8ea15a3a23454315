//! The address under which a broker tells others to reach it (`brokerIP1`), when the configuration does not say.
//!
//! Java takes the first public IPv4 of any interface, else the last private one, so that a VPN or the bridge of a container
//! engine changes the answer. Here the interface of the default route comes first, and bridges and tunnels last.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// A choice, and what an operator should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// The address.
    pub ip: Ipv4Addr,
    /// The interface it belongs to, as far as known.
    pub interface: Option<String>,
    /// One line each, with the remedy.
    pub warnings: Vec<String>,
}

/// Chooses among the addresses of this machine.
#[must_use]
pub fn advertised() -> Advertised {
    let in_container = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    choose(&read("/proc/net/route"), &read("/proc/net/fib_trie"), in_container)
}

/// What is wrong with an address that was configured, if anything: it is not one of a kind that others can reach.
#[must_use]
pub fn warn_configured(address: &str) -> Option<String> {
    let ip: Ipv4Addr = address.parse().ok()?;
    if ip.is_unspecified() {
        Some(format!("brokerIP1={ip} is no address to connect to: set it to the address clients shall use"))
    } else if ip.is_loopback() {
        Some(format!("brokerIP1={ip} is reached from this machine only: set it to the address clients shall use"))
    } else {
        None
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    ip: Ipv4Addr,
    interface: Option<String>,
    /// Smaller is better.
    rank: u8,
}

fn choose(route: &str, fib_trie: &str, in_container: bool) -> Advertised {
    let routes: Vec<Route> = route.lines().skip(1).filter_map(Route::parse).collect();
    let default = routes.iter().filter(|r| r.is_default()).min_by_key(|r| r.metric).map(|r| r.interface.clone());
    let mut candidates: Vec<Candidate> = local_addresses(fib_trie)
        .into_iter()
        .filter(|ip| !ip.is_loopback())
        .map(|ip| {
            let interface = routes.iter().find(|r| r.is_direct() && r.contains(ip)).map(|r| r.interface.clone());
            let rank = rank(ip, interface.as_deref(), default.as_deref());
            Candidate { ip, interface, rank }
        })
        .collect();
    candidates.sort_by_key(|c| c.rank);
    let Some(best) = candidates.first().cloned() else {
        let warning = "this machine has no IPv4 address except loopback: clients on other machines cannot reach this \
                       broker; set brokerIP1 in the configuration file"
            .to_owned();
        return Advertised { ip: Ipv4Addr::LOCALHOST, interface: None, warnings: vec![warning] };
    };
    let mut warnings = Vec::new();
    if in_container && best.ip.is_private() {
        warnings.push(format!(
            "this broker tells clients to connect to {}, an address inside the container: clients outside cannot reach it; \
             set brokerIP1=ADDRESS-OF-THE-HOST in the configuration file",
            best.ip
        ));
    } else if is_virtual(best.interface.as_deref()) {
        warnings.push(format!(
            "this broker tells clients to connect to {} on {}, a bridge or tunnel; if that is not meant, set brokerIP1 in \
             the configuration file",
            best.ip,
            best.interface.as_deref().unwrap_or("?")
        ));
    }
    let equal: Vec<String> =
        candidates.iter().skip(1).filter(|c| c.rank == best.rank).map(|c| c.ip.to_string()).collect();
    if !equal.is_empty() {
        warnings.push(format!(
            "this broker tells clients to connect to {}, but {} would do as well; set brokerIP1 in the configuration file \
             to choose",
            best.ip,
            equal.join(", ")
        ));
    }
    Advertised { ip: best.ip, interface: best.interface, warnings }
}

/// The interface of the default route, then other plain interfaces, then bridges and tunnels; link-local addresses last.
fn rank(ip: Ipv4Addr, interface: Option<&str>, default: Option<&str>) -> u8 {
    let on_default = interface.is_some() && interface == default;
    u8::from(!on_default) + if is_virtual(interface) { 2 } else { 0 } + if ip.is_link_local() { 8 } else { 0 }
}

fn is_virtual(interface: Option<&str>) -> bool {
    const PREFIXES: [&str; 13] =
        ["docker", "br-", "veth", "virbr", "tun", "tap", "ppp", "cni", "flannel", "cali", "wg", "lxc", "podman"];
    interface.is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// A line of /proc/net/route; addresses there are hexadecimal in the machine's byte order.
struct Route {
    interface: String,
    destination: u32,
    mask: u32,
    gateway: u32,
    metric: u32,
}

impl Route {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hex =
            |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(|n| u32::from_be_bytes(n.to_ne_bytes()));
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        if flags & 1 == 0 {
            return None;
        }
        Some(Self {
            interface: (*fields.first()?).to_owned(),
            destination: hex(1)?,
            mask: hex(7)?,
            gateway: hex(2)?,
            metric: fields.get(6)?.parse().ok()?,
        })
    }

    fn is_default(&self) -> bool {
        self.destination == 0 && self.mask == 0
    }

    fn is_direct(&self) -> bool {
        !self.is_default() && self.gateway == 0
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask == self.destination
    }
}

/// The addresses that /proc/net/fib_trie marks `/32 host LOCAL`, in its order, each once.
fn local_addresses(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut out = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let line = line.trim_start();
        if let Some(node) = line.strip_prefix("|-- ") {
            last = node.trim().parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(ip) = last.filter(|ip| !out.contains(ip))
        {
            out.push(ip);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn route(interface: &str, destination: [u8; 4], gateway: [u8; 4], metric: u32, mask: [u8; 4]) -> String {
        let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        format!("{interface}\t{}\t{}\t0003\t0\t0\t{metric}\t{}\t0\t0\t0\n", hex(destination), hex(gateway), hex(mask))
    }

    fn trie(addresses: &[&str]) -> String {
        let node = |ip: &&str| format!("           |-- {ip}\n              /32 host LOCAL\n");
        let body: String = addresses.iter().map(node).collect();
        format!("Main:\n  +-- 0.0.0.0/0 3 0 5\n{body}     |-- 10.1.0.0\n        /16 link UNICAST\nLocal:\n{body}")
    }

    const NET16: [u8; 4] = [255, 255, 0, 0];
    const NET24: [u8; 4] = [255, 255, 255, 0];

    #[test]
    fn the_default_route_comes_first() {
        let routes = [
            HEAD.to_owned(),
            route("tun0", [10, 8, 0, 0], [0; 4], 0, NET24),
            route("docker0", [172, 17, 0, 0], [0; 4], 0, NET16),
            route("eth1", [192, 168, 9, 0], [0; 4], 0, NET24),
            route("eth0", [0; 4], [10, 1, 0, 1], 100, [0; 4]),
            route("eth0", [10, 1, 0, 0], [0; 4], 100, NET16),
        ]
        .concat();
        let found = choose(&routes, &trie(&["127.0.0.1", "10.8.0.6", "172.17.0.1", "192.168.9.3", "10.1.2.3"]), false);
        assert_eq!(found.ip, Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(found.interface.as_deref(), Some("eth0"));
        assert_eq!(found.warnings, Vec::<String>::new());
    }

    #[test]
    fn without_a_default_route_a_plain_interface_wins() {
        let routes = [
            HEAD.to_owned(),
            route("docker0", [172, 17, 0, 0], [0; 4], 0, NET16),
            route("eth1", [192, 168, 9, 0], [0; 4], 0, NET24),
        ]
        .concat();
        let found = choose(&routes, &trie(&["172.17.0.1", "192.168.9.3"]), false);
        assert_eq!(found.ip, Ipv4Addr::new(192, 168, 9, 3));
        let only = choose(&routes, &trie(&["172.17.0.1"]), false);
        assert_eq!(only.ip, Ipv4Addr::new(172, 17, 0, 1));
        assert!(only.warnings[0].contains("bridge or tunnel"), "{:?}", only.warnings);
    }

    #[test]
    fn warnings_say_what_to_set() {
        let routes = [
            HEAD.to_owned(),
            route("eth0", [0; 4], [172, 17, 0, 1], 0, [0; 4]),
            route("eth0", [172, 17, 0, 0], [0; 4], 0, NET16),
        ]
        .concat();
        let inside = choose(&routes, &trie(&["172.17.0.5"]), true);
        assert!(inside.warnings[0].contains("brokerIP1=ADDRESS-OF-THE-HOST"), "{:?}", inside.warnings);
        let two = choose(&routes, &trie(&["172.17.0.5", "172.17.0.6"]), false);
        assert!(two.warnings[0].contains("172.17.0.6 would do as well"), "{:?}", two.warnings);
        let none = choose(HEAD, &trie(&["127.0.0.1"]), false);
        assert_eq!(none.ip, Ipv4Addr::LOCALHOST);
        assert!(none.warnings[0].contains("set brokerIP1"));
        assert!(warn_configured("127.0.0.1").unwrap().contains("this machine only"));
        assert!(warn_configured("0.0.0.0").unwrap().contains("no address"));
        assert_eq!(warn_configured("broker.example.org"), None);
        assert_eq!(warn_configured("10.1.1.1"), None);
    }

    #[test]
    fn this_machine_has_an_address() {
        let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
        let found = advertised();
        assert!(found.ip.is_loopback() || local_addresses(&trie).contains(&found.ip), "{found:?}");
    }
}
