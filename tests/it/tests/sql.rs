//! The evaluator of SQL92 expressions beside Java's own, on pairs made up at random.
//!
//! `SQL_PAIRS=200000 cargo test -p ferrocket-it --test sql` for more of them, `SQL_SEED=…` for those of an earlier run.

use codec::properties;
use filter::{BloomFilter, Expression};
use it::clock::now_ms;
use it::sql::Maker;
use it::{Driver, Serialize, Version, args, java, scratch};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Pairs given to Java at a time.
const BATCH: usize = 5000;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}

fn unhex(text: &str) -> String {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal digits"));
    let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect();
    String::from_utf8(bytes).expect("Java writes UTF-8")
}

/// What we say of a pair, in the words of `sql.check`; the text of an error beside it.
fn ours(sql: &str, props: &str) -> (&'static str, String) {
    match Expression::parse(sql) {
        Err(error) => ("P", error.to_string()),
        Ok(expression) => match expression.evaluate(&|name| properties::get(props, name)) {
            Err(_) => ("X", String::new()),
            Ok(None) => ("N", String::new()),
            Ok(Some(true)) => ("T", String::new()),
            Ok(Some(false)) => ("F", String::new()),
        },
    }
}

/// What Java says of these pairs.
fn theirs(driver: &Driver, pairs: &[(String, String)]) -> Vec<(String, String)> {
    let dir = scratch::dir("sql");
    let (input, output) = (dir.join("in"), dir.join("out"));
    let lines: String = pairs.iter().map(|(sql, props)| format!("{}\t{}\n", hex(sql), hex(props))).collect();
    std::fs::write(&input, lines).expect("the scratch directory is writable");
    driver.call("sql.check", args! { "in": input.display(), out: output.display() });
    let answers = std::fs::read_to_string(&output).expect("Java wrote it");
    let of = |line: &str| match line.split_once(' ') {
        Some((what, text)) => (what.to_owned(), unhex(text)),
        None => (line.to_owned(), String::new()),
    };
    answers.lines().map(of).collect()
}

/// Whether texts differ in nothing but the order within lists: Java keeps five texts of an IN or more in a HashSet, and shows
/// them as they lie there.
fn same_but_for_order(ours: &str, theirs: &str) -> bool {
    let sorted = |text: &str| {
        let mut chars: Vec<_> = text.chars().collect();
        chars.sort_unstable();
        chars
    };
    ours.contains(" IN ( ") && sorted(ours) == sorted(theirs)
}

/// Compares a batch; how often each outcome came.
fn compare(driver: &Driver, pairs: &[(String, String)], seen: &mut BTreeMap<String, usize>) {
    let answers = theirs(driver, pairs);
    assert_eq!(answers.len(), pairs.len());
    let mut wrong = Vec::new();
    for ((sql, props), (what, text)) in pairs.iter().zip(answers) {
        let (our_what, our_text) = ours(sql, props);
        if our_what != what || (our_text != text && !same_but_for_order(&our_text, &text)) {
            wrong.push(format!("{sql:?} with {props:?}:\n  Java {what} {text}\n  we   {our_what} {our_text}"));
        }
        *seen.entry(what).or_default() += 1;
    }
    let shown = wrong.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), pairs.len());
}

#[test]
fn expressions_come_to_what_they_come_to_in_java() {
    let (seed, count) = (setting("SQL_SEED", now_ms()), setting("SQL_PAIRS", 10_000));
    println!("SQL_SEED={seed} SQL_PAIRS={count}");
    let driver = java(Version::V5_5_0, Serialize::Json);
    let mut maker = Maker::new(seed);
    let mut seen = BTreeMap::new();
    let mut left = usize::try_from(count).expect("not that many");
    while left > 0 {
        let batch = left.min(BATCH);
        let pairs: Vec<_> = (0..batch).map(|_| (maker.expression(), maker.properties())).collect();
        compare(driver, &pairs, &mut seen);
        left -= batch;
    }
    println!("{seen:?}");
    for what in ["T", "F", "N", "X", "P"] {
        assert!(seen.get(what).is_some_and(|times| *times * 100 > seen.values().sum()), "hardly any {what}: {seen:?}");
    }
}

#[test]
fn bits_are_those_of_javas_bloom_filter() {
    let driver = java(Version::V5_5_0, Serialize::Json);
    let names: Vec<String> = (0..200_usize).map(|len| format!("G{}#Größe{len}", "x".repeat(len % 40))).collect();
    for (rate, expected) in [(20, 32), (1, 1), (10, 128), (50, 7), (99, 1000), (20, 27_000)] {
        let answer = driver.call("bloom.positions", args! { rate: rate, expected: expected, names: names.join(",") });
        let filter = BloomFilter::new(rate, expected).expect("a filter");
        assert_eq!(
            (answer["bits"].as_u64(), answer["hashes"].as_u64()),
            (Some(filter.bits() as u64), Some(filter.hashes() as u64))
        );
        let ours: Vec<_> = names.iter().map(|name| filter.positions(name)).collect();
        assert_eq!(answer["positions"], serde_json::json!(ours), "{rate} % of {expected}");
    }
}
