//! From keys to paths on a server that keeps files in directories, and the walk over these.
//!
//! Invariant: a path made here is below the root by its text.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::tree::{check, check_object};
use crate::{ObjectMeta, Operation, Result};

/// The path of the object `key`.
pub(crate) fn object(root: &str, key: &str, operation: Operation) -> Result<String> {
    check_object(key, operation)?;
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

/// A server's directories, as a walk over them sees them.
pub(crate) trait Directories: Send + Sync {
    /// A file or directory.
    type Entry: Send;

    /// Its key; that of a directory ends in `/`.
    fn key(entry: &Self::Entry) -> &str;

    /// What is wanted of the directory of the prefix, in descending order of keys.
    fn first(&self) -> impl Future<Output = Result<Vec<Self::Entry>>> + Send;

    /// What is wanted of a directory, in descending order of keys.
    fn below(
        &self,
        directory: &Self::Entry,
    ) -> impl Future<Output = Result<Vec<Self::Entry>>> + Send;

    /// The metadata of a file; `None` when it is gone, or none.
    fn object(&self, file: Self::Entry) -> impl Future<Output = Result<Option<ObjectMeta>>> + Send;
}

/// Visits the files below a prefix in the byte order of their whole keys, where a directory counts
/// as its name with a `/`: `a.b` comes before `a/b` although the directory `a` sorts before `a.b`.
///
/// The protocols answer directories in no order, so one directory at a time is held in memory,
/// reduced to what is wanted of it.
pub(crate) fn walk<'a, D: Directories + 'a>(
    directories: D,
    kind: &'static str,
) -> BoxStream<'a, Result<ObjectMeta>> {
    // What is still to be visited, last first. `None` before the first look.
    let start = (directories, None);
    stream::try_unfold(start, move |(directories, mut pending)| async move {
        let next = next(&directories, &mut pending).await;
        let next = next.map_err(|error| error.with_backend(kind))?;
        Ok(next.map(|meta| (meta, (directories, pending))))
    })
    .boxed()
}

async fn next<D: Directories>(
    directories: &D,
    pending: &mut Option<Vec<D::Entry>>,
) -> Result<Option<ObjectMeta>> {
    let pending = match pending {
        Some(pending) => pending,
        None => pending.insert(directories.first().await?),
    };
    while let Some(entry) = pending.pop() {
        if D::key(&entry).ends_with('/') {
            pending.extend(directories.below(&entry).await?);
        } else if let Some(meta) = directories.object(entry).await? {
            return Ok(Some(meta));
        }
    }
    Ok(None)
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
