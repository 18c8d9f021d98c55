//! JSON in the form of the reference's commands: two blanks of indent, keys in the order given,
//! `<`, `>` and `&` escaped, one newline at the end.

use std::io::{self, Write};

/// A JSON value whose objects keep their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// Members in the order in which they are written.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A text value.
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(value.into())
    }

    /// An integer value.
    pub fn int(value: impl Into<i128>) -> Self {
        Self::Int(value.into())
    }

    /// Writes the value and a newline.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        self.render(&mut text, 0);
        text.push('\n');
        out.write_all(text.as_bytes())
    }

    fn render(&self, text: &mut String, depth: usize) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(&value.to_string()),
            Self::Int(value) => text.push_str(&value.to_string()),
            Self::Text(value) => push_string(text, value, Escape::Html),
            Self::List(items) => {
                render_block(text, depth, ['[', ']'], items, |text, item, depth| {
                    item.render(text, depth);
                });
            }
            Self::Object(members) => {
                render_block(
                    text,
                    depth,
                    ['{', '}'],
                    members,
                    |text, (key, value), depth| {
                        push_string(text, key, Escape::Html);
                        text.push_str(": ");
                        value.render(text, depth);
                    },
                );
            }
        }
    }
}

fn render_block<T>(
    text: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    render: impl Fn(&mut String, &T, usize),
) {
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&"  ".repeat(depth + 1));
        render(text, item, depth + 1);
    }
    if !items.is_empty() {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    }
    text.push(close);
}

/// Which characters beyond the required ones are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `<`, `>` and `&` too: output of commands.
    Html,
    /// Only what JSON requires, and the two line separators: log records.
    Plain,
}

/// Appends `value` as a JSON string.
pub fn push_string(text: &mut String, value: &str, escape: Escape) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => push_code(text, c),
            '<' | '>' | '&' if escape == Escape::Html => push_code(text, c),
            _ => text.push(c),
        }
    }
    text.push('"');
}

fn push_code(text: &mut String, c: char) {
    let code = format!("\\u{:04x}", u32::from(c));
    text.push_str(&code);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Json) -> String {
        let mut out = Vec::new();
        value.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nested_values_are_indented_by_two() {
        let value = Json::List(vec![Json::Object(vec![
            ("path", Json::text("/a<b>&")),
            ("size", Json::int(5)),
            ("files", Json::List(vec![])),
        ])]);
        assert_eq!(
            written(&value),
            "[\n  {\n    \"path\": \"/a\\u003cb\\u003e\\u0026\",\n    \"size\": 5,\n    \"files\": []\n  }\n]\n"
        );
    }

    #[test]
    fn empty_list_and_null_stand_on_one_line() {
        assert_eq!(written(&Json::List(vec![])), "[]\n");
        assert_eq!(written(&Json::Null), "null\n");
    }

    #[test]
    fn log_strings_keep_angle_brackets() {
        let mut text = String::new();
        push_string(&mut text, "<\u{1}\n\u{2028}>", Escape::Plain);
        assert_eq!(text, "\"<\\u0001\\n\\u2028>\"");
    }
}
