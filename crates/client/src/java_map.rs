//! The order in which Java's `HashMap` lists string keys, since `Message.toString` prints one.

use codec::java_hash::string_hash;

const DEFAULT_CAPACITY: usize = 16;

/// The pairs in the order of a `HashMap` that was filled one by one in the given order. Keys must be distinct.
pub(crate) fn in_hash_map_order<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<_> = pairs.collect();
    let mut buckets = DEFAULT_CAPACITY;
    // The table doubles when it is filled to more than three quarters.
    while pairs.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    pairs.sort_by_key(|(key, _)| bucket(key, buckets));
    pairs
}

fn bucket(key: &str, buckets: usize) -> usize {
    let hash = u32::from_ne_bytes(string_hash(key).to_ne_bytes());
    (hash ^ (hash >> 16)) as usize & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_java() {
        let keys = ["UNIQ_KEY", "WAIT", "TAGS", "MAX_OFFSET", "MIN_OFFSET", "CONSUME_START_TIME"];
        let listed: Vec<_> = in_hash_map_order(keys.iter().map(|key| (*key, ""))).into_iter().map(|(k, _)| k).collect();
        // As the quick start of 4.5.2 prints them.
        assert_eq!(listed, ["MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME", "UNIQ_KEY", "WAIT", "TAGS"]);
    }
}
