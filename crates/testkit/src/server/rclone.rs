//! rclone as an S3 server over a folder: it verifies signatures, in any region.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Server, installed_or_skip};
use crate::tls::Certificates;

/// Access key that [`RcloneS3`] takes.
pub const S3_ACCESS_KEY: &str = "AKIDLITESTREAM";
/// Secret key that [`RcloneS3`] takes.
pub const S3_SECRET_KEY: &str = "SECRETLITESTREAM";

/// S3 that verifies signatures. It has no conditional writes, and keys with empty or `.` segments
/// are refused.
#[derive(Debug)]
pub struct RcloneS3 {
    server: Server,
    scheme: &'static str,
}

impl RcloneS3 {
    /// Starts one with the bucket `bucket`; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip(bucket: &str) -> Option<Self> {
        Self::begin(bucket, None)
    }

    /// Starts one that speaks TLS.
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_tls_or_skip(bucket: &str, certificates: &Certificates) -> Option<Self> {
        Self::begin(bucket, Some(certificates))
    }

    fn begin(bucket: &str, tls: Option<&Certificates>) -> Option<Self> {
        let program = installed_or_skip("rclone")?.join("rclone");
        let started = Server::start("rclone serve s3", |port, scratch| {
            let data = scratch.join("data");
            fs::create_dir_all(data.join(bucket))?;
            let mut command = serve(&program, port, scratch, &data);
            if let Some((certificate, key)) = tls.map(Certificates::server) {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            Ok(command)
        });
        Some(Self {
            server: started.unwrap_or_else(|error| panic!("{error:?}")),
            scheme: if tls.is_some() { "https" } else { "http" },
        })
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.server.address())
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn serve(program: &Path, port: u16, scratch: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")])
        .args(["--auth-key", &format!("{S3_ACCESS_KEY},{S3_SECRET_KEY}")])
        .arg("--config")
        .arg(scratch.join("rclone.conf"))
        .arg("--cache-dir")
        .arg(scratch.join("cache"))
        .arg(data);
    command
}
