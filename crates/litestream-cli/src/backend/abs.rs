//! A replica in a container of Azure Blob Storage.

use litestream::Layout;
use litestream_storage::{AbsCredentials, AbsIdentity, AbsSettings, AbsStore, Pace, Retrying};

use super::prefix::cleaned;
use super::{Backend, http, refused, retry_policy, wrapped};
use crate::config::{AbsTarget, BuildError, Network};

pub(super) fn open(
    target: &AbsTarget,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = settings(target)?;
    let mut policy = retry_policy();
    policy.in_flight = (settings.block_size * (settings.concurrency + 1)) as u64;
    let client = http::client(network, false, false)?;
    let store = AbsStore::new(settings, client, Retrying::new(policy.clone()))
        .map_err(|error| refused("abs", &error))?;
    Ok(wrapped(store, Layout::Plain, policy, pace))
}

fn settings(target: &AbsTarget) -> Result<AbsSettings, BuildError> {
    let account = &target.account_name;
    let endpoint = match &target.endpoint {
        Some(endpoint) => endpoint.clone(),
        None if account.is_empty() => {
            return Err(BuildError::Store(
                "abs: account name is required when endpoint is not specified".into(),
            ));
        }
        None => format!("https://{account}.blob.core.windows.net"),
    };
    Ok(AbsSettings {
        container: target.bucket.clone(),
        prefix: cleaned(&target.path),
        endpoint,
        credentials: credentials(target)?,
        block_size: AbsSettings::BLOCK_SIZE,
        concurrency: AbsSettings::CONCURRENCY,
    })
}

/// A signature, else the key of the account, else an identity.
fn credentials(target: &AbsTarget) -> Result<AbsCredentials, BuildError> {
    if let Some(token) = &target.sas_token {
        if target.account_key.is_some() {
            tracing::warn!("abs: both sas-token and account-key are set; sas-token is used");
        }
        return Ok(AbsCredentials::Sas(
            token.trim_start_matches('?').to_owned(),
        ));
    }
    if let Some(key) = &target.account_key
        && !target.account_name.is_empty()
    {
        return Ok(AbsCredentials::AccountKey {
            account: target.account_name.clone(),
            key: key.clone(),
        });
    }
    identity(target).map(AbsCredentials::Identity)
}

/// The first identity that the environment describes.
fn identity(target: &AbsTarget) -> Result<AbsIdentity, BuildError> {
    let azure = &target.azure;
    let authority = azure.authority.as_deref().unwrap_or(AbsIdentity::AUTHORITY);
    let application = azure.tenant.clone().zip(azure.client.clone());
    if let Some((tenant, client)) = application {
        let authority = authority.to_owned();
        if let Some(secret) = azure.secret.clone() {
            return Ok(AbsIdentity::Secret {
                authority,
                tenant,
                client,
                secret,
            });
        }
        if azure.certificate.is_some() {
            // Going on would be another identity than the one that was meant.
            return Err(BuildError::Store(
                "abs: AZURE_CLIENT_CERTIFICATE_PATH is not supported; use AZURE_CLIENT_SECRET or \
                 AZURE_FEDERATED_TOKEN_FILE"
                    .into(),
            ));
        }
        if let Some(token_file) = azure.token_file.clone() {
            return Ok(AbsIdentity::Workload {
                authority,
                tenant,
                client,
                token_file,
            });
        }
    }
    let client = azure.client.clone();
    let app = azure
        .identity_endpoint
        .clone()
        .zip(azure.identity_header.clone());
    Ok(match app {
        Some((endpoint, header)) => AbsIdentity::App {
            endpoint,
            header,
            client,
        },
        None => AbsIdentity::Machine {
            endpoint: AbsIdentity::METADATA.to_owned(),
            client,
        },
    })
}
