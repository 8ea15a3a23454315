//! The whole broker against a model, with faults: see `it::model`. A failure names the seed, and
//! `FERROCKET_MODEL_SEED=N scripts/model 0` runs it again.

use it::Kind;
use it::clock::Deadline;
use it::model::plan::Plan;
use it::model::run::run;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// One round with the first seed, and then others until the time is over.
#[test]
fn what_is_promised_is_delivered() {
    let first = setting("FERROCKET_MODEL_SEED").unwrap_or(1);
    let size = i64::try_from(setting("FERROCKET_MODEL_SIZE").unwrap_or(1)).expect("a size");
    let deadline = Deadline::in_seconds(setting("FERROCKET_MODEL_SECONDS").unwrap_or(0));
    let kind = if setting("FERROCKET_MODEL_JAVA").is_some() { Kind::Java } else { Kind::Ferrocket };
    if kind == Kind::Java {
        it::jvm::prepare();
    }
    for seed in first.. {
        println!("seed {seed}");
        let plan = Plan::new(seed, size);
        let (messages, faults) = (plan.messages.len(), plan.faults.clone());
        let verdict = run(kind, plan);
        verdict.assert_good(&format!("seed {seed}, {faults:?}"));
        assert!(verdict.delivered > messages, "seed {seed}: nobody consumed");
        println!("seed {seed}: {messages} messages, {} deliveries, {} repeated", verdict.delivered, verdict.repeated);
        if deadline.passed() {
            break;
        }
    }
}
