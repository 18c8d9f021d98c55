//! A replica in a bucket of Alibaba Cloud OSS.

use litestream::Layout;
use litestream_storage::{OssSettings, OssStore, Pace, Retrying};

use super::{Backend, http, refused, retry_policy, wrapped};
use crate::config::{BuildError, Network, OssTarget};

pub(super) fn open(
    target: &OssTarget,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = settings(target)?;
    let mut policy = retry_policy();
    policy.in_flight = settings
        .part_size
        .saturating_mul(settings.concurrency as u64 + 1);
    let client = http::client(network, false, false)?;
    let store = OssStore::new(settings, client, Retrying::new(policy.clone()))
        .map_err(|error| refused("oss", &error))?;
    Ok(wrapped(store, Layout::Hex, policy, pace))
}

fn settings(target: &OssTarget) -> Result<OssSettings, BuildError> {
    let keys = (
        target.access_key_id.clone(),
        target.secret_access_key.clone(),
    );
    let (Some(access_key), Some(secret_key)) = keys else {
        return Err(BuildError::Store(
            "oss: access-key-id and secret-access-key, or OSS_ACCESS_KEY_ID and \
             OSS_ACCESS_KEY_SECRET, are required"
                .into(),
        ));
    };
    let region = target.region.clone();
    let endpoint = target.endpoint.clone();
    Ok(OssSettings {
        bucket: target.bucket.clone(),
        // Verbatim: existing replicas have empty and dot segments.
        prefix: format!("{}/", target.path),
        endpoint: endpoint.unwrap_or_else(|| format!("https://oss-{region}.aliyuncs.com")),
        region,
        access_key,
        secret_key,
        session_token: target.session_token.clone(),
        part_size: target.part_size,
        concurrency: target.concurrency,
    })
}
