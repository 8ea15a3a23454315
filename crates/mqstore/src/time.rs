//! Times as people write them, in the local zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2026-11-24 08:30:00.123`, or the number when it is no time.
pub(crate) fn shown(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).map(|time| time.to_zoned(TimeZone::system()));
    time.map_or_else(|_| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string())
}

/// `20261124-083000`, for names of directories.
pub(crate) fn stamp(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).map(|time| time.to_zoned(TimeZone::system()));
    time.map_or_else(|_| ms.to_string(), |time| time.strftime("%Y%m%d-%H%M%S").to_string())
}

/// Milliseconds of a number of them, `now`, or a date with or without a time in the local zone.
///
/// # Errors
/// What is accepted.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(crate::clock::now_ms());
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = text.replacen('#', "T", 1).parse::<DateTime>().ok();
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()).ok());
    zoned
        .map(|time| time.timestamp().as_millisecond())
        .ok_or_else(|| "give milliseconds since 1970, or a local time such as 2026-11-24T08:30:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_several_forms() {
        assert_eq!(parse("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(1000));
        let ms = parse("2026-11-24 08:30:00.5").unwrap();
        assert_eq!(parse("2026-11-24T08:30:00.5"), Ok(ms));
        assert_eq!(shown(ms), "2026-11-24 08:30:00.500");
        assert!(parse("yesterday").unwrap_err().contains("local time"));
    }
}
