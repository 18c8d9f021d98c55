//! Deletion, up to a thousand objects per request, and of one version.
//!
//! Invariant: a key counts as deleted only when the answer says so.

use std::collections::HashMap;

use aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::stream::{self, StreamExt as _};

use super::error::{kind_of, named};
use super::{S3Store, sign};
use crate::{Error, ErrorKind, Key, Operation, Result};

/// Most keys in one request.
const BATCH: usize = 1000;
/// Single deletions at a time, where the service has no bulk deletion.
const SINGLES: usize = 16;

impl S3Store {
    pub(super) async fn delete_all(&self, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
        let mut failures = Vec::new();
        for batch in keys.chunks(BATCH) {
            match self.delete_batch(batch).await {
                Ok(failed) => failures.extend(failed),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    failures.extend(self.delete_singly(batch).await);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(failures)
    }

    async fn delete_batch(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        let client = self.client(Operation::Delete, None).await?;
        let names: HashMap<String, &Key> = keys.iter().map(|key| (self.name(key), key)).collect();
        let invalid = |error: aws_sdk_s3::error::BuildError| {
            let error = Error::new(ErrorKind::Invalid, Operation::Delete).with_source(error);
            named(error, None)
        };
        let mut delete = Delete::builder();
        for key in keys {
            let name = self.name(key);
            delete = delete.objects(
                ObjectIdentifier::builder()
                    .key(name)
                    .build()
                    .map_err(invalid)?,
            );
        }
        let request = client
            .delete_objects()
            .bucket(&self.settings.bucket)
            .delete(delete.build().map_err(invalid)?);
        let sent = if self.settings.content_md5 {
            request
                .customize()
                .interceptor(sign::CONTENT_MD5)
                .send()
                .await
        } else {
            request.send().await
        };
        let answer = sent.map_err(|failure| self.failed(failure, Operation::Delete, None))?;
        Ok(unfinished(names, answer))
    }

    async fn delete_singly(&self, keys: &[Key]) -> Vec<(Key, Error)> {
        let calls = keys.iter().cloned().map(|key| async move {
            match self.delete_one(&key, None).await {
                Err(error) if !error.is_not_found() => Some((key, error)),
                _ => None,
            }
        });
        let results = stream::iter(calls).buffer_unordered(SINGLES);
        results
            .filter_map(|failed| async move { failed })
            .collect()
            .await
    }

    pub(super) async fn delete_version(&self, key: Key, etag: String) -> Result<()> {
        self.delete_one(&key, Some(etag)).await
    }

    async fn delete_one(&self, key: &Key, etag: Option<String>) -> Result<()> {
        let client = self.client(Operation::Delete, Some(key)).await?;
        client
            .delete_object()
            .bucket(&self.settings.bucket)
            .key(self.name(key))
            .set_if_match(etag)
            .send()
            .await
            .map(drop)
            .map_err(|failure| self.failed(failure, Operation::Delete, Some(key)))
    }
}

/// The keys that the answer does not call deleted, and why.
fn unfinished(mut names: HashMap<String, &Key>, answer: DeleteObjectsOutput) -> Vec<(Key, Error)> {
    let mut failures = Vec::new();
    for deleted in answer.deleted.unwrap_or_default() {
        if let Some(name) = deleted.key {
            names.remove(&name);
        }
    }
    for failed in answer.errors.unwrap_or_default() {
        let Some(key) = failed.key.as_ref().and_then(|name| names.remove(name)) else {
            continue;
        };
        let kind = kind_of(0, failed.code.as_deref(), None);
        if kind != ErrorKind::NotFound {
            let error = Error::new(kind, Operation::Delete)
                .with_code(failed.code.unwrap_or_else(|| "unknown".to_owned()))
                .with_detail(failed.message.unwrap_or_default());
            failures.push((key.clone(), named(error, Some(key))));
        }
    }
    failures.extend(names.into_values().map(|key| {
        let error = Error::new(ErrorKind::Io, Operation::Delete)
            .with_detail("the answer does not say that it was deleted");
        (key.clone(), named(error, Some(key)))
    }));
    failures
}
