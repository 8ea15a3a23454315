//! Which messages a subscription wants.
//!
//! A [`Filter`] is made of a subscription ([`parse`] reads one that a request brings along) and, unless it is by tags, of
//! the expression that belongs to it ([`ConsumerFilterData`]). The store asks it by queue unit and by record, the hold by
//! what has just arrived.

mod consumer_filter_manager;
mod sql;

pub use self::consumer_filter_manager::{ConsumerFilterData, ConsumerFilterManager, compile, described};
pub use self::sql::{Origin, SqlFilter};

use codec::consume_queue_ext::ExtUnit;
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

/// Reads what a request subscribes with: tags when the type is none, else an expression, which is not looked into here.
/// Source: FilterAPI.build.
///
/// # Errors
/// When tags are none, or the expression is empty.
pub fn parse(
    topic: &str,
    expression: &str,
    expression_type: Option<&str>,
    now_ms: i64,
) -> Result<SubscriptionData, String> {
    let kind = expression_type.unwrap_or_default();
    if is_tag_type(kind) {
        return parse_tags(topic, expression, now_ms);
    }
    if expression.is_empty() {
        return Err(format!("Expression can't be null! {kind}"));
    }
    Ok(SubscriptionData {
        expression_type: kind.to_owned(),
        sub_string: expression.to_owned(),
        sub_version: now_ms,
        topic: topic.to_owned(),
        ..SubscriptionData::default()
    })
}

/// Why a broker with `enablePropertyFilter=false` refuses an expression of that type.
pub fn not_supported(expression_type: &str) -> String {
    format!("The broker does not support consumer to filter message by {expression_type}")
}

/// The filter of one subscription.
#[derive(Clone, Debug)]
pub enum Filter {
    /// By tags, or everything.
    Tags(TagFilter),
    /// By an expression.
    Sql(SqlFilter),
}

impl MessageFilter for Filter {
    fn by_queue_unit(&self, tags_code: i64) -> bool {
        match self {
            Filter::Tags(filter) => filter.by_queue_unit(tags_code),
            Filter::Sql(filter) => filter.by_queue_unit(tags_code),
        }
    }

    fn by_extension(&self, unit: &ExtUnit<'_>) -> bool {
        match self {
            Filter::Tags(filter) => filter.by_extension(unit),
            Filter::Sql(filter) => filter.by_extension(unit),
        }
    }

    fn by_properties(&self, properties: &str) -> bool {
        match self {
            Filter::Tags(filter) => filter.by_properties(properties),
            Filter::Sql(filter) => filter.by_properties(properties),
        }
    }

    fn by_record(&self, record: &[u8]) -> bool {
        match self {
            Filter::Tags(filter) => filter.by_record(record),
            Filter::Sql(filter) => filter.by_record(record),
        }
    }
}

/// Reads a tag expression: `*`, nothing, or tags joined by `||`. Blank tags are none; an expression of nothing but blank
/// ones takes nothing.
///
/// # Errors
/// When there is nothing between the bars, not even blanks.
pub fn parse_tags(topic: &str, expression: &str, now_ms: i64) -> Result<SubscriptionData, String> {
    let sub_version = now_ms;
    let mut data = SubscriptionData { topic: topic.to_owned(), sub_version, ..SubscriptionData::default() };
    if expression.is_empty() || expression == ALL {
        data.sub_string = ALL.to_owned();
        return Ok(data);
    }
    data.sub_string = expression.to_owned();
    data.tags_set = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if expression.split("||").all(str::is_empty) {
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
        if subscription.class_filter_mode || subscription.sub_string == ALL {
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
        for all in ["", "*"] {
            assert!(TagFilter::new(&parse_tags("T", all, 1).unwrap()).by_queue_unit(5));
        }
        for none in [" ", " || ", "|| "] {
            assert!(!TagFilter::new(&parse_tags("T", none, 1).unwrap()).by_queue_unit(5), "{none}");
        }
        assert!(parse_tags("T", "||", 1).is_err());
        assert_eq!(parse("T", "", Some("SQL92"), 1), Err("Expression can't be null! SQL92".to_owned()));
        assert_eq!(parse("T", "a = 1", Some("SQL92"), 7).unwrap().sub_version, 7);
        assert!(parse("T", "A", Some("TAG"), 1).unwrap().tags_set.contains("A"));
    }
}
