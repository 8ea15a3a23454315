//! The bloom filter whose bits a broker keeps beside its consume queues.

/// What a filter cannot be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BloomError {
    /// Not between 1 and 99.
    #[error("an error rate of {0} percent; allowed are 1 to 99")]
    ErrorRate(i32),
    /// Less than one.
    #[error("{0} expected consumers; allowed are 1 to {max}", max = BloomFilter::MAX_EXPECTED)]
    Expected(i32),
}

/// How many bits there are and how many of them stand for a name. Source: filter/util/BloomFilter.java.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BloomFilter {
    hashes: usize,
    bits: usize,
}

impl BloomFilter {
    /// A unit of an extension has room for no more than 32747 bytes of bits, at the least error rate.
    pub const MAX_EXPECTED: i32 = 27_000;

    /// A filter for so many names, of which so many percent may be found though they are not there.
    /// # Errors
    /// [`BloomError`].
    pub fn new(error_rate_percent: i32, expected: i32) -> Result<BloomFilter, BloomError> {
        if !(1..100).contains(&error_rate_percent) {
            return Err(BloomError::ErrorRate(error_rate_percent));
        }
        if !(1..=Self::MAX_EXPECTED).contains(&expected) {
            return Err(BloomError::Expected(expected));
        }
        let rate = f64::from(error_rate_percent) / 100.0;
        let log = |base: f64, value: f64| value.ln() / base.ln();
        let hashes = log(0.5, rate).ceil();
        let bits = (f64::from(expected) * log(2.0, 1.0 / rate) * log(2.0, std::f64::consts::E)).ceil();
        // At most 7 and 259 000.
        Ok(BloomFilter { hashes: hashes as usize, bits: (bits as usize).next_multiple_of(8) })
    }

    /// Number of bits, a multiple of eight.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// How many bits stand for a name.
    pub fn hashes(&self) -> usize {
        self.hashes
    }

    /// The bits that stand for a name.
    pub fn positions(&self, name: &str) -> Vec<i32> {
        let hash = murmur3_128_low(name.as_bytes());
        // The two halves are meant.
        let (first, second) = (hash as i32, (hash >> 32) as i32);
        let bits = i32::try_from(self.bits).unwrap_or(i32::MAX);
        let mut combined = first;
        let positions = (0..self.hashes).map(|_| {
            combined = combined.wrapping_add(second);
            (if combined < 0 { !combined } else { combined }) % bits
        });
        positions.collect()
    }

    /// Sets the bits of a name, the lowest of each byte first; those beyond the end of the map are left out.
    pub fn set(bit_map: &mut [u8], positions: &[i32]) {
        for bit in positions.iter().filter_map(|position| usize::try_from(*position).ok()) {
            if let Some(byte) = bit_map.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// Whether all bits of a name are set: then the name was put in, or others that share its bits were.
    pub fn is_hit(bit_map: &[u8], positions: &[i32]) -> bool {
        positions.iter().all(|position| {
            let bit = usize::try_from(*position).ok();
            bit.and_then(|bit| bit_map.get(bit / 8).map(|byte| byte & 1 << (bit % 8) != 0)).unwrap_or(false)
        })
    }
}

/// The lower half of MurmurHash3 x64 128 with seed 0, which is what Guava's `asLong` gives.
fn murmur3_128_low(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        // The two halves are meant.
        let (k1, k2) = (block as u64, (block >> 64) as u64);
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    let last = u128::from_le_bytes(last);
    // The two halves are meant.
    let (k1, k2) = (last as u64, (last >> 64) as u64);
    let len = bytes.len() as u64;
    h1 ^= mix1(k1) ^ len;
    h2 ^= mix2(k2) ^ len;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

fn finish(mut h: u64) -> u64 {
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let filter = BloomFilter::new(20, 32).unwrap();
        assert_eq!((filter.hashes(), filter.bits()), (3, 112));
        let most = BloomFilter::new(1, BloomFilter::MAX_EXPECTED).unwrap();
        assert!(most.bits() / 8 <= 32_747, "{}", most.bits());
        assert_eq!(BloomFilter::new(0, 1), Err(BloomError::ErrorRate(0)));
        assert_eq!(BloomFilter::new(100, 1), Err(BloomError::ErrorRate(100)));
        assert_eq!(BloomFilter::new(20, 0), Err(BloomError::Expected(0)));
    }

    #[test]
    fn known_hashes() {
        assert_eq!(murmur3_128_low(b""), 0);
        // From the reference implementation's verification of "hello".
        assert_eq!(murmur3_128_low(b"hello"), 0xcbd8_a7b3_41bd_9b02);
    }

    #[test]
    fn bits() {
        let mut map = [0; 2];
        BloomFilter::set(&mut map, &[0, 9, 100]);
        assert_eq!(map, [1, 2]);
        assert!(BloomFilter::is_hit(&map, &[0, 9]));
        assert!(
            !BloomFilter::is_hit(&map, &[0, 1])
                && !BloomFilter::is_hit(&map, &[16])
                && !BloomFilter::is_hit(&map, &[-1])
        );
    }
}
