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
            tracing::warn!("both SAS token and account key configured, using SAS token");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Target, replica_from_url};
    use crate::env::Env;

    fn of(vars: &[(&str, &str)], url: &str) -> Result<AbsSettings, String> {
        let replica = replica_from_url(&Env::of(vars, "/", None, 1), url);
        let Target::Abs(target) = replica.expect(url).target else {
            panic!("{url}")
        };
        settings(&target).map_err(|error| error.to_string())
    }

    const KEY: (&str, &str) = ("LITESTREAM_AZURE_ACCOUNT_KEY", "a2V5");

    #[test]
    fn an_account_or_an_endpoint_is_needed() {
        let refused = of(&[KEY], "abs://cont/p").expect_err("no account");
        assert_eq!(
            refused,
            "abs: account name is required when endpoint is not specified"
        );
        let found = of(&[KEY], "abs://acct@cont/a//b/../p").expect("an account");
        assert_eq!(found.endpoint, "https://acct.blob.core.windows.net");
        assert_eq!((&*found.container, &*found.prefix), ("cont", "a/p/"));
    }

    #[test]
    fn a_signature_comes_before_the_key_of_the_account() {
        let signature = ("LITESTREAM_AZURE_SAS_TOKEN", "?sig=x");
        for vars in [&[KEY, signature][..], &[signature]] {
            let found = of(vars, "abs://acct@cont/p").expect("a signature");
            let AbsCredentials::Sas(token) = found.credentials else {
                panic!("{vars:?}")
            };
            assert_eq!(token, "sig=x");
        }
        let found = of(&[KEY], "abs://acct@cont/p").expect("a key");
        let AbsCredentials::AccountKey { account, key } = found.credentials else {
            panic!("not the key")
        };
        assert_eq!((&*account, &*key), ("acct", "a2V5"));
    }

    #[test]
    fn a_certificate_is_refused_rather_than_another_identity_taken() {
        let application = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
        let certificate = ("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem");
        let with = |more: &[(&'static str, &'static str)]| {
            let vars = [&application[..], more].concat();
            of(&vars, "abs://acct@cont/p").map(|settings| settings.credentials)
        };
        let token = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        let refused = with(&[certificate, token]).err().expect("a certificate");
        assert!(
            refused.contains("AZURE_CLIENT_CERTIFICATE_PATH is not supported"),
            "{refused}"
        );
        let secret = with(&[certificate, ("AZURE_CLIENT_SECRET", "s")]).expect("a secret");
        assert!(matches!(
            secret,
            AbsCredentials::Identity(AbsIdentity::Secret { .. })
        ));
        let workload = with(&[token]).expect("a token");
        assert!(matches!(
            workload,
            AbsCredentials::Identity(AbsIdentity::Workload { .. })
        ));
    }
}
