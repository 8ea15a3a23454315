//! Filtering by an expression. Source: broker/filter/ExpressionMessageFilter.java, ExpressionForRetryMessageFilter.java.

use super::consumer_filter_manager::{ConsumerFilterData, ConsumerFilterManager};
use codec::consume_queue_ext::ExtUnit;
use codec::message::MessageRecord;
use codec::properties::{self, names as property};
use filter::BloomFilter;
use protocol::names::RETRY_PREFIX;
use std::borrow::Cow;
use std::sync::Arc;
use store::MessageFilter;

/// Where the expression of a pull comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It came along.
    Own,
    /// The broker has it. A pull that is held goes by the newest.
    Kept,
}

/// Filters by one group's expression.
#[derive(Clone, Debug)]
pub struct SqlFilter {
    data: Arc<ConsumerFilterData>,
    origin: Origin,
    filters: Arc<ConsumerFilterManager>,
    /// The group whose messages came back, with filterSupportRetry: its messages are filtered as in the topic where they
    /// come from.
    retry_group: Option<String>,
}

impl SqlFilter {
    /// The filter with that data; `support_retry` is filterSupportRetry.
    pub fn new(
        data: Arc<ConsumerFilterData>,
        origin: Origin,
        filters: &Arc<ConsumerFilterManager>,
        support_retry: bool,
    ) -> SqlFilter {
        let retry_group = data.topic.strip_prefix(RETRY_PREFIX).filter(|_| support_retry).map(str::to_owned);
        SqlFilter { data, origin, filters: filters.clone(), retry_group }
    }

    fn takes(&self, data: &ConsumerFilterData, properties: &str) -> bool {
        let Some(group) = &self.retry_group else { return data.matches(properties) };
        let topic = properties::get(properties, property::RETRY_TOPIC);
        let data = topic.and_then(|topic| self.filters.get(topic, group));
        data.is_none_or(|data| data.matches(properties))
    }
}

impl MessageFilter for SqlFilter {
    fn by_queue_unit(&self, _: i64) -> bool {
        true
    }

    fn by_extension(&self, unit: &ExtUnit<'_>) -> bool {
        let Some(bits) = &self.data.bloom_filter_data else { return true };
        let has_bit = unit.store_timestamp > self.data.born_time
            && usize::try_from(bits.bit_num) == Ok(unit.bit_map.len() * 8)
            && self.filters.has_bits(&self.data)
            && self.data.compiled.is_some();
        !has_bit || BloomFilter::is_hit(unit.bit_map, &bits.bit_pos)
    }

    fn by_record(&self, record: &[u8]) -> bool {
        let properties =
            MessageRecord::parse(record).map_or(Cow::Borrowed(""), |record| String::from_utf8_lossy(record.properties));
        self.takes(&self.data, &properties)
    }

    fn by_properties(&self, properties: &str) -> bool {
        let newest = match self.origin {
            Origin::Own => None,
            Origin::Kept => self.filters.get(&self.data.topic, &self.data.consumer_group),
        };
        self.takes(newest.as_deref().unwrap_or(&self.data), properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::client::SubscriptionData;
    use std::path::Path;

    fn filters(dir: &Path) -> Arc<ConsumerFilterManager> {
        Arc::new(ConsumerFilterManager::open(dir, BloomFilter::new(20, 32).unwrap(), 0).unwrap())
    }

    fn sql(topic: &str, expression: &str, sub_version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: topic.to_owned(),
            sub_string: expression.to_owned(),
            expression_type: "SQL92".to_owned(),
            sub_version,
            ..SubscriptionData::default()
        }
    }

    #[test]
    fn bits_are_believed_when_they_can_be_known() {
        let dir = tempfile::tempdir().unwrap();
        let filters = filters(dir.path());
        filters.register("G", &[sql("T", "a = 1", 1)], 100);
        let filter = SqlFilter::new(filters.get("T", "G").unwrap(), Origin::Kept, &filters, false);
        let (hit, miss) = (filters.bit_map("T", "a\u{1}1\u{2}"), filters.bit_map("T", ""));
        let asked =
            |store_timestamp, bit_map: &[u8]| filter.by_extension(&ExtUnit { tags_code: 0, store_timestamp, bit_map });
        assert!(asked(101, &hit) && !asked(101, &miss));
        assert!(asked(100, &miss), "stored before the expression was known");
        assert!(asked(101, &[]) && asked(101, &[0; 13]), "no bits, and those of another filter");
    }

    #[test]
    fn who_waits_goes_by_the_newest_expression_and_retries_by_their_topic() {
        let dir = tempfile::tempdir().unwrap();
        let filters = filters(dir.path());
        filters.register("G", &[sql("T", "a = 1", 1), sql("%RETRY%G", "TRUE", 1)], 100);
        let of = |topic: &str, origin, retry| SqlFilter::new(filters.get(topic, "G").unwrap(), origin, &filters, retry);
        let (kept, own) = (of("T", Origin::Kept, false), of("T", Origin::Own, false));
        filters.register("G", &[sql("T", "a = 2", 2), sql("%RETRY%G", "TRUE", 1)], 101);
        let (one, two) = ("a\u{1}1\u{2}", "a\u{1}2\u{2}");
        assert!(kept.by_properties(two) && !kept.by_properties(one));
        assert!(own.by_properties(one) && !own.by_properties(two));
        let (plain, by_topic) = (of("%RETRY%G", Origin::Kept, false), of("%RETRY%G", Origin::Kept, true));
        let back = |topic: &str, a| format!("RETRY_TOPIC\u{1}{topic}\u{2}a\u{1}{a}\u{2}");
        assert!(plain.by_properties(&back("T", 1)) && plain.by_properties(&back("T", 2)));
        assert!(!by_topic.by_properties(&back("T", 1)) && by_topic.by_properties(&back("T", 2)));
        assert!(by_topic.by_properties(&back("Elsewhere", 1)));
    }
}
