//! From keys to paths on a server that keeps files in directories, and which of them a listing
//! wants.
//!
//! Invariant: a path made here is below the root by its text.

use crate::{Error, ErrorKind, Key, ListOptions, Operation, Result};

/// Ending of the names of files that are being written.
pub(crate) const TEMP_SUFFIX: &str = ".tmp";

/// The path of the object `key`.
pub(crate) fn object(root: &str, key: &str, operation: Operation) -> Result<String> {
    if key.ends_with(TEMP_SUFFIX) {
        return refuse(
            operation,
            "keys that end in .tmp are for files being written",
        );
    }
    check(key, operation)?;
    Ok(join(root, key))
}

/// The directory that holds everything that begins with `prefix`, as path and as key.
pub(crate) fn directory(
    root: &str,
    prefix: &str,
    operation: Operation,
) -> Result<(String, String)> {
    match prefix.rsplit_once('/') {
        Some((directory, _)) => {
            check(directory, operation)?;
            Ok((join(root, directory), format!("{directory}/")))
        }
        None if root.is_empty() => Ok((".".to_owned(), String::new())),
        None => Ok((root.to_owned(), String::new())),
    }
}

/// `name` in the directory `root`.
pub(crate) fn join(root: &str, name: &str) -> String {
    match root {
        "" | "." => name.to_owned(),
        root if root.ends_with('/') => format!("{root}{name}"),
        root => format!("{root}/{name}"),
    }
}

/// The directory of `path`, unless that is the login folder or `/`.
pub(crate) fn parent(path: &str) -> Option<&str> {
    let (parent, _) = path.trim_end_matches('/').rsplit_once('/')?;
    let parent = parent.trim_end_matches('/');
    (!parent.is_empty()).then_some(parent)
}

/// Whether the name of a directory entry can be part of a key. Names that are not UTF-8 arrive
/// with replacement characters.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0', '\u{fffd}'])
}

/// What a listing wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) prefix: String,
    after: Option<Key>,
}

impl Wanted {
    pub(crate) fn new(prefix: String, options: ListOptions) -> Self {
        Self {
            prefix,
            after: options.start_after,
        }
    }

    /// Whether the object `key` is wanted.
    pub(crate) fn object(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && !key.ends_with(TEMP_SUFFIX)
            && self.after.as_ref().is_none_or(|after| key > after.as_str())
    }

    /// Whether there may be wanted objects below the directory `key`, which ends in `/`.
    pub(crate) fn directory(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self
                .after
                .as_ref()
                .is_none_or(|after| key > after.as_str() || after.as_str().starts_with(key))
    }
}

fn check(key: &str, operation: Operation) -> Result<()> {
    for part in key.split('/') {
        match part {
            "" => return refuse(operation, "empty part in the key"),
            "." | ".." => return refuse(operation, "key has a part . or .."),
            part if part.contains('\0') => return refuse(operation, "NUL in the key"),
            _ => {}
        }
    }
    Ok(())
}

fn refuse<T>(operation: Operation, why: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Invalid, operation).with_detail(why))
}

#[cfg(test)]
mod tests {
    use super::{directory, is_name, object, parent};
    use crate::{ErrorKind, Operation};

    #[test]
    fn keys_that_leave_the_root_or_alias_are_refused() {
        let keys = [
            "", "/", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "../a", "a/../b", "a\0b",
            "a.tmp", ".tmp", "a/b.tmp",
        ];
        for key in keys {
            let error = object("root", key, Operation::Get).expect_err(key);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{key:?}");
        }
    }

    #[test]
    fn keys_are_joined_to_the_root() {
        let object = |root, key| object(root, key, Operation::Get).expect("allowed");
        assert_eq!(object("root", "ltx/0/..a b"), "root/ltx/0/..a b");
        assert_eq!(object("/root/", "a"), "/root/a");
        assert_eq!(object("/", "a"), "/a");
        assert_eq!(object("", "a/b"), "a/b");
        let directory = |root, prefix| directory(root, prefix, Operation::List).expect("allowed");
        let pair = |path: &str, key: &str| (path.to_owned(), key.to_owned());
        assert_eq!(directory("root", "a/0/00"), pair("root/a/0", "a/0/"));
        assert_eq!(directory("root", "lt"), pair("root", ""));
        assert_eq!(directory("", "lt"), pair(".", ""));
        assert_eq!(directory("", "a/"), pair("a", "a/"));
    }

    #[test]
    fn parents_end_below_the_root_of_the_server() {
        assert_eq!(parent("/a/b/c"), Some("/a/b"));
        assert_eq!(parent("/a"), None);
        assert_eq!(parent("a/b"), Some("a"));
        assert_eq!(parent("a"), None);
        assert_eq!(parent("//a//b/"), Some("//a"));
    }

    #[test]
    fn entries_that_lead_elsewhere_are_no_names() {
        for name in ["", ".", "..", "a/b", "../x", "\0", "\u{fffd}"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("...") && is_name("\u{e9}"));
    }
}
