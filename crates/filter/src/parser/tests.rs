use super::*;

fn error(text: &str) -> String {
    match parse(text) {
        Ok(node) => panic!("{text} was read as {}", node.shown()),
        Err(error) => error.to_string(),
    }
}

fn shown(text: &str) -> String {
    parse(text).map_or_else(|error| format!("{text}: {error}"), |node| node.shown())
}

#[test]
fn what_binds_how() {
    for (text, expect) in [
        ("a = 1 or b = 2 and not c = 3", "((a == 1) || ((b == 2) && ((NOT c) == 3)))"),
        ("a", "a"),
        ("(a = 1 OR b) AND c", "(((a == 1) || b) && c)"),
        ("a > -5 AND a <= +1.5", "((a > (- 5)) && (a <= 1.5))"),
        ("a <> 'it''s'", "(NOT (a == 'it''s'))"),
        ("a BETWEEN 1 AND 2 AND b NOT BETWEEN 1 AND 2", "(((a >= 1) && (a <= 2)) && ((b < 1) || (b > 2)))"),
        ("a IN ('y','x') AND a NOT IN ('z')", "(a IN ( y, x ) && a NOT IN ( z ))"),
        ("a IS NULL OR a IS NOT NULL", "((a == NULL) || (NOT (a == NULL)))"),
        ("a CONTAINS 'x' AND a NOT STARTSWITH 'y'", "((CONTAINS a) && (NOT STARTSWITH a))"),
        ("a = b = c", "((a == b) == c)"),
        ("a = b > 5", "(a == (b > 5))"),
        // What is left over is not looked at.
        ("a = 1 b", "(a == 1)"),
        ("a IS NULL > 5", "(a == NULL)"),
        ("a = 007", "(a == 0)"),
    ] {
        assert_eq!(shown(text), expect, "{text}");
    }
}

#[test]
fn what_is_refused_and_how() {
    let syntax = "org.apache.rocketmq.filter.parser.ParseException: ";
    let operand = "java.lang.RuntimeException: ";
    for (text, begin, rest) in [
        ("a > 'x'", operand, "Value ''x'' cannot be compared."),
        ("(a = 1) > 2", operand, "Value '(a == 1)' cannot be compared."),
        ("a = NULL", operand, "'NULL' cannot be compared."),
        ("TRUE = 1", operand, "'TRUE' cannot be compared with '1'"),
        ("1 IN ('x')", operand, "Expected a property for In expression, got: 1"),
        (
            "a BETWEEN 2 AND 1",
            operand,
            "Illegal values of between, left value(2) must less than or equal to right value(1)",
        ),
        ("a BETWEEN NULL AND 1", operand, "Illegal values of between, values can not be null!"),
        ("a = 0.0", operand, "0.0 is less than 4.9E-324"),
        ("a = 1e309", operand, "1e309 is greater than 1.7976931348623157E308"),
        ("5", syntax, "Expression will not result in a boolean value: 5"),
        ("a = 9223372036854775808L", "java.lang.NumberFormatException: ", "For input string: \"9223372036854775808\""),
        (
            "a BETWEEN 1 5",
            syntax,
            "Encountered \" <DECIMAL_LITERAL> \"5 \"\" at line 1, column 13.\nWas expecting:\n    \"AND\" ...\n    ",
        ),
        (
            "a = ",
            syntax,
            "Encountered \"<EOF>\" at line 1, column 4.\nWas expecting one of:\n    \"NOT\" ...\n    \"TRUE\" ...\n    \
             \"FALSE\" ...\n    \"NULL\" ...\n    <DECIMAL_LITERAL> ...\n    <FLOATING_POINT_LITERAL> ...\n    \
             <STRING_LITERAL> ...\n    <ID> ...\n    \"(\" ...\n    \"-\" ...\n    \"+\" ...\n    ",
        ),
        (
            "a IS 5",
            syntax,
            "Encountered \" <DECIMAL_LITERAL> \"5 \"\" at line 1, column 6.\nWas expecting one of:\n    \"NOT\" ...\n    \
             \"NULL\" ...\n    ",
        ),
    ] {
        assert_eq!(error(text), format!("{begin}{rest}"), "{text}");
    }
    // What comes first in the operand of a plus sign counts less than what cannot be read there.
    assert!(error("a = +(b > 'x' and").contains("Encountered \" \"+\" \"+ \"\" at line 1, column 5"));
    assert!(error("a = +(b > 'x' and c)").starts_with(operand));
    assert!(matches!(parse("a = 'x"), Err(ParseError::Lexical(_))));
    assert_eq!(parse("").err(), Some(ParseError::Empty));
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    let chain = |sign: &str, terms: usize| vec!["a = 1"; terms].join(sign);
    let mixed = |levels: usize| format!("{}a{}", "b or c and d = e > -(".repeat(levels), ")".repeat(levels));
    // On as much stack as a thread of a small machine has.
    let work = move || {
        assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
        for text in [
            nested(MAX_DEPTH),
            nested(500_000),
            mixed(MAX_DEPTH),
            mixed(20_000),
            format!("{}a", "NOT ".repeat(200_000)),
            format!("a = 1{}", " IS NULL".repeat(100_000)),
            format!("a = 1{}", " = 1".repeat(100_000)),
            format!("a{}", " CONTAINS 'x'".repeat(50_000)),
            format!("{}a", "+".repeat(500_000)),
            format!("{}a", "+(".repeat(250_000)),
        ] {
            assert!(
                matches!(parse(&text), Err(ParseError::TooDeep { .. })),
                "{:.40}: {:.200?}",
                text,
                parse(&text).err()
            );
        }
        for sign in [" OR ", " AND "] {
            let text = chain(sign, 50_000);
            let node = parse(&text).unwrap();
            node.evaluate(&|_| Some("1")).unwrap();
        }
        let deepest = format!("{}a{}", "-(".repeat(MAX_DEPTH / 2 - 2), ")".repeat(MAX_DEPTH / 2 - 2));
        parse(&format!("{deepest} > 1")).unwrap().evaluate(&|_| Some("1")).unwrap();
        assert_eq!(parse(&" ".repeat(MAX_LEN + 1)).err(), Some(ParseError::TooLong(MAX_LEN + 1)));
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn long_texts_of_operands_are_cut() {
    // Each BETWEEN doubles the text of what is within.
    let mut text = "a".to_owned();
    for _ in 0..40 {
        text = format!("-({text} BETWEEN 1 AND 2)");
    }
    let message = error(&format!("({text} BETWEEN 1 AND 2) > 1"));
    assert!(message.len() < 20_000, "{}", message.len());
}
