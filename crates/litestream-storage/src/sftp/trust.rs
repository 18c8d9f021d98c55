//! Whether the server is the one that is meant.
//!
//! Invariant: with an expected key, configured or known from a file, no other key is accepted.
//! That nothing is expected is said in the log at every connection.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client;
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate, known_hosts};
use tokio::sync::watch;

use super::SftpSettings;
use crate::{Error, ErrorKind, Operation, Result, blocking};

/// The keys that a server may have.
#[derive(Debug)]
pub(super) struct Trust {
    host: String,
    keys: Vec<PublicKey>,
    /// Where the keys are from, for messages.
    origin: String,
    refusal: Refusal,
    /// Dropped with the connection that this watches over.
    alive: watch::Sender<()>,
}

/// Why a server was refused; outlives the handshake that it ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<String> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trust {
    /// Reads what is expected of `host`.
    pub(super) async fn load(
        settings: &SftpSettings,
        host: &str,
        port: u16,
        operation: Operation,
    ) -> Result<Self> {
        let (keys, origin) = match &settings.host_key {
            Some(line) => (vec![parse(line, operation)?], "the setting host-key".into()),
            None => known(settings, host, port, operation).await?,
        };
        Ok(Self {
            host: settings.host.clone(),
            keys,
            origin,
            refusal: Refusal::default(),
            alive: watch::Sender::new(()),
        })
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    /// Closed when the connection has ended.
    pub(super) fn alive(&self) -> watch::Receiver<()> {
        self.alive.subscribe()
    }

    /// Puts the algorithms of the expected keys first, so that a server with several keys shows
    /// one that can be compared.
    pub(super) fn prefer(&self, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let expected = |algorithm: &Algorithm| {
            self.keys
                .iter()
                .any(|key| same_family(&key.algorithm(), algorithm))
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = algorithms.iter().cloned().partition(expected);
        first.extend(rest);
        first
    }

    fn accepts(&self, found: &PublicKeyOrCertificate) -> bool {
        let PublicKeyOrCertificate::PublicKey { key: found, .. } = found else {
            *self.refusal.lock() = Some("the server shows a certificate, not a key".to_owned());
            return false;
        };
        let shown = found.to_openssh().unwrap_or_default();
        if self.keys.is_empty() {
            tracing::warn!(host = self.host, key = shown, "sftp host key not verified");
            return true;
        }
        let right = self
            .keys
            .iter()
            .any(|key| key.key_data() == found.key_data());
        if !right {
            *self.refusal.lock() = Some(format!(
                "ssh: host key mismatch: the server shows {shown:?}, {} expects another; \
                 if the server was set up anew, correct it there",
                self.origin
            ));
        }
        right
    }
}

impl client::Handler for Trust {
    type Error = russh::Error;

    async fn auth_banner(
        &mut self,
        banner: &str,
        _session: &mut client::Session,
    ) -> Result<(), Self::Error> {
        tracing::info!(host = self.host, banner = banner.trim_end(), "sftp banner");
        Ok(())
    }

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(self.accepts(key))
    }
}

/// RSA keys have one key and several signature algorithms.
fn same_family(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || (a.clone().is_rsa() && b.clone().is_rsa())
}

fn parse(line: &str, operation: Operation) -> Result<PublicKey> {
    PublicKey::from_openssh(line.trim()).map_err(|source| {
        Error::new(ErrorKind::Invalid, operation)
            .with_detail(format!(
                "host-key {line:?} is not a public key like \"ssh-ed25519 AAAA...\""
            ))
            .with_source(source)
    })
}

async fn known(
    settings: &SftpSettings,
    host: &str,
    port: u16,
    operation: Operation,
) -> Result<(Vec<PublicKey>, String)> {
    let files = settings.known_hosts.clone();
    let host = host.to_owned();
    blocking::run(operation, move || {
        for file in &files {
            let keys = read(file, &host, port, operation)?;
            if !keys.is_empty() {
                return Ok((keys, file.display().to_string()));
            }
        }
        Ok((Vec::new(), String::new()))
    })
    .await
}

fn read(file: &Path, host: &str, port: u16, operation: Operation) -> Result<Vec<PublicKey>> {
    let found = known_hosts::known_host_keys_path(host, port, file).map_err(|source| {
        Error::new(ErrorKind::Invalid, operation)
            .with_detail(format!("read the keys of {host:?} in {}", file.display()))
            .with_source(source)
    })?;
    Ok(found.into_iter().map(|(_, key)| key).collect())
}
