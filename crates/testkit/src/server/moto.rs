//! moto: S3 in every detail but signatures, which it does not check.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Server, ask, installed_or_skip};

/// S3 with conditional writes, multipart uploads, bulk deletion and exact keys; any credentials do.
/// Objects are kept in memory and a scratch folder, and go with it.
#[derive(Debug)]
pub struct Moto(Server);

impl Moto {
    /// Starts one with the bucket `bucket`; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip(bucket: &str) -> Option<Self> {
        let folder = installed_or_skip("moto")?;
        let started = Server::start("moto", |port, scratch| {
            let mut command = Command::new("python3");
            command
                .args([
                    "-c",
                    "import sys; from moto.server import main; main(sys.argv[1:])",
                ])
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .env("PYTHONPATH", folder.join("lib"))
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("TMPDIR", scratch);
            Ok(command)
        });
        let moto = started.and_then(|server| {
            let moto = Self(server);
            moto.make_bucket(bucket)?;
            Ok(moto)
        });
        Some(moto.unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) -> Result<()> {
        let path = format!("/{bucket}");
        ask(&self.0.address(), "PUT", &path, &[], b"")
            .and_then(super::Answer::success)
            .map(drop)
            .with_context(|| format!("make bucket {bucket} in moto"))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.0
    }
}
