//! Options as Java's tools take them (Apache Commons CLI): `-t TopicTest`, `-tTopicTest`, `--topic TopicTest`,
//! `--topic=TopicTest`; several letters after one dash are one option. Usage is printed in its form.

use std::collections::BTreeMap;

/// Width of the terminal that help is written for.
const WIDTH: usize = 110;

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Name after one dash; empty when it has none.
    pub short: &'static str,
    /// Name after two dashes.
    pub long: &'static str,
    /// It is followed by a value.
    pub has_arg: bool,
    /// Whether it must be given.
    pub need: Need,
    /// What it means.
    pub description: &'static str,
}

/// Whether an option must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may be left out.
    Optional,
    /// It must be given.
    Required,
    /// Exactly one of all options marked so must be given.
    OneOf,
}

/// An option with a value that may be left out.
#[must_use]
pub const fn opt(short: &'static str, long: &'static str, description: &'static str) -> Opt {
    Opt { short, long, has_arg: true, need: Need::Optional, description }
}

/// An option with a value that must be given.
#[must_use]
pub const fn required(short: &'static str, long: &'static str, description: &'static str) -> Opt {
    Opt { need: Need::Required, ..opt(short, long, description) }
}

/// One of several options of which exactly one must be given.
#[must_use]
pub const fn one_of(short: &'static str, long: &'static str, description: &'static str) -> Opt {
    Opt { need: Need::OneOf, ..opt(short, long, description) }
}

/// An option without value.
#[must_use]
pub const fn flag(short: &'static str, long: &'static str, description: &'static str) -> Opt {
    Opt { has_arg: false, ..opt(short, long, description) }
}

/// What every command takes.
const COMMON: [Opt; 2] = [
    flag("h", "help", "Print help"),
    opt("n", "namesrvAddr", "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'"),
];

/// What was given, by long name.
#[derive(Clone, Debug, Default)]
pub struct Values {
    values: BTreeMap<&'static str, String>,
}

impl Values {
    /// The value of an option, without surrounding blanks.
    #[must_use]
    pub fn get(&self, long: &str) -> Option<&str> {
        self.values.get(long).map(|value| value.trim())
    }

    /// The value of an option that the parser has seen to be there.
    ///
    /// # Errors
    /// A sentence, when it is not.
    pub fn need(&self, long: &str) -> Result<&str, String> {
        self.get(long).ok_or_else(|| format!("Missing required option: {long}"))
    }

    /// True when the option was given.
    #[must_use]
    pub fn has(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    /// True when the option was given with the value "true" in any case.
    #[must_use]
    pub fn is_true(&self, long: &str) -> bool {
        self.get(long).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The value of an option as a number.
    ///
    /// # Errors
    /// A sentence naming the option and its value.
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>, String> {
        let Some(text) = self.get(long) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("--{long} must be a number in range, not {text:?}"))
    }
}

/// Reads the arguments of a command.
///
/// # Errors
/// What Commons CLI says, in one sentence.
pub fn parse(options: &[Opt], args: &[String]) -> Result<Values, String> {
    let all: Vec<Opt> = COMMON.iter().chain(options).copied().collect();
    let mut values = Values::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (option, attached) = find(&all, arg).ok_or_else(|| format!("Unrecognized option: {arg}"))?;
        let value = match (option.has_arg, attached) {
            (true, Some(value)) => value,
            (true, None) => {
                rest.next().cloned().ok_or_else(|| format!("Missing argument for option: {}", name(option)))?
            }
            (false, None) => String::new(),
            (false, Some(_)) => return Err(format!("Unrecognized option: {arg}")),
        };
        values.values.insert(option.long, value);
    }
    if values.has("help") {
        return Ok(values);
    }
    let given = |option: &&Opt| values.has(option.long);
    let missing: Vec<&str> =
        all.iter().filter(|option| option.need == Need::Required && !values.has(option.long)).map(name).collect();
    if !missing.is_empty() {
        let plural = if missing.len() > 1 { "s" } else { "" };
        return Err(format!("Missing required option{plural}: {}", missing.join(", ")));
    }
    let group: Vec<&Opt> = all.iter().filter(|option| option.need == Need::OneOf).collect();
    match group.iter().copied().filter(given).count() {
        0 if !group.is_empty() => {
            let list: Vec<String> =
                group.iter().map(|option| format!("-{} {}", option.short, option.description)).collect();
            Err(format!("Missing required option: [{}]", list.join(", ")))
        }
        0 | 1 => Ok(values),
        _ => {
            let list: Vec<String> = group.iter().map(|option| format!("-{}", option.short)).collect();
            Err(format!("only one of {} may be given", list.join(", ")))
        }
    }
}

fn name(option: &Opt) -> &'static str {
    if option.short.is_empty() { option.long } else { option.short }
}

/// The option that an argument names, and a value that hangs on it.
fn find<'a>(options: &'a [Opt], arg: &str) -> Option<(&'a Opt, Option<String>)> {
    let text = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return None;
    }
    if let Some(option) = options.iter().find(|option| option.short == key || option.long == key) {
        return Some((option, value));
    }
    if arg.starts_with("--") {
        // Commons CLI takes the beginning of a long name when only one name begins so.
        let mut found = options.iter().filter(|option| option.long.starts_with(key));
        return found.next().filter(|_| found.next().is_none()).map(|option| (option, value));
    }
    let attached = |option: &&Opt| option.has_arg && option.short.len() == 1 && text.starts_with(option.short);
    options.iter().find(attached).map(|option| (option, text.get(1..).map(str::to_owned)))
}

/// Usage and options as `mqadmin help COMMAND` prints them.
#[must_use]
pub fn help(command: &str, options: &[Opt]) -> String {
    let mut all: Vec<Opt> = COMMON.iter().chain(options).copied().collect();
    all.sort_by_key(|option| name(option).to_lowercase());
    let mut out = usage(command, &all);
    let column = all.iter().map(|option| spelling(option).len()).max().unwrap_or(0) + 3;
    for option in &all {
        let mut line = format!("{:column$}", spelling(option));
        let mut len = column;
        for word in option.description.split(' ') {
            if len + word.len() > WIDTH && len > column {
                out.push_str(line.trim_end());
                out.push('\n');
                line = " ".repeat(column);
                len = column;
            }
            line.push_str(word);
            line.push(' ');
            len += word.chars().count() + 1;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn spelling(option: &Opt) -> String {
    let arg = if option.has_arg { " <arg>" } else { "" };
    match option.short {
        "" => format!("    --{}{arg}", option.long),
        short => format!(" -{short},--{}{arg}", option.long),
    }
}

fn usage(command: &str, sorted: &[Opt]) -> String {
    let token = |option: &Opt| {
        let dashes = if option.short.is_empty() { "--" } else { "-" };
        let arg = if option.has_arg { " <arg>" } else { "" };
        format!("{dashes}{}{arg}", name(option))
    };
    let mut parts = vec![format!("usage: mqadmin {command}")];
    let group: Vec<String> = sorted.iter().filter(|option| option.need == Need::OneOf).map(token).collect();
    let mut group_done = false;
    for option in sorted {
        match option.need {
            Need::Optional => parts.push(format!("[{}]", token(option))),
            Need::Required => parts.push(token(option)),
            Need::OneOf if group_done => {}
            Need::OneOf => {
                group_done = true;
                parts.push(format!("{} ", group.join(" | ")));
            }
        }
    }
    let mut out = String::new();
    let mut line = String::new();
    for part in parts {
        if !line.is_empty() && line.len() + 1 + part.trim_end().len() >= WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(6);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&part);
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        one_of("b", "brokerAddr", "create topic to which broker"),
        one_of("c", "clusterName", "create topic to which cluster"),
        opt("a", "attributes", "attribute(+a=b,+c=d,-e)"),
        required("t", "topic", "topic name"),
        opt("r", "readQueueNums", "set read queue nums"),
        opt("w", "writeQueueNums", "set write queue nums"),
        opt("p", "perm", "set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]"),
        opt("o", "order", "set topic's order(true|false)"),
        opt("u", "unit", "is unit topic (true|false)"),
        opt("s", "hasUnitSub", "has unit sub (true|false)"),
        flag("l", "list", "a list"),
        opt("mf", "mapFile", "a file"),
    ];

    fn check(line: &str) -> Result<Values, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(OPTIONS, &args)
    }

    #[test]
    fn all_spellings() {
        for line in ["-t T -b a:1 -l", "--topic T --brokerAddr=a:1 --list", "-tT -b=a:1 --li", "-t T -b a:1 -list"] {
            let values = check(line).unwrap();
            assert_eq!((values.get("topic"), values.get("brokerAddr")), (Some("T"), Some("a:1")), "{line}");
            assert!(values.has("list"), "{line}");
        }
        assert_eq!(check("-t T -b a -mf x").unwrap().get("mapFile"), Some("x"));
    }

    #[test]
    fn mistakes_are_named_as_java_names_them() {
        let error = |line| check(line).unwrap_err();
        assert_eq!(error("-b x"), "Missing required option: t");
        assert_eq!(
            error("-t x"),
            "Missing required option: [-b create topic to which broker, -c create topic to which cluster]"
        );
        assert_eq!(error("-t"), "Missing argument for option: t");
        assert_eq!(error("-t x -z"), "Unrecognized option: -z");
        assert_eq!(error("x"), "Unrecognized option: x");
        assert!(error("-t x -b a -c b").contains("only one of"));
        assert!(check("-h").unwrap().has("help"));
        assert!(check("-t x -b a -r q").unwrap().number::<i32>("readQueueNums").unwrap_err().contains("\"q\""));
    }

    #[test]
    fn help_is_laid_out_as_in_java() {
        let without_extras: Vec<Opt> = OPTIONS.iter().filter(|o| !["l", "mf"].contains(&o.short)).copied().collect();
        let text = help("updateTopic", &without_extras);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(
                "usage: mqadmin updateTopic [-a <arg>] -b <arg> | -c <arg>  [-h] [-n <arg>] [-o <arg>] [-p <arg>] [-r <arg>]"
            )
        );
        assert_eq!(lines.next(), Some("       [-s <arg>] -t <arg> [-u <arg>] [-w <arg>]"));
        assert_eq!(lines.next(), Some(" -a,--attributes <arg>       attribute(+a=b,+c=d,-e)"));
    }
}
