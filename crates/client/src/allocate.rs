//! Which queues of a topic belong to which member of a group. Every member computes this for itself from the same two
//! sorted lists.

use protocol::body::MessageQueue;

/// The queues of `client_id`: contiguous runs, as equal as possible, the first members take one more. Both lists must
/// be sorted and without duplicates. A client that is not in `clients` gets none.
/// The same as Java's AllocateMessageQueueAveragely.
#[must_use]
pub fn averagely(client_id: &str, queues: &[MessageQueue], clients: &[String]) -> Vec<MessageQueue> {
    let Some(index) = clients.iter().position(|client| client == client_id) else {
        return Vec::new();
    };
    let (each, more) = (queues.len() / clients.len(), queues.len() % clients.len());
    let from = index * each + index.min(more);
    let len = each + usize::from(index < more);
    queues.get(from..from + len).map(<[_]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count).map(|queue_id| MessageQueue { broker_name: "a".into(), queue_id, topic: "T".into() }).collect()
    }

    fn check(queue_count: i32, client_count: usize, expect: &[&[i32]]) {
        let clients: Vec<String> = (0..client_count).map(|n| format!("c{n}")).collect();
        for (client, expect) in clients.iter().zip(expect) {
            let got: Vec<i32> =
                averagely(client, &queues(queue_count), &clients).iter().map(|queue| queue.queue_id).collect();
            assert_eq!(got, *expect, "{client} of {client_count}, {queue_count} queues");
        }
    }

    #[test]
    fn as_java() {
        check(4, 1, &[&[0, 1, 2, 3]]);
        check(8, 3, &[&[0, 1, 2], &[3, 4, 5], &[6, 7]]);
        check(4, 2, &[&[0, 1], &[2, 3]]);
        check(2, 4, &[&[0], &[1], &[], &[]]);
        check(0, 2, &[&[], &[]]);
    }

    #[test]
    fn strangers_get_nothing() {
        assert!(averagely("x", &queues(4), &["a".to_owned()]).is_empty());
        assert!(averagely("x", &queues(4), &[]).is_empty());
    }
}
