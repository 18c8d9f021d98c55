//! Path rules of the configuration and of the database arguments.
//!
//! Purely textual: nothing here looks at the file system.

use std::path::PathBuf;

pub use litestream::default_meta_path;

use crate::env::Env;

/// True for `SCHEME://...` with a scheme of ASCII letters, digits and underscores.
///
/// This decides whether an argument names a replica or a database file.
pub fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// Expands a configured path or a database argument to an absolute path.
///
/// A leading `sqlite3://` or `sqlite://` is dropped, `~` and `~/` become the account's home
/// folder, everything else is made absolute and cleaned.
pub fn expand(env: &Env, path: &str) -> PathBuf {
    let path = path
        .strip_prefix("sqlite3://")
        .or_else(|| path.strip_prefix("sqlite://"))
        .unwrap_or(path);
    if let Some(home) = env.home() {
        if path == "~" {
            return PathBuf::from(home);
        }
        if let Some(below) = path.strip_prefix("~/") {
            return PathBuf::from(clean(&format!("{home}/{below}")));
        }
    }
    absolute(env, path)
}

/// Makes a path absolute against the working directory and cleans it; `~` has no meaning.
pub fn absolute(env: &Env, path: &str) -> PathBuf {
    if path.starts_with('/') {
        PathBuf::from(clean(path))
    } else {
        PathBuf::from(clean(&format!("{}/{path}", env.working_dir().display())))
    }
}

/// The shortest text for the same path: no `.`, no `..` inside, no double or trailing slash.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::of(&[("HOME", "/elsewhere")], "/srv/data", Some("/home/ann"), 1)
    }

    #[test]
    fn expands_prefix_home_and_working_dir() {
        for (text, path) in [
            ("sqlite:///x/a.db", "/x/a.db"),
            ("sqlite3:///x/a.db", "/x/a.db"),
            ("sqlite://a.db", "/srv/data/a.db"),
            ("~", "/home/ann"),
            ("~/a//b", "/home/ann/a/b"),
            ("~bob/a", "/srv/data/~bob/a"),
            ("a/../b/./c", "/srv/data/b/c"),
            ("/x//y/", "/x/y"),
            ("/../x", "/x"),
            ("", "/srv/data"),
        ] {
            assert_eq!(expand(&env(), text), PathBuf::from(path), "{text}");
        }
    }

    #[test]
    fn urls_need_scheme_and_two_slashes() {
        for text in ["s3://b", "file:///x", "a_1://"] {
            assert!(is_url(text), "{text}");
        }
        for text in ["file:x", "s3:/x", "://x", "a-b://x", "/x"] {
            assert!(!is_url(text), "{text}");
        }
    }

    #[test]
    fn cleaning_keeps_relative_parents() {
        assert_eq!(clean("../../a/.."), "../..");
        assert_eq!(clean(""), ".");
        assert_eq!(clean("/.."), "/");
    }
}
