//! Logging in: password, key file, agent, in this order.
//!
//! Invariant: only what is configured is tried, and the agent only when nothing else is.

use std::path::Path;
use std::sync::Arc;

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};

use super::SftpSettings;
use super::connection::handshake;
use super::trust::Trust;
use crate::{Error, ErrorKind, Operation, Result, blocking};

/// Most questions answered in an interactive login.
const MOST_QUESTIONS: usize = 8;

pub(super) async fn login(
    ssh: &mut Handle<Trust>,
    settings: &SftpSettings,
    operation: Operation,
) -> Result<()> {
    let mut login = Login {
        ssh,
        user: &settings.user,
        operation,
        tried: Vec::new(),
    };
    if let Some(password) = &settings.password
        && login.password(password).await?
    {
        return Ok(());
    }
    if let Some(path) = &settings.key_path
        && login.key_file(path).await?
    {
        return Ok(());
    }
    if settings.password.is_none()
        && settings.key_path.is_none()
        && let Some(socket) = &settings.agent
        && login.agent(socket).await?
    {
        return Ok(());
    }
    Err(login.refused())
}

struct Login<'a> {
    ssh: &'a mut Handle<Trust>,
    user: &'a str,
    operation: Operation,
    /// What the server did not accept.
    tried: Vec<String>,
}

impl Login<'_> {
    /// Whether the password opened the door, given at once or to the server's question.
    async fn password(&mut self, password: &str) -> Result<bool> {
        let result = self.ssh.authenticate_password(self.user, password).await;
        let result = result.map_err(|error| handshake(self.operation, error))?;
        let AuthResult::Failure {
            remaining_methods,
            partial_success,
        } = result
        else {
            return Ok(true);
        };
        self.lost()?;
        self.tried.push("password".to_owned());
        if partial_success || !remaining_methods.contains(&MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        self.tried.push("keyboard-interactive".to_owned());
        self.answer(password).await
    }

    async fn answer(&mut self, password: &str) -> Result<bool> {
        let operation = self.operation;
        let start = self
            .ssh
            .authenticate_keyboard_interactive_start(self.user, None)
            .await;
        let mut response = start.map_err(|error| handshake(operation, error))?;
        for _ in 0..MOST_QUESTIONS {
            match response {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = vec![password.to_owned(); prompts.len()];
                    let next = self
                        .ssh
                        .authenticate_keyboard_interactive_respond(answers)
                        .await;
                    response = next.map_err(|error| handshake(operation, error))?;
                }
            }
        }
        Ok(false)
    }

    async fn key_file(&mut self, path: &Path) -> Result<bool> {
        let key = Arc::new(read_key(path, self.operation).await?);
        let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let result = self.ssh.authenticate_publickey(self.user, key).await;
        let result = result.map_err(|error| handshake(self.operation, error))?;
        self.tried.push(format!("key {}", path.display()));
        self.verdict(&result)
    }

    async fn agent(&mut self, socket: &Path) -> Result<bool> {
        let failed = |source: russh::keys::Error| {
            Error::new(ErrorKind::Denied, self.operation)
                .with_detail(format!("ask the ssh agent at {}", socket.display()))
                .with_source(source)
        };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(failed)?;
        for identity in agent.request_identities().await.map_err(failed)? {
            let AgentIdentity::PublicKey { key, comment } = identity else {
                continue;
            };
            let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
            let result = self
                .ssh
                .authenticate_publickey_with(self.user, key, hash, &mut agent)
                .await;
            self.tried.push(format!("key {comment:?} of the agent"));
            match result {
                Ok(result) if self.verdict(&result)? => return Ok(true),
                Ok(_) => {}
                // One key that the agent cannot use does not rule out the others.
                Err(error) => tracing::debug!(error = %error, comment, "ssh agent cannot sign"),
            }
        }
        Ok(false)
    }

    async fn rsa_hash(&self, is_rsa: bool) -> Result<Option<HashAlg>> {
        if !is_rsa {
            return Ok(None);
        }
        let best = self.ssh.best_supported_rsa_hash().await;
        let best = best.map_err(|error| handshake(self.operation, error))?;
        // A server that does not say knows at least the older of the two good ones.
        Ok(best.unwrap_or(Some(HashAlg::Sha256)))
    }

    fn verdict(&self, result: &AuthResult) -> Result<bool> {
        match result {
            AuthResult::Success => Ok(true),
            AuthResult::Failure { .. } => {
                self.lost()?;
                Ok(false)
            }
        }
    }

    /// Fails when it was not the server that said no.
    fn lost(&self) -> Result<()> {
        if self.ssh.is_closed() {
            let error = Error::new(ErrorKind::Unavailable { retry_after: None }, self.operation);
            return Err(error.with_detail("the connection ended during the login"));
        }
        Ok(())
    }

    fn refused(self) -> Error {
        let detail = if self.tried.is_empty() {
            format!(
                "nothing to log in with as {:?}: set password or key-path, or run an ssh agent",
                self.user
            )
        } else {
            format!(
                "the server does not let {:?} in; tried {}",
                self.user,
                self.tried.join(", ")
            )
        };
        Error::new(ErrorKind::Denied, self.operation).with_detail(detail)
    }
}

async fn read_key(path: &Path, operation: Operation) -> Result<PrivateKey> {
    let path = path.to_owned();
    blocking::run(operation, move || {
        let invalid =
            |detail: String| Error::new(ErrorKind::Invalid, operation).with_detail(detail);
        let text = std::fs::read_to_string(&path).map_err(|source| {
            invalid(format!("read the key file {}", path.display())).with_source(source)
        })?;
        decode_secret_key(&text, None).map_err(|source| match source {
            russh::keys::Error::KeyIsEncrypted => invalid(format!(
                "the key file {0} is under a passphrase: take it off a copy for this program \
                 (ssh-keygen -p -f {0}), or leave key-path out and put the key into an ssh agent",
                path.display()
            )),
            source => {
                invalid(format!("{} is not a private key", path.display())).with_source(source)
            }
        })
    })
    .await
}
