//! Subscription expressions.

use crate::clock::now_ms;
use codec::java_hash::string_hash;
use protocol::body::client::SubscriptionData;

/// Matches every message.
pub const ALL: &str = "*";

/// The subscription of `topic` by a tag expression: `*` or empty for all, else tags joined by `||`.
///
/// # Errors
/// A sentence, when no tag is in the expression.
pub fn by_tags(topic: &str, expression: &str) -> Result<SubscriptionData, String> {
    let mut data = SubscriptionData {
        topic: topic.to_owned(),
        sub_string: expression.to_owned(),
        sub_version: now_ms(),
        ..SubscriptionData::default()
    };
    if expression.is_empty() || expression == ALL {
        ALL.clone_into(&mut data.sub_string);
        return Ok(data);
    }
    for tag in expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()) {
        data.tags_set.insert(tag.to_owned());
        data.code_set.insert(string_hash(tag));
    }
    if data.tags_set.is_empty() {
        return Err(format!("subExpression {expression:?} of topic {topic} has no tag; write * or TagA || TagB"));
    }
    Ok(data)
}

/// The subscription of `topic` by an SQL92 expression, which the broker evaluates.
#[must_use]
pub fn by_sql(topic: &str, expression: &str) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: expression.to_owned(),
        expression_type: "SQL92".to_owned(),
        sub_version: now_ms(),
        ..SubscriptionData::default()
    }
}

/// Whether a message with this tag is wanted. The broker compares hashes only, so the client looks again.
#[must_use]
pub fn matches(subscription: &SubscriptionData, tag: Option<&str>) -> bool {
    subscription.tags_set.is_empty() || tag.is_some_and(|tag| subscription.tags_set.contains(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_their_hashes() {
        let data = by_tags("T", " TagA || TagB||").unwrap();
        assert_eq!(data.tags_set.iter().collect::<Vec<_>>(), ["TagA", "TagB"]);
        assert!(data.code_set.contains(&2_598_919));
        assert!(matches(&data, Some("TagA")) && !matches(&data, Some("TagC")) && !matches(&data, None));
    }

    #[test]
    fn everything_and_nothing() {
        for all in ["*", ""] {
            let data = by_tags("T", all).unwrap();
            assert_eq!((data.sub_string.as_str(), data.tags_set.len()), ("*", 0));
            assert!(matches(&data, None) && matches(&data, Some("x")));
        }
        assert!(by_tags("T", " || ").unwrap_err().contains("no tag"));
    }
}
