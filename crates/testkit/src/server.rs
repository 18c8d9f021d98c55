//! Real servers for tests of the storage backends, one file per server.
//!
//! Invariant: a [`Server`] that is returned listens itself on its port of the loopback
//! interface: another process that got hold of the port is never taken for it. It dies
//! with the test, see [`Child`].
//!
//! This crate never downloads: `scripts/install-servers.sh` fills the cache, and the test
//! command calls it first. When a server is missing, tests that need it say so on the real
//! standard error, and fail when `LITESTREAM_REQUIRE_SERVERS=1`.

mod ask;
mod azurite;
mod blobs;
mod dav;
mod fake_gcs;
mod gcs;
pub mod hmac;
mod listener;
mod moto;
mod nats;
mod nginx;
mod oss;
mod rclone;
mod rclone_files;
mod sshd;
pub mod stand_in;
mod wsgidav;

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub use self::ask::{Answer, ask};
pub use self::azurite::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite};
pub use self::blobs::{BLOBS_ACCOUNT, BLOBS_KEY, BlobsStandIn};
pub use self::dav::DavStandIn;
pub use self::fake_gcs::FakeGcs;
pub use self::gcs::GcsStandIn;
pub use self::moto::Moto;
pub use self::nats::Nats;
pub use self::nginx::Nginx;
pub use self::oss::{OSS_ACCESS_KEY, OSS_REGION, OSS_SECRET_KEY, OssStandIn};
pub use self::rclone::{RcloneS3, S3_ACCESS_KEY, S3_SECRET_KEY};
pub use self::rclone_files::{FILES_PASSWORD, FILES_USER, RcloneSftp, RcloneWebdav};
pub use self::sshd::Sshd;
pub use self::wsgidav::{Wsgidav, WsgidavLogin};
use crate::process::{Child, Conversation, wait_for};

/// How long a server may take until it listens, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How often another port is tried when somebody else took the first.
const PORTS_TRIED: u32 = 8;

/// A server on a loopback port that dies with the test.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    recipe: Recipe,
    port: u16,
    folder: TempDir,
}

/// What a command was, to give it again.
#[derive(Debug)]
struct Recipe {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, Option<OsString>)>,
}

impl Recipe {
    fn of(command: &Command) -> Self {
        let variables = command.get_envs().map(|(name, value)| {
            let value = value.map(ToOwned::to_owned);
            (name.to_owned(), value)
        });
        Self {
            program: command.get_program().to_owned(),
            arguments: command.get_args().map(ToOwned::to_owned).collect(),
            variables: variables.collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

/// How one try to start a server ended.
enum Try {
    Listening,
    /// It ended by itself; with a port that was free a moment ago, that is worth another try.
    Ended,
}

impl Server {
    /// Starts a server on a free port.
    ///
    /// `name` is what failures call it. `command` gets the port and an empty folder that lives as
    /// long as the server, and must start the program directly, not through a shell: its process
    /// is the one that has to listen.
    ///
    /// # Errors
    /// With the end of the log, when the program cannot be started or does not listen in time.
    pub fn start(
        name: &str,
        mut command: impl FnMut(u16, &Path) -> Result<Command>,
    ) -> Result<Self> {
        for tried in 1.. {
            let folder = tempfile::Builder::new()
                .prefix("testkit-server-")
                .tempdir()?;
            // Free at this moment. Whoever takes it before the server does makes it end, and
            // another port is tried.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port();
            let mut command = command(port, folder.path())?;
            let recipe = Recipe::of(&command);
            let child = Child::spawn(name, &mut command, Conversation::Silent)?;
            let mut server = Self {
                name: name.to_owned(),
                child,
                recipe,
                port,
                folder,
            };
            match server.wait_listening()? {
                Try::Listening => return Ok(server),
                Try::Ended if tried < PORTS_TRIED => {}
                Try::Ended => bail!(
                    "{name} ended {tried} times before it listened; its log:\n{}",
                    server.child.log()?
                ),
            }
        }
        unreachable!("the last try returns")
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The folder made for it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process, for signals and its log.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill_9()
    }

    /// Starts it again, after [`Server::kill`], on the same port and over the same folder.
    ///
    /// # Errors
    /// When it does not listen in time, or somebody took the port meanwhile.
    pub fn revive(&mut self) -> Result<()> {
        let mut command = self.recipe.command();
        self.child = Child::spawn(&self.name, &mut command, Conversation::Silent)?;
        match self.wait_listening()? {
            Try::Listening => Ok(()),
            Try::Ended => bail!("{} does not start again: {}", self.name, self.child.log()?),
        }
    }

    fn wait_listening(&mut self) -> Result<Try> {
        let (pid, port, name) = (self.child.pid(), self.port, self.name.clone());
        let what = format!("{name} to listen on port {port}");
        let end = wait_for(START_TIMEOUT, &what, || {
            match (listener::owns(pid, port), self.child.exited()) {
                (Ok(true), _) => Some(Ok(Try::Listening)),
                (_, Ok(Some(_))) => Some(Ok(Try::Ended)),
                (Ok(false), Ok(None)) => None,
                (Err(error), _) | (_, Err(error)) => Some(Err(error)),
            }
        });
        end.and_then(|inner| inner)
            .with_context(|| match self.child.log() {
                Ok(log) => format!("log of {name}:\n{log}"),
                Err(error) => format!("no log of {name}: {error}"),
            })
    }
}

/// Where `scripts/install-servers.sh` puts the server `name`; `None` after a loud word on standard
/// error that the calling test is skipped.
///
/// # Panics
/// When it is missing and `LITESTREAM_REQUIRE_SERVERS=1`.
pub fn installed_or_skip(name: &str) -> Option<PathBuf> {
    let folder = crate::reference::cache_folder().join("servers").join(name);
    if folder.join("VERSION").is_file() {
        return Some(folder);
    }
    let required = std::env::var_os("LITESTREAM_REQUIRE_SERVERS");
    let required = required.is_some_and(|value| value == "1");
    assert!(!required, "{}", absence(name, &folder, "FAILED"));
    // Not `eprintln!`: the test harness hides that of a test that passes.
    let said = std::io::stderr().write_all(absence(name, &folder, "SKIPPED").as_bytes());
    said.expect("standard error is open in a test");
    None
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn base64_to(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("a text of this crate")
}

fn absence(name: &str, folder: &Path, outcome: &str) -> String {
    let line = "=".repeat(72);
    let test = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    format!(
        "\n{line}\nTEST AGAINST A REAL SERVER {outcome}: {test}\n  \
         {name} is not in {}\n  \
         run scripts/install-servers.sh {name}\n{line}\n",
        folder.display(),
    )
}

#[cfg(test)]
mod tests;
