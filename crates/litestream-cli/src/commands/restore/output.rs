//! Whether the output of a restore may be written. Looks only; deletes nothing.

use std::io;
use std::path::{Path, PathBuf};

use crate::os_error;

/// The output is in the way.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A folder.
    #[error("cannot restore, output path is a directory: {}", .0.display())]
    Directory(PathBuf),
    /// A file with content.
    #[error(
        "cannot restore, output path already exists and is not empty: {}. Use -force to overwrite",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// A side file of an empty database.
    #[error(
        "cannot restore, SQLite sidecar path already exists: {}. Use -force to overwrite",
        .0.display()
    )]
    SideFile(PathBuf),
    /// The path cannot be looked at.
    #[error("cannot restore, {0}")]
    Unreadable(String),
}

/// Checks that `output` is free, empty, or may be replaced.
pub(super) fn check(output: &Path, force: bool) -> Result<(), OutputError> {
    let metadata = match std::fs::metadata(output) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(OutputError::Unreadable(os_error::describe(
                "stat", output, &error,
            )));
        }
    };
    if metadata.is_dir() {
        return Err(OutputError::Directory(output.to_owned()));
    }
    if force {
        return Ok(());
    }
    if metadata.len() > 0 {
        return Err(OutputError::NotEmpty(output.to_owned()));
    }
    for side in litestream::sidecars(output) {
        if std::fs::symlink_metadata(&side).is_ok() {
            return Err(OutputError::SideFile(side));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_empty_and_forced_outputs_pass() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("a.db");
        check(&output, false).unwrap();
        std::fs::write(&output, "").unwrap();
        check(&output, false).unwrap();
        std::fs::write(&output, "x").unwrap();
        check(&output, true).unwrap();
    }

    #[test]
    fn folders_content_and_side_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("a.db");
        assert!(matches!(
            check(folder.path(), true),
            Err(OutputError::Directory(_))
        ));
        std::fs::write(&output, "x").unwrap();
        assert!(matches!(
            check(&output, false),
            Err(OutputError::NotEmpty(_))
        ));
        std::fs::write(&output, "").unwrap();
        std::fs::write(folder.path().join("a.db-shm"), "").unwrap();
        assert!(matches!(
            check(&output, false),
            Err(OutputError::SideFile(_))
        ));
    }
}
