//! Byte sizes as people write and read them.

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// Nothing is there.
    #[error("empty size string")]
    Empty,
    /// No number where one is expected.
    #[error("invalid size format: strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    Number(String),
    /// The unit is not known.
    #[error("invalid size format: unhandled size name: {0}")]
    Unit(String),
    /// More than 64 bits.
    #[error("invalid size format: too large: {0}")]
    TooLarge(String),
    /// More than a signed 64-bit number.
    #[error("size {0} exceeds maximum allowed value (9223372036854775807)")]
    Exceeds(u64),
}

const UNITS: [&str; 6] = ["k", "m", "g", "t", "p", "e"];

/// Parses `5MB`, `5 MiB`, `1,024`, `1.5g`; a number alone is bytes.
///
/// `kB`, `MB`, ... count in thousands, `KiB`, `MiB`, ... in 1024; case does not matter.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidSize::Empty);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .unwrap_or(text.len());
    let number = text[..end].replace(',', "");
    let value: f64 = number
        .parse()
        .map_err(|_| InvalidSize::Number(number.clone()))?;
    let unit = text[end..].trim().to_lowercase();
    let factor = factor(&unit).ok_or(InvalidSize::Unit(unit))?;
    let bytes = value * factor;
    if bytes >= 18_446_744_073_709_551_615.0 {
        return Err(InvalidSize::TooLarge(text.to_owned()));
    }
    let bytes = bytes as u64;
    if i64::try_from(bytes).is_err() {
        return Err(InvalidSize::Exceeds(bytes));
    }
    Ok(bytes)
}

fn factor(unit: &str) -> Option<f64> {
    if unit.is_empty() || unit == "b" {
        return Some(1.0);
    }
    let (name, base) = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('i')) {
        Some(name) => (name, 1024.0_f64),
        None => (unit.strip_suffix('b').unwrap_or(unit), 1000.0),
    };
    let power = UNITS.iter().position(|unit| *unit == name)?;
    Some(base.powi(i32::try_from(power).ok()? + 1))
}

/// The size with two significant digits in decimal units: `9 B`, `4.2 kB`, `21 kB`.
pub fn human(bytes: u64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let exponent = (bytes.ilog10() / 3) as usize;
    let value = bytes as f64 / 1000_f64.powi(exponent as i32);
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    let name = NAMES[exponent];
    if value < 10.0 {
        format!("{value:.1} {name}")
    } else {
        format!("{value:.0} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_decimal_and_binary_units() {
        for (text, bytes) in [
            ("5", 5),
            ("5B", 5),
            ("5MB", 5_000_000),
            ("5 MiB", 5 << 20),
            ("5mi", 5 << 20),
            ("1.5k", 1500),
            ("1,024", 1024),
            ("1e", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message) in [
            ("", "empty size string"),
            (
                "a",
                "invalid size format: strconv.ParseFloat: parsing \"\": invalid syntax",
            ),
            (
                "5..5",
                "invalid size format: strconv.ParseFloat: parsing \"5..5\": invalid syntax",
            ),
            ("5xb", "invalid size format: unhandled size name: xb"),
            (
                "99999999999999999999",
                "invalid size format: too large: 99999999999999999999",
            ),
            (
                "16EB",
                "size 16000000000000000000 exceeds maximum allowed value (9223372036854775807)",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn prints_two_significant_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4152, "4.2 kB"),
            (16512, "16 kB"),
            (20632, "21 kB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
