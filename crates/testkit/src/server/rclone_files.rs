//! rclone as an SFTP and a WebDAV server over a folder, with user and password.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, installed_or_skip};

/// User of [`RcloneSftp`] and [`RcloneWebdav`].
pub const FILES_USER: &str = "litestream";
/// Password of [`RcloneSftp`] and [`RcloneWebdav`].
pub const FILES_PASSWORD: &str = "pass:word/with ?odd#chars%";

/// SFTP with a password and without most extensions.
#[derive(Debug)]
pub struct RcloneSftp(Server);

/// WebDAV with Basic authentication.
#[derive(Debug)]
pub struct RcloneWebdav(Server);

impl RcloneSftp {
    /// Starts one over an empty folder; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip() -> Option<Self> {
        start_or_skip("sftp").map(Self)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl RcloneWebdav {
    /// Starts one over an empty folder; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip() -> Option<Self> {
        start_or_skip("webdav").map(Self)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// The folder it serves.
    pub fn data(&self) -> PathBuf {
        self.0.folder().join("data")
    }
}

fn start_or_skip(protocol: &str) -> Option<Server> {
    let program = installed_or_skip("rclone")?.join("rclone");
    let name = format!("rclone serve {protocol}");
    let started = Server::start(&name, |port, scratch| {
        let data = scratch.join("data");
        fs::create_dir(&data)?;
        Ok(serve(&program, protocol, port, scratch, &data))
    });
    Some(started.unwrap_or_else(|error| panic!("{error:?}")))
}

fn serve(program: &Path, protocol: &str, port: u16, scratch: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["serve", protocol, "--addr", &format!("127.0.0.1:{port}")])
        .args(["--user", FILES_USER, "--pass", FILES_PASSWORD])
        .arg("--config")
        .arg(scratch.join("rclone.conf"))
        .arg("--cache-dir")
        .arg(scratch.join("cache"))
        .arg(data)
        .env("HOME", scratch);
    command
}
