//! The known key that an unknown one was probably meant to be.

/// The candidate nearest to `key`, if one is near enough: at most a third of its letters differ (letters swapped, missing,
/// added or changed; upper and lower case count as equal).
#[must_use]
pub fn nearest<'a>(key: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = key.chars().take(MAX_KEY_CHARS).flat_map(char::to_lowercase).collect();
    let limit = (wanted.len() / 3).clamp(1, 6);
    candidates
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            (distance(&wanted, &letters), candidate)
        })
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Keys come from files and from the wire: what is longer than any option is not compared further.
const MAX_KEY_CHARS: usize = 96;

/// Optimal string alignment: insertions, deletions, changes, and swaps of neighbours cost one each.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &to) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(from != to)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expect: usize| {
            assert_eq!(distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>()), expect, "{a} {b}");
        };
        check("", "", 0);
        check("abc", "", 3);
        check("abc", "acb", 1);
        check("mapedFile", "mappedFile", 1);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn finds_what_was_meant() {
        let keys = ["brokerName", "brokerId", "brokerIP1", "fileReservedTime", "autoCreateTopicEnable"];
        assert_eq!(nearest("brokername", keys), Some("brokerName"));
        assert_eq!(nearest("fileReserveTime", keys), Some("fileReservedTime"));
        assert_eq!(nearest("autoCreateTopicEnabled", keys), Some("autoCreateTopicEnable"));
        assert_eq!(nearest("somethingElse", keys), None);
        assert_eq!(nearest(&"x".repeat(10_000), keys), None);
    }
}
