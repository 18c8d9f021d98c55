//! What several backends do around their calls.

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::{Error, Key, Result};

/// Names the backend and the object in the error of a call.
#[cfg(any(feature = "nats", feature = "sftp", feature = "webdav"))]
pub(crate) async fn named<T>(
    kind: &'static str,
    key: Key,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    call.await
        .map_err(|error| error.with_backend(kind).with_key(&key))
}

/// Deletes object by object, `at_once` of them at the same time, where there is no bulk deletion;
/// answers those that failed. Missing ones count as deleted.
pub(crate) async fn delete_each<F: Future<Output = Result<()>>>(
    kind: &'static str,
    keys: Vec<Key>,
    at_once: usize,
    delete: impl Fn(Key) -> F,
) -> Vec<(Key, Error)> {
    let deletions = keys.into_iter().map(|key| {
        let deletion = delete(key.clone());
        async move {
            match deletion.await {
                Err(error) if !error.is_not_found() => {
                    let error = error.with_backend(kind).with_key(&key);
                    Some((key, error))
                }
                _ => None,
            }
        }
    });
    let failures = stream::iter(deletions).buffer_unordered(at_once);
    let failures = failures.filter_map(|failure| async { failure });
    failures.collect().await
}
