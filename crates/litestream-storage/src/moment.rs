//! Moments as services write them, in Unix milliseconds.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// RFC 3339 in UTC, with as many digits of a second as are needed: `2026-11-22T04:28:47.8Z`.
///
/// The form in which timestamps are kept beside objects.
pub(crate) fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .unwrap_or(if ms < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
        .to_string()
}

/// Reads RFC 3339 with any number of digits and any offset; `None` for anything else. What is
/// below a millisecond is dropped.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let moment: Timestamp = text.trim().parse().ok()?;
    Some(moment.as_millisecond())
}

/// Reads the date of an HTTP header; 0 for anything else.
pub(crate) fn parse_http(text: &str) -> i64 {
    rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text.trim())
        .map_or(0, Timestamp::as_millisecond)
}

/// The date of an HTTP header: `Sun, 22 Nov 2026 04:28:47 GMT`.
#[cfg(feature = "abs")]
pub(crate) fn http(ms: i64) -> String {
    let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&moment)
        .unwrap_or_default()
}

/// The compact form of signatures: `20261122T042847Z`.
#[cfg(feature = "oss")]
pub(crate) fn compact(ms: i64) -> String {
    let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_without_trailing_zeros() {
        for (ms, text) in [
            (1_795_321_727_800, "2026-11-22T04:28:47.8Z"),
            (1_795_322_085_030, "2026-11-22T04:34:45.03Z"),
            (1_795_321_625_345, "2026-11-22T04:27:05.345Z"),
            (1_795_321_730_000, "2026-11-22T04:28:50Z"),
            (1, "1970-01-01T00:00:00.001Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
            assert_eq!(parse_rfc3339(text), Some(ms));
        }
    }

    #[test]
    fn timestamps_are_read_in_every_form() {
        for text in [
            "2026-11-22T04:28:50Z",
            "2026-11-22T04:28:50.000000000Z",
            "2026-11-22T05:28:50+01:00",
            "2026-11-22T04:28:50.0009Z",
        ] {
            assert_eq!(parse_rfc3339(text), Some(1_795_321_730_000), "{text}");
        }
        for text in ["", "yesterday", "2026-11-22", "1795321730"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[cfg(feature = "oss")]
    #[test]
    fn compact_moments_have_no_fraction() {
        assert_eq!(compact(1_795_321_727_999), "20261122T042847Z");
    }

    #[test]
    fn http_dates_round_trip() {
        let text = "Sun, 22 Nov 2026 04:28:47 GMT";
        assert_eq!(parse_http(text), 1_795_321_727_000);
        #[cfg(feature = "abs")]
        assert_eq!(http(1_795_321_727_999), text);
        assert_eq!(parse_http("never"), 0);
    }
}
