//! Free paths for Unix sockets.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// Longest socket path the kernel takes, without the final zero byte.
const MAX_PATH_BYTES: usize = 107;

/// A path for a Unix socket that nobody else uses; its folder goes when this is dropped.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _folder: TempDir,
}

impl SocketPath {
    /// A fresh path directly below the temporary folder of the system.
    ///
    /// # Errors
    /// When the temporary folder is so deep that no socket path fits below it.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tk").tempdir()?;
        let path = folder.path().join("s");
        let length = path.as_os_str().len();
        ensure!(
            length <= MAX_PATH_BYTES,
            "socket path {} has {length} bytes, at most {MAX_PATH_BYTES} are possible; \
             set TMPDIR to a shorter path",
            path.display()
        );
        Ok(Self {
            path,
            _folder: folder,
        })
    }

    /// The path; nothing is there yet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody accepts connections.
    pub fn answers(&self) -> bool {
        UnixStream::connect(&self.path).is_ok()
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}
