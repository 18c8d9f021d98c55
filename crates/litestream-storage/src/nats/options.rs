//! The settings as the client of NATS takes them.
//!
//! Invariant: a file or a key that cannot work is refused here, by its setting and its name,
//! before anything is sent: the client itself would say less, or nothing at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};
use nkeys::KeyPair;

use super::news::News;
use super::{NatsLogin, NatsSettings};
use crate::{Error, ErrorKind, Operation, Result};

/// As the reference has it: a question every two minutes whether the other side is there.
const PING_INTERVAL: Duration = Duration::from_mins(2);

pub(super) async fn options(
    settings: &NatsSettings,
    operation: Operation,
    news: &News,
) -> Result<ConnectOptions> {
    check_files(settings, operation).await?;
    let wait = settings.reconnect_wait;
    let servers = settings.url.split(',').count();
    let mut options = ConnectOptions::new()
        .name("litestream")
        .connection_timeout(settings.timeout)
        .request_timeout(Some(settings.timeout))
        .ping_interval(PING_INTERVAL)
        // Each server may be tried once at the start; 0 would mean without end.
        .max_reconnects(settings.max_reconnects.map(|most| most.max(servers)))
        .reconnect_delay_callback(move |tries| if tries <= 1 { Duration::ZERO } else { wait })
        .event_callback(news.listener())
        .require_tls(settings.wants_tls());
    for file in &settings.root_cas {
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &settings.client_certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    login(options, &settings.login, operation).await
}

async fn login(
    options: ConnectOptions,
    login: &NatsLogin,
    operation: Operation,
) -> Result<ConnectOptions> {
    let bad = |what: String, source: std::io::Error| invalid(operation, what).with_source(source);
    Ok(match login {
        NatsLogin::None => options,
        NatsLogin::Jwt { jwt, seed } => {
            check_seed("seed", seed, operation)?;
            options
                .credentials(&credentials(jwt, seed))
                .map_err(|source| bad("jwt is not a token".into(), source))?
        }
        NatsLogin::Credentials(path) => {
            let loaded = options.credentials_file(path).await;
            loaded.map_err(|source| bad(format!("creds {}", path.display()), source))?
        }
        NatsLogin::Nkey(seed) => {
            check_seed("nkey", seed, operation)?;
            options.nkey(seed.clone())
        }
        NatsLogin::User { name, password } => {
            options.user_and_password(name.clone(), password.clone())
        }
        NatsLogin::Token(token) => options.token(token.clone()),
    })
}

/// The text of a credentials file.
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// Refuses a seed that is none. What it is shows in no message.
fn check_seed(setting: &str, seed: &str, operation: Operation) -> Result<()> {
    let seed = KeyPair::from_seed(seed);
    seed.map(drop).map_err(|source| {
        invalid(operation, format!("{setting} is not the seed of a key")).with_source(source)
    })
}

fn invalid(operation: Operation, what: String) -> Error {
    Error::new(ErrorKind::Invalid, operation).with_detail(what)
}

/// Reads all files that are named, and tries whether key and certificate fit.
async fn check_files(settings: &NatsSettings, operation: Operation) -> Result<()> {
    if settings.root_cas.is_empty() && settings.client_certificate.is_none() {
        return Ok(());
    }
    let roots = settings.root_cas.clone();
    let client = settings.client_certificate.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let roots = roots.iter().try_for_each(|file| check_roots(file));
        roots.and_then(|()| client.as_ref().map_or(Ok(()), check_client))
    });
    let checked = checked
        .await
        .map_err(|source| Error::new(ErrorKind::Cancelled, operation).with_source(source))?;
    checked.map_err(|what| invalid(operation, what))
}

fn check_roots(file: &Path) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("root-cas", file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("root-cas {}: {error}", file.display()))?;
    }
    Ok(())
}

fn check_client((certificate, key): &(PathBuf, PathBuf)) -> Result<(), String> {
    let chain = certificates("client-cert", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("client-key {}: {error}", key.display()))?;
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, private);
    config.map(drop).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("client-key {key} and client-cert {certificate} do not fit together: {error}")
    })
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{setting} {}: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&error))?;
    if found.is_empty() {
        return Err(failed(&"no certificate in PEM form in it"));
    }
    Ok(found)
}
