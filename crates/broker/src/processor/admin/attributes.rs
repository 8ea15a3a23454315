//! Attributes of topics and groups: which there are, what they may be, and how requests change them.

use std::collections::BTreeMap;

type Attributes = BTreeMap<String, String>;

/// One attribute that can be set.
pub(super) struct Attribute {
    name: &'static str,
    /// Whether it can be set later than when the topic is made.
    changeable: bool,
    values: Values,
}

enum Values {
    OneOf(&'static [&'static str]),
    Within(i64, i64),
    Any,
}

/// Source: common/TopicAttributes.java.
pub(super) const OF_TOPICS: &[Attribute] = &[
    Attribute { name: "queue.type", changeable: false, values: Values::OneOf(&["BatchCQ", "SimpleCQ"]) },
    Attribute { name: "cleanup.policy", changeable: false, values: Values::OneOf(&["DELETE", "COMPACTION"]) },
    Attribute { name: "message.type", changeable: true, values: Values::OneOf(MESSAGE_TYPES) },
    Attribute { name: "reserve.time", changeable: true, values: Values::Within(-1, i64::MAX) },
    Attribute { name: "lite.topic.expiration", changeable: true, values: Values::Within(-1, 30 * 24 * 60) },
];

/// Source: common/attribute/TopicMessageType.java.
const MESSAGE_TYPES: &[&str] = &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "MIXED"];

/// Source: common/SubscriptionGroupAttributes.java.
pub(super) const OF_GROUPS: &[Attribute] = &[
    Attribute { name: "priority.factor", changeable: true, values: Values::Within(0, 100) },
    Attribute { name: "lite.bind.topic", changeable: true, values: Values::Any },
    Attribute { name: "lite.sub.model", changeable: true, values: Values::OneOf(&["Shared", "Exclusive"]) },
    Attribute { name: "lite.sub.reset.offset.exclusive", changeable: true, values: Values::OneOf(BOOLEANS) },
    Attribute { name: "lite.sub.reset.offset.unsubscribe", changeable: true, values: Values::OneOf(BOOLEANS) },
    Attribute { name: "lite.sub.client.quota", changeable: true, values: Values::Within(-1, i64::MAX) },
    Attribute { name: "lite.sub.client.max.event.cnt", changeable: true, values: Values::Within(10, i64::MAX) },
    Attribute { name: "lite.sub.wildcard", changeable: true, values: Values::Any },
];

const BOOLEANS: &[&str] = &["true", "false"];

impl Attribute {
    /// Why it cannot be `value`.
    fn refuse(&self, value: &str) -> Option<String> {
        let remark = match self.values {
            Values::OneOf(values) if !values.contains(&value) => {
                format!("value is not in set: [{}]", values.join(", "))
            }
            Values::Within(min, max) if !value.parse().is_ok_and(|value| (min..=max).contains(&value)) => {
                format!("value is not in range({min}, {max})")
            }
            _ => return None,
        };
        Some(format!("{remark} ({}={value})", self.name))
    }
}

/// `+key=value,-key` as the map that bodies of requests carry: `+key` → value, `-key` → nothing.
/// Source: AttributeParser.parseToMap.
///
/// # Errors
/// The remark, as Java's.
pub(super) fn parse(text: &str) -> Result<Attributes, String> {
    let mut changes = Attributes::new();
    for change in text.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let (key, value) = change.split_once('=').unwrap_or((change, ""));
        if change.contains('=') && !key.contains('+') {
            return Err(format!("add/alter attribute format is wrong: {key}"));
        }
        if !change.contains('=') && !key.contains('-') {
            return Err(format!("delete attribute format is wrong: {key}"));
        }
        if changes.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("key duplication: {key}"));
        }
    }
    Ok(changes)
}

/// Applies changes, as [`parse`] gives them, to the attributes that a topic or group has; `None`: it is being made.
/// Source: AttributeUtil.alterCurrentAttributes.
///
/// # Errors
/// The remark, as Java's.
pub(super) fn alter(
    known: &[Attribute],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, String> {
    let mut altered = current.cloned().unwrap_or_default();
    let mut seen = Vec::new();
    for (signed, value) in changes {
        // Java cuts off the first character, whatever it is.
        let key = signed.chars().next().and_then(|sign| signed.get(sign.len_utf8()..)).unwrap_or_default();
        if key.is_empty() || key.contains(['+', '-']) {
            return Err("kv string format wrong.".to_owned());
        }
        if seen.contains(&key) {
            return Err(format!("alter duplication key. key: {key}"));
        }
        seen.push(key);
        let (add, delete) = (signed.starts_with('+'), signed.starts_with('-') && current.is_some());
        if !add && !delete {
            return Err(match current {
                None => format!("only add attribute is supported while creating topic. key: {key}"),
                Some(_) => format!("wrong format key: {key}"),
            });
        }
        if delete && !altered.contains_key(key) {
            return Err(format!("attempt to delete a nonexistent key: {key}"));
        }
        let Some(attribute) = known.iter().find(|attribute| attribute.name == key) else {
            return Err(format!("unsupported key: {key}"));
        };
        if current.is_some() && !attribute.changeable {
            return Err(format!("attempt to update an unchangeable attribute. key: {key}"));
        }
        if delete {
            altered.remove(key);
        } else if let Some(remark) = attribute.refuse(value) {
            return Err(remark);
        } else {
            altered.insert(key.to_owned(), value.clone());
        }
    }
    Ok(altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(current: Option<&Attributes>, text: &str) -> Result<Attributes, String> {
        alter(OF_TOPICS, current, &parse(text)?)
    }

    #[test]
    fn attributes_are_altered_and_checked() {
        let made = change(None, "+message.type=FIFO,+reserve.time=3").unwrap();
        assert_eq!(made.len(), 2);
        let changed = change(Some(&made), "-reserve.time,+message.type=DELAY").unwrap();
        assert_eq!(changed, Attributes::from([("message.type".to_owned(), "DELAY".to_owned())]));
        for (bad, remark) in [
            ("+nonsense=1", "unsupported key: nonsense"),
            ("message.type=FIFO", "add/alter attribute format is wrong: message.type"),
            ("+message.type", "delete attribute format is wrong: +message.type"),
            ("-message.type", "only add attribute is supported while creating topic. key: message.type"),
            ("+message.type=WRONG", "value is not in set: "),
            ("+reserve.time=-2", "value is not in range(-1, 9223372036854775807)"),
            ("+reserve.time=soon", "value is not in range(-1, 9223372036854775807)"),
            ("+message.type=FIFO,+message.type=DELAY", "key duplication: +message.type"),
            ("+a+b=1", "kv string format wrong."),
        ] {
            assert!(change(None, bad).unwrap_err().starts_with(remark), "{bad}");
        }
        for (bad, remark) in [
            ("+queue.type=BatchCQ", "attempt to update an unchangeable attribute. key: queue.type"),
            ("-queue.type", "attempt to delete a nonexistent key: queue.type"),
            ("+message.type=FIFO,-message.type", "alter duplication key. key: message.type"),
        ] {
            assert_eq!(change(Some(&made), bad).unwrap_err(), remark, "{bad}");
        }
        let factor = |value: &str| {
            alter(OF_GROUPS, None, &Attributes::from([("+priority.factor".to_owned(), value.to_owned())]))
        };
        assert!(factor("0").is_ok() && factor("100").is_ok() && factor("101").is_err());
    }
}
