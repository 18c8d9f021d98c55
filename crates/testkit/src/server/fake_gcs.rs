//! fake-gcs-server: Google Cloud Storage in memory, without authorization.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{Answer, Server, ask, installed_or_skip};

/// Google Cloud Storage with one bucket.
#[derive(Debug)]
pub struct FakeGcs(Server);

impl FakeGcs {
    /// Starts one with the bucket `bucket`; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip(bucket: &str) -> Option<Self> {
        let program = installed_or_skip("fake_gcs")?.join("fake-gcs-server");
        let started = Server::start("fake-gcs-server", |port, _| Ok(serve(&program, port)))
            .and_then(|server| {
                let body = format!("{{\"name\":\"{bucket}\"}}");
                let headers = ["Content-Type: application/json"];
                let path = "/storage/v1/b?project=test";
                ask(&server.address(), "POST", path, &headers, body.as_bytes())
                    .and_then(Answer::success)
                    .with_context(|| format!("make bucket {bucket} in fake-gcs-server"))?;
                Ok(server)
            });
        Some(Self(started.unwrap_or_else(|error| panic!("{error:?}"))))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// `127.0.0.1:PORT`, the value of `STORAGE_EMULATOR_HOST`.
    pub fn address(&self) -> String {
        self.0.address()
    }
}

fn serve(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    // Downloads are answered under the public host only.
    command
        .args(["-scheme", "http", "-backend", "memory"])
        .args(["-host", "127.0.0.1", "-port", &port.to_string()])
        .args(["-public-host", &format!("127.0.0.1:{port}")]);
    command
}
