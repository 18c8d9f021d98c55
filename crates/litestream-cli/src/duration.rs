//! Durations in the syntax of the configuration and the command line: `1h30m`, `300ms`, `1.5h`.
//!
//! A [`Span`] is a signed count of nanoseconds; whether a negative or zero value is allowed is for
//! the reader of the value to say.

use std::fmt;
use std::time::Duration;

/// A signed duration in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {0:?}")]
pub struct InvalidSpan(String);

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of this many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A span of this many seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The nearest span to a standard duration; saturates after 292 years.
    pub fn from_std(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The count of nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The same as a standard duration; `None` when negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// The same as a standard duration; `None` when zero or negative.
    pub fn positive(self) -> Option<Duration> {
        self.to_std().filter(|duration| !duration.is_zero())
    }

    /// Parses an optional sign and one or more `NUMBER UNIT`, or `0` alone.
    pub fn parse(text: &str) -> Result<Self, InvalidSpan> {
        parse_nanos(text)
            .map(Self)
            .ok_or_else(|| InvalidSpan(text.to_owned()))
    }
}

fn parse_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    // One more than i64::MAX is allowed in between, for the smallest negative value.
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (whole, fraction) = rest[..number]
            .split_once('.')
            .unwrap_or((&rest[..number], ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        rest = &rest[number..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[..end])?.1;
        rest = &rest[end..];
        let count: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        total += i128::from(count) * i128::from(unit) + fraction_of(fraction, unit);
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `0.FRACTION` of a unit, in whole nanoseconds, cut off.
fn fraction_of(fraction: &str, unit: i64) -> i128 {
    let mut scale = i128::from(unit);
    let mut numerator: i128 = 0;
    let mut denominator: i128 = 1;
    // 18 digits are finer than a nanosecond of an hour.
    for digit in fraction.bytes().take(18) {
        numerator = numerator * 10 + i128::from(digit - b'0');
        denominator *= 10;
    }
    scale *= numerator;
    scale / denominator
}

impl fmt::Display for Span {
    /// `1h0m0s`, `5m0s`, `30s`, `1.5s`, `300ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(rest, 1_000_000_000))
            }
        }
    }
}

/// `value / unit` with as many decimals as needed.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        (value / unit).to_string()
    } else {
        format!("{}.{fraction}", value / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_like_the_reference() {
        for (text, printed) in [
            ("0", "0s"),
            ("+0", "0s"),
            ("1h", "1h0m0s"),
            ("90m", "1h30m0s"),
            ("1.5h", "1h30m0s"),
            ("5m", "5m0s"),
            ("30s", "30s"),
            ("1s500ms", "1.5s"),
            (".5s", "500ms"),
            ("1.s", "1s"),
            ("300ms", "300ms"),
            ("1500us", "1.5ms"),
            ("-1h", "-1h0m0s"),
            ("3\u{b5}s", "3\u{b5}s"),
            ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
            ("-9223372036854775808ns", "-2562047h47m16.854775808s"),
        ] {
            let parsed = Span::parse(text);
            if text == "-9223372036854775808ns" {
                // The number alone exceeds the range of a count.
                assert!(parsed.is_err());
                continue;
            }
            assert_eq!(parsed.unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "", "5", "5d", "s", ".s", "1.2.3s", "1h 5m", "--1s", "-", "1e3s", "9999999h",
        ] {
            assert!(Span::parse(text).is_err(), "{text:?}");
        }
    }
}
