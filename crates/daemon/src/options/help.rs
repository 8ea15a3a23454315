//! `--help-config`: the options explained from their list.

use std::fmt::Write as _;

use super::{Class, Live, OptionGroup, OptionInfo, nearest};

/// One option in full, or what else could have been meant.
///
/// # Errors
/// A text naming the nearest known key when `key` is unknown.
pub fn help(group: &impl OptionGroup, key: &str) -> Result<String, String> {
    let aliased = group.aliases().iter().find(|(spelling, _)| *spelling == key).map_or(key, |(_, key)| key);
    for set in group.sets().iter().rev() {
        if let Some(info) = set.infos().into_iter().find(|info| info.key == aliased) {
            return Ok(describe(info, set.get(aliased).flatten()));
        }
    }
    let sets = group.sets();
    let keys = sets.iter().flat_map(|set| set.infos()).map(|info| info.key);
    Err(match nearest(key, keys) {
        Some(near) => format!("there is no option {key}; did you mean {near}?"),
        None => format!("there is no option {key}; --help-config without a key lists them all"),
    })
}

/// All options, sorted by key, two lines each.
#[must_use]
pub fn help_all(group: &impl OptionGroup) -> String {
    let mut by_key = std::collections::BTreeMap::new();
    for set in group.sets() {
        for info in set.infos() {
            by_key.insert(info.key, (info, set.get(info.key).flatten()));
        }
    }
    by_key.into_values().map(|(info, default)| describe(info, default)).collect()
}

fn describe(info: &OptionInfo, default: Option<String>) -> String {
    let mut text = format!("{} ({}, default {})\n", info.key, info.type_name, default.as_deref().unwrap_or("unset"));
    let effect = match (info.class, info.live) {
        (Class::N, _) => "accepted and reported only",
        (Class::T, _) => "tuning: accepted and reported, its effect is optional",
        (Class::Y, Live::Live) => "a change takes effect at once",
        (Class::Y, Live::Boot) => "a change takes effect at the next start",
    };
    let _ = writeln!(text, "    {}; {}; {effect}", info.doc, info.allowed_words());
    text
}
