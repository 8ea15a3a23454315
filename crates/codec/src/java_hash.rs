//! Java's `String.hashCode`, on which tag codes and index keys depend.

/// What `String.hashCode` gives in Java: `s[0]*31^(n-1) + … + s[n-1]` over the UTF-16 code units, wrapping at 32 bits.
#[must_use]
pub fn string_hash(text: &str) -> i32 {
    string_hash_continued(0, text)
}

/// The hash of `left` followed by `right`, without joining them: `hash(left + right)`.
#[must_use]
pub fn string_hash_continued(left: i32, right: &str) -> i32 {
    let add = |hash: i32, unit: i32| hash.wrapping_mul(31).wrapping_add(unit);
    if !right.is_ascii() {
        return right.encode_utf16().fold(left, |hash, unit| add(hash, unit.into()));
    }
    // Four units at once: multiplications by powers of 31 that do not wait for each other.
    let (fours, rest) = right.as_bytes().as_chunks::<4>();
    let hash = fours.iter().fold(left, |hash, four| {
        let [a, b, c, d] = four.map(i32::from);
        hash.wrapping_mul(31 * 31 * 31 * 31).wrapping_add(a * 31 * 31 * 31 + b * 31 * 31 + c * 31 + d)
    });
    rest.iter().fold(hash, |hash, unit| add(hash, i32::from(*unit)))
}

/// The tagsCode of a consume-queue unit: the hash of the tag string sign-extended, 0 for no tag.
/// The same function serves single tags and MULTI_TAG. Source: MessageExtBrokerInner.tagsString2tagsCode.
#[must_use]
pub fn tags_code(tags: &str) -> i64 {
    i64::from(string_hash(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_javas() {
        // Values printed by a JVM.
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("a"), 97);
        assert_eq!(string_hash("TagA"), 2_598_919);
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
        // Outside the basic plane: two code units, as in UTF-16.
        assert_eq!(string_hash("\u{1F600}"), 0xD83D * 31 + 0xDE00);
    }

    #[test]
    fn hash_of_any_length() {
        let text = "The quick brown fox";
        for len in 0..text.len() {
            let expect = text[..len].bytes().fold(0i32, |hash, b| hash.wrapping_mul(31).wrapping_add(i32::from(b)));
            assert_eq!(string_hash(&text[..len]), expect);
        }
    }

    #[test]
    fn hash_continues() {
        assert_eq!(string_hash_continued(string_hash("Topic#"), "key"), string_hash("Topic#key"));
    }

    #[test]
    fn tags_code_is_sign_extended() {
        assert_eq!(tags_code("polygenelubricants"), i64::from(i32::MIN));
        assert_eq!(tags_code(""), 0);
    }
}
