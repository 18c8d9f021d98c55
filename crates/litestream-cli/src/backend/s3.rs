//! A replica in a bucket of S3 or of something that speaks its protocol.

use std::sync::{Arc, Mutex, PoisonError};

use litestream::Layout;
use litestream_storage::{
    Pace, RandomJitter, S3Credentials, S3CustomerKey, S3Encryption, S3Settings, S3SettingsError,
    S3Store,
};

use super::{Backend, clock, http, retry_policy, wrapped};
use crate::config::{BuildError, Network, S3Target};

/// Buckets that were opened, to be shared by replicas that differ in nothing but their path: they
/// need credentials and region only once.
static BUCKETS: Mutex<Vec<(Network, bool, S3Store)>> = Mutex::new(Vec::new());

pub(super) fn open(
    target: &S3Target,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = settings(target).map_err(|error| BuildError::Store(error.to_string()))?;
    let in_flight = settings
        .part_size
        .saturating_mul(settings.concurrency as u64 + 1);
    let store = bucket(settings, network, target.skip_verify)?;
    let mut policy = retry_policy();
    policy.in_flight = in_flight;
    Ok(wrapped(store, Layout::Hex, policy, pace))
}

fn bucket(
    settings: S3Settings,
    network: &Network,
    skip_verify: bool,
) -> Result<S3Store, BuildError> {
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = buckets.iter().find_map(|(way, skips, store)| {
        let same = way == network && *skips == skip_verify;
        same.then(|| store.sharing(&settings)).flatten()
    });
    if let Some(store) = shared {
        return Ok(store);
    }
    let client = http::client(network, skip_verify, true)?;
    let store = S3Store::new(
        settings,
        client,
        retry_policy(),
        clock(),
        Arc::new(RandomJitter),
    )
    .map_err(|error| BuildError::Store(error.to_string()))?;
    buckets.push((network.clone(), skip_verify, store.clone()));
    Ok(store)
}

fn settings(target: &S3Target) -> Result<S3Settings, S3SettingsError> {
    let credentials = match (&target.access_key_id, &target.secret_access_key) {
        (Some(id), Some(secret)) => Some(S3Credentials {
            access_key_id: id.clone(),
            secret_access_key: secret.clone(),
            session_token: target.session_token.clone(),
        }),
        _ => None,
    };
    let encryption = match (&target.sse_customer_key, &target.sse_kms_key_id) {
        (Some(_), Some(_)) => return Err(S3SettingsError::TwoKeys),
        (Some(key), None) => {
            S3Encryption::Customer(S3CustomerKey::new(&target.sse_customer_algorithm, key)?)
        }
        (None, Some(key)) => S3Encryption::Kms(key.clone()),
        (None, None) => S3Encryption::None,
    };
    Ok(S3Settings {
        // Even without a path there is a slash: existing replicas are laid out like that.
        prefix: format!("{}/", target.path),
        region: target.region.clone(),
        endpoint: target.endpoint.clone(),
        path_style: target.force_path_style,
        credentials,
        sign_payload: target.sign_payload,
        content_md5: target.require_content_md5,
        consistent: target.consistent_header,
        storage_class: target.storage_class.clone(),
        encryption,
        part_size: target.part_size,
        concurrency: target.concurrency,
        ..S3Settings::new(&target.bucket)
    })
}
