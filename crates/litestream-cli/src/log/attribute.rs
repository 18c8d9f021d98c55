//! Attribute values, and the names whose values are more than text and numbers.

use crate::duration::Span;
use crate::quote;

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// An integer.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// `30s` as text, nanoseconds in JSON.
    Duration(Span),
    /// A name as text, a number in JSON.
    Signal(&'static str, i32),
}

/// Attributes that are durations. Their events carry a `std::time::Duration` in Debug form
/// (`interval = ?duration`) or a count of nanoseconds.
const DURATIONS: [&str; 10] = [
    "interval",
    "sync-interval",
    "retention",
    "timeout",
    "elapsed",
    "remaining",
    "duration",
    "backoff",
    "max_backoff",
    "max-backoff",
];

/// Signals that are logged: name and number.
const SIGNALS: [(&str, i32); 2] = [("interrupt", 2), ("terminated", 15)];

impl Value {
    /// The value of an attribute that was recorded as text.
    pub fn from_text(name: &str, text: String) -> Self {
        if DURATIONS.contains(&name)
            && let Some(span) = parse_debug_duration(&text)
        {
            return Self::Duration(span);
        }
        if name == "signal"
            && let Some((word, number)) = SIGNALS.iter().find(|(word, _)| *word == text)
        {
            return Self::Signal(word, *number);
        }
        Self::Text(text)
    }

    /// The value of an attribute that was recorded as an integer.
    pub fn from_int(name: &str, value: i128) -> Self {
        match i64::try_from(value) {
            Ok(nanos) if DURATIONS.contains(&name) => Self::Duration(Span::from_nanos(nanos)),
            _ => Self::Int(value),
        }
    }

    /// The value as it stands in text records, not yet quoted.
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Duration(span) => span.to_string(),
            Self::Signal(word, _) => (*word).to_owned(),
        }
    }
}

/// The text of a `std::time::Duration` in Debug form: `1.5s`, `300ms`, `3600s`.
fn parse_debug_duration(text: &str) -> Option<Span> {
    Span::parse(text).ok()
}

/// `text` as it stands in text records: quoted when it would not read back as one word.
pub fn quoted_if_needed(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text
            .chars()
            .all(|c| c != ' ' && c != '=' && c != '"' && (quote::is_print(c) || c == '\u{7f}'));
    if is_plain {
        text.to_owned()
    } else {
        quote::quoted(text)
    }
}
