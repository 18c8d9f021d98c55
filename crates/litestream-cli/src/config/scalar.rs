//! What a plain YAML scalar means, by the rules of YAML 1.1 that existing files rely on.

use super::yaml::{Node, Value};

/// A scalar after its type has been recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Resolved {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer; wider than 64 bits signed only up to 64 bits unsigned.
    Int(i128),
    /// A number with a fraction or too large for an integer.
    Float(f64),
    /// Everything else.
    Text,
}

/// Recognises the type of a node that is a scalar; containers count as text.
pub(super) fn resolve(node: &Node) -> Resolved {
    let Value::Scalar {
        text,
        is_text: false,
    } = &node.value
    else {
        return Resolved::Text;
    };
    if node.is_null() {
        return Resolved::Null;
    }
    if let Some(value) = boolean(text) {
        return Resolved::Bool(value);
    }
    if let Some(value) = integer(text) {
        return Resolved::Int(value);
    }
    float(text).map_or(Resolved::Text, Resolved::Float)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// Decimal, `0x`, `0b`, `0o` and leading zero (octal), with underscores anywhere.
fn integer(text: &str) -> Option<i128> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&value)
        .then_some(value)
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let plain = text.replace('_', "");
    let is_number = plain.bytes().any(|b| b.is_ascii_digit())
        && plain
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    is_number.then(|| plain.parse().ok()).flatten()
}

/// The short tag of a node's type, for messages.
pub(super) fn tag(node: &Node) -> &'static str {
    match (&node.value, resolve(node)) {
        (Value::Sequence(_), _) => "!!seq",
        (Value::Mapping(_), _) => "!!map",
        (_, Resolved::Null) => "!!null",
        (_, Resolved::Bool(_)) => "!!bool",
        (_, Resolved::Int(_)) => "!!int",
        (_, Resolved::Float(_)) => "!!float",
        (_, Resolved::Text) => "!!str",
    }
}
