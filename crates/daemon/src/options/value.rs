//! The types a value may have.

/// A type of option values: how Java calls it, what is permitted, and its text form.
pub trait OptionValue: Sized {
    /// Java's type name.
    const TYPE_NAME: &'static str;
    /// The permitted values in words.
    const ALLOWED: &'static str;

    /// The value of a text, none when it is not permitted. White space around numbers and switches is ignored (Java would
    /// skip the whole line silently).
    fn read(text: &str, range: Option<(i64, i64)>) -> Option<Self>;

    /// The text of a value; none for Java's null, which is not reported.
    fn show(&self) -> Option<String>;
}

fn in_range(value: i64, range: Option<(i64, i64)>) -> bool {
    range.is_none_or(|(low, high)| (low..=high).contains(&value))
}

impl OptionValue for i32 {
    const TYPE_NAME: &'static str = "int";
    const ALLOWED: &'static str = "a whole number";

    fn read(text: &str, range: Option<(i64, i64)>) -> Option<Self> {
        text.trim().parse().ok().filter(|&value| in_range(i64::from(value), range))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for i64 {
    const TYPE_NAME: &'static str = "long";
    const ALLOWED: &'static str = "a whole number";

    fn read(text: &str, range: Option<(i64, i64)>) -> Option<Self> {
        text.trim().parse().ok().filter(|&value| in_range(value, range))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for f64 {
    const TYPE_NAME: &'static str = "double";
    const ALLOWED: &'static str = "a number";

    fn read(text: &str, _range: Option<(i64, i64)>) -> Option<Self> {
        text.trim().parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// With a fraction always, as Java prints doubles.
    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl OptionValue for bool {
    const TYPE_NAME: &'static str = "boolean";
    const ALLOWED: &'static str = "true or false";

    fn read(text: &str, _range: Option<(i64, i64)>) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl OptionValue for String {
    const TYPE_NAME: &'static str = "String";
    const ALLOWED: &'static str = "any text";

    fn read(text: &str, _range: Option<(i64, i64)>) -> Option<Self> {
        Some(text.trim_end().to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl<T: OptionValue> OptionValue for Option<T> {
    const TYPE_NAME: &'static str = T::TYPE_NAME;
    const ALLOWED: &'static str = T::ALLOWED;

    fn read(text: &str, range: Option<(i64, i64)>) -> Option<Self> {
        if text.trim().is_empty() { Some(None) } else { T::read(text, range).map(Some) }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

/// A number of bytes, written plainly or with k, m, g or t (powers of 1024), as the JVM writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// The bytes of `256m`, `2g`, `1048576`, `1.5g`; a `b` or `ib` at the end changes nothing. None for anything else, for zero
/// and for what exceeds `i64`.
#[must_use]
pub fn parse_byte_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").or_else(|| text.strip_suffix('b')).unwrap_or(&text);
    let (number, shift) = match text.strip_suffix(['k', 'm', 'g', 't']) {
        Some(number) if text.ends_with('k') => (number, 10u32),
        Some(number) if text.ends_with('m') => (number, 20),
        Some(number) if text.ends_with('g') => (number, 30),
        Some(number) => (number, 40),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let unit = 1u64 << shift;
    let mut bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
        bytes = bytes.checked_add(u64::try_from(parts / 10u128.pow(u32::try_from(fraction.len()).ok()?)).ok()?)?;
    }
    (bytes > 0 && i64::try_from(bytes).is_ok()).then_some(bytes)
}

impl OptionValue for ByteSize {
    const TYPE_NAME: &'static str = "size";
    const ALLOWED: &'static str = "a size such as 256m or 2g";

    fn read(text: &str, _range: Option<(i64, i64)>) -> Option<Self> {
        parse_byte_size(text).map(Self)
    }

    /// In the largest unit that keeps it whole.
    fn show(&self) -> Option<String> {
        let units = [(1u64 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
        let exact = units.iter().find(|(unit, _)| self.0.is_multiple_of(*unit));
        Some(exact.map_or_else(|| self.0.to_string(), |(unit, letter)| format!("{}{letter}", self.0 / unit)))
    }
}
