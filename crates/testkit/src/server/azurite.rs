//! Azurite: Azure Blob Storage in memory. It verifies signatures.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hmac::hmac;
use super::stand_in::http_date;
use super::{Answer, Server, ask, installed_or_skip};

/// The account that [`Azurite`] knows.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// Its key, the same in every Azurite and written in its documentation.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Version of the interface that containers are made with.
const VERSION: &str = "2021-12-02";

/// Azure Blob Storage with one container.
#[derive(Debug)]
pub struct Azurite(Server);

impl Azurite {
    /// Starts one with the container `container`; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip(container: &str) -> Option<Self> {
        let folder = installed_or_skip("azurite")?;
        let program = folder.join("node_modules/azurite/dist/src/blob/main.js");
        let started = Server::start("azurite", |port, scratch| {
            Ok(serve(&program, port, scratch))
        });
        let azurite = started.and_then(|server| {
            let azurite = Self(server);
            azurite.make_container(container)?;
            Ok(azurite)
        });
        Some(azurite.unwrap_or_else(|error| panic!("{error:?}")))
    }

    fn make_container(&self, container: &str) -> Result<()> {
        let date = http_date(SystemTime::now());
        let path = format!("/{AZURITE_ACCOUNT}/{container}");
        let signed = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n\
             /{AZURITE_ACCOUNT}{path}\nrestype:container"
        );
        let key = STANDARD.decode(AZURITE_KEY)?;
        let signature = STANDARD.encode(hmac(&key, signed.as_bytes()));
        let headers = [
            format!("x-ms-date: {date}"),
            format!("x-ms-version: {VERSION}"),
            format!("Authorization: SharedKey {AZURITE_ACCOUNT}:{signature}"),
        ];
        let headers = headers.each_ref().map(String::as_str);
        let path = format!("{path}?restype=container");
        ask(&self.0.address(), "PUT", &path, &headers, b"")
            .and_then(Answer::success)
            .map(drop)
            .with_context(|| format!("make container {container} in Azurite"))
    }

    /// `http://127.0.0.1:PORT/ACCOUNT`.
    pub fn endpoint(&self) -> String {
        format!("{}/{AZURITE_ACCOUNT}", self.0.endpoint())
    }
}

fn serve(program: &Path, port: u16, scratch: &Path) -> Command {
    let mut command = Command::new("node");
    // It lags behind the versions that clients speak.
    command
        .arg(program)
        .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
        .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"])
        .arg("--disableTelemetry")
        .current_dir(scratch);
    command
}
