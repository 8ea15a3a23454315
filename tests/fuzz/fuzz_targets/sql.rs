//! An SQL92 expression, and behind the last NUL the properties that it is evaluated with: neither panics nor overflows the
//! stack, and the same comes out twice.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (sql, props) = text.rsplit_once('\0').unwrap_or((&text, "a\u{1}5\u{2}b\u{1}x\u{2}"));
    match filter::Expression::parse(sql) {
        Ok(expression) => {
            let property = |name: &str| codec::properties::get(props, name);
            let once = expression.evaluate(&property);
            assert_eq!(once, expression.evaluate(&property));
            assert_eq!(expression.matches(&property), once == Ok(Some(true)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
