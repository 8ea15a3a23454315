//! No panic passes silently: it is logged at ERROR with its place, and counted.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Installs the hook of this process; a second call changes nothing.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a text");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(place, thread, "panic: {what}");
            if std::env::var_os("RUST_BACKTRACE").is_some() || !tracing::event_enabled!(tracing::Level::ERROR) {
                print(info);
            }
        }));
    });
}

/// How many panics there were since the process started.
pub fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted() {
        install_hook();
        install_hook();
        let before = count();
        let caught = std::thread::Builder::new().name("victim".into()).spawn(|| panic!("on purpose")).unwrap().join();
        assert!(caught.is_err());
        assert_eq!(count(), before + 1);
    }
}
