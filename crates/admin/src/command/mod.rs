//! The commands of `mqadmin`: names, options and descriptions are Java's.
//!
//! A command is one line in [`table`] and one `async fn(&Context)` in the file of its family.

mod broker;
mod cluster_list;
mod compaction_log;
mod connection;
mod consumer_progress;
mod group;
mod message;
mod namesrv;
mod offset;
mod order_conf;
mod query_message;
mod static_topic;
mod stats;
mod topic;
mod topic_query;
mod unsupported;

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{self, Opt, Values};
use crate::output::Output;
use std::fmt::Write;
use std::pin::Pin;
use std::process::ExitCode;

/// A command under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<(), AdminError>> + Send + 'a>>;

/// How a command runs.
pub enum Run {
    /// It asks servers.
    Remote(for<'a> fn(&'a Context) -> Running<'a>),
    /// It needs none.
    Local(fn(&Values, &Output) -> Result<(), AdminError>),
}

/// One command.
pub struct Command {
    /// Its name; matched without regard to case.
    pub name: &'static str,
    /// What it does, in Java's words.
    pub description: &'static str,
    /// Its options besides -h and -n.
    pub options: &'static [Opt],
    /// What it does; `None` when this release does not have it.
    pub run: Option<Run>,
}

macro_rules! command {
    ($name:literal, $description:literal, $options:expr, $run:path) => {
        Command {
            name: $name,
            description: $description,
            options: $options,
            run: Some(Run::Remote(|c| Box::pin($run(c)))),
        }
    };
}

/// All commands that work, in Java's order, then those that this release does not have.
#[must_use]
pub fn table() -> Vec<Command> {
    let mut commands = vec![
        command!("updateTopic", "Update or create topic.", topic::UPDATE, topic::update),
        command!("deleteTopic", "Delete topic from broker and NameServer.", topic::DELETE, topic::delete),
        command!("updateSubGroup", "Update or create subscription group.", group::UPDATE, group::update),
        command!("deleteSubGroup", "Delete subscription group from broker.", group::DELETE, group::delete),
        command!("updateBrokerConfig", "Update broker's config.", broker::UPDATE_CONFIG, broker::update_config),
        command!("updateTopicPerm", "Update topic perm.", topic::UPDATE_PERM, topic::update_perm),
        command!(
            "updateStaticTopic",
            "Update or create static topic, which has fixed number of queues.",
            static_topic::UPDATE,
            static_topic::update
        ),
        command!("remappingStaticTopic", "Remapping static topic.", static_topic::REMAPPING, static_topic::remapping),
        command!("topicRoute", "Examine topic route info.", topic_query::ROUTE, topic_query::route),
        command!("topicStatus", "Examine topic Status info.", topic_query::STATUS, topic_query::status),
        command!("topicClusterList", "Get cluster info for topic.", topic_query::CLUSTERS, topic_query::clusters),
        command!("brokerStatus", "Fetch broker runtime status data.", broker::STATUS, broker::status),
        command!("queryMsgById", "Query Message by Id.", query_message::BY_ID, query_message::by_id),
        command!("queryMsgByKey", "Query Message by Key.", query_message::BY_KEY, query_message::by_key),
        command!(
            "queryMsgByUniqueKey",
            "Query Message by Unique key.",
            query_message::BY_UNIQUE_KEY,
            query_message::by_unique_key
        ),
        command!("queryMsgByOffset", "Query Message by offset.", query_message::BY_OFFSET, query_message::by_offset),
        command!("printMsg", "Print Message Detail.", message::PRINT, message::print),
        command!(
            "producerConnection",
            "Query producer's socket connection and client version.",
            connection::PRODUCER,
            connection::producer
        ),
        command!(
            "consumerConnection",
            "Query consumer's socket connection, client version and subscription.",
            connection::CONSUMER,
            connection::consumer
        ),
        command!(
            "consumerProgress",
            "Query consumer's progress, speed.",
            consumer_progress::OPTIONS,
            consumer_progress::run
        ),
        command!("cloneGroupOffset", "Clone offset from other group.", offset::CLONE, offset::clone),
        command!("producer", "Query producer's instances, connection, status, etc.", stats::PRODUCER, stats::producer),
        command!("clusterList", "List cluster infos.", cluster_list::OPTIONS, cluster_list::run),
        command!("topicList", "Fetch all topic list from name server.", topic_query::LIST, topic_query::list),
        command!("updateKvConfig", "Create or update KV config.", namesrv::UPDATE_KV, namesrv::update_kv),
        command!("deleteKvConfig", "Delete KV config.", namesrv::DELETE_KV, namesrv::delete_kv),
        command!(
            "wipeWritePerm",
            "Wipe write perm of broker in all name server you defined in the -n param.",
            namesrv::WRITE_PERM,
            namesrv::wipe_write_perm
        ),
        command!(
            "addWritePerm",
            "Add write perm of broker in all name server you defined in the -n param.",
            namesrv::WRITE_PERM,
            namesrv::add_write_perm
        ),
        command!(
            "resetOffsetByTime",
            "Reset consumer offset by timestamp(without client restart).",
            offset::RESET,
            offset::reset
        ),
        command!(
            "skipAccumulatedMessage",
            "Skip all messages that are accumulated (not consumed) currently.",
            offset::SKIP,
            offset::skip
        ),
        command!("updateOrderConf", "Create or update or delete order conf.", order_conf::OPTIONS, order_conf::run),
        command!("cleanExpiredCQ", "Clean expired ConsumeQueue on broker.", broker::CLEAN, broker::clean_expired_cq),
        command!(
            "deleteExpiredCommitLog",
            "Delete expired CommitLog files.",
            broker::CLEAN,
            broker::delete_expired_commit_log
        ),
        command!("cleanUnusedTopic", "Clean unused topic on broker.", broker::CLEAN, broker::clean_unused_topic),
        command!("statsAll", "Topic and Consumer tps stats.", stats::ALL, stats::all),
        command!("getNamesrvConfig", "Get configs of name server.", &[], namesrv::get_config),
        command!(
            "updateNamesrvConfig",
            "Update configs of name server.",
            namesrv::UPDATE_CONFIG,
            namesrv::update_config
        ),
        command!(
            "getBrokerConfig",
            "Get broker config by cluster or special broker.",
            broker::GET_CONFIG,
            broker::get_config
        ),
        command!("sendMessage", "Send a message.", message::SEND, message::send),
        command!("consumeMessage", "Consume message.", message::CONSUME, message::consume),
        Command {
            name: "dumpCompactionLog",
            description: "Parse compaction log to message.",
            options: compaction_log::DUMP,
            run: Some(Run::Local(compaction_log::dump)),
        },
    ];
    commands.extend(unsupported::COMMANDS.iter().map(|(name, description)| Command {
        name,
        description,
        options: &[],
        run: None,
    }));
    commands
}

/// Runs `mqadmin` with the arguments after its name; prints to `out`.
pub async fn run(args: &[String], out: Output) -> ExitCode {
    let printed = |text: String| match out.print(format_args!("{text}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    };
    let (name, rest) = match args.split_first() {
        None => return printed(list()),
        Some((name, [command])) if name == "help" => {
            return match find(command) {
                Some(command) => printed(options::help(command.name, command.options)),
                None => refuse(&format!("The sub command {command} not exist.")),
            };
        }
        Some((name, _)) if matches!(name.as_str(), "help" | "-h" | "--help") => return printed(list()),
        Some(split) => split,
    };
    let Some(command) = find(name) else {
        return refuse(&format!("The sub command {name} not exist."));
    };
    let Some(run) = command.run else {
        return refuse(&format!(
            "{}: this release does not have this command yet; Apache RocketMQ's own mqadmin can be used instead",
            command.name
        ));
    };
    let values = match options::parse(command.options, rest) {
        Ok(values) if values.has("help") => return printed(options::help(command.name, command.options)),
        Ok(values) => values,
        Err(error) => return refuse(&format!("{error}\n{}", options::help(command.name, command.options).trim_end())),
    };
    let result = match run {
        Run::Local(run) => run(&values, &out),
        Run::Remote(run) => {
            let context = match Context::new(values, out) {
                Ok(context) => context,
                Err(error) => return refuse(&error.to_string()),
            };
            let result = run(&context).await;
            context.client.shutdown().await;
            result
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough, as with `mqadmin … | head`.
        Err(AdminError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(error) => refuse(&format!("{} command failed: {error}", command.name)),
    }
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(1)
}

fn find(name: &str) -> Option<Command> {
    table().into_iter().find(|command| command.name.eq_ignore_ascii_case(name))
}

fn list() -> String {
    let mut text = "The most commonly used mqadmin commands are:\n".to_owned();
    for command in table() {
        let missing = if command.run.is_some() { "" } else { " (not in this release)" };
        let _ = writeln!(text, "   {:<35} {}{missing}", command.name, command.description);
    }
    text.push_str("\nSee 'mqadmin help <command>' for more information on a specific command.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_command_of_java_is_listed_once() {
        let commands = table();
        let names: HashSet<String> = commands.iter().map(|command| command.name.to_lowercase()).collect();
        assert_eq!(names.len(), commands.len());
        assert_eq!(commands.len(), 96);
        assert!(find("TOPICLIST").is_some_and(|command| command.name == "topicList"));
    }

    #[test]
    fn options_do_not_collide() {
        for command in table() {
            let shorts: HashSet<&str> = command.options.iter().map(|option| option.short).collect();
            let longs: HashSet<&str> = command.options.iter().map(|option| option.long).collect();
            assert_eq!(longs.len(), command.options.len(), "{}", command.name);
            assert_eq!(shorts.len(), command.options.len(), "{}", command.name);
            assert!(!shorts.contains("n") && !shorts.contains("h"), "{}", command.name);
        }
    }
}
