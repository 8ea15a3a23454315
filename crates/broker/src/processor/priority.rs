//! The queue of a message with a priority: the higher the one, the higher the other, up to the last that the topic has. Pops
//! look into the queues in that order. Source: SendMessageProcessor.sendMessage, which asks the message and not the topic
//! whether priorities count.

use codec::properties::{Properties, names as property};

/// The queue that a message must go to for its priority, if it has one. Next to what makes it a message of another type a
/// priority counts for nothing, and is taken away. Source: TopicMessageType.parseFromMessageProperty.
pub fn queue_id(properties: &mut Properties, write_queue_nums: i32) -> Option<i32> {
    let priority: i32 = properties.get(property::SYS_MSG_PRIORITY)?.parse().ok().filter(|priority| *priority >= 0)?;
    let others = [
        property::DELAY,
        property::TIMER_DELIVER_MS,
        property::TIMER_DELAY_SEC,
        property::TIMER_DELAY_MS,
        property::SHARDING_KEY,
    ];
    let is_transaction = properties.get(property::TRAN_MSG).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_transaction || others.into_iter().any(|name| properties.get(name).is_some()) {
        properties.remove(property::SYS_MSG_PRIORITY);
        return None;
    }
    Some(priority.min(write_queue_nums - 1).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_queue_unless_the_message_is_of_another_type() {
        let queue = |given: &[(&str, &str)]| {
            let mut properties = Properties::new();
            given.iter().for_each(|(name, value)| properties.set(name, value));
            let queue = queue_id(&mut properties, 4);
            (queue, properties.get(property::SYS_MSG_PRIORITY).map(str::to_owned))
        };
        let kept = |value: &str| Some(value.to_owned());
        let priority = property::SYS_MSG_PRIORITY;
        assert_eq!(queue(&[]), (None, None));
        assert_eq!(queue(&[(priority, "0")]), (Some(0), kept("0")));
        assert_eq!(queue(&[(priority, "3"), (property::KEYS, "k")]), (Some(3), kept("3")));
        assert_eq!(queue(&[(priority, "9")]), (Some(3), kept("9")));
        assert_eq!(queue(&[(priority, "-1")]), (None, kept("-1")));
        assert_eq!(queue(&[(priority, "high")]), (None, kept("high")));
        assert_eq!(queue(&[(priority, "1"), (property::TRAN_MSG, "false")]), (Some(1), kept("1")));
        for (name, value) in [(property::TRAN_MSG, "True"), (property::DELAY, "0"), (property::SHARDING_KEY, "s")] {
            assert_eq!(queue(&[(priority, "1"), (name, value)]), (None, None), "{name}");
        }
    }
}
