//! From keys to paths.
//!
//! Invariant: a path made here is below the root by its text, and [`refuse_links`] makes sure that
//! it is below it in the file system as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::tree::{check, check_object};
use crate::{Error, ErrorKind, Operation, Result};

/// The path of the object `key`.
pub(super) fn object(root: &Path, key: &str, operation: Operation) -> Result<PathBuf> {
    check_object(key, operation)?;
    Ok(root.join(key))
}

/// The directory that holds everything that begins with `prefix`.
pub(super) fn directory(root: &Path, prefix: &str, operation: Operation) -> Result<PathBuf> {
    match prefix.rsplit_once('/') {
        Some((directory, _)) => {
            check(directory, operation)?;
            Ok(root.join(directory))
        }
        None => Ok(root.to_path_buf()),
    }
}

/// Fails when one of the directories between `root` and `path` is a symbolic link. Parts that do
/// not exist are none. The last part is the caller's, who opens it without following links.
pub(super) fn refuse_links(root: &Path, path: &Path, operation: Operation) -> Result<()> {
    let below = path
        .strip_prefix(root)
        .expect("made by joining to the root");
    let mut part = root.to_path_buf();
    for name in below.parent().into_iter().flatten() {
        part.push(name);
        match fs::symlink_metadata(&part) {
            Ok(found) if found.is_symlink() => return Err(link(&part, operation)),
            Ok(_) => {}
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => {
                let error = Error::from_io(operation, error);
                return Err(error.with_detail(format!("look at {}", part.display())));
            }
        }
    }
    Ok(())
}

/// The error of a path that goes through a symbolic link.
pub(super) fn link(path: &Path, operation: Operation) -> Error {
    Error::new(ErrorKind::Invalid, operation)
        .with_detail(format!("{} is a symbolic link", path.display()))
}

/// Whether the error says that there is nothing at the path.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{directory, object};
    use crate::{ErrorKind, Operation};

    #[test]
    fn keys_that_leave_the_root_or_alias_are_refused() {
        let keys = [
            "", "/", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "../a", "a/../b", "a\0b",
            "a.tmp", ".tmp", "a/b.tmp",
        ];
        for key in keys {
            let error = object(Path::new("root"), key, Operation::Get).expect_err(key);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{key:?}");
        }
    }

    #[test]
    fn keys_are_joined_to_the_root() {
        let path = object(Path::new("root"), "ltx/0/..a b", Operation::Get).expect("allowed");
        assert_eq!(path, PathBuf::from("root/ltx/0/..a b"));
        let path = directory(Path::new("root"), "ltx/0/00", Operation::List).expect("allowed");
        assert_eq!(path, PathBuf::from("root/ltx/0"));
        let path = directory(Path::new("root"), "lt", Operation::List).expect("allowed");
        assert_eq!(path, PathBuf::from("root"));
        directory(Path::new("root"), "../x", Operation::List).expect_err("leaves the root");
    }
}
