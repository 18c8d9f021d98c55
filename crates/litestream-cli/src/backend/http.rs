//! The HTTP clients of the program: one for all replicas that are reached in the same way.
//!
//! Invariant: a thousand databases in one account share their connections and certificates.

use std::sync::{Mutex, PoisonError};

use litestream_storage::{HttpClient, HttpProxies, HttpSettings, HttpTls};

use crate::config::{BuildError, Network};

/// What tells two clients apart.
#[derive(PartialEq)]
struct Way {
    network: Network,
    skip_verify: bool,
    ca_bundle: bool,
}

static CLIENTS: Mutex<Vec<(Way, HttpClient)>> = Mutex::new(Vec::new());

/// The client for a network; `skip_verify` trusts any certificate, `ca_bundle` also those that
/// `AWS_CA_BUNDLE` names.
pub(crate) fn client(
    network: &Network,
    skip_verify: bool,
    ca_bundle: bool,
) -> Result<HttpClient, BuildError> {
    let way = Way {
        network: network.clone(),
        skip_verify,
        ca_bundle,
    };
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, client)) = clients.iter().find(|(known, _)| *known == way) {
        return Ok(client.clone());
    }
    let client = HttpClient::new(settings(&way)?)
        .map_err(|error| BuildError::Network(with_causes(&error)))?;
    clients.push((way, client.clone()));
    Ok(client)
}

fn settings(way: &Way) -> Result<HttpSettings, BuildError> {
    let network = &way.network;
    let extra_roots = match network.aws_ca_bundle.as_deref().filter(|_| way.ca_bundle) {
        Some(path) => std::fs::read(path).map_err(|error| {
            BuildError::Network(format!("AWS_CA_BUNDLE {}: {error}", path.display()))
        })?,
        None => Vec::new(),
    };
    Ok(HttpSettings {
        proxies: HttpProxies {
            http: network.http_proxy.clone(),
            https: network.https_proxy.clone(),
            direct: network.no_proxy.clone(),
        },
        tls: HttpTls {
            system_file: network.cert_file.clone(),
            system_dir: network.cert_dir.clone(),
            extra_roots,
            skip_verify: way.skip_verify,
        },
        ..HttpSettings::default()
    })
}

/// An error with all that caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
