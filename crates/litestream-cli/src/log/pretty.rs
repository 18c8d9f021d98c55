//! Records for people.

use tracing::Level;

use super::Record;
use super::attribute::quoted_if_needed;

const FAINT: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// The line of a record, without newline.
pub(super) fn line(record: &Record, is_coloured: bool) -> String {
    let paint = |code: &str, text: &str| {
        if is_coloured && !code.is_empty() {
            format!("{code}{text}{RESET}")
        } else {
            text.to_owned()
        }
    };
    let (word, colour) = level(record.level);
    let mut parts = vec![paint(FAINT, &record.time.clock()), paint(colour, word)];
    if let Some(source) = &record.source {
        parts.push(paint(FAINT, &format!("{}:{}", source.file, source.line)));
    }
    parts.push(record.message.clone());
    for (name, value) in &record.attributes {
        let name = paint(FAINT, &format!("{}=", quoted_if_needed(name)));
        parts.push(format!("{name}{}", quoted_if_needed(&value.plain())));
    }
    parts.join(" ")
}

fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::ERROR => ("ERR", "\u{1b}[91m"),
        Level::WARN => ("WRN", "\u{1b}[93m"),
        Level::INFO => ("INF", "\u{1b}[92m"),
        Level::DEBUG => ("DBG", ""),
        Level::TRACE => ("TRACE", ""),
    }
}
