//! Java's reading and writing of numbers.

/// Zeroes of the decimal digits that Java's `Character.digit` knows beside ASCII, of those that are one `char`.
const ZEROES: [u32; 36] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
    0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
];

fn digit(c: char) -> Option<i64> {
    let code = u32::from(c);
    let zero = match c {
        '0'..='9' => 0x30,
        _ => *ZEROES.iter().find(|zero| (**zero..**zero + 10).contains(&code))?,
    };
    Some(i64::from(code - zero))
}

/// `Long.valueOf`: sign and decimal digits, nothing else.
pub(crate) fn long(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return None;
    }
    // Downwards, since the least has no positive counterpart.
    let sum = digits.chars().try_fold(0_i64, |sum, c| sum.checked_mul(10)?.checked_sub(digit(c)?))?;
    if negative { Some(sum) } else { sum.checked_neg() }
}

/// `Integer.valueOf`.
pub(crate) fn integer(text: &str) -> Option<i32> {
    i32::try_from(long(text)?).ok()
}

/// `Double.valueOf`: blanks around it, sign, `NaN`, `Infinity`, decimal or hexadecimal digits, one of `f F d D` behind.
pub(crate) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c| c <= ' ');
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => hexadecimal(hex.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(hex))?,
            None => decimal(text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text))?,
        },
    };
    Some(if negative { -value } else { value })
}

/// Digits with a point among them or not, an exponent or not.
fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mut digits = mantissa.bytes().filter(|byte| *byte != b'.');
    let is_plain = mantissa.bytes().filter(|byte| *byte == b'.').count() <= 1
        && mantissa.len() > usize::from(mantissa.contains('.'))
        && digits.all(|byte| byte.is_ascii_digit());
    let has_exponent = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !is_plain || !has_exponent {
        return None;
    }
    text.parse().ok()
}

/// Behind `0x`: hexadecimal digits with a point among them or not, `p` and a decimal power of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_hexdigit());
    if whole.len() + fraction.len() == 0 || !all_digits || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 40);
    let mut power = if exponent.starts_with('-') { -power } else { power };
    power -= i64::try_from(fraction.len()).ok()? * 4;
    let (mut bits, mut sticky) = (0_u64, false);
    for c in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(c.to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
        } else {
            power += 4;
            sticky |= digit != 0;
        }
    }
    Some(scaled(bits, sticky, power))
}

/// bits · 2^power to the nearest double, half to even; `sticky`: there is a little more.
fn scaled(bits: u64, sticky: bool, power: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let width = i64::from(u64::BITS - bits.leading_zeros());
    // The place of the lowest bit that a double of this size has.
    let lowest = (power + width - 53).max(-1074);
    let drop = lowest - power;
    let (kept, exponent) = match drop {
        ..=0 => (bits, power),
        65.. => (0, lowest),
        drop => {
            let wide = u128::from(bits);
            let (kept, rest, half) = (wide >> drop, wide & ((1 << drop) - 1), 1_u128 << (drop - 1));
            let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
            (u64::try_from(kept).unwrap_or(u64::MAX) + u64::from(up), lowest)
        }
    };
    if exponent > 1023 {
        return f64::INFINITY;
    }
    // Exact, since no more than 53 bits are left; in two steps, as 2^-1074 is the least power there is.
    // At most 53 bits.
    let kept = kept as f64;
    let exponent = i32::try_from(exponent).unwrap_or(-1074);
    kept * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2)
}

/// `Double.toString`.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    if value.abs() == f64::from_bits(1) {
        // Java has two digits at least.
        return if value > 0.0 { "4.9E-324" } else { "-4.9E-324" }.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, expect) in [
            ("5", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("007", Some(7)),
            ("\u{0661}\u{0662}", Some(12)),
            ("\u{ff17}", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("+", None),
            ("+-5", None),
            (" 5", None),
            ("5.0", None),
            ("5l", None),
            ("0x5", None),
        ] {
            assert_eq!(long(text), expect, "{text}");
        }
        assert_eq!(
            (integer("2147483647"), integer("2147483648"), integer("-2147483648")),
            (Some(i32::MAX), None, Some(i32::MIN))
        );
    }

    #[test]
    fn doubles() {
        for (text, expect) in [
            ("5", 5.0),
            (" 5.5\t", 5.5),
            ("5.", 5.0),
            (".5", 0.5),
            ("-5e1", -50.0),
            ("5E+1f", 50.0),
            ("1d", 1.0),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
            ("1e-999999999999", 0.0),
            ("0x1p3", 8.0),
            ("-0X.8P1D", -1.0),
            ("0x1.8p0", 1.5),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.000000000000000000001p-1075", f64::from_bits(1)),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080001p0", 1.000_000_000_000_000_2),
            ("0x1p1024", f64::INFINITY),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x0p99999999999999999999", 0.0),
        ] {
            assert_eq!(double(text), Some(expect), "{text}");
        }
        assert!(double("NaN").is_some_and(f64::is_nan) && double("-NaN").is_some_and(f64::is_nan));
        for text in [
            "", " ", "+", ".", "e5", "5e", "5e+", "1.2.3", "5ff", "inf", "nan", "infinity", "0x1", "0xp1", "0x.p1",
            "1_0", "\u{661}",
        ] {
            assert_eq!(double(text), None, "{text}");
        }
    }

    #[test]
    fn texts_of_doubles() {
        for (value, expect) in [
            (1.0, "1.0"),
            (0.001, "0.001"),
            (1e-4, "1.0E-4"),
            (1e7, "1.0E7"),
            (1234567.5, "1234567.5"),
            (1.5e300, "1.5E300"),
            (-2.0, "-2.0"),
            (f64::from_bits(1), "4.9E-324"),
        ] {
            assert_eq!(double_text(value), expect);
        }
    }
}
