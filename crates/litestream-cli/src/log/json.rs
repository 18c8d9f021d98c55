//! Records as JSON objects, one per line.

use super::Record;
use super::attribute::Value;
use crate::json::{Escape, push_string};

/// The line of a record, without newline.
pub(super) fn line(record: &Record) -> String {
    let mut line = String::from("{");
    member(&mut line, "time", &Value::Text(record.time.rfc3339_nanos()));
    member(&mut line, "level", &Value::Text(record.level.to_string()));
    if let Some(source) = &record.source {
        key(&mut line, "source");
        line.push('{');
        member(&mut line, "function", &Value::Text(source.function.clone()));
        member(&mut line, "file", &Value::Text(source.file.clone()));
        member(&mut line, "line", &Value::Int(i128::from(source.line)));
        line.push('}');
    }
    member(&mut line, "msg", &Value::Text(record.message.clone()));
    let attributes: Vec<(&str, &Value)> = record
        .attributes
        .iter()
        .map(|(name, value)| (*name, value))
        .collect();
    members(&mut line, &attributes);
    line.push('}');
    line
}

/// Writes attributes; neighbours with the same group stand in one nested object.
fn members(line: &mut String, attributes: &[(&str, &Value)]) {
    let mut rest = attributes;
    while let Some(((name, value), tail)) = rest.split_first() {
        let Some((group, _)) = name.split_once('.') else {
            member(line, name, value);
            rest = tail;
            continue;
        };
        let inner: Vec<(&str, &Value)> = rest
            .iter()
            .map_while(|(name, value)| {
                let (other, below) = name.split_once('.')?;
                (other == group).then_some((below, *value))
            })
            .collect();
        key(line, group);
        line.push('{');
        members(line, &inner);
        line.push('}');
        rest = &rest[inner.len()..];
    }
}

fn key(line: &mut String, name: &str) {
    if !line.ends_with('{') {
        line.push(',');
    }
    push_string(line, name, Escape::Plain);
    line.push(':');
}

fn member(line: &mut String, name: &str, value: &Value) {
    key(line, name);
    match value {
        Value::Text(text) => push_string(line, text, Escape::Plain),
        Value::Int(value) => line.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => line.push_str(&value.to_string()),
        Value::Float(value) => push_string(line, &value.to_string(), Escape::Plain),
        Value::Bool(value) => line.push_str(if *value { "true" } else { "false" }),
        Value::Duration(span) => line.push_str(&span.nanos().to_string()),
        Value::Signal(_, number) => line.push_str(&number.to_string()),
    }
}
