//! The load generator against brokers of both kinds, and against servers that answer wrongly.

use it::cluster::our_bin;
use it::process::Process;
use it::{Cluster, Kind, on_both, scratch, unique};
use serde_json::Value;
use std::process::{Command, Output};

on_both! { shared: what_is_sent_is_pulled, long_polls_get_what_is_sent, pops_and_timers_get_what_is_sent; }

fn mqbench(arguments: &[&str]) -> Output {
    let mut command = Command::new(our_bin("mqbench"));
    command.args(arguments).output().expect("mqbench can be started")
}

/// Runs it to success and returns its report.
fn report(arguments: &[&str]) -> Value {
    let output = mqbench(&[arguments, &["--json", "-"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mqbench {arguments:?} failed, {}: {said}", output.status);
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}

/// Runs it and returns how it failed.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = mqbench(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {pointer} in {report:#}"))
}

/// Percentiles that are there, and in their order.
fn assert_percentiles(report: &Value, pointer: &str, count: f64) {
    let keys = ["p50", "p90", "p99", "p999", "p9999", "max"];
    let values: Vec<_> = keys.iter().map(|key| number(report, &format!("{pointer}/{key}"))).collect();
    assert!(values[0] > 0.0 && values.is_sorted(), "{pointer}: {values:?}");
    assert!(number(report, &format!("{pointer}/count")) >= count, "{report:#}");
}

fn what_is_sent_is_pulled(cluster: &Cluster) {
    let (namesrv, topic) = (cluster.namesrv(), unique("bench"));
    let at = ["-n", &namesrv, "-t", &topic];
    let produce = ["produce", "-w", "0", "-c", "4", "-i", "4"];
    for (messages, count, more) in [
        ("600", 600.0, &["--queues", "3"][..]),
        ("500", 500.0, &["--header", "rocketmq", "--body", "100"]),
        ("400", 400.0, &["--batch", "10"]),
        ("100", 100.0, &["--body", "20000", "--threads", "2"]),
    ] {
        let sent = report(&[&produce[..], &at, &["-m", messages], more].concat());
        assert_eq!(number(&sent, "/produce/messages"), count, "{sent:#}");
        assert!(number(&sent, "/produce/messages_per_second") > 0.0, "{sent:#}");
        assert_percentiles(&sent, "/produce/latency_us", 1.0);
        // The broker runs here, so its process is found by its port.
        assert_eq!(number(&sent, "/server/pid"), f64::from(cluster.broker().id()));
        assert!(
            number(&sent, "/server/cpu_us_per_message") > 0.0 && number(&sent, "/server/rss_kib") > 0.0,
            "{sent:#}"
        );
        assert!(number(&sent, "/generator/cpu_us_per_message") > 0.0, "{sent:#}");
    }
    for header in ["json", "rocketmq"] {
        let got = report(&[&["consume", "--header", header, "-c", "2"][..], &at].concat());
        assert_eq!(number(&got, "/consume/messages"), 1600.0, "{got:#}");
        assert_eq!(number(&got, "/consume/bytes"), f64::from(600 * 1024 + 500 * 100 + 400 * 1024 + 100 * 20000));
        assert_percentiles(&got, "/consume/latency_us", 1.0);
    }
    let (code, said) = failure(&[&["produce", "--queues", "4"][..], &at].concat());
    assert!(code == Some(2) && said.contains(&format!("topic {topic} has 3 queues, --queues asks for 4")), "{said}");
}

fn long_polls_get_what_is_sent(cluster: &Cluster) {
    let (namesrv, topic) = (cluster.namesrv(), unique("tail"));
    let load = ["-t", &topic, "--queues", "4", "-c", "2", "--rate", "200", "-m", "300", "-w", "500ms"];
    let both = report(&[&["mixed", "-n", &namesrv, "--consumers", "2"][..], &load].concat());
    assert_eq!(number(&both, "/produce/messages"), 300.0, "{both:#}");
    assert_percentiles(&both, "/produce/latency_us", 300.0);
    assert_percentiles(&both, "/produce/lag_us", 300.0);
    assert_percentiles(&both, "/consume/end_to_end_us", 300.0);
    // As fast as it goes: what is under way when the last message is acknowledged still arrives.
    let fast = report(&["mixed", "-n", &namesrv, "-t", &topic, "-m", "2000", "-w", "0", "-i", "8"]);
    assert_eq!((number(&fast, "/produce/messages"), number(&fast, "/consume/messages")), (2000.0, 2000.0));
}

fn pops_and_timers_get_what_is_sent(cluster: &Cluster) {
    let (namesrv, topic, group) = (cluster.namesrv(), unique("popped"), unique("CG"));
    let load = ["-n", &namesrv, "-t", &topic, "-c", "2", "--rate", "200", "-m", "200", "-w", "200ms"];
    let pop = ["--consumers", "2", "--pop", "--group", &group];
    // The second time the group begins at the end of what is there.
    for _ in 0..2 {
        let popped = report(&[&["mixed"][..], &load, &pop].concat());
        assert_eq!(number(&popped, "/produce/messages"), 200.0, "{popped:#}");
        assert_percentiles(&popped, "/consume/end_to_end_us", 200.0);
    }
    for by_pop in [&[][..], &pop] {
        let timed = report(&[&["mixed", "--delay", "1500ms"][..], &load, by_pop].concat());
        assert_percentiles(&timed, "/consume/end_to_end_us", 200.0);
        // The slots are a second long; what the machine adds is its own.
        assert!(number(&timed, "/consume/end_to_end_us/p50") < 5e6, "{timed:#}");
    }
    let (code, said) = failure(&[&["mixed", "--delay", "10s"][..], &load].concat());
    assert!(code == Some(2) && said.contains("raise that one"), "{said}");
    let (code, said) = failure(&[&["mixed", "--header", "rocketmq"][..], &load, &pop].concat());
    assert!(code == Some(2) && said.contains("do not fit"), "{said}");
    let (code, said) = failure(&["consume", "-n", &namesrv, "-t", &topic, "--pop"]);
    assert!(code == Some(2) && said.contains("--tail"), "{said}");
}

#[test]
fn the_other_modes() {
    let cluster = Cluster::single(Kind::Ferrocket);
    let namesrv = cluster.namesrv();
    let at = ["-n", &namesrv, "-d", "300ms"];
    let sent = report(&[&["produce", "--oneway", "-w", "100ms", "-c", "2"][..], &at].concat());
    assert!(number(&sent, "/produce/messages") > 0.0, "{sent:#}");
    let open = report(&[&["produce", "-r", "1000", "-w", "100ms", "-t", "open", "--topics", "2"][..], &at].concat());
    assert_percentiles(&open, "/produce/latency_us", 250.0);
    let again = report(&[&["consume", "-w", "100ms", "--threads", "2"][..], &at].concat());
    assert!(number(&again, "/consume/messages") > 0.0, "{again:#}");
    let silence = report(&[&["consume", "--tail", "-w", "0"][..], &at].concat());
    assert_eq!(number(&silence, "/consume/messages"), 0.0);
    let no_pop = report(&[&["consume", "--tail", "--pop", "-w", "0"][..], &at].concat());
    assert_eq!(number(&no_pop, "/consume/messages"), 0.0);
    let routes = report(&[&["route", "-w", "0", "-t", "look", "--topics", "3"][..], &at].concat());
    assert_percentiles(&routes, "/route/latency_us", 1.0);
    let idle = report(&[&["idle", "-c", "50"][..], &at].concat());
    assert_eq!((number(&idle, "/idle/connections"), number(&idle, "/idle/answers_us/count")), (50.0, 50.0));
    // And for people.
    let output = mqbench(&[&["produce", "-w", "0"][..], &at].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let has = |what: &str| assert!(text.contains(what), "no {what} in {text}");
    ["every answer was right", "messages/s", "p99.99", "MiB resident", "generator"].into_iter().for_each(has);
    cluster.assert_quiet();
}

/// The null server, and its address.
fn null_server() -> (Process, String) {
    let mut command = Command::new(our_bin("mqbench"));
    command.args(["null-server", "-l", "127.0.0.1:0"]);
    let server = Process::start("null-server", command, &scratch::dir("null-server").join("out.log"));
    server.wait_line("listens on ", 0, 30);
    let output = server.output();
    let addr = output.trim().rsplit(' ').next().expect("a last word").to_owned();
    (server, addr)
}

#[test]
fn the_null_server_is_a_server() {
    let (_server, addr) = null_server();
    for header in ["json", "rocketmq"] {
        let at = ["-b", &addr, "--header", header, "-w", "0", "-d", "200ms", "--no-offset-check"];
        for mode in [&["produce", "-c", "4", "-i", "8"][..], &["produce", "-r", "2000"], &["produce", "--batch", "5"]] {
            assert_percentiles(&report(&[mode, &at].concat()), "/produce/latency_us", 1.0);
        }
        assert!(number(&report(&[&["consume"][..], &at].concat()), "/consume/messages") >= 32.0);
        assert!(number(&report(&[&["route"][..], &at].concat()), "/route/requests") > 0.0);
    }
}

/// The null server acknowledges everything at offset 0 and has one page for every queue.
#[test]
fn wrong_answers_fail_the_run() {
    let (_server, addr) = null_server();
    let at = ["-b", &addr, "-w", "0", "-d", "5s"];
    let (code, said) = failure(&[&["produce", "-c", "1", "--queues", "1"][..], &at].concat());
    assert_eq!(
        said.lines().last(),
        Some("mqbench: wrong answer: topic mqbench queue 0: offset 0 is acknowledged twice")
    );
    assert_eq!(code, Some(1));
    let (code, said) = failure(&[&["produce", "-c", "2", "--queues", "2"][..], &at].concat());
    assert!(code == Some(1) && said.contains("send to topic mqbench queue 1: the answer says queue 0"), "{said}");
    let (code, said) = failure(&[&["consume", "--queues", "2"][..], &at].concat());
    assert!(code == Some(1) && said.contains("offset 0 holds a message of topic mqbench queue 0"), "{said}");
    let (code, said) = failure(&[&["consume", "--queues", "1", "-t", "other"][..], &at].concat());
    assert!(code == Some(1) && said.contains("holds a message of topic mqbench queue 0"), "{said}");
}

#[test]
fn errors_name_the_thing_and_the_remedy() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port");
    let closed = closed.to_string();
    for (arguments, expect) in [
        (&["produce"][..], "give a nameserver (-n host:9876) or a broker (-b host:10911)"),
        (&["produce", "-b", &closed], "is the server there, and is this its port?"),
        (&["route", "-n", &closed], "is the server there, and is this its port?"),
        (&["produce", "-b", &closed, "-d", "ten"], "such as 10s or 500ms"),
        (&["produce", "-b", &closed, "-c", "0"], "0 is not in 1..=100000"),
        (&["tables", "/nowhere"], "cannot read /nowhere"),
    ] {
        let (code, said) = failure(arguments);
        assert!(code == Some(2) && said.contains(expect), "{arguments:?} says: {said}");
    }
}
