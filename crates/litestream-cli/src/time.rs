//! Points in time as RFC 3339 text, with the zone they were written in.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A point in time and the zone offset it is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    at: Timestamp,
    offset: Offset,
}

/// 0001-01-01T00:00:00Z in seconds of the Unix epoch.
const FIRST_SECOND: i64 = -62_135_596_800;

impl Moment {
    /// The first second of year 1, which stands for "no time".
    pub fn unset() -> Self {
        Self {
            at: Timestamp::constant(FIRST_SECOND, 0),
            offset: Offset::UTC,
        }
    }

    /// A time of the system clock in the local zone; times out of range become [`Moment::unset`].
    pub fn local(time: SystemTime) -> Self {
        let Ok(at) = Timestamp::try_from(time) else {
            return Self::unset();
        };
        let offset = TimeZone::system().to_offset(at);
        Self { at, offset }
    }

    /// A time of the system clock in UTC; times out of range become [`Moment::unset`].
    pub fn utc(time: SystemTime) -> Self {
        Timestamp::try_from(time).map_or_else(
            |_| Self::unset(),
            |at| Self {
                at,
                offset: Offset::UTC,
            },
        )
    }

    /// The point in time without its zone.
    pub fn timestamp(self) -> SystemTime {
        self.at.into()
    }

    /// Parses `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM)`.
    ///
    /// `None` for anything else, in particular for a date alone or a time without zone.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date_time, rest) = (text.get(..19)?, text.get(19..)?);
        let bytes = date_time.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, sign)| bytes[at] != sign) {
            return None;
        }
        let (nanos, zone) = fraction(rest)?;
        let number = |from: usize, to: usize| digits(&date_time[from..to]);
        let civil = DateTime::new(
            number(0, 4)?,
            number(5, 7)? as i8,
            number(8, 10)? as i8,
            number(11, 13)? as i8,
            number(14, 16)? as i8,
            number(17, 19)? as i8,
            nanos,
        )
        .ok()?;
        let offset = zone_offset(zone)?;
        Some(Self {
            at: offset.to_timestamp(civil).ok()?,
            offset,
        })
    }

    /// `2026-01-02T03:04:05Z`.
    pub fn rfc3339(self) -> String {
        self.format("")
    }

    /// With a fraction of up to nine digits, trailing zeros dropped.
    pub fn rfc3339_nanos(self) -> String {
        let nanos = format!("{:09}", self.civil().subsec_nanosecond());
        let nanos = nanos.trim_end_matches('0');
        self.format(&if nanos.is_empty() {
            String::new()
        } else {
            format!(".{nanos}")
        })
    }

    /// With a fraction of exactly three digits.
    pub fn rfc3339_millis(self) -> String {
        self.format(&format!(
            ".{:03}",
            self.civil().subsec_nanosecond() / 1_000_000
        ))
    }

    /// The time of day: `15:04:05`.
    pub fn clock(self) -> String {
        let civil = self.civil();
        format!(
            "{:02}:{:02}:{:02}",
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }

    fn civil(self) -> DateTime {
        self.offset.to_datetime(self.at)
    }

    fn format(self, fraction: &str) -> String {
        let civil = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{}{fraction}{}",
            civil.year(),
            civil.month(),
            civil.day(),
            self.clock(),
            zone_text(self.offset)
        )
    }
}

/// The fraction of a second in nanoseconds, and what follows it.
fn fraction(rest: &str) -> Option<(i32, &str)> {
    let Some(decimals) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = decimals
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(decimals.len());
    if end == 0 {
        return None;
    }
    let padded = format!("{:0<9.9}", &decimals[..end]);
    Some((padded.parse().ok()?, &decimals[end..]))
}

fn zone_offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let bytes = zone.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' || !zone.is_ascii() {
        return None;
    }
    let (hours, minutes) = (digits(&zone[1..3])?, digits(&zone[4..6])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (i32::from(hours) * 60 + i32::from(minutes)) * 60;
    match bytes[0] {
        b'+' => Offset::from_seconds(seconds).ok(),
        b'-' => Offset::from_seconds(-seconds).ok(),
        _ => None,
    }
}

fn zone_text(offset: Offset) -> String {
    let seconds = offset.seconds();
    if seconds == 0 {
        return "Z".into();
    }
    let minutes = seconds.unsigned_abs() / 60;
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A number made of digits only: no sign, no blank.
fn digits(text: &str) -> Option<i16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_with_its_zone() {
        let moment = Moment::parse_rfc3339("2026-01-02T03:04:05.120456789+02:00").unwrap();
        assert_eq!(moment.rfc3339(), "2026-01-02T03:04:05+02:00");
        assert_eq!(
            moment.rfc3339_nanos(),
            "2026-01-02T03:04:05.120456789+02:00"
        );
        assert_eq!(moment.rfc3339_millis(), "2026-01-02T03:04:05.120+02:00");
        let trimmed = Moment::parse_rfc3339("2026-01-02T03:04:05.120Z").unwrap();
        assert_eq!(trimmed.rfc3339_nanos(), "2026-01-02T03:04:05.12Z");
        assert_eq!(trimmed.clock(), "03:04:05");
    }

    #[test]
    fn zone_shifts_the_instant() {
        let east = Moment::parse_rfc3339("2026-01-02T03:04:05+02:00").unwrap();
        let utc = Moment::parse_rfc3339("2026-01-02T01:04:05Z").unwrap();
        assert_eq!(east.timestamp(), utc.timestamp());
    }

    #[test]
    fn refuses_dates_and_times_without_zone() {
        for text in [
            "2020-01-01",
            "2020-01-01T00:00:00",
            "2020-01-01 00:00:00Z",
            "2020-13-01T00:00:00Z",
            "2020-02-30T00:00:00Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T00:00:00+2:00",
            "+020-01-01T00:00:00Z",
            "",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}Z",
        ] {
            assert_eq!(Moment::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn unset_is_the_first_second_of_year_one() {
        assert_eq!(Moment::unset().rfc3339_nanos(), "0001-01-01T00:00:00Z");
    }
}
