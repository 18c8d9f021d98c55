//! The command line of the child: split into words without a shell.
//!
//! Quotes and backslashes work, variables and patterns do not. An unquoted `;`, `|`, `&`, `<` or
//! `>` ends the command: what follows was never run, and existing set-ups rely on the rest running.

/// A command line that cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote without end, a bracket, a backslash at the end.
    #[error("invalid command line string")]
    Invalid,
    /// No word at all.
    #[error("empty command line string")]
    Empty,
}

/// The words of a command line, at least one.
pub(super) fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            ';' | '|' | '&' | '<' | '>' => break,
            '(' => return Err(SplitError::Invalid),
            '\\' => {
                word.get_or_insert_default()
                    .push(chars.next().ok_or(SplitError::Invalid)?);
            }
            '\'' | '"' => quoted(&mut chars, c, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() {
        Err(SplitError::Empty)
    } else {
        Ok(words)
    }
}

/// Appends the text up to the closing quote; a backslash counts in double quotes only.
fn quoted(
    chars: &mut impl Iterator<Item = char>,
    quote: char,
    word: &mut String,
) -> Result<(), SplitError> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => word.push(chars.next().ok_or(SplitError::Invalid)?),
            c => word.push(c),
        }
    }
    Err(SplitError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_backslashes() {
        for (line, words) in [
            ("sh -c 'echo v=$ZZ'", &["sh", "-c", "echo v=$ZZ"][..]),
            (r#"a "b\nc" d\ e"#, &["a", "bnc", "d e"]),
            (r"'a\b'", &[r"a\b"]),
            (r#"a "" b"#, &["a", "", "b"]),
            ("a'b'\"c\"", &["abc"]),
            ("a\nb\tc", &["a", "b", "c"]),
            ("echo one; echo two", &["echo", "one"]),
            ("echo 'a;b'", &["echo", "a;b"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn refuses_what_is_open_or_empty() {
        for line in ["\"unclosed", "'x", "a (b)", "a\\"] {
            assert_eq!(split(line), Err(SplitError::Invalid), "{line}");
        }
        for line in ["", "  ", ";x"] {
            assert_eq!(split(line), Err(SplitError::Empty), "{line}");
        }
    }
}
