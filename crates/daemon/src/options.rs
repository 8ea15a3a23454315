//! Configuration options: one declarative list per struct, from which parsing, checking, printing and help come.
//!
//! A struct of options is written with [`options!`](crate::options!), one line per option:
//!
//! ```
//! daemon::options! {
//!     /// Options of the example.
//!     pub struct ExampleConfig {
//!         listenPort => listen_port: i32 [0, 65535] = 9876; Port, Boot, Y, important, "port that clients connect to";
//!         retentionHours => retention_hours: i32 = 72; Hours, Live, Y, "how long files are kept";
//!     }
//! }
//! ```
//!
//! Several such structs make one process' configuration ([`OptionGroup`]); [`Config`] holds them together with the keys it
//! does not know and the file they came from.

use crate::error::ConfigError;

mod config;
mod help;
mod nearest;
mod shared;
mod value;

pub use config::{Config, Notice, UpdateOutcome};
pub use help::{help, help_all};
pub use nearest::nearest;
pub use shared::SharedConfig;
pub use value::{ByteSize, OptionValue, parse_byte_size};

/// Whether a change takes effect while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// At once.
    Live,
    /// At the next start; until then the new value is only kept and reported.
    Boot,
}

/// What the option means to a server without a JVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Means what it means in Java.
    Y,
    /// Tuning: accepted and reported, the effect is optional.
    T,
    /// Tied to the JVM, its threads, Netty or RocksDB: accepted and reported only.
    N,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unit {
    Plain,
    Ms,
    Seconds,
    Minutes,
    Hours,
    Days,
    Bytes,
    Percent,
    Count,
    Port,
}

impl Unit {
    /// The unit in words, empty for plain values.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Ms => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
            Self::Bytes => "bytes",
            Self::Percent => "percent",
            Self::Count => "count",
            Self::Port => "port",
        }
    }
}

/// One option, without its value.
#[derive(Debug)]
pub struct OptionInfo {
    /// Java's key.
    pub key: &'static str,
    /// Java's type: int, long, double, boolean, String, or the enum's name.
    pub type_name: &'static str,
    /// The permitted values in words; a range, when there is one, is said besides.
    pub allowed: &'static str,
    /// Smallest and largest permitted number.
    pub range: Option<(i64, i64)>,
    /// What a value counts.
    pub unit: Unit,
    /// When a change takes effect.
    pub live: Live,
    /// What it means without a JVM.
    pub class: Class,
    /// Printed by `-m`.
    pub important: bool,
    /// One line.
    pub doc: &'static str,
}

impl OptionInfo {
    /// The permitted values in words, with the range.
    #[must_use]
    pub fn allowed_words(&self) -> String {
        let unit = match self.unit.words() {
            "" => String::new(),
            words => format!(" ({words})"),
        };
        match self.range {
            Some((low, high)) => format!("{} from {low} to {high}{unit}", self.allowed),
            None => format!("{}{unit}", self.allowed),
        }
    }
}

/// One option of the struct `C`.
pub struct OptionSpec<C> {
    /// What is known of it.
    pub info: OptionInfo,
    /// The value as text; none for Java's null.
    pub get: fn(&C) -> Option<String>,
    /// Takes a value; false when it does not parse or lies outside the range.
    pub set: fn(&mut C, &str) -> bool,
}

/// A struct of options, seen by key.
pub trait OptionSet {
    /// The options in the order of the list.
    fn infos(&self) -> Vec<&'static OptionInfo>;

    /// The value as text. None when the key is not of this set, `Some(None)` for Java's null.
    fn get(&self, key: &str) -> Option<Option<String>>;

    /// Takes a value. Returns the option, or none when the key is not of this set.
    ///
    /// # Errors
    /// The option, when the value is not permitted; nothing has changed then.
    fn set(&mut self, key: &str, value: &str) -> Result<Option<&'static OptionInfo>, &'static OptionInfo>;
}

/// The configuration structs of one process.
pub trait OptionGroup: Clone {
    /// All of them. Where two have the same key, both are set and the later one is reported, as in Java.
    fn sets(&self) -> Vec<&dyn OptionSet>;

    /// All of them, to change.
    fn sets_mut(&mut self) -> Vec<&mut dyn OptionSet>;

    /// Other spellings of keys that are honoured: `(spelling, key)`.
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Checks what a single option cannot know.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] with the keys and the remedy.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// Writes a struct of options and its [`OptionSet`]; see the module documentation for the form of a line:
/// `javaKey => rust_field: Type [low, high] = default; Unit, Live or Boot, class, important, "doc";` where the range and the
/// word `important` may be left out.
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $key:ident => $field:ident : $ty:ty $([$low:expr, $high:expr])? = $default:expr;
                $unit:ident, $live:ident, $class:ident, $($important:ident,)? $doc:literal;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                #[doc = $doc]
                pub $field: $ty,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            /// The list this struct was written from.
            pub fn specs() -> &'static [$crate::options::OptionSpec<Self>] {
                static SPECS: &[$crate::options::OptionSpec<$name>] = &[
                    $(
                        $crate::options::OptionSpec {
                            info: $crate::options::OptionInfo {
                                key: stringify!($key),
                                type_name: <$ty as $crate::options::OptionValue>::TYPE_NAME,
                                allowed: <$ty as $crate::options::OptionValue>::ALLOWED,
                                range: $crate::__range!($($low, $high)?),
                                unit: $crate::options::Unit::$unit,
                                live: $crate::options::Live::$live,
                                class: $crate::options::Class::$class,
                                important: $crate::__important!($($important)?),
                                doc: $doc,
                            },
                            get: |config| $crate::options::OptionValue::show(&config.$field),
                            set: |config, text| {
                                match <$ty as $crate::options::OptionValue>::read(text, $crate::__range!($($low, $high)?)) {
                                    Some(value) => {
                                        config.$field = value;
                                        true
                                    }
                                    None => false,
                                }
                            },
                        },
                    )*
                ];
                SPECS
            }
        }

        impl $crate::options::OptionSet for $name {
            fn infos(&self) -> Vec<&'static $crate::options::OptionInfo> {
                Self::specs().iter().map(|spec| &spec.info).collect()
            }

            fn get(&self, key: &str) -> Option<Option<String>> {
                Self::specs().iter().find(|spec| spec.info.key == key).map(|spec| (spec.get)(self))
            }

            fn set(
                &mut self,
                key: &str,
                value: &str,
            ) -> Result<Option<&'static $crate::options::OptionInfo>, &'static $crate::options::OptionInfo> {
                match Self::specs().iter().find(|spec| spec.info.key == key) {
                    None => Ok(None),
                    Some(spec) if (spec.set)(self, value) => Ok(Some(&spec.info)),
                    Some(spec) => Err(&spec.info),
                }
            }
        }
    };
}

/// An enum that is an option's type, written with Java's names: `option_enum! { /// doc pub enum Role { /// doc Slave = "SLAVE" } }`.
/// A number in brackets after the name is accepted too.
#[macro_export]
macro_rules! option_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal $([$number:literal])?, )*
        }
        allowed $allowed:literal
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )*
        }

        impl $name {
            /// Java's name of it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )*
                }
            }
        }

        impl $crate::options::OptionValue for $name {
            const TYPE_NAME: &'static str = stringify!($name);
            const ALLOWED: &'static str = $allowed;

            fn read(text: &str, _range: Option<(i64, i64)>) -> Option<Self> {
                $(
                    if text.trim() == $text $(|| text.trim() == stringify!($number))? {
                        return Some(Self::$variant);
                    }
                )*
                None
            }

            fn show(&self) -> Option<String> {
                Some(self.name().to_owned())
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __range {
    () => {
        None
    };
    ($low:expr, $high:expr) => {
        Some(($low, $high))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __important {
    () => {
        false
    };
    (important) => {
        true
    };
}

#[cfg(test)]
mod tests;
