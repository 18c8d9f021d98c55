//! A replica on a `WebDAV` server.

use litestream::Layout;
use litestream_storage::{Pace, Retrying, WebdavSettings, WebdavStore};

use super::{Backend, http, retry_policy, wrapped};
use crate::config::{BuildError, Network, WebdavTarget};

pub(super) fn open(
    target: &WebdavTarget,
    network: &Network,
    pace: Pace,
) -> Result<Backend, BuildError> {
    let settings = WebdavSettings {
        url: target.url.clone(),
        username: target.username.clone(),
        password: target.password.clone(),
        // Joined and cleaned as the reference does it: `/a/`, `./a` and `a` are one folder.
        root: root(&target.path),
    };
    let client = http::client(network, false, false)?;
    let mut policy = retry_policy();
    // A stream is staged as a whole before any of it is sent.
    policy.in_flight = u64::MAX;
    let store = WebdavStore::new(settings, client, Retrying::new(policy.clone()));
    let store = store.map_err(|error| BuildError::Invalid {
        kind: "webdav",
        cause: error.to_string(),
    })?;
    Ok(wrapped(store, Layout::Plain, policy, pace))
}

fn root(path: &str) -> String {
    let path = crate::paths::clean(&format!("/{path}"));
    path.trim_matches('/').to_owned()
}
