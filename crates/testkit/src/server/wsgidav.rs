//! `WsgiDAV` over a folder: a WebDAV server in Python, open or with Basic or Digest authentication.

use std::fs;
use std::process::Command;

use super::{FILES_PASSWORD, FILES_USER, Server, installed_or_skip};

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsgidavLogin {
    /// Everybody.
    Anonymous,
    /// [`FILES_USER`] with [`FILES_PASSWORD`], in clear text.
    Basic,
    /// The same, as a digest.
    Digest,
}

/// See the module.
#[derive(Debug)]
pub struct Wsgidav(Server);

impl Wsgidav {
    /// Starts one over an empty folder; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip(login: WsgidavLogin) -> Option<Self> {
        let library = installed_or_skip("wsgidav")?.join("lib");
        let started = Server::start("wsgidav", |port, folder| {
            let data = folder.join("data");
            fs::create_dir(&data)?;
            let basic = login == WsgidavLogin::Basic;
            let users = match login {
                WsgidavLogin::Anonymous => "{\"*\": true}".to_owned(),
                WsgidavLogin::Basic | WsgidavLogin::Digest => {
                    format!("{{\"*\": {{{FILES_USER:?}: {{\"password\": {FILES_PASSWORD:?}}}}}}}")
                }
            };
            let data = data.display().to_string();
            let config = folder.join("config.json");
            fs::write(
                &config,
                format!(
                    "{{\"host\": \"127.0.0.1\", \"port\": {port}, \"server\": \"cheroot\",
                     \"provider_mapping\": {{\"/\": {data:?}}},
                     \"http_authenticator\": {{\"accept_basic\": {basic},
                     \"accept_digest\": {}, \"default_to_digest\": {}}},
                     \"simple_dc\": {{\"user_mapping\": {users}}}}}",
                    !basic, !basic
                ),
            )?;
            let mut command = Command::new("python3");
            command
                .args(["-m", "wsgidav.server.server_cli", "--config"])
                .arg(config)
                .env("PYTHONPATH", &library)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            Ok(command)
        });
        Some(Self(started.unwrap_or_else(|error| panic!("{error:?}"))))
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
