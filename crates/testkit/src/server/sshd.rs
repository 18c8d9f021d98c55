//! OpenSSH as an SFTP server over a folder, for the user who runs the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Server, installed_or_skip};

/// The strict one: it refuses plain renames onto existing files, offers every extension of
/// OpenSSH, and accepts no passwords here (they are those of the machine).
#[derive(Debug)]
pub struct Sshd {
    server: Server,
    user: String,
}

impl Sshd {
    /// Starts one; `None` when it is not installed, see [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip() -> Option<Self> {
        Self::start_with_or_skip("")
    }

    /// Starts one whose SFTP part gets more options: `-P posix-rename,fsync` takes extensions away.
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_with_or_skip(options: &str) -> Option<Self> {
        let program = installed_or_skip("sshd")?.join("sshd");
        // It wants to be started by its absolute path, and none that a link hides.
        let start = || {
            let program = fs::canonicalize(program)?;
            let user = user()?;
            let server = Server::start("sshd", |port, folder| {
                configure(&program, port, folder, options)
            })?;
            anyhow::Ok(Self { server, user })
        };
        Some(start().unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The only one who can log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// File with a private key that opens the door.
    pub fn key(&self) -> PathBuf {
        self.server.folder().join("client")
    }

    /// The same key under the passphrase `secret`.
    pub fn encrypted_key(&self) -> PathBuf {
        self.server.folder().join("encrypted")
    }

    /// A key that opens nothing.
    pub fn other_key(&self) -> PathBuf {
        self.server.folder().join("other")
    }

    /// The host key as a line of `authorized_keys`.
    ///
    /// # Panics
    /// When it is gone: it was made at the start.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.server.folder().join("host.pub"));
        line.expect("made at the start").trim().to_owned()
    }

    /// An empty folder on the server.
    pub fn data(&self) -> PathBuf {
        self.server.folder().join("data")
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn configure(program: &Path, port: u16, folder: &Path, options: &str) -> Result<Command> {
    for name in ["host", "client", "other"] {
        keygen(folder, name, "")?;
    }
    fs::copy(folder.join("client"), folder.join("encrypted"))?;
    fs::set_permissions(folder.join("encrypted"), fs::Permissions::from_mode(0o600))?;
    run(Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "secret", "-f"])
        .arg(folder.join("encrypted")))?;
    fs::copy(folder.join("client.pub"), folder.join("authorized"))?;
    fs::create_dir(folder.join("data"))?;
    if rustix::process::geteuid().is_root() {
        // Where it locks itself away before a login; part of the distribution's boot.
        fs::create_dir_all("/run/sshd")?;
    }
    let folder = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n\
         AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         MaxStartups 100\nSubsystem sftp internal-sftp {options}\n"
    );
    let file = PathBuf::from(format!("{folder}/config"));
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.args(["-D", "-e", "-f"]).arg(file);
    Ok(command)
}

fn keygen(folder: &Path, name: &str, passphrase: &str) -> Result<()> {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f"])
        .arg(folder.join(name)))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

/// The name of the user who runs the tests.
fn user() -> Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    ensure!(output.status.success(), "id: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
