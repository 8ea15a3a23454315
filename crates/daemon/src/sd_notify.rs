//! News for systemd (`Type=notify`), as in sd_notify(3): one datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A line to systemd. Without systemd nothing happens.
#[derive(Debug, Clone, Copy)]
pub enum Notify<'a> {
    /// The daemon serves.
    Ready,
    /// The daemon stops.
    Stopping,
    /// The configuration is read again.
    Reloading,
    /// What it is doing, shown by `systemctl status`.
    Status(&'a str),
    /// It is alive.
    Watchdog,
    /// Start or stop needs this much longer.
    ExtendTimeout(Duration),
}

/// Tells systemd; a failure to tell is logged and otherwise without consequence.
pub fn notify(news: Notify<'_>) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        return;
    };
    if let Err(e) = send(&socket, &text(news)) {
        tracing::warn!(socket = %socket.to_string_lossy(), error = %e, "cannot notify systemd");
    }
}

/// The period in which [`Notify::Watchdog`] is due: half of what systemd waits; none when it does not watch this process.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if variable("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    variable("WATCHDOG_USEC").filter(|&micros| micros > 0).map(|micros| Duration::from_micros(micros / 2))
}

fn text(news: Notify<'_>) -> String {
    match news {
        Notify::Ready => "READY=1\n".to_owned(),
        Notify::Stopping => "STOPPING=1\n".to_owned(),
        Notify::Reloading => "RELOADING=1\n".to_owned(),
        Notify::Status(status) => format!("STATUS={}\n", status.replace('\n', " ")),
        Notify::Watchdog => "WATCHDOG=1\n".to_owned(),
        Notify::ExtendTimeout(more) => format!("EXTEND_TIMEOUT_USEC={}\n", more.as_micros()),
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(socket: &UnixDatagram, address: &OsStr) {
        send(address, &text(Notify::Status("recovering\n40 %"))).unwrap();
        let mut buffer = [0; 100];
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"STATUS=recovering 40 %\n");
    }

    #[test]
    fn to_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        check(&socket, path.as_os_str());
        drop(socket);
        assert!(send(path.as_os_str(), "READY=1").is_err());
    }

    #[test]
    fn to_an_abstract_name() {
        let name = format!("ferrocket-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        check(&socket, OsStr::new(&format!("@{name}")));
    }

    #[test]
    fn texts() {
        assert_eq!(text(Notify::Ready), "READY=1\n");
        assert_eq!(text(Notify::ExtendTimeout(Duration::from_secs(5))), "EXTEND_TIMEOUT_USEC=5000000\n");
    }
}
