//! A replica on a `WebDAV` server.

use litestream_storage::{Retrying, WebdavSettings, WebdavStore};

use super::{http, retry_policy};
use crate::config::{BuildError, Network, WebdavTarget};

pub(super) fn open(target: &WebdavTarget, network: &Network) -> Result<WebdavStore, BuildError> {
    let settings = WebdavSettings {
        url: target.url.clone(),
        username: target.username.clone(),
        password: target.password.clone(),
        // Joined and cleaned as the reference does it: `/a/`, `./a` and `a` are one folder.
        root: root(&target.path),
    };
    let client = http::client(network, false, false)?;
    let store = WebdavStore::new(settings, client, Retrying::new(retry_policy()));
    store.map_err(|error| BuildError::Invalid {
        kind: "webdav",
        cause: error.to_string(),
    })
}

fn root(path: &str) -> String {
    let path = crate::paths::clean(&format!("/{path}"));
    path.trim_matches('/').to_owned()
}
