//! Texts in double quotes, escaped as Go source would have them.

use std::fmt::Write;

/// `text` in double quotes; whatever does not print is escaped.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c => push_code(&mut out, u32::from(c)),
        }
    }
    out.push('"');
    out
}

fn push_code(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// True for letters, marks, numbers, punctuation, symbols and the ASCII blank.
pub fn is_print(c: char) -> bool {
    if c == ' ' || c.is_ascii_graphic() {
        return true;
    }
    if c.is_ascii() || c.is_control() || c.is_whitespace() {
        return false;
    }
    // The standard library knows which characters print; a leading letter keeps it from escaping
    // combining marks, which are printable.
    let mut probe = String::from("a");
    probe.push(c);
    probe.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_does_not_print() {
        for (text, shown) in [
            ("a b", "\"a b\""),
            ("\"\\", r#""\"\\""#),
            ("\n\t\u{1}\u{7f}", r#""\n\t\x01\x7f""#),
            ("\u{e9}\u{301}", "\"\u{e9}\u{301}\""),
            ("\u{a0}\u{200b}", r#""\u00a0\u200b""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }
}
