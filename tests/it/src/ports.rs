//! Free ports. A broker takes four: listenPort, the VIP port two below, the HA port one above (and one spare).

use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below the range from which Linux takes the ports of outgoing connections.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 3_000;
const BLOCK: u16 = 4;

/// The blocks of this process. Its servers use TCP only: the UDP port with a block's first number tells every other test
/// program that the block is taken, also while its server is down to be started again, and is given back by the kernel
/// however this process ends.
static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A port P such that P-2, P-1, P and P+1 are free now and are given to nobody else, here or in another test program on
/// this machine, while this process lives.
/// # Panics
/// When no block is free.
pub fn free_block() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Programs begin at different places, so that few of their attempts meet.
    let start = u16::try_from(u64::from(std::process::id()).wrapping_mul(2_654_435_761) % u64::from(BLOCKS))
        .expect("a remainder below BLOCKS fits");
    for step in 0..BLOCKS {
        let base = FIRST + (start + step) % BLOCKS * BLOCK;
        let Ok(claim) = UdpSocket::bind(("127.0.0.1", base)) else { continue };
        if (base..base + BLOCK).all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok()) {
            taken.push(claim);
            return base + 2;
        }
    }
    panic!("no four free ports in a row from {FIRST} on");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_held_and_one_that_others_hold_is_left_alone() {
        let first = free_block() - 2;
        assert!(UdpSocket::bind(("127.0.0.1", first)).is_err(), "others see that {first} is taken");
        // As another test program would; that one may have been quicker.
        let next = first + BLOCK;
        let _theirs = UdpSocket::bind(("127.0.0.1", next));
        assert_ne!(free_block() - 2, next);
    }
}
