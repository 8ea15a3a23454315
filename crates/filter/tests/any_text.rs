//! Whatever a consumer subscribes with: reading and evaluating it neither panics nor depends on anything else.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use filter::Expression;
use proptest::prelude::*;

/// Pieces of expressions, of which most are out of place somewhere.
const PIECES: [&str; 44] = [
    "a",
    "b",
    "TAGS",
    "5",
    "0",
    "1.5",
    ".5",
    "1e400",
    "9223372036854775808",
    "'x'",
    "''",
    "'it''s'",
    "'",
    "TRUE",
    "FALSE",
    "NULL",
    "NOT",
    "AND",
    "OR",
    "IS",
    "IN",
    "BETWEEN",
    "CONTAINS",
    "STARTSWITH",
    "ENDSWITH",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "(",
    ")",
    ",",
    "+",
    "-",
    "--",
    "/*",
    "*/",
    "\n",
    "\t",
    "@",
    "ü",
    "𝄞",
];

fn check(sql: &str, value: &str) {
    match Expression::parse(sql) {
        Ok(expression) => {
            let property = |name: &str| (name != "b").then_some(value);
            let once = expression.evaluate(&property);
            assert_eq!(once, expression.evaluate(&property));
            assert_eq!(expression.matches(&property), once == Ok(Some(true)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(sql in "\\PC{0,60}", value in "\\PC{0,10}") {
        check(&sql, &value);
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in prop::collection::vec(0..PIECES.len(), 0..40), spaced: bool, value in "[0-9eE.x+-]{0,8}") {
        let pieces: Vec<&str> = pieces.into_iter().map(|at| PIECES[at]).collect();
        check(&pieces.join(if spaced { " " } else { "" }), &value);
    }
}
