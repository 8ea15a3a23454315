//! A process' configuration: typed options, unknown keys, and the file behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Live, OptionGroup, OptionInfo, nearest};
use crate::error::ConfigError;
use crate::persist;
use crate::properties::{self, Properties, edit, entry_line, toml_line};

/// Something about the configuration that an operator should read once, when logging runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A key nobody knows. It is kept and reported, and otherwise without effect.
    UnknownKey {
        /// As written.
        key: String,
        /// Where it stands.
        origin: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A key in another spelling, honoured as `key`.
    OtherSpelling {
        /// As written.
        spelling: String,
        /// The option that was set.
        key: &'static str,
        /// Where it stands.
        origin: String,
    },
    /// An option without a value, which leaves the default in place.
    EmptyValue {
        /// The option.
        key: &'static str,
        /// Where it stands.
        origin: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, origin, nearest: Some(near) } => {
                write!(f, "{origin}: unknown option {key} has no effect; did you mean {near}?")
            }
            Self::UnknownKey { key, origin, nearest: None } => {
                write!(f, "{origin}: unknown option {key} has no effect; --help-config lists the known ones")
            }
            Self::OtherSpelling { spelling, key, origin } => {
                write!(f, "{origin}: {spelling} is honoured as {key}; write {key}")
            }
            Self::EmptyValue { key, origin } => write!(f, "{origin}: {key} has no value; its default stays in place"),
        }
    }
}

/// What an update over the wire did.
#[derive(Debug, Default)]
pub struct UpdateOutcome {
    /// Keys whose value is now another one.
    pub changed: Vec<String>,
    /// Those of them that take effect at the next start.
    pub at_restart: Vec<String>,
    /// Keys that are not known to this process and were dropped, as Java drops them.
    pub dropped: Vec<String>,
    /// Why the file could not be rewritten; the change holds in memory all the same, as in Java.
    pub not_persisted: Option<ConfigError>,
}

/// The options of a process, the keys it does not know, and the file they come from.
#[derive(Debug, Clone)]
pub struct Config<G> {
    /// The typed structs.
    pub options: G,
    unknown: BTreeMap<String, String>,
    file: Option<PathBuf>,
    warned: BTreeSet<String>,
}

impl<G: OptionGroup> Config<G> {
    /// Defaults only, no file.
    pub fn new(options: G) -> Self {
        Self { options, unknown: BTreeMap::new(), file: None, warned: BTreeSet::new() }
    }

    /// Applies a configuration file (Java properties, or TOML by its name) and remembers it as the one to rewrite.
    ///
    /// # Errors
    /// What [`Properties::from_file`] and [`Config::apply`] return, with file and line.
    pub fn load_file(&mut self, path: &Path) -> Result<Vec<Notice>, ConfigError> {
        let read = Properties::from_file(path)?;
        self.file = Some(path.to_path_buf());
        let mut notices = Vec::new();
        for entry in read.entries() {
            let origin = format!("{}:{}", path.display(), entry.line);
            notices.extend(self.apply(&entry.key, &entry.value, &origin)?);
        }
        Ok(notices)
    }

    /// The file to rewrite on updates, for a process that was started without one.
    pub fn set_file(&mut self, path: PathBuf) {
        self.file = Some(path);
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Sets one key; `origin` says where it stands. An unknown key is kept, and noted the first time.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when the value is not permitted; nothing has changed then.
    pub fn apply(&mut self, key: &str, value: &str, origin: &str) -> Result<Option<Notice>, ConfigError> {
        let canonical = self.canonical(key);
        let known = self.info(canonical);
        if let Some(info) = known
            && value.trim().is_empty()
            && info.type_name != "String"
        {
            return Ok(Some(Notice::EmptyValue { key: info.key, origin: origin.to_owned() }));
        }
        if let Some(info) = set_in(&mut self.options, canonical, value, origin)? {
            let first = key != info.key && self.warned.insert(key.to_owned());
            let spelling = key.to_owned();
            return Ok(first.then(|| Notice::OtherSpelling { spelling, key: info.key, origin: origin.to_owned() }));
        }
        self.unknown.insert(key.to_owned(), value.to_owned());
        if !self.warned.insert(key.to_owned()) {
            return Ok(None);
        }
        let near = nearest(key, self.infos().iter().map(|info| info.key));
        Ok(Some(Notice::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), nearest: near }))
    }

    /// Whether `key`, in this or another honoured spelling, is an option.
    pub fn is_option(&self, key: &str) -> bool {
        self.info(self.canonical(key)).is_some()
    }

    /// The value of a known or unknown key, as text.
    pub fn get(&self, key: &str) -> Option<String> {
        let key = self.canonical(key);
        let known = self.options.sets().iter().rev().find_map(|set| set.get(key));
        known.unwrap_or_else(|| self.unknown.get(key).cloned())
    }

    /// All keys with values, unknown ones too, as properties text sorted by key: the body of GET_BROKER_CONFIG (26),
    /// GET_NAMESRV_CONFIG (319) and the like. Not escaped, as in Java (`MixAll.properties2String`).
    pub fn dump(&self) -> String {
        let mut all: BTreeMap<String, String> = self.unknown.clone();
        for set in self.options.sets() {
            for info in set.infos() {
                if let Some(value) = set.get(info.key).flatten() {
                    all.insert(info.key.to_owned(), value);
                }
            }
        }
        all.iter().map(|(key, value)| format!("{key}={}\n", value.replace(['\n', '\r'], " "))).collect()
    }

    /// What `-p` prints, and with `important` what `-m` prints: `key=value` lines in the order of the lists, `key=` for
    /// null.
    pub fn print(&self, important: bool) -> String {
        let mut out = String::new();
        for set in self.options.sets() {
            for info in set.infos().into_iter().filter(|info| info.important || !important) {
                out.push_str(&format!("{}={}\n", info.key, set.get(info.key).flatten().unwrap_or_default()));
            }
        }
        out
    }

    /// Applies what UPDATE_BROKER_CONFIG (25), UPDATE_NAMESRV_CONFIG (318) and the like carry: all of it or, on error,
    /// nothing. Then the file is rewritten (see [`Config::persist`]).
    ///
    /// # Errors
    /// [`ConfigError::BlackListed`] for a key of `black_list`, [`ConfigError::Value`] for a value that is not permitted,
    /// [`ConfigError::Conflict`] from [`OptionGroup::validate`].
    pub fn update(&mut self, update: &Properties, black_list: &[&str]) -> Result<UpdateOutcome, ConfigError> {
        let mut next = self.clone();
        let mut outcome = UpdateOutcome::default();
        let mut changes = BTreeMap::new();
        for entry in update.entries() {
            let key = self.canonical(&entry.key);
            if let Some(black) = black_list.iter().find(|black| **black == key || **black == entry.key) {
                return Err(ConfigError::BlackListed { key: (*black).to_owned() });
            }
            let info = self.info(key);
            if info.is_none() && !self.unknown.contains_key(key) {
                outcome.dropped.push(entry.key.clone());
                continue;
            }
            next.apply(key, &entry.value, "update")?;
            let value = next.get(key).unwrap_or_default();
            if Some(&value) != self.get(key).as_ref() {
                outcome.changed.push(key.to_owned());
                if info.is_some_and(|info| info.live == Live::Boot) {
                    outcome.at_restart.push(key.to_owned());
                }
            }
            changes.insert(key.to_owned(), value);
        }
        next.options.validate()?;
        *self = next;
        outcome.not_persisted = self.persist(&changes).err();
        Ok(outcome)
    }

    /// Rewrites the file with `changes`, atomically, the former content staying as `.bak`. Comments and all other lines stay
    /// (Java writes every option with its default instead, which freezes defaults); a TOML file keeps its keys only. A file
    /// that does not exist yet is created. Without a file nothing happens.
    ///
    /// # Errors
    /// [`ConfigError::Write`], or what reading the present file returns.
    pub fn persist(&self, changes: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let Some(path) = self.file.as_deref().filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        let changes = self.in_the_spelling_of(path, changes);
        let bytes = match properties::read_bounded(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
        };
        let text = properties::decode(&bytes);
        let next = if properties::is_toml(path) {
            let mut all: BTreeMap<String, String> = Properties::from_toml(&text, &path.display().to_string())?
                .entries()
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.clone()))
                .collect();
            all.extend(changes);
            all.iter().map(|(key, value)| toml_line(key, value)).collect()
        } else if text.is_empty() {
            changes.iter().map(|(key, value)| entry_line(key, value)).collect()
        } else {
            edit(&text, &changes)
        };
        persist::replace(path, next.as_bytes()).map_err(|source| ConfigError::Write { path: path.into(), source })
    }

    /// The keys of `changes` as the file spells them, so that a line in an old spelling is replaced and not contradicted.
    fn in_the_spelling_of(&self, path: &Path, changes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let Ok(present) = Properties::from_file(path) else {
            return changes.clone();
        };
        let mut out = BTreeMap::new();
        for (key, value) in changes {
            let spellings = present.entries().iter().filter(|entry| self.canonical(&entry.key) == key);
            let before = out.len();
            out.extend(spellings.map(|entry| (entry.key.clone(), value.clone())));
            if out.len() == before {
                out.insert(key.clone(), value.clone());
            }
        }
        out
    }

    fn infos(&self) -> Vec<&'static OptionInfo> {
        self.options.sets().iter().flat_map(|set| set.infos()).collect()
    }

    fn info(&self, key: &str) -> Option<&'static OptionInfo> {
        self.infos().into_iter().find(|info| info.key == key)
    }

    fn canonical<'a>(&self, key: &'a str) -> &'a str {
        self.options.aliases().iter().find(|(spelling, _)| *spelling == key).map_or(key, |(_, key)| key)
    }
}

/// Sets `key` in every set that has it.
fn set_in<G: OptionGroup>(
    options: &mut G,
    key: &str,
    value: &str,
    origin: &str,
) -> Result<Option<&'static OptionInfo>, ConfigError> {
    let mut found = None;
    for set in options.sets_mut() {
        match set.set(key, value) {
            Ok(info) => found = info.or(found),
            Err(info) => {
                return Err(ConfigError::Value {
                    origin: origin.to_owned(),
                    key: key.to_owned(),
                    value: value.to_owned(),
                    allowed: info.allowed_words(),
                });
            }
        }
    }
    Ok(found)
}
