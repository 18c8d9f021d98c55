//! Truth values and integers in Go's spelling.

/// The words for true and false.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A 64-bit integer whose prefix tells its base: `10`, `0x1f`, `0o17`, `017`, `0b1`, `1_000`.
///
/// Underscores may stand between digits and after the prefix only.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (base, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    let plain = without_underscores(digits, prefixed)?;
    if !plain.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let magnitude = i128::from_str_radix(&plain, base).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let misplaced = (digits.starts_with('_') && !after_prefix)
        || digits.ends_with('_')
        || digits.contains("__");
    (!misplaced).then(|| digits.replace('_', ""))
}
