//! Variables in the text of the configuration file.
//!
//! The whole text is expanded before it is parsed, comments and quoted parts included. There is no
//! escape and no default syntax: `$$` gives nothing and `${A-b}` asks for a variable of that name.

use crate::env::Env;

/// Replaces `$NAME` and `${NAME}` by values of the environment; unset ones become nothing.
pub(super) fn expand(env: &Env, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, length) = reference(rest);
        match name {
            Some(name) => out.push_str(&value(env, name)),
            None if length == 0 => out.push('$'),
            None => {}
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The name that is referred to and the length of the reference after the `$`.
///
/// Without a name, length 0 means that the `$` stands for itself, else the text is dropped.
fn reference(rest: &str) -> (Option<&str>, usize) {
    if let Some(braced) = rest.strip_prefix('{') {
        if braced.len() > 1 && braced.as_bytes()[1] == b'}' && is_special(braced.as_bytes()[0]) {
            return (Some(&braced[..1]), 3);
        }
        return match braced.find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&braced[..end]), end + 2),
            None => (None, 1),
        };
    }
    match rest.bytes().next() {
        Some(first) if is_special(first) => (Some(&rest[..1]), 1),
        _ => {
            let end = rest
                .bytes()
                .position(|b| !(b.is_ascii_alphanumeric() || b == b'_'))
                .unwrap_or(rest.len());
            if end == 0 {
                (None, 0)
            } else {
                (Some(&rest[..end]), end)
            }
        }
    }
}

fn is_special(byte: u8) -> bool {
    matches!(
        byte,
        b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9'
    )
}

fn value(env: &Env, name: &str) -> String {
    if name == "PID" {
        env.pid().to_string()
    } else {
        env.var(name).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_reference() {
        let env = Env::of(&[("FOO", "bar"), ("A-b", "odd")], "/", None, 42);
        for (text, expanded) in [
            ("/x/$FOO-b", "/x/bar-b"),
            ("/x/${FOO}b", "/x/barb"),
            ("$FOOb|", "|"),
            ("${A-b}", "odd"),
            ("${A:-b}|", "|"),
            ("$PID ${PID}", "42 42"),
            ("/x/$$y", "/x/y"),
            ("/x/${*}y", "/x/y"),
            ("$1FOO", "FOO"),
            ("${}y", "y"),
            ("${FOO", "FOO"),
            ("$ $/ $", "$ $/ $"),
            ("'$FOO' # $FOO", "'bar' # bar"),
            ("$\u{e9}", "$\u{e9}"),
        ] {
            assert_eq!(expand(&env, text), expanded, "{text}");
        }
    }
}
