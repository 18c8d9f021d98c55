//! Whether a store has conditional writes, and means it: some take the request and ignore the
//! condition, which is worse than to have none.

use bytes::Bytes;
use litestream_storage::{Condition, ErrorKind, Key, ObjectMeta, ObjectStore, PutOptions, Result};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conditional {
    Works,
    /// Not there, or not to be relied upon, and why.
    Missing(String),
}

/// Tries all that a lease needs on the object `key`, which must be of no use to anybody, and
/// deletes it again.
///
/// # Cost
/// Five requests.
pub(crate) async fn conditional_writes(store: &dyn ObjectStore, key: Key) -> Result<Conditional> {
    let found = attempt(store, &key).await;
    let deleted = store.delete(vec![key]).await?;
    match (found, deleted.into_iter().next()) {
        (Ok(_), Some((_, error))) => Err(error),
        (found, _) => found,
    }
}

async fn attempt(store: &dyn ObjectStore, key: &Key) -> Result<Conditional> {
    let missing = |reason: &str| Ok(Conditional::Missing(reason.to_owned()));
    let first = match put(store, key, "first", Condition::IfAbsent).await {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return missing(&error.to_string());
        }
        Err(error) => return Err(error),
    };
    let Some(first) = first.etag else {
        return missing("a put answers no version (etag)");
    };
    if !is_refused(put(store, key, "other", Condition::IfAbsent).await)? {
        return missing("a put that wants no object there replaces one (If-None-Match is ignored)");
    }
    match put(store, key, "second", Condition::IfMatch(first.clone())).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return missing(&error.to_string());
        }
        Err(error) => return Err(error),
    }
    if !is_refused(put(store, key, "third", Condition::IfMatch(first)).await)? {
        return missing("a put that wants one version replaces another (If-Match is ignored)");
    }
    Ok(Conditional::Works)
}

async fn put(
    store: &dyn ObjectStore,
    key: &Key,
    content: &'static str,
    condition: Condition,
) -> Result<ObjectMeta> {
    let options = PutOptions {
        condition,
        ..PutOptions::default()
    };
    let body = Bytes::from_static(content.as_bytes()).into();
    store.put(key.clone(), body, options).await
}

fn is_refused(result: Result<ObjectMeta>) -> Result<bool> {
    match result {
        Ok(_) => Ok(false),
        Err(error) => match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => Ok(true),
            _ => Err(error),
        },
    }
}
