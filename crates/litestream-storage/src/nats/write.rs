//! Put and delete.
//!
//! Invariant: the description is published after the last chunk was acknowledged, tied to the
//! version that it replaces when there is a condition; chunks of versions that are not described
//! by anything are purged.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, FuturesOrdered, StreamExt as _};
use sha2::{Digest as _, Sha256};

use super::connect::{Bucket, publishing};
use super::info::{Found, Info};
use super::{KIND, Shared};
use crate::calls::delete_each;
use crate::{Body, Condition, Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result};

/// Chunks that wait for their acknowledgement: 4 MiB.
const WINDOW: usize = 32;
/// Deletions in flight.
const DELETIONS: usize = 16;
/// How often a version is published in the place of one that was replaced meanwhile.
const MOST_TRIES: u32 = 64;

pub(super) async fn put(
    shared: &Shared,
    key: Key,
    body: Body,
    options: PutOptions,
) -> Result<ObjectMeta> {
    if key.as_str().is_empty() {
        return Err(Error::new(ErrorKind::Invalid, Operation::Put).with_detail("empty key"));
    }
    let bucket = shared.connection.bucket(Operation::Put).await?;
    let name = shared.name(key.as_str());
    let mut before = bucket.last(Operation::Put, &name).await?;
    let mut expected = expected(&options.condition, before.as_ref())?;
    let info = Info::new(&bucket, name.clone(), options.timestamp);
    let mut upload = Upload {
        bucket: Arc::clone(&bucket),
        info: Some(info),
    };
    upload.chunks(body.into_stream()).await?;
    let mut tries = 1;
    let (sequence, stored) = loop {
        let error = match publish(&bucket, upload.info(), Some(expected)).await {
            Ok(published) => break published,
            Err(error) => error,
        };
        match (error.kind(), &options.condition) {
            // Another writer came in between; it is its version that this one replaces now.
            (ErrorKind::PreconditionFailed, Condition::None) if tries < MOST_TRIES => {
                before = bucket.last(Operation::Put, &name).await?;
                expected = before.as_ref().map_or(0, |before| before.sequence);
                tries += 1;
            }
            (ErrorKind::PreconditionFailed, Condition::None) => {
                return Err(error.with_kind(ErrorKind::Unavailable { retry_after: None }));
            }
            (ErrorKind::PreconditionFailed, Condition::IfAbsent) => {
                return Err(error.with_kind(ErrorKind::AlreadyExists));
            }
            _ => return Err(error),
        }
    };
    let info = upload.keep();
    if let Some(before) = before.filter(|before| !before.info.deleted) {
        bucket.purge(&before.info.nuid).await;
    }
    let found = Found {
        info,
        sequence,
        stored,
    };
    Ok(found.meta(key))
}

/// The number of the message that the description must replace; 0 for none at all. Also without a
/// condition it must be the one that was seen, so that the chunks of each version are purged by
/// the one that replaced it.
fn expected(condition: &Condition, before: Option<&Found>) -> Result<u64> {
    let sequence = before.map_or(0, |before| before.sequence);
    let object = before.filter(|before| before.info.is_object());
    match condition {
        Condition::IfAbsent if object.is_some() => {
            Err(Error::new(ErrorKind::AlreadyExists, Operation::Put))
        }
        Condition::None | Condition::IfAbsent => Ok(sequence),
        Condition::IfMatch(etag) => match object {
            Some(found) if found.info.nuid == *etag => Ok(sequence),
            other => Err(other_version(Operation::Put, etag, other)),
        },
    }
}

fn other_version(operation: Operation, etag: &str, found: Option<&Found>) -> Error {
    let found = found.map_or("no object".to_owned(), |found| {
        format!("{:?}", found.info.nuid)
    });
    Error::new(ErrorKind::PreconditionFailed, operation)
        .with_detail(format!("expected etag {etag:?}, found {found}"))
}

/// Chunks on their way. Purged when dropped before they are described.
struct Upload {
    bucket: Arc<Bucket>,
    /// `None` once the chunks are to stay.
    info: Option<Info>,
}

impl Upload {
    fn info(&self) -> &Info {
        self.info.as_ref().expect("there until it is kept")
    }

    fn keep(mut self) -> Info {
        self.info.take().expect("there until it is kept")
    }

    async fn chunks(&mut self, body: BoxStream<'static, Result<Bytes>>) -> Result<()> {
        let subject = self.bucket.chunks(&self.info().nuid);
        let mut pieces = std::pin::pin!(pieces(body, self.bucket.chunk));
        let mut acknowledgements = FuturesOrdered::new();
        let mut digest = Sha256::new();
        let (mut size, mut count) = (0, 0);
        let failed = |source| publishing(Operation::Put, source);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            digest.update(&piece);
            size += piece.len() as u64;
            count += 1;
            let sent = self.bucket.context.publish(subject.clone(), piece).await;
            acknowledgements.push_back(sent.map_err(failed)?.into_future());
            if acknowledgements.len() >= WINDOW
                && let Some(acknowledged) = acknowledgements.next().await
            {
                acknowledged.map_err(failed)?;
            }
        }
        while let Some(acknowledged) = acknowledgements.next().await {
            acknowledged.map_err(failed)?;
        }
        let info = self.info.as_mut().expect("there until it is kept");
        info.complete(size, count, &digest.finalize());
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After an error in publishing the description it is not known whether it is there: then
        // the chunks must stay unless it is known not to be.
        if let Some(info) = self.info.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let bucket = Arc::clone(&self.bucket);
            runtime.spawn(async move {
                let last = bucket.last(Operation::Put, &info.name).await;
                let described = match last {
                    Ok(last) => last.is_some_and(|last| last.info.nuid == info.nuid),
                    Err(_) => true,
                };
                if !described {
                    bucket.purge(&info.nuid).await;
                }
            });
        }
    }
}

/// Publishes a description; answers its number and the time of now.
async fn publish(bucket: &Bucket, info: &Info, expected: Option<u64>) -> Result<(u64, i64)> {
    let operation = if info.deleted {
        Operation::Delete
    } else {
        Operation::Put
    };
    let json = serde_json::to_vec(info).expect("texts and numbers are JSON");
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "sub");
    let mut message = PublishMessage::build()
        .payload(json.into())
        .headers(headers);
    if let Some(expected) = expected {
        message = message.expected_last_subject_sequence(expected);
    }
    let subject = bucket.subject(&info.name);
    let sent = bucket.context.send_publish(subject, message).await;
    let sent = sent.map_err(|source| publishing(operation, source))?;
    let acknowledged = sent.await.map_err(|source| publishing(operation, source))?;
    let now = crate::clock::unix_ms(std::time::SystemTime::now());
    Ok((acknowledged.sequence, now))
}

impl Bucket {
    /// Removes the chunks of the version `nuid`. They are no longer described by anything: when
    /// this fails they take space, and nothing else.
    async fn purge(&self, nuid: &str) {
        if nuid.is_empty() {
            return;
        }
        if let Err(error) = self.stream.purge().filter(self.chunks(nuid)).await {
            tracing::debug!(error = %error, nuid, "nats: old chunks stay");
        }
    }
}

pub(super) async fn delete(shared: &Shared, keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let bucket = shared.connection.bucket(Operation::Delete).await;
    let bucket = &bucket.map_err(|error| error.with_backend(KIND))?;
    let delete = |key: Key| async move { mark(bucket, &shared.name(key.as_str()), None).await };
    Ok(delete_each(KIND, keys, DELETIONS, delete).await)
}

pub(super) async fn delete_if(shared: &Shared, key: Key, etag: String) -> Result<()> {
    let bucket = shared.connection.bucket(Operation::Delete).await?;
    mark(&bucket, &shared.name(key.as_str()), Some(&etag)).await
}

/// Replaces the description of an object by the mark of its deletion, and purges its chunks.
async fn mark(bucket: &Bucket, name: &str, etag: Option<&str>) -> Result<()> {
    let found = bucket.last(Operation::Delete, name).await?;
    let Some(found) = found.filter(|found| found.info.is_object()) else {
        return Err(Error::new(ErrorKind::NotFound, Operation::Delete));
    };
    if let Some(etag) = etag
        && found.info.nuid != etag
    {
        return Err(other_version(Operation::Delete, etag, Some(&found)));
    }
    let expected = etag.map(|_| found.sequence);
    let nuid = found.info.nuid.clone();
    publish(bucket, &found.info.into_deleted(), expected).await?;
    bucket.purge(&nuid).await;
    Ok(())
}

/// The body in pieces of `size` bytes, the last one shorter.
fn pieces(
    body: BoxStream<'static, Result<Bytes>>,
    size: usize,
) -> impl futures_util::Stream<Item = Result<Bytes>> + Send {
    let start = (body, BytesMut::new(), false);
    stream::try_unfold(start, move |(mut body, mut kept, mut ended)| async move {
        while kept.len() < size && !ended {
            match body.next().await {
                Some(chunk) => kept.extend_from_slice(&chunk?),
                None => ended = true,
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let len = kept.len().min(size);
        let piece = kept.split_to(len).freeze();
        Ok(Some((piece, (body, kept, ended))))
    })
}
