//! What commands print: to standard output, or into memory for tests; and times as Java prints them.

use crate::error::AdminError;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use std::io::Write;

/// Where a command prints.
pub struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    /// Prints to `writer`.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Output {
        Output(Mutex::new(Box::new(writer)))
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// [`AdminError::Io`], for example when whoever reads us has ended.
    pub fn print(&self, text: std::fmt::Arguments<'_>) -> Result<(), AdminError> {
        let mut writer = self.0.lock();
        let written = writer.write_fmt(text).and_then(|()| writer.flush());
        written.map_err(|source| AdminError::Io { what: "standard output".to_owned(), source })
    }
}

/// Prints a line by way of a context: `say!(context, "{}", value)?`.
#[macro_export]
macro_rules! say {
    ($context:expr) => { $context.out.print(format_args!("\n")) };
    ($context:expr, $($arg:tt)*) => { $context.out.print(format_args!("{}\n", format_args!($($arg)*))) };
}

/// The first `max` characters, as `UtilAll.frontStringAtLeast`.
#[must_use]
pub fn front(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// `yyyy-MM-dd HH:mm:ss` in the local zone.
#[must_use]
pub fn date_time(ms: i64) -> String {
    local(ms).map_or_else(|| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `yyyy-MM-dd HH:mm:ss,SSS` in the local zone.
#[must_use]
pub fn date_time_ms(ms: i64) -> String {
    local(ms).map_or_else(|| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S,%3f").to_string())
}

fn local(ms: i64) -> Option<jiff::Zoned> {
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::system()))
}

/// Milliseconds of `now`, of a number of milliseconds, or of `yyyy-MM-dd#HH:mm:ss:SSS` in the local zone.
///
/// # Errors
/// A sentence that names the text and what is allowed.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(client::clock::now_ms());
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let wrong = || format!("{text:?} is no time: write now, milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS");
    // Java's last part is milliseconds, with fewer digits too: `:5` is 5 ms.
    let (seconds, ms) = text.rsplit_once(':').ok_or_else(wrong)?;
    let ms: i64 = ms.parse().ok().filter(|ms| (0..1000).contains(ms)).ok_or_else(wrong)?;
    let time = DateTime::strptime("%Y-%m-%d#%H:%M:%S", seconds).map_err(|_| wrong())?;
    let zoned = time.to_zoned(TimeZone::system()).map_err(|_| wrong())?;
    Ok(zoned.timestamp().as_millisecond() + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        let ms = 1_795_362_454_437;
        let text = date_time_ms(ms);
        let (time, fraction) = text.split_once(',').unwrap();
        assert_eq!(fraction, "437");
        assert_eq!(date_time(ms), time);
        assert_eq!(parse_time(&format!("{}:437", time.replace(' ', "#"))).unwrap(), ms);
        assert_eq!(parse_time("12").unwrap(), 12);
        assert!(parse_time("yesterday").unwrap_err().contains("yyyy-MM-dd"));
        assert!(parse_time("2026-13-01#00:00:00:000").is_err());
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!((front("abcdef", 3), front("ab", 3), front("äöü", 2)), ("abc", "ab", "äö"));
    }
}
