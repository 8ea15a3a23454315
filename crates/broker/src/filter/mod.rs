//! Which messages a subscription wants.

use codec::java_hash::string_hash;
use protocol::body::client::SubscriptionData;
use std::collections::BTreeSet;
use store::MessageFilter;

/// All messages.
const ALL: &str = "*";

/// True for the expression type that filters by tags: `TAG`, or none.
pub fn is_tag_type(expression_type: &str) -> bool {
    expression_type.is_empty() || expression_type == "TAG"
}

/// Reads a tag expression: `*`, nothing, or tags joined by `||`.
///
/// # Errors
/// When there is nothing between the bars.
pub fn parse_tags(topic: &str, expression: &str, now_ms: i64) -> Result<SubscriptionData, String> {
    let sub_version = now_ms;
    let mut data = SubscriptionData { topic: topic.to_owned(), sub_version, ..SubscriptionData::default() };
    if expression.trim().is_empty() || expression == ALL {
        data.sub_string = ALL.to_owned();
        return Ok(data);
    }
    data.sub_string = expression.to_owned();
    data.tags_set = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if data.tags_set.is_empty() {
        return Err(format!("subString split error: \"{expression}\" names no tag; use * or tag1 || tag2"));
    }
    data.code_set = data.tags_set.iter().map(|tag| string_hash(tag)).collect();
    Ok(data)
}

/// Filters by the hash of the tag. The client compares the text, since hashes collide.
#[derive(Clone, Debug)]
pub enum TagFilter {
    /// Everything passes.
    All,
    /// One of these hashes.
    Codes(BTreeSet<i64>),
}

impl TagFilter {
    /// The filter of a subscription by tags.
    pub fn new(subscription: &SubscriptionData) -> TagFilter {
        if subscription.class_filter_mode || subscription.sub_string == ALL || subscription.code_set.is_empty() {
            return TagFilter::All;
        }
        TagFilter::Codes(subscription.code_set.iter().map(|code| i64::from(*code)).collect())
    }
}

impl MessageFilter for TagFilter {
    fn by_queue_unit(&self, tags_code: i64) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Codes(codes) => codes.contains(&tags_code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_expressions() {
        let data = parse_tags("T", " TagA||TagB || ", 1).unwrap();
        assert_eq!(data.tags_set.iter().collect::<Vec<_>>(), ["TagA", "TagB"]);
        let filter = TagFilter::new(&data);
        assert!(filter.by_queue_unit(i64::from(string_hash("TagA"))));
        assert!(!filter.by_queue_unit(i64::from(string_hash("TagC"))));
        assert!(!filter.by_queue_unit(0));
        for all in ["", "*", " "] {
            assert!(TagFilter::new(&parse_tags("T", all, 1).unwrap()).by_queue_unit(5));
        }
        assert!(parse_tags("T", "||", 1).is_err());
    }
}
