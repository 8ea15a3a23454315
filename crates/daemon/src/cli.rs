//! The command lines of `mqnamesrv` and `mqbroker`.
//!
//! Beside the options of the Java programs any option of the configuration is one of the command line (`--listenPort 0`),
//! long options may have one dash (`-namesrvAddr`, as Apache Commons CLI takes them), and `key=value` without a dash, which
//! popular container set-ups contain and Java ignores, is honoured.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::error::ConfigError;
use crate::exit::{CLEAN, Exit, USAGE};
use crate::options::{Config, Notice, OptionGroup, help, help_all, parse_byte_size};

/// Options that both daemons have.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Configuration file: Java properties, or TOML when its name ends in .toml
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Print all config items and exit
    #[arg(short = 'p', long = "printConfigItem")]
    print_config_item: bool,
    /// Bound of what the process allocates, such as 256m (also memoryBudget, or -Xmx in JAVA_OPT_EXT)
    #[arg(long = "memory", value_name = "SIZE", value_parser = |text: &str| parse_byte_size(text).ok_or("use a size such as 256m or 2g"))]
    memory: Option<u64>,
    /// Explain one option of the configuration, or all, and exit
    #[arg(long = "help-config", value_name = "KEY", num_args = 0..=1)]
    help_config: Option<Option<String>>,
    /// Any option of the configuration, as --key value or key=value
    #[arg(value_name = "key=value")]
    rest: Vec<String>,
}

/// RocketMQ name server
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct NamesrvArgs {
    #[command(flatten)]
    common: Common,
}

/// RocketMQ broker
#[derive(Debug, Parser)]
#[command(name = "mqbroker", version)]
struct BrokerArgs {
    #[command(flatten)]
    common: Common,
    /// Print important config items and exit
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important_config: bool,
    /// Start the proxy in the broker's process (not available yet)
    #[arg(long = "enable-proxy")]
    enable_proxy: bool,
}

/// Which configuration to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// `-p`
    All,
    /// `-m`
    Important,
}

/// A command line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `-c`
    pub config_file: Option<PathBuf>,
    /// `-n`; it also stands among the overrides of a broker.
    pub namesrv_addr: Option<String>,
    /// `-p` or `-m`: print and exit.
    pub print: Option<Print>,
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// Options set on the command line, in order: they win over the file.
    pub overrides: Vec<(String, String)>,
    /// One line each about words that were honoured or ignored.
    pub remarks: Vec<String>,
}

/// The program that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `mqnamesrv`
    Namesrv,
    /// `mqbroker`
    Broker,
}

/// Understands the arguments (without the program's name) of a daemon whose configuration is like `config`.
///
/// # Errors
/// The [`Exit`] to take: code 0 with the text of `-h`, `--version` or `--help-config`, code 1 with the mistake and the usage.
pub fn parse<G: OptionGroup>(
    program: Program,
    args: impl IntoIterator<Item = OsString>,
    config: &Config<G>,
) -> Result<CommandLine, Exit> {
    let command = match program {
        Program::Namesrv => NamesrvArgs::command(),
        Program::Broker => BrokerArgs::command(),
    };
    let (rest, mut overrides) = take_options(&command, args, config)?;
    let name = OsString::from(command.get_name());
    let matches =
        command.try_get_matches_from(std::iter::once(name).chain(rest)).map_err(|error| usage_exit(&error))?;
    let (common, important) = match program {
        Program::Namesrv => (from_matches::<NamesrvArgs>(&matches)?.common, false),
        Program::Broker => {
            let args: BrokerArgs = from_matches(&matches)?;
            if args.enable_proxy {
                return Err(Exit::new(
                    crate::exit::FAILURE,
                    "--enable-proxy: this release has no proxy yet; start without it, clients of the remoting protocol \
                     (ports 9876, 10911) need none",
                ));
            }
            (args.common, args.print_important_config)
        }
    };
    if let Some(key) = &common.help_config {
        return Err(config_help(config, key.as_deref()));
    }
    let mut remarks = Vec::new();
    if let Some(addresses) = &common.namesrv_addr {
        if config.is_option("namesrvAddr") {
            overrides.push(("namesrvAddr".to_owned(), addresses.clone()));
        } else {
            remarks.push(format!("-n {addresses} has no effect on a name server: name servers do not know each other"));
        }
    }
    for word in common.rest {
        match word.split_once('=') {
            Some((key, value)) if config.is_option(key) => {
                remarks.push(format!("{word} on the command line is honoured; --{key} {value} is the usual form"));
                overrides.push((key.to_owned(), value.to_owned()));
            }
            _ => remarks.push(format!("{word} on the command line has no effect")),
        }
    }
    let print = match (common.print_config_item, important) {
        (true, _) => Some(Print::All),
        (false, true) => Some(Print::Important),
        (false, false) => None,
    };
    Ok(CommandLine {
        config_file: common.config_file,
        namesrv_addr: common.namesrv_addr,
        print,
        memory: common.memory,
        overrides,
        remarks,
    })
}

impl CommandLine {
    /// Applies the configuration file and then the overrides. Returns what an operator should read.
    ///
    /// # Errors
    /// What [`Config::load_file`] and [`Config::apply`] return.
    pub fn configure<G: OptionGroup>(&self, config: &mut Config<G>) -> Result<Vec<Notice>, ConfigError> {
        let mut notices = Vec::new();
        if let Some(path) = &self.config_file {
            notices.extend(config.load_file(path)?);
        }
        for (key, value) in &self.overrides {
            notices.extend(config.apply(key, value, "command line")?);
        }
        Ok(notices)
    }
}

/// Keys and values in the order of the command line.
type Overrides = Vec<(String, String)>;

/// Takes `--key value` of the configuration out of the arguments; one dash before a long option becomes two.
fn take_options<G: OptionGroup>(
    command: &clap::Command,
    args: impl IntoIterator<Item = OsString>,
    config: &Config<G>,
) -> Result<(Vec<OsString>, Overrides), Exit> {
    let own: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let mut rest = Vec::new();
    let mut overrides = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let Some(name) = arg.to_str().filter(|text| text.len() > 2).and_then(|text| text.strip_prefix('-')) else {
            rest.push(arg);
            continue;
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
        if own.contains(&name) {
            rest.push(match value {
                Some(value) => format!("--{name}={value}").into(),
                None => format!("--{name}").into(),
            });
        } else if config.is_option(name) {
            let next = value.or_else(|| args.next().map(|next| next.to_string_lossy().into_owned()));
            let value = next.ok_or_else(|| Exit::new(USAGE, format!("--{name} needs a value: --{name} VALUE")))?;
            overrides.push((name.to_owned(), value));
        } else {
            rest.push(arg);
        }
    }
    Ok((rest, overrides))
}

fn from_matches<A: FromArgMatches>(matches: &clap::ArgMatches) -> Result<A, Exit> {
    A::from_arg_matches(matches).map_err(|error| usage_exit(&error))
}

fn usage_exit(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        Exit::new(USAGE, error.to_string().trim_end())
    } else {
        Exit::on_stdout(CLEAN, error.to_string().trim_end())
    }
}

fn config_help<G: OptionGroup>(config: &Config<G>, key: Option<&str>) -> Exit {
    match key.map(|key| help(&config.options, key)) {
        None => Exit::on_stdout(CLEAN, help_all(&config.options).trim_end()),
        Some(Ok(text)) => Exit::on_stdout(CLEAN, text.trim_end()),
        Some(Err(text)) => Exit::new(USAGE, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OptionSet;

    crate::options! {
        /// A sample.
        pub struct Sample {
            listenPort => listen_port: i32 [0, 65535] = 10911; Port, Boot, Y, important, "the port";
            namesrvAddr => namesrv_addr: Option<String> = None; Plain, Live, Y, "name servers";
            autoCreateTopicEnable => auto_create: bool = false; Plain, Live, Y, "create topics";
        }
    }

    impl OptionGroup for Sample {
        fn sets(&self) -> Vec<&dyn OptionSet> {
            vec![self]
        }

        fn sets_mut(&mut self) -> Vec<&mut dyn OptionSet> {
            vec![self]
        }
    }

    fn config() -> Config<Sample> {
        Config::new(Sample::default())
    }

    fn parse_words(program: Program, words: &str) -> Result<CommandLine, Exit> {
        parse(program, words.split_whitespace().map(OsString::from), &config())
    }

    #[test]
    fn popular_compose_line() {
        let line = parse_words(
            Program::Broker,
            "-c /etc/rocketmq/broker.conf -n rmqnamesrv:9876 autoCreateTopicEnable=true junk x=y",
        )
        .unwrap();
        assert_eq!(line.config_file, Some(PathBuf::from("/etc/rocketmq/broker.conf")));
        let overrides: Vec<_> = line.overrides.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(overrides, ["namesrvAddr=rmqnamesrv:9876", "autoCreateTopicEnable=true"]);
        assert_eq!(line.remarks.len(), 3);
        assert!(line.remarks[1].starts_with("junk on the command line has no effect"));
    }

    #[test]
    fn any_option_of_the_configuration() {
        for words in ["--listenPort 0", "--listenPort=0", "-listenPort 0", "-p -listenPort=0"] {
            let line = parse_words(Program::Broker, words).unwrap();
            assert_eq!(line.overrides, [("listenPort".to_owned(), "0".to_owned())], "{words}");
        }
        for words in ["-n a:1", "--namesrvAddr a:1", "-namesrvAddr a:1", "--namesrvAddr=a:1", "-na:1"] {
            let line = parse_words(Program::Broker, words).unwrap();
            assert_eq!(line.overrides, [("namesrvAddr".to_owned(), "a:1".to_owned())], "{words}");
        }
        let line = parse_words(Program::Namesrv, "-p --memory 64m").unwrap();
        assert_eq!((line.print, line.memory), (Some(Print::All), Some(64 << 20)));
        assert_eq!(parse_words(Program::Broker, "-m").unwrap().print, Some(Print::Important));
    }

    #[test]
    fn mistakes_end_with_code_1_and_help_with_0() {
        let check = |program, words: &str, code: i32, part: &str| {
            let exit = parse_words(program, words).unwrap_err();
            assert_eq!(exit.code, code, "{words}: {}", exit.message);
            assert!(exit.message.contains(part), "{words}: {}", exit.message);
            assert_eq!(exit.on_stdout, code == 0, "{words}");
        };
        check(Program::Broker, "-h", 0, "--enable-proxy");
        check(Program::Namesrv, "--help", 0, "--configFile");
        check(Program::Broker, "-c", 1, "--configFile");
        check(Program::Broker, "--nonsense 1", 1, "--nonsense");
        check(Program::Namesrv, "-m", 1, "-m");
        check(Program::Namesrv, "--memory lots", 1, "256m");
        check(Program::Namesrv, "--listenPort", 1, "needs a value");
        check(Program::Broker, "--enable-proxy", -1, "no proxy yet");
        check(Program::Broker, "--help-config listenPort", 0, "the port");
        check(Program::Broker, "--help-config", 0, "autoCreateTopicEnable");
        check(Program::Broker, "--help-config listnPort", 1, "did you mean listenPort?");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.conf");
        std::fs::write(&path, "listenPort=1\nnamesrvAddr=f:1\nunknown=1\n").unwrap();
        let line = parse_words(Program::Broker, &format!("-c {} -n c:1", path.display())).unwrap();
        let mut config = config();
        assert_eq!(line.configure(&mut config).unwrap().len(), 1);
        assert_eq!(config.options.listen_port, 1);
        assert_eq!(config.options.namesrv_addr.as_deref(), Some("c:1"));
    }
}
