//! A replica in a bucket of Google Cloud Storage.

use litestream::Layout;
use litestream_storage::{GsCredentials, GsSettings, GsStore, Pace, Retrying};

use super::prefix::cleaned;
use super::{Backend, http, retry_policy, wrapped};
use crate::config::{BuildError, GsTarget, Network};

pub(super) fn open(
    target: &GsTarget,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = settings(target);
    let mut policy = retry_policy();
    policy.in_flight = settings.part_size as u64;
    let client = http::client(network, false, false)?;
    let store = GsStore::new(settings, client, Retrying::new(policy.clone()))
        .map_err(|error| BuildError::Store(format!("gs: {error}")))?;
    Ok(wrapped(store, Layout::Plain, policy, pace))
}

fn settings(target: &GsTarget) -> GsSettings {
    let (endpoint, credentials) = match &target.emulator {
        Some(host) if host.contains("://") => (host.clone(), GsCredentials::Anonymous),
        Some(host) => (format!("http://{host}"), GsCredentials::Anonymous),
        None => (GsSettings::ENDPOINT.to_owned(), credentials(target)),
    };
    GsSettings {
        bucket: target.bucket.clone(),
        prefix: cleaned(&target.path),
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        credentials,
        part_size: GsSettings::PART_SIZE,
    }
}

fn credentials(target: &GsTarget) -> GsCredentials {
    if let Some(file) = &target.credentials_file {
        return GsCredentials::File(file.clone());
    }
    let metadata_host = target.metadata_host.as_deref();
    GsCredentials::Default {
        well_known: target.well_known_file.clone(),
        metadata_host: metadata_host
            .unwrap_or(GsCredentials::METADATA_HOST)
            .to_owned(),
    }
}
