//! One case, two servers: [`on_both!`](crate::on_both) makes a test on Java and a test on Ferrocket of each function.

use crate::cluster::{Cluster, Kind};
use crate::jvm;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// `on_both! { shared: a, b; own: c }`: `a` and `b` are `fn(&Cluster)` and share one small cluster per test file and
/// kind; `c` is `fn(Kind)` and starts what it needs itself.
#[macro_export]
macro_rules! on_both {
    (@kind $module:ident, $kind:ident, [$($shared:ident)*], [$($own:ident)*]) => {
        mod $module {
            $(#[test] fn $shared() { $crate::run_shared($crate::Kind::$kind, super::$shared); })*
            $(#[test] fn $own() { $crate::run_own($crate::Kind::$kind, super::$own); })*
        }
    };
    ($(shared: $($shared:ident),+ $(,)?;)? $(own: $($own:ident),+ $(,)?;)?) => {
        $crate::on_both!(@kind java, Java, [$($($shared)+)?], [$($($own)+)?]);
        $crate::on_both!(@kind ferrocket, Ferrocket, [$($($shared)+)?], [$($($own)+)?]);
    };
}

/// Runs a case on the cluster that the cases of this test program share.
pub fn run_shared(kind: Kind, case: fn(&Cluster)) {
    static JAVA: OnceLock<Cluster> = OnceLock::new();
    static FERROCKET: OnceLock<Cluster> = OnceLock::new();
    jvm::prepare();
    let slot = match kind {
        Kind::Java => &JAVA,
        Kind::Ferrocket => &FERROCKET,
    };
    let cluster = slot.get_or_init(|| Cluster::single(kind));
    case(cluster);
    cluster.assert_quiet();
}

/// Runs a case that starts its own servers.
pub fn run_own(kind: Kind, case: fn(Kind)) {
    jvm::prepare();
    case(kind);
}

/// A name that no other case uses, for topics, groups and clients.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
