//! What the surroundings say before any configuration file is read.

use std::fs;
use std::path::PathBuf;

use crate::jvm_flags::JvmFlags;

/// Environment variables, JVM flags and facts of the machine, as Java would see them.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `-Drocketmq.home.dir`, else `ROCKETMQ_HOME`. Without it RocketMQ's daemons exit with −2.
    pub rocketmq_home: Option<String>,
    /// `-Duser.home`, else the home directory of the account, else `HOME`: below it lie `store/`, `namesrv/` and `logs/`.
    pub user_home: PathBuf,
    /// `-Drocketmq.namesrv.addr`, else `NAMESRV_ADDR`.
    pub namesrv_addr: Option<String>,
    /// `-Drocketmq.serialize.type`, else `ROCKETMQ_SERIALIZE_TYPE`: JSON or ROCKETMQ, for this process' own requests.
    pub serialize_type: Option<String>,
    /// The name of this machine; the broker's default name.
    pub host_name: Option<String>,
    /// The flags themselves.
    pub jvm: JvmFlags,
}

impl Environment {
    /// Reads the process environment.
    #[must_use]
    pub fn of_process() -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut environment =
            Self::read(|name| std::env::var(name).ok(), home_of_account(&passwd, rustix::process::getuid().as_raw()));
        let uname = rustix::system::uname();
        environment.host_name = uname.nodename().to_str().ok().map(str::to_owned).filter(|name| !name.is_empty());
        environment
    }

    /// Reads an environment; `account_home` is the home directory in the account database.
    pub fn read(variable: impl Fn(&str) -> Option<String>, account_home: Option<String>) -> Self {
        let jvm = JvmFlags::read(&variable);
        let set = |key: &str, name: &str| {
            let property = jvm.property(key).map(str::to_owned);
            property.or_else(|| variable(name)).filter(|value| !value.trim().is_empty())
        };
        // Java on Linux takes the home directory of the account, not HOME.
        let user_home = jvm.property("user.home").map(str::to_owned).or(account_home).or_else(|| variable("HOME"));
        Self {
            rocketmq_home: set("rocketmq.home.dir", "ROCKETMQ_HOME"),
            user_home: PathBuf::from(user_home.unwrap_or_else(|| ".".to_owned())),
            namesrv_addr: set("rocketmq.namesrv.addr", "NAMESRV_ADDR"),
            serialize_type: set("rocketmq.serialize.type", "ROCKETMQ_SERIALIZE_TYPE"),
            host_name: None,
            jvm,
        }
    }

    /// The path of something below the user's home, as text for an option.
    #[must_use]
    pub fn below_user_home(&self, path: &str) -> String {
        self.user_home.join(path).to_string_lossy().into_owned()
    }

    /// Whether own requests are sent in the binary header (`ROCKETMQ`) instead of JSON, and its name in the boot line.
    #[must_use]
    pub fn serialize_type_name(&self) -> &'static str {
        match self.serialize_type.as_deref() {
            Some(name) if name.eq_ignore_ascii_case("ROCKETMQ") => "ROCKETMQ",
            _ => "JSON",
        }
    }
}

/// The number of processors this process may use; what Java calls availableProcessors.
#[must_use]
pub fn cores() -> i32 {
    std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX))
}

/// The home directory of `uid` in the text of /etc/passwd.
fn home_of_account(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2) == Some(&uid)).then(|| fields.nth(2).map(str::to_owned)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_variables_and_those_over_the_account() {
        let read = |pairs: &'static [(&str, &str)]| {
            Environment::read(
                move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()),
                Some("/var/lib/rocketmq".to_owned()),
            )
        };
        let plain = read(&[("HOME", "/root"), ("NAMESRV_ADDR", "a:1"), ("ROCKETMQ_HOME", "")]);
        assert_eq!(plain.below_user_home("store"), "/var/lib/rocketmq/store");
        assert_eq!(plain.namesrv_addr.as_deref(), Some("a:1"));
        assert_eq!(plain.rocketmq_home, None);
        assert_eq!(plain.serialize_type_name(), "JSON");
        let flags = read(&[
            ("NAMESRV_ADDR", "a:1"),
            ("ROCKETMQ_SERIALIZE_TYPE", "ROCKETMQ"),
            ("JAVA_OPT_EXT", "-Duser.home=/home/rocketmq -Drocketmq.namesrv.addr=b:2 -Drocketmq.home.dir=/opt"),
        ]);
        assert_eq!(flags.below_user_home("store"), "/home/rocketmq/store");
        assert_eq!(flags.namesrv_addr.as_deref(), Some("b:2"));
        assert_eq!(flags.rocketmq_home.as_deref(), Some("/opt"));
        assert_eq!(flags.serialize_type_name(), "ROCKETMQ");
    }

    #[test]
    fn account_home() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nrocketmq:x:3000:3000::/home/rocketmq:/bin/sh\n";
        assert_eq!(home_of_account(passwd, 3000).as_deref(), Some("/home/rocketmq"));
        assert_eq!(home_of_account(passwd, 1), None);
    }
}
