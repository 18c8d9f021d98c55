//! A replica in a NATS object store.

use litestream_storage::{NatsLogin, NatsSettings, NatsStore};

use crate::config::{BuildError, NatsTarget};

/// Where clients of NATS look for a server that nobody names.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

pub(super) fn open(target: &NatsTarget) -> Result<NatsStore, BuildError> {
    Ok(NatsStore::new(settings(target)?))
}

fn settings(target: &NatsTarget) -> Result<NatsSettings, BuildError> {
    let url = match target.url.as_str() {
        "" => DEFAULT_URL,
        url => url,
    };
    Ok(NatsSettings {
        login: login(target)?,
        tls: target.tls,
        root_cas: target.root_cas.iter().map(Into::into).collect(),
        client_certificate: target
            .client_certificate
            .as_ref()
            .map(|(certificate, key)| (certificate.into(), key.into())),
        max_reconnects: usize::try_from(target.max_reconnects).ok(),
        reconnect_wait: target.reconnect_wait,
        timeout: target.timeout,
        ..NatsSettings::new(url, &target.bucket)
    })
}

/// The first way that is complete, in the order of the reference.
fn login(target: &NatsTarget) -> Result<NatsLogin, BuildError> {
    if let (Some(jwt), Some(seed)) = (&target.jwt, &target.seed) {
        return Ok(NatsLogin::Jwt {
            jwt: jwt.clone(),
            seed: seed.clone(),
        });
    }
    if let Some(path) = &target.creds {
        return Ok(NatsLogin::Credentials(path.into()));
    }
    if let Some(nkey) = &target.nkey {
        return match (&target.seed, nkey.starts_with('S')) {
            (Some(seed), _) => Ok(NatsLogin::Nkey(seed.clone())),
            (None, true) => Ok(NatsLogin::Nkey(nkey.clone())),
            // The public half alone cannot sign anything.
            (None, false) => Err(BuildError::Invalid {
                kind: "nats",
                cause: "nkey needs the seed of the key, in the setting seed".to_owned(),
            }),
        };
    }
    if let (Some(name), Some(password)) = (&target.username, &target.password) {
        return Ok(NatsLogin::User {
            name: name.clone(),
            password: password.clone(),
        });
    }
    Ok(match &target.token {
        Some(token) => NatsLogin::Token(token.clone()),
        None => NatsLogin::None,
    })
}
