//! Points in time as the format stores them: milliseconds since the Unix epoch.
//!
//! The text form is RFC 3339 in UTC with exactly three fraction digits. The civil calendar is
//! computed here (days since 1970 to year, month, day in the proleptic Gregorian calendar).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since 1970-01-01T00:00:00Z; may be zero or negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Any value is valid.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Rounds down to the millisecond, and to the nearest value a timestamp can hold.
    pub fn from_system_time(time: SystemTime) -> Self {
        let millis = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos().div_ceil(1_000_000))
                .map_or(i64::MIN, |millis| -millis),
        };
        Self(millis)
    }

    /// Rounds up to the millisecond: a stored time is before `time` exactly when it is before this.
    pub fn from_system_time_up(time: SystemTime) -> Self {
        let down = Self::from_system_time(time);
        Self(
            down.0
                .saturating_add(i64::from(down.to_system_time() < time)),
        )
    }

    /// The same instant; the Unix epoch where the platform cannot represent it.
    pub fn to_system_time(self) -> SystemTime {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        let time = if self.0 < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_system_time(time)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_system_time()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(MILLIS_PER_DAY));
        let millis = self.0.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, fraction) = (millis / 1000 % 60, millis % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"
        )
    }
}

/// The text is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time: {0:?}")]
pub struct ParseTimestampError(String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Accepts RFC 3339 with any number of fraction digits and any offset; digits beyond the
    /// millisecond are cut.
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        parse(text).ok_or_else(|| ParseTimestampError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    literal(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    literal(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    literal(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let millis = fraction(&mut rest)?;
    let offset_minutes = offset(rest)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = days_from_civil(year, month, day);
    let minutes = (days * 24 + hour) * 60 + minute - offset_minutes;
    valid.then_some(Timestamp((minutes * 60 + second) * 1000 + millis))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    number.iter().try_fold(0, |value, &digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

fn literal(rest: &mut &[u8], accepted: &[u8]) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    accepted.contains(first).then_some(())
}

fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some((b'.', mut tail)) = rest.split_first() else {
        return Some(0);
    };
    let (mut millis, mut unit, mut count) = (0, 100, 0);
    while let Some((digit @ b'0'..=b'9', after)) = tail.split_first() {
        millis += i64::from(digit - b'0') * unit;
        unit /= 10;
        count += 1;
        tail = after;
    }
    *rest = tail;
    (count > 0).then_some(millis)
}

/// Minutes east of UTC.
fn offset(mut rest: &[u8]) -> Option<i64> {
    if matches!(rest, b"Z" | b"z") {
        return Some(0);
    }
    let (sign, tail) = rest.split_first()?;
    rest = tail;
    let hours = digits(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let minutes = digits(&mut rest, 2)?;
    let valid = rest.is_empty() && hours < 24 && minutes < 60;
    let total = hours * 60 + minutes;
    match sign {
        b'+' if valid => Some(total),
        b'-' if valid => Some(-total),
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Years are counted from March so that the leap day is the last of a year;
/// 146097 days are 400 years, and 719468 days lie between 0000-03-01 and 1970-01-01.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_322_668_378, "2026-11-22T04:44:28.378Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(millis)));
        }
    }

    #[test]
    fn every_day_of_five_centuries_round_trips() {
        for day in -100_000..100_000 {
            let (year, month, of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, of_month), day);
        }
        assert_ne!(
            Timestamp(i64::MIN).to_string(),
            Timestamp(i64::MAX).to_string()
        );
    }

    #[test]
    fn offsets_and_long_fractions_are_understood() {
        let base: Timestamp = "2026-08-30T10:00:00Z".parse().expect("valid");
        assert_eq!("2026-08-30T12:30:00+02:30".parse(), Ok(base));
        assert_eq!("2026-08-29T23:00:00-11:00".parse(), Ok(base));
        assert_eq!("2026-08-30T10:00:00.000999999Z".parse(), Ok(base));
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn system_time_is_rounded() {
        let half = Duration::from_micros(500);
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(Timestamp::from(epoch + half), Timestamp(0));
        assert_eq!(Timestamp::from(epoch - half), Timestamp(-1));
        assert_eq!(Timestamp::from_system_time_up(epoch + half), Timestamp(1));
        assert_eq!(Timestamp::from_system_time_up(epoch - half), Timestamp(0));
        for millis in [-86_400_001, 0, 1_795_322_668_378] {
            let time = SystemTime::from(Timestamp(millis));
            assert_eq!(Timestamp::from(time), Timestamp(millis));
            assert_eq!(Timestamp::from_system_time_up(time), Timestamp(millis));
        }
    }
}
