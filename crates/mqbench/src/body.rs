//! The bodies of the messages that are sent, by which whoever receives one knows when it was meant to be sent and whether
//! it is whole.
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 8 | `mqbench1` |
//! | 8 | 8 | intended send time, ns since 1970, big-endian |
//! | 16 | 8 | number of the message, big-endian |
//! | 24 | rest | filler: the same bytes in every body |
//!
//! A body below 24 bytes is filler only.

/// Width of what stands before the filler.
pub const STAMP_LEN: usize = 24;

const MAGIC: &[u8; 8] = b"mqbench1";
/// 61 characters: a prime number, so that no part of the filler equals another one at a power of two.
const ALPHABET: &[u8; 61] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY";

/// A body of `len` bytes whose time and number are 0.
#[must_use]
pub fn blank(len: usize) -> Vec<u8> {
    let filler = ALPHABET.iter().copied().cycle();
    if len < STAMP_LEN {
        return filler.take(len).collect();
    }
    let mut body = MAGIC.to_vec();
    body.resize(STAMP_LEN, 0);
    body.extend(filler.take(len - STAMP_LEN));
    body
}

/// Writes time and number into the body that begins `bytes`, which [`blank`] made.
pub fn stamp(bytes: &mut [u8], intended_wall_ns: u64, number: u64) {
    if let Some(stamp) = bytes.get_mut(8..STAMP_LEN) {
        let (time, rest) = stamp.split_at_mut(8);
        time.copy_from_slice(&intended_wall_ns.to_be_bytes());
        rest.copy_from_slice(&number.to_be_bytes());
    }
}

/// Recognises bodies and knows what must be in them.
#[derive(Debug, Default)]
pub struct Reader {
    /// The filler of the longest body met so far.
    filler: Vec<u8>,
}

/// What a body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One of ours, whole, with the time at which it was meant to be sent, ns since 1970.
    Ours(u64),
    /// One of ours whose filler is not what was sent.
    Damaged,
    /// Somebody else's, or too short to tell.
    Foreign,
}

impl Reader {
    /// Looks at a body.
    pub fn read(&mut self, body: &[u8]) -> Content {
        let Some((head, filler)) = body.split_at_checked(STAMP_LEN) else { return Content::Foreign };
        let Some((magic, rest)) = head.split_first_chunk::<8>() else { return Content::Foreign };
        let Some((time, _)) = rest.split_first_chunk::<8>() else { return Content::Foreign };
        if magic != MAGIC {
            return Content::Foreign;
        }
        if self.filler.len() < filler.len() {
            self.filler = ALPHABET.iter().copied().cycle().take(filler.len()).collect();
        }
        match self.filler.get(..filler.len()) == Some(filler) {
            true => Content::Ours(u64::from_be_bytes(*time)),
            false => Content::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_time_and_whether_it_is_whole() {
        let mut reader = Reader::default();
        for len in [24, 25, 200, 100] {
            let mut body = blank(len);
            stamp(&mut body, 77, 3);
            assert_eq!((body.len(), reader.read(&body)), (len, Content::Ours(77)), "{len}");
        }
        let mut body = blank(100);
        body[50] ^= 1;
        assert_eq!(reader.read(&body), Content::Damaged);
        assert_eq!(reader.read(b"something that is not ours, whatever"), Content::Foreign);
        assert_eq!(reader.read(&blank(23)), Content::Foreign);
        assert_eq!(blank(0), b"");
    }
}
