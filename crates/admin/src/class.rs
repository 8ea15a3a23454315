//! Java class names that `tools.sh` is called with.

use crate::command;
use crate::output::Output;
use crate::quickstart;
use std::process::ExitCode;

const PRODUCER: &str = "org.apache.rocketmq.example.quickstart.Producer";
const ADMIN: &str = "org.apache.rocketmq.tools.command.MQAdminStartup";
const CONSUMER: &str = "org.apache.rocketmq.example.quickstart.Consumer";

/// Runs what the class of that name does in Java; `args` begins with the name.
pub async fn run(args: &[String]) -> ExitCode {
    let Some((class, rest)) = args.split_first() else {
        eprintln!("--class needs the name of a class: {PRODUCER}, {CONSUMER}, {ADMIN}");
        return ExitCode::from(1);
    };
    match class.as_str() {
        PRODUCER => quickstart::producer(rest).await,
        CONSUMER => quickstart::consumer(rest).await,
        ADMIN => command::run(rest, Output::new(std::io::stdout())).await,
        _ => {
            eprintln!("class {class} is not available here; there are {PRODUCER}, {CONSUMER} and {ADMIN}");
            ExitCode::from(1)
        }
    }
}
