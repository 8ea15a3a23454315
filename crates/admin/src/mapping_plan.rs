//! How the logic queues of a static topic are laid out over brokers: made, added, moved. Pure; the commands ask and tell the brokers.
//! Source: remoting/protocol/statictopic/TopicQueueMappingUtils.java.

use protocol::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail, check_items};
use protocol::body::topic::{TopicConfig, TopicConfigAndQueueMapping};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A topic on the brokers of its clusters, by broker name.
pub type Brokers = BTreeMap<String, TopicConfigAndQueueMapping>;

/// Logic offsets of a new generation begin at a multiple of this.
const BLOCK: i64 = 10_000;

/// A mapping before or after a change, as it is kept in a file. Source: TopicRemappingDetailWrapper.java.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRemapping {
    /// What every broker is to have.
    pub broker_config_map: Brokers,
    /// Brokers that get queues.
    pub broker_to_map_in: BTreeSet<String>,
    /// Brokers that lose queues.
    pub broker_to_map_out: BTreeSet<String>,
    /// Version of the mapping, ms.
    pub epoch: i64,
    /// The topic.
    pub topic: String,
    /// [`CREATE`] or [`REMAP`].
    #[serde(rename = "type")]
    pub kind: String,
}

/// A mapping that is made, gets more queues, or is only told.
pub const CREATE: &str = "CREATE_OR_UPDATE";
/// A mapping whose queues move.
pub const REMAP: &str = "REMAPPING";

/// A logic queue: who leads it, and its generations.
struct Logic {
    leader: String,
    items: Vec<LogicQueueMappingItem>,
}

fn detail<'a>(name: &str, broker: &'a TopicConfigAndQueueMapping) -> Result<&'a TopicQueueMappingDetail, String> {
    broker.mapping_detail.as_ref().ok_or_else(|| {
        let topic = &broker.config.topic_name;
        format!("topic[{topic}] exists on broker {name} and is not static; delete it first, or choose another name")
    })
}

/// What all brokers agree on: epoch and number of logic queues; `None` without brokers.
///
/// # Errors
/// What they do not agree on.
pub fn agreed(topic: &str, brokers: &Brokers) -> Result<Option<(i64, i32)>, String> {
    let mut first: Option<(&str, &TopicQueueMappingDetail)> = None;
    for (name, broker) in brokers {
        let mapping = detail(name, broker)?;
        if mapping.bname != *name || mapping.topic != topic || broker.config.topic_name != topic || mapping.dirty {
            let (of, by) = (&mapping.topic, &mapping.bname);
            return Err(format!(
                "broker {name} has a mapping of topic[{of}] by broker {by}, not its own of topic[{topic}]"
            ));
        }
        let (before, one) = *first.get_or_insert((name, mapping));
        let same = (one.epoch, one.total_queues, &one.scope) == (mapping.epoch, mapping.total_queues, &mapping.scope);
        if !same {
            return Err(format!(
                "brokers {before} and {name} have different mappings: epoch {} and {}, {} and {} queues, scope {} and {}; a \
                 change was not finished: apply the file that it wrote with -mf",
                one.epoch, mapping.epoch, one.total_queues, mapping.total_queues, one.scope, mapping.scope
            ));
        }
    }
    Ok(first.map(|(_, mapping)| (mapping.epoch, mapping.total_queues)))
}

/// Checks a mapping as a whole: each logic queue has one leader, no physical queue serves twice, every one exists.
///
/// # Errors
/// What is wrong.
pub fn check(topic: &str, brokers: &Brokers) -> Result<(), String> {
    let total = agreed(topic, brokers)?.map_or(0, |(_, total)| total);
    logic_queues(brokers, total).map(drop)
}

fn logic_queues(brokers: &Brokers, total: i32) -> Result<BTreeMap<i32, Logic>, String> {
    let mut queues = BTreeMap::new();
    let mut used = BTreeMap::new();
    for (name, broker) in brokers {
        let config = &broker.config;
        if config.read_queue_nums < config.write_queue_nums {
            return Err(format!("broker {name} has fewer queues to read than to write"));
        }
        for (id, items) in &detail(name, broker)?.hosted_queues {
            check_items(items).map_err(|why| format!("queue {id} on broker {name}: {why}"))?;
            let Some(leader) = items.last().map(|item| item.bname.clone()).filter(|leader| leader == name) else {
                continue;
            };
            for item in items {
                let there = brokers.get(&item.bname);
                if there.is_none_or(|there| item.queue_id >= there.config.write_queue_nums) || item.start_offset != 0 {
                    let (queue_id, bname) = (item.queue_id, &item.bname);
                    return Err(format!("queue {id} lies in queue {queue_id} of broker {bname}, which does not exist"));
                }
                if let Some(other) = used.insert((item.bname.clone(), item.queue_id), *id) {
                    let (queue_id, bname) = (item.queue_id, &item.bname);
                    return Err(format!(
                        "queues {other} and {id} share the physical queue {queue_id} of broker {bname}"
                    ));
                }
            }
            if queues.insert(*id, Logic { leader, items: items.clone() }).is_some() {
                return Err(format!("queue {id} is led by broker {name} and by another"));
            }
        }
    }
    match (0..total).find(|id| !queues.contains_key(id)) {
        Some(id) => Err(format!("queue {id} of {total} is led by no broker that answers")),
        None => Ok(queues),
    }
}

/// Brokers with the fewest queues first get one more, until `count` are given away; among equals the one that `rank` has highest.
fn give(numbers: &mut BTreeMap<String, i32>, count: i32, rank: &BTreeMap<String, i32>) -> Vec<String> {
    let mut given = Vec::new();
    for _ in 0..count {
        let rank_of = |name: &String| std::cmp::Reverse(rank.get(name).copied().unwrap_or(0));
        let Some((name, number)) = numbers.iter_mut().min_by_key(|(name, number)| (**number, rank_of(name))) else {
            break;
        };
        *number += 1;
        given.push(name.clone());
    }
    given
}

/// One more physical queue on a broker; its number.
fn add_queue(brokers: &mut Brokers, topic: &str, name: &str) -> i32 {
    let broker = brokers.entry(name.to_owned()).or_insert_with(|| empty(topic, name));
    broker.config.read_queue_nums += 1;
    broker.config.write_queue_nums += 1;
    broker.config.write_queue_nums - 1
}

fn empty(topic: &str, name: &str) -> TopicConfigAndQueueMapping {
    TopicConfigAndQueueMapping {
        config: TopicConfig {
            topic_name: topic.to_owned(),
            read_queue_nums: 0,
            write_queue_nums: 0,
            ..TopicConfig::default()
        },
        mapping_detail: Some(TopicQueueMappingDetail {
            topic: topic.to_owned(),
            bname: name.to_owned(),
            ..TopicQueueMappingDetail::default()
        }),
    }
}

fn set_items(brokers: &mut Brokers, name: &str, id: i32, items: Vec<LogicQueueMappingItem>) {
    if let Some(mapping) = brokers.get_mut(name).and_then(|broker| broker.mapping_detail.as_mut()) {
        mapping.hosted_queues.insert(id, items);
    }
}

fn set_version(brokers: &mut Brokers, epoch: i64, total: i32) {
    for mapping in brokers.values_mut().filter_map(|broker| broker.mapping_detail.as_mut()) {
        mapping.epoch = epoch;
        mapping.total_queues = total;
    }
}

fn next_epoch(epoch: Option<i64>, now_ms: i64) -> i64 {
    epoch.map_or(now_ms, |epoch| now_ms.max(epoch + 1000))
}

/// A static topic with `total` logic queues on `targets`, new or with more queues than before.
///
/// # Errors
/// Why that cannot be.
pub fn create(
    topic: &str,
    total: i32,
    targets: &BTreeSet<String>,
    mut brokers: Brokers,
    now_ms: i64,
) -> Result<TopicRemapping, String> {
    let known = agreed(topic, &brokers)?;
    let queues = logic_queues(&brokers, known.map_or(0, |(_, total)| total))?;
    let old = i32::try_from(queues.len()).unwrap_or(i32::MAX);
    if total < old {
        return Err(format!("Cannot decrease the queue num for static topic {total} < {old}"));
    }
    if total == old {
        return Err("The topic queue num is equal the existed queue num, do nothing".to_owned());
    }
    let mut numbers: BTreeMap<String, i32> = targets.iter().map(|name| (name.clone(), 0)).collect();
    queues.values().for_each(|queue| *numbers.entry(queue.leader.clone()).or_default() += 1);
    for (id, name) in (old..total).zip(give(&mut numbers, total - old, &BTreeMap::new())) {
        let queue_id = add_queue(&mut brokers, topic, &name);
        let item = LogicQueueMappingItem { bname: name.clone(), queue_id, ..LogicQueueMappingItem::default() };
        set_items(&mut brokers, &name, id, vec![item]);
    }
    let epoch = next_epoch(known.map(|(epoch, _)| epoch), now_ms);
    set_version(&mut brokers, epoch, total);
    check(topic, &brokers)?;
    let (topic, kind) = (topic.to_owned(), CREATE.to_owned());
    Ok(TopicRemapping { broker_config_map: brokers, epoch, topic, kind, ..TopicRemapping::default() })
}

/// The logic queues spread evenly over `targets`, with as few moves as that takes.
///
/// # Errors
/// Why that cannot be.
pub fn remap(
    topic: &str,
    targets: &BTreeSet<String>,
    mut brokers: Brokers,
    now_ms: i64,
) -> Result<TopicRemapping, String> {
    let Some((epoch, total)) = agreed(topic, &brokers)? else { return Err(format!("no broker has topic[{topic}]")) };
    let queues = logic_queues(&brokers, total)?;
    let mut before = BTreeMap::new();
    queues.values().for_each(|queue| *before.entry(queue.leader.clone()).or_default() += 1);
    let mut room: BTreeMap<String, i32> = targets.iter().map(|name| (name.clone(), 0)).collect();
    give(&mut room, total, &before);
    let mut moving = Vec::new();
    for (id, queue) in queues {
        match room.get_mut(&queue.leader) {
            Some(left) if *left > 0 => *left -= 1,
            _ => moving.push((id, queue)),
        }
    }
    let places = room.iter().flat_map(|(name, left)| (0..*left).map(move |_| name.clone()));
    let (mut ins, mut outs) = (BTreeSet::new(), BTreeSet::new());
    for ((id, mut queue), to) in moving.into_iter().zip(places) {
        let generation = queue.items.last().map_or(0, |last| last.generation + 1);
        let queue_id = add_queue(&mut brokers, topic, &to);
        let (bname, logic_offset) = (to.clone(), -1);
        queue.items.push(LogicQueueMappingItem {
            bname,
            generation,
            queue_id,
            logic_offset,
            ..LogicQueueMappingItem::default()
        });
        set_items(&mut brokers, &to, id, queue.items.clone());
        set_items(&mut brokers, &queue.leader, id, queue.items);
        ins.insert(to);
        outs.insert(queue.leader);
    }
    let epoch = next_epoch(Some(epoch), now_ms);
    set_version(&mut brokers, epoch, total);
    check(topic, &brokers)?;
    let (topic, kind) = (topic.to_owned(), REMAP.to_owned());
    Ok(TopicRemapping {
        broker_config_map: brokers,
        broker_to_map_in: ins,
        broker_to_map_out: outs,
        epoch,
        topic,
        kind,
    })
}

/// Has every broker of the clusters know the topic, so that each refuses what is not its own.
pub fn complete(plan: &mut TopicRemapping, all: impl IntoIterator<Item = String>) {
    for name in all {
        plan.broker_config_map.entry(name.clone()).or_insert_with(|| empty(&plan.topic, &name));
    }
    let total = plan.broker_config_map.values().filter_map(|broker| broker.mapping_detail.as_ref());
    let total = total.map(|mapping| mapping.total_queues).max().unwrap_or(0);
    set_version(&mut plan.broker_config_map, plan.epoch, total);
}

/// Decides where the new generations begin whose old leader is `from`; `max_of` tells where a physical queue of it ends.
///
/// # Errors
/// What `max_of` does not know.
pub fn decide(plan: &mut TopicRemapping, from: &str, max_of: impl Fn(i32) -> Option<i64>) -> Result<(), String> {
    let mapping = plan.broker_config_map.get(from).and_then(|broker| broker.mapping_detail.as_ref());
    let queues = mapping.map(|mapping| mapping.hosted_queues.clone()).unwrap_or_default();
    for (id, mut items) in queues {
        let [.., old, new] = items.as_mut_slice() else { continue };
        if new.is_decided() || old.bname != from {
            continue;
        }
        let max = max_of(old.queue_id).filter(|max| *max >= old.start_offset);
        let max = max.ok_or_else(|| format!("broker {from} does not tell the end of its queue {}", old.queue_id))?;
        new.logic_offset = round_up(old.to_logic(max));
        let to = new.bname.clone();
        set_items(&mut plan.broker_config_map, from, id, items.clone());
        set_items(&mut plan.broker_config_map, &to, id, items);
    }
    Ok(())
}

/// The next block, at least half a block away: room for what the old leader may still have taken.
/// Source: TopicQueueMappingUtils.blockSeqRoundUp.
fn round_up(offset: i64) -> i64 {
    let further = if offset % BLOCK < BLOCK / 2 { 1 } else { 2 };
    (offset / BLOCK + further) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The leaders of the logic queues, in order.
    fn leaders(plan: &TopicRemapping) -> Vec<String> {
        let total = agreed("T", &plan.broker_config_map).unwrap().unwrap().1;
        logic_queues(&plan.broker_config_map, total).unwrap().into_values().map(|queue| queue.leader).collect()
    }

    #[test]
    fn queues_are_made_added_and_moved() {
        let made = create("T", 4, &names(&["a", "b"]), Brokers::new(), 5).unwrap();
        assert_eq!((leaders(&made), made.epoch), (["a", "b", "a", "b"].map(str::to_owned).to_vec(), 5));
        assert_eq!(made.broker_config_map["a"].config.write_queue_nums, 2);
        let error = |result: Result<TopicRemapping, String>| result.unwrap_err();
        let brokers = made.broker_config_map;
        assert!(error(create("T", 4, &names(&["a"]), brokers.clone(), 6)).contains("do nothing"));
        assert!(error(create("T", 3, &names(&["a"]), brokers.clone(), 6)).contains("Cannot decrease"));
        let more = create("T", 6, &names(&["a", "b", "c"]), brokers, 6).unwrap();
        assert_eq!(leaders(&more)[4..], ["c", "c"]);
        assert_eq!(more.epoch, 1005, "never less than a second later");
        let mut moved = remap("T", &names(&["c", "b"]), more.broker_config_map, 7).unwrap();
        assert_eq!((&moved.broker_to_map_in, &moved.broker_to_map_out), (&names(&["b", "c"]), &names(&["a"])));
        assert_eq!(leaders(&moved), ["b", "b", "c", "b", "c", "c"]);
        complete(&mut moved, ["d".to_owned()]);
        assert_eq!(moved.broker_config_map["d"].mapping_detail.as_ref().unwrap().total_queues, 6);
        decide(&mut moved, "a", |queue_id| [Some(3), Some(6_000)].get(queue_id as usize).copied().flatten()).unwrap();
        let begins =
            |id| moved.broker_config_map["a"].mapping_detail.as_ref().unwrap().hosted_queues[&id][1].logic_offset;
        assert_eq!((begins(0), begins(2)), (10_000, 20_000));
        check("T", &moved.broker_config_map).unwrap();
        let text = protocol::body::encode(&moved);
        assert_eq!(codec::json::from_slice::<TopicRemapping>(&text).unwrap(), moved);
        // Nothing to do moves nothing.
        let still = remap("T", &names(&["b", "c"]), moved.broker_config_map, 8).unwrap();
        assert!(still.broker_to_map_in.is_empty());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let made = create("T", 2, &names(&["a", "b"]), Brokers::new(), 5).unwrap().broker_config_map;
        let with = |name: &str, change: &dyn Fn(&mut TopicConfigAndQueueMapping)| {
            let mut brokers = made.clone();
            change(brokers.get_mut(name).unwrap());
            check("T", &brokers).unwrap_err()
        };
        assert!(with("a", &|broker| broker.mapping_detail = None).contains("is not static"));
        assert!(with("a", &|broker| broker.mapping_detail.as_mut().unwrap().epoch = 9).contains("epoch 9 and 5"));
        assert!(with("a", &|broker| broker.config.write_queue_nums = 0).contains("does not exist"));
        assert!(
            with("a", &|broker| broker.mapping_detail.as_mut().unwrap().hosted_queues.clear()).contains("queue 0 of 2")
        );
        let share = |broker: &mut TopicConfigAndQueueMapping| {
            let queues = &mut broker.mapping_detail.as_mut().unwrap().hosted_queues;
            queues.insert(1, queues[&0].clone());
        };
        assert!(with("a", &share).contains("share the physical queue 0 of broker a"));
    }
}
