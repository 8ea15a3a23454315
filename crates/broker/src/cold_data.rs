//! Groups that read messages from the disk, and how much of that each may do before its pulls are held back.
//! Source: broker/coldctr/ColdDataCgCtrService.java and the strategies beside it.
//!
//! Bytes are reckoned by rounds of five seconds. Rounds that are over are caught up with whenever somebody asks, so that
//! nothing runs while nobody reads cold data.

use crate::config::BrokerConfig;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// How long a round is, ms.
const ROUND_MS: i64 = 5_000;
/// A group that read nothing cold for so long is forgotten, ms.
const RESIDE_MS: i64 = 60_000;
/// Rounds caught up with at most: in fewer every group is forgotten.
const ROUNDS_MOST: i64 = RESIDE_MS / ROUND_MS + 1;
/// Groups that can have a threshold of their own.
const GROUPS_MOST: usize = 10_000;
/// Behind the name of a group whose threshold the strategy has set.
const ADAPTIVE: &str = "||adaptive";
/// Rounds that the PID strategy looks back on.
const HISTORY: usize = 10;
/// Groups whose thresholds are lowered in one round.
const DECELERATE_MOST: usize = 3;

/// What a group has read in this round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdReads {
    /// Cold bytes.
    cold_acc: i64,
    /// When it read the first, ms.
    create_time_mills: i64,
    /// When it read the last, ms.
    last_cold_read_time_mills: i64,
}

/// Answer to 2003.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdDataInfo {
    /// Who reads cold data.
    runtime_table: BTreeMap<String, ColdReads>,
    /// Thresholds of groups: those that administrators have set, and those of the strategy.
    config_table: BTreeMap<String, i64>,
    /// That of other groups, bytes a round.
    cg_cold_read_threshold: i64,
    /// That of all together.
    global_cold_read_threshold: i64,
    /// What all have read in this round.
    global_acc: i64,
}

/// Reckons cold reads.
#[derive(Debug, Default)]
pub struct ColdDataControl {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runtime: BTreeMap<String, ColdReads>,
    thresholds: BTreeMap<String, i64>,
    global: i64,
    /// Since the first question.
    round_ends_ms: Option<i64>,
    /// How far rounds were from what is aimed at, the last at the end.
    history: VecDeque<i64>,
}

impl ColdDataControl {
    /// Gives a group a threshold of its own, bytes a round; false when too many have one.
    pub fn set(&self, group: &str, threshold: i64) -> bool {
        let mut state = self.state.lock();
        let has_room = state.thresholds.len() < GROUPS_MOST || state.thresholds.contains_key(group);
        if has_room {
            state.thresholds.insert(group.to_owned(), threshold);
        }
        has_room
    }

    /// Takes it back.
    pub fn remove(&self, group: &str) {
        self.state.lock().thresholds.remove(group);
    }

    /// A group has read so many cold bytes.
    pub fn read(&self, group: &str, bytes: u64, config: &BrokerConfig, now_ms: i64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut state = self.state.lock();
        state.catch_up(config, now_ms);
        state.global = state.global.saturating_add(bytes);
        let fresh = || ColdReads { create_time_mills: now_ms, ..ColdReads::default() };
        let reads = state.runtime.entry(group.to_owned()).or_insert_with(fresh);
        reads.cold_acc = reads.cold_acc.saturating_add(bytes);
        reads.last_cold_read_time_mills = now_ms;
    }

    /// Whether a group has read as much as it may, or all together have and it is one of them.
    pub fn is_exhausted(&self, group: &str, config: &BrokerConfig, now_ms: i64) -> bool {
        let mut state = self.state.lock();
        state.catch_up(config, now_ms);
        let Some(reads) = state.runtime.get(group) else { return false };
        reads.cold_acc >= state.threshold(group, config) || state.global >= config.global_cold_read_threshold
    }

    /// What administrators are shown.
    pub fn info(&self, config: &BrokerConfig, now_ms: i64) -> ColdDataInfo {
        let mut state = self.state.lock();
        state.catch_up(config, now_ms);
        ColdDataInfo {
            runtime_table: state.runtime.clone(),
            config_table: state.thresholds.clone(),
            cg_cold_read_threshold: config.cg_cold_read_threshold,
            global_cold_read_threshold: config.global_cold_read_threshold,
            global_acc: state.global,
        }
    }
}

impl State {
    fn catch_up(&mut self, config: &BrokerConfig, now_ms: i64) {
        let ends_ms = *self.round_ends_ms.get_or_insert(now_ms + ROUND_MS);
        let over = (now_ms - ends_ms).div_euclid(ROUND_MS) + 1;
        if over <= 0 {
            return;
        }
        for left in (0..over.min(ROUNDS_MOST)).rev() {
            self.end_round(config, now_ms - left * ROUND_MS);
        }
        self.round_ends_ms = Some(ends_ms + over * ROUND_MS);
    }

    fn end_round(&mut self, config: &BrokerConfig, at_ms: i64) {
        let adaptive = config.cold_ctr_strategy_enable;
        let too_much_together = self.global > config.global_cold_read_threshold;
        if adaptive {
            // Eight tenths of what all may read are aimed at.
            let aim = config.global_cold_read_threshold / 10 * 8;
            self.history.push_back(aim - self.global);
            self.history.drain(..self.history.len().saturating_sub(HISTORY));
        } else {
            self.thresholds.retain(|group, _| !group.ends_with(ADAPTIVE));
            self.history.clear();
        }
        let mut runtime = std::mem::take(&mut self.runtime);
        runtime.retain(|group, reads| {
            let threshold = self.threshold(group, config);
            let key = format!("{group}{ADAPTIVE}");
            let stays = at_ms < reads.last_cold_read_time_mills + RESIDE_MS;
            if !stays {
                self.thresholds.remove(&key);
            } else if reads.cold_acc >= threshold
                && adaptive
                && !too_much_together
                && !self.thresholds.contains_key(group)
                && self.may_promote(config)
            {
                self.thresholds.insert(key, threshold.saturating_add(threshold / 2));
            }
            reads.cold_acc = 0;
            stays
        });
        self.runtime = runtime;
        if adaptive && self.must_decelerate(config, too_much_together) {
            self.decelerate(config);
        }
        self.global = 0;
    }

    /// Lowers the highest thresholds that the strategy has set, to that of all groups at least.
    fn decelerate(&mut self, config: &BrokerConfig) {
        let mut highest: Vec<_> = self.thresholds.iter_mut().filter(|(group, _)| group.ends_with(ADAPTIVE)).collect();
        highest.sort_by_key(|(_, threshold)| std::cmp::Reverse(**threshold));
        for (_, threshold) in highest.into_iter().take(DECELERATE_MOST) {
            *threshold = (*threshold / 10 * 8).max(config.cg_cold_read_threshold);
        }
    }

    fn may_promote(&self, config: &BrokerConfig) -> bool {
        !config.use_pid_cold_ctr_strategy || self.decision() > 0.0
    }

    fn must_decelerate(&self, config: &BrokerConfig, too_much_together: bool) -> bool {
        if config.use_pid_cold_ctr_strategy { self.decision() < 0.0 } else { too_much_together }
    }

    /// Above 0 when more may be read, below when less: a PID controller over the last rounds. Source:
    /// PIDAdaptiveColdCtrStrategy.decisionFactor.
    #[allow(clippy::cast_precision_loss, reason = "a controller needs no exact bytes")]
    fn decision(&self) -> f64 {
        let (Some(last), Some(before)) = (self.history.back(), self.history.iter().rev().nth(1)) else { return 0.0 };
        if self.history.len() < HISTORY {
            return 0.0;
        }
        let sum: f64 = self.history.iter().map(|error| *error as f64).sum();
        0.5 * *last as f64 + 0.3 * sum + 0.2 * (*last as f64 - *before as f64)
    }

    fn threshold(&self, group: &str, config: &BrokerConfig) -> i64 {
        let of_strategy = || self.thresholds.get(&format!("{group}{ADAPTIVE}"));
        let own = self.thresholds.get(group).or_else(|| config.cold_ctr_strategy_enable.then(of_strategy).flatten());
        own.copied().unwrap_or(config.cg_cold_read_threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(strategy: bool) -> BrokerConfig {
        BrokerConfig {
            cg_cold_read_threshold: 100,
            global_cold_read_threshold: 1_000,
            cold_ctr_strategy_enable: strategy,
            use_pid_cold_ctr_strategy: false,
            ..crate::config::BrokerOptions::default().broker
        }
    }

    #[test]
    fn a_group_may_read_so_much_in_a_round() {
        let (control, config) = (ColdDataControl::default(), config(false));
        assert!(!control.is_exhausted("g", &config, 10_000));
        control.read("g", 99, &config, 10_000);
        assert!(!control.is_exhausted("g", &config, 10_000));
        control.read("g", 1, &config, 11_000);
        assert!(control.is_exhausted("g", &config, 11_000));
        // Another group is not concerned, and in the next round neither is this one.
        assert!(!control.is_exhausted("h", &config, 11_000));
        assert!(!control.is_exhausted("g", &config, 15_000));
        // One with a threshold of its own.
        assert!(control.set("g", 500));
        control.read("g", 499, &config, 15_000);
        assert!(!control.is_exhausted("g", &config, 15_000));
        // All together have read too much: every group that reads cold data is.
        control.read("h", 501, &config, 15_000);
        assert!(control.is_exhausted("g", &config, 15_000) && !control.is_exhausted("i", &config, 15_000));
        assert_eq!(control.info(&config, 15_000).global_acc, 1_000);
        let info = control.info(&config, 15_000 + RESIDE_MS + ROUND_MS);
        assert!(info.runtime_table.is_empty() && info.config_table.len() == 1);
    }

    #[test]
    fn thresholds_follow_what_is_read() {
        let (control, config) = (ColdDataControl::default(), config(true));
        let adaptive = |at_ms| control.info(&config, at_ms).config_table.get("g||adaptive").copied();
        for round in 0..2 {
            control.read("g", 300, &config, round * ROUND_MS);
        }
        // Twice more than it may: half as much again each time.
        assert_eq!(adaptive(2 * ROUND_MS), Some(225));
        control.read("g", 1_001, &config, 2 * ROUND_MS);
        // Together too much: less again, but not below what every group may.
        assert_eq!(adaptive(3 * ROUND_MS), Some(176));
        // Forgotten with the group.
        assert_eq!(adaptive(2 * ROUND_MS + RESIDE_MS + ROUND_MS), None);
    }

    #[test]
    fn the_pid_strategy_looks_back_on_ten_rounds() {
        let config = BrokerConfig { use_pid_cold_ctr_strategy: true, ..config(true) };
        let control = ColdDataControl::default();
        let adaptive = |round| control.info(&config, round * ROUND_MS).config_table.get("g||adaptive").copied();
        for round in 0..9 {
            control.read("g", 150, &config, round * ROUND_MS);
        }
        assert_eq!(adaptive(8), None);
        control.read("g", 150, &config, 9 * ROUND_MS);
        assert_eq!(adaptive(10), Some(150));
    }

    #[test]
    fn not_all_the_world_gets_a_threshold() {
        let control = ColdDataControl::default();
        assert!((0..GROUPS_MOST).all(|group| control.set(&group.to_string(), 1)));
        assert!(!control.set("more", 1) && control.set("7", 2));
        control.remove("7");
        assert!(control.set("more", 1));
    }
}
