//! Certificates for tests, as files: servers and programs want them so.
//!
//! They are valid for a hundred years, for `127.0.0.1`, `localhost` and `store.invalid`, and protect
//! nothing: whoever reads this repository has the keys. Those of the roots were thrown away.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

const FILES: [(&str, &str); 8] = [
    ("root.pem", include_str!("tls/root.pem")),
    ("other_root.pem", include_str!("tls/other_root.pem")),
    ("server.pem", include_str!("tls/server.pem")),
    ("server.key.pem", include_str!("tls/server.key.pem")),
    ("client.pem", include_str!("tls/client.pem")),
    ("client.key.pem", include_str!("tls/client.key.pem")),
    ("other_client.pem", include_str!("tls/other_client.pem")),
    (
        "other_client.key.pem",
        include_str!("tls/other_client.key.pem"),
    ),
];

/// The files, for as long as this lives.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// Writes the files into a folder of their own.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-tls-").tempdir()?;
        for (name, text) in FILES {
            fs::write(folder.path().join(name), text)?;
        }
        Ok(Self(folder))
    }

    /// Who signed `server` and `client`.
    pub fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    /// Who signed `other_client`.
    pub fn other_root(&self) -> PathBuf {
        self.file("other_root.pem")
    }

    /// Certificate and key of a server.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.file("server.pem"), self.file("server.key.pem"))
    }

    /// Certificate and key of a client.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.file("client.pem"), self.file("client.key.pem"))
    }

    /// Certificate and key of a client that another root signed.
    pub fn other_client(&self) -> (PathBuf, PathBuf) {
        (
            self.file("other_client.pem"),
            self.file("other_client.key.pem"),
        )
    }

    /// A file of the folder, there or not.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
