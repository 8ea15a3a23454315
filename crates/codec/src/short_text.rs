//! Short texts: looking for a byte, eight at a time, and reading numbers. Strings of headers and properties are mostly shorter than what a call
//! of memchr is worth.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;

/// The high bits of the bytes of `eight` that are `byte`. Above the lowest of them others may be set too.
pub(crate) const fn equal(eight: u64, byte: u8) -> u64 {
    below(eight ^ (ONES * byte as u64), 1)
}

/// The high bits of the bytes of `eight` that are less than `bound`, at most 128. Above the lowest of them others may be set
/// too.
pub(crate) const fn below(eight: u64, bound: u8) -> u64 {
    eight.wrapping_sub(ONES * bound as u64) & !eight & HIGH_BITS
}

/// Position of the first byte that `hits` marks by its high bit; 0xFF is never to be marked.
pub(crate) fn position(text: &[u8], hits: impl Fn(u64) -> u64) -> Option<usize> {
    let (eights, rest) = text.as_chunks::<8>();
    let place = |base: usize, found: u64| base + found.trailing_zeros() as usize / 8;
    for (number, eight) in eights.iter().enumerate() {
        let found = hits(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(place(number * 8, found));
        }
    }
    let mut last = [0xFF; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let found = hits(u64::from_le_bytes(last));
    (found != 0).then(|| place(eights.len() * 8, found))
}

/// Position of the first `byte`, which is not 0xFF.
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    position(text, |eight| equal(eight, byte))
}

/// A number written in digits alone, 18 at most; everything else is left to `str::parse`.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    const MOST: usize = 18;
    if text.is_empty() || text.len() > MOST {
        return None;
    }
    text.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"999999999999999999"), Some(999_999_999_999_999_999));
        for other in ["", "-1", "+1", "1 ", " 1", "1x", "1000000000000000000"] {
            assert_eq!(decimal(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(
            text in proptest::collection::vec(prop_oneof![Just(1u8), Just(2), Just(b'"'), Just(0x80), any::<u8>()], 0..40),
            byte in prop_oneof![Just(0u8), Just(1), Just(b'"'), 0u8..=254],
            bound in 1u8..=128,
        ) {
            prop_assert_eq!(find(byte, &text), text.iter().position(|&b| b == byte));
            prop_assert_eq!(position(&text, |eight| below(eight, bound)), text.iter().position(|&b| b < bound));
        }
    }
}
