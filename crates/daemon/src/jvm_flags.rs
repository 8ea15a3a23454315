//! JVM flags found in the environment of today's container and service definitions, without a JVM.
//!
//! `-Xmx` is the memory budget, `-D` keys of the configuration reference mean what they mean, and everything else is
//! accepted and named once.

use std::collections::BTreeMap;

use crate::exit::{Exit, FAILURE, INITIALIZATION};
use crate::options::parse_byte_size;

/// The variables that are read, in the order in which their flags are applied: the later wins, as on a JVM's command line.
/// `JAVA_OPT` and `JAVA_OPT_EXT` are those of RocketMQ's scripts, `HEAP_OPTS` that of its image, `BROKER_MEM` that of its
/// Kubernetes operator; `JAVA_OPTS` is what many set-ups write instead.
pub const VARIABLES: [&str; 5] = ["JAVA_OPT", "JAVA_OPTS", "HEAP_OPTS", "BROKER_MEM", "JAVA_OPT_EXT"];

/// `-D` keys that are honoured; every other is named in the log.
const KNOWN_PROPERTIES: [&str; 15] = [
    "user.home",
    "rocketmq.home.dir",
    "rocketmq.namesrv.addr",
    "rocketmq.namesrv.domain",
    "rocketmq.namesrv.domain.subgroup",
    "rocketmq.serialize.type",
    "rocketmq.broker.diskSpaceWarningLevelRatio",
    "rocketmq.broker.diskSpaceCleanForciblyRatio",
    "rocketmq.broker.multiPathSplitter",
    "rocketmq.broker.rebalance.lockMaxLiveTime",
    FRAME_MAX_LENGTH,
    "com.rocketmq.remoting.socket.sndbuf.size",
    "com.rocketmq.remoting.socket.rcvbuf.size",
    "com.rocketmq.remoting.socket.backlog",
    "tls.server.mode",
];

const FRAME_MAX_LENGTH: &str = "com.rocketmq.remoting.frameMaxLength";

/// What the flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JvmFlags {
    /// `-Xmx`, in bytes.
    pub max_heap: Option<u64>,
    /// `-D` keys that are honoured.
    pub properties: BTreeMap<String, String>,
    /// Everything else, as written.
    pub ignored: Vec<String>,
}

impl JvmFlags {
    /// Reads the flags of [`VARIABLES`] from an environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut flags = Self::default();
        for name in VARIABLES {
            for word in words(&variable(name).unwrap_or_default()) {
                flags.take(word);
            }
        }
        flags
    }

    /// A `-D` value.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    /// A `-D` value that is a number in this range.
    ///
    /// # Errors
    /// The [`Exit`] to take when it is none.
    pub fn number(&self, key: &str, least: i64, most: i64) -> Result<Option<i64>, Exit> {
        let Some(text) = self.property(key) else { return Ok(None) };
        match text.trim().parse().ok().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Exit::new(FAILURE, format!("-D{key}={text} is refused: give a number from {least} to {most}"))),
        }
    }

    /// `com.rocketmq.remoting.frameMaxLength`, or `default`, in bytes.
    ///
    /// # Errors
    /// The [`Exit`] to take when it is no length a frame can have.
    pub fn frame_max_length(&self, default: usize) -> Result<usize, Exit> {
        let length = self.number(FRAME_MAX_LENGTH, 1024, 1 << 30)?;
        Ok(length.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default))
    }

    /// Refuses `-Dtls.server.mode=enforcing`: serving plain text where only TLS is wanted would be worse than not serving.
    ///
    /// # Errors
    /// The [`Exit`] to take.
    pub fn refuse_tls_only(&self) -> Result<(), Exit> {
        match self.property("tls.server.mode") {
            Some(mode) if mode.eq_ignore_ascii_case("enforcing") => Err(Exit::new(
                INITIALIZATION,
                "-Dtls.server.mode=enforcing: TLS is not part of this release; put a TLS proxy in front, or remove the flag",
            )),
            _ => Ok(()),
        }
    }

    /// The one log line that names what has no meaning without a JVM; none when there is nothing.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        (!self.ignored.is_empty())
            .then(|| format!("JVM flags without a meaning here, accepted: {}", self.ignored.join(" ")))
    }

    fn take(&mut self, word: String) {
        if let Some(size) = word.strip_prefix("-Xmx").or_else(|| word.strip_prefix("-XX:MaxHeapSize=")) {
            match parse_byte_size(size) {
                Some(bytes) => self.max_heap = Some(bytes),
                None => self.ignored.push(word),
            }
        } else if let Some(definition) = word.strip_prefix("-D") {
            let (key, value) = definition.split_once('=').unwrap_or((definition, ""));
            if KNOWN_PROPERTIES.contains(&key) {
                self.properties.insert(key.to_owned(), value.to_owned());
            } else {
                self.ignored.push(word);
            }
        } else {
            self.ignored.push(word);
        }
    }
}

/// Splits as a shell does: white space separates, quotes and backslashes keep together.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => out.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> JvmFlags {
        JvmFlags::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn popular_set_ups() {
        let read = flags(&[
            ("JAVA_OPTS", "-Duser.home=/home/rocketmq"),
            ("JAVA_OPT_EXT", "-server -Xms128m -Xmx128m -Xmn128m"),
        ]);
        assert_eq!(read.max_heap, Some(128 << 20));
        assert_eq!(read.property("user.home"), Some("/home/rocketmq"));
        assert_eq!(read.notice().unwrap(), "JVM flags without a meaning here, accepted: -server -Xms128m -Xmn128m");
    }

    #[test]
    fn the_later_wins() {
        let read = flags(&[("JAVA_OPT_EXT", "-Xmx1g"), ("JAVA_OPT", "-Xmx8g -Dtls.server.mode=disabled -Dx=y")]);
        assert_eq!(read.max_heap, Some(1 << 30));
        assert_eq!(read.property("tls.server.mode"), Some("disabled"));
        assert_eq!(read.ignored, ["-Dx=y"]);
        assert_eq!(flags(&[("HEAP_OPTS", "-Xmxlots")]).ignored, ["-Xmxlots"]);
        assert_eq!(flags(&[]).notice(), None);
    }

    #[test]
    fn numbers_are_checked() {
        let read =
            flags(&[("JAVA_OPT", "-Dcom.rocketmq.remoting.frameMaxLength=33554432 -Dtls.server.mode=ENFORCING")]);
        assert_eq!(read.frame_max_length(7), Ok(33_554_432));
        assert_eq!(flags(&[]).frame_max_length(7), Ok(7));
        let bad = flags(&[("JAVA_OPT", "-Dcom.rocketmq.remoting.frameMaxLength=big")]);
        assert!(bad.frame_max_length(7).unwrap_err().message.contains("1024"));
        assert_eq!(read.refuse_tls_only().unwrap_err().code, INITIALIZATION);
        assert_eq!(flags(&[("JAVA_OPT", "-Dtls.server.mode=permissive")]).refuse_tls_only(), Ok(()));
    }

    #[test]
    fn words_as_in_a_shell() {
        let check = |text: &str, expect: &[&str]| assert_eq!(words(text), expect, "{text}");
        check(" -a  -b\t", &["-a", "-b"]);
        check("-Dx='a b' \"c\\\"d\" e\\ f ''", &["-Dx=a b", "c\"d", "e f", ""]);
        check("'open", &["open"]);
    }
}
