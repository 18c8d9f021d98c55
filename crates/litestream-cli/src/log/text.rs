//! Records as `key=value` text.

use super::Record;
use super::attribute::quoted_if_needed;

/// The line of a record, without newline.
pub(super) fn line(record: &Record) -> String {
    let mut line = format!(
        "time={} level={}",
        record.time.rfc3339_millis(),
        record.level
    );
    if let Some(source) = &record.source {
        line.push_str(" source=");
        line.push_str(&quoted_if_needed(&format!(
            "{}:{}",
            source.file, source.line
        )));
    }
    line.push_str(" msg=");
    line.push_str(&quoted_if_needed(&record.message));
    for (name, value) in &record.attributes {
        line.push(' ');
        line.push_str(&quoted_if_needed(name));
        line.push('=');
        line.push_str(&quoted_if_needed(&value.plain()));
    }
    line
}
