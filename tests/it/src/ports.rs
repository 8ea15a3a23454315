//! Free ports. A broker takes four: listenPort, the VIP port two below, the HA port one above (and one spare).

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which Linux takes the ports of outgoing connections.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 3_000;
const BLOCK: u16 = 4;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port P such that P-2, P-1, P and P+1 are free now and are given to nobody else in this process.
/// # Panics
/// When no block is free.
pub fn free_block() -> u16 {
    let start = u16::try_from(u64::from(std::process::id()).wrapping_mul(2_654_435_761) % u64::from(BLOCKS))
        .expect("a remainder below BLOCKS fits");
    for _ in 0..BLOCKS {
        let block = (start + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCKS) % BLOCKS;
        let base = FIRST + block * BLOCK;
        if (base..base + BLOCK).all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok()) {
            return base + 2;
        }
    }
    panic!("no four free ports in a row from {FIRST} on");
}
