//! Put, tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::BoxStream;

use super::replay::Replay;
use super::{Budget, Shared, read};
use crate::{
    Body, ByteRange, ErrorKind, Key, ObjectMeta, ObjectStore, Operation, PutOptions, Result,
};

pub(super) async fn put<S: ObjectStore>(
    shared: &Arc<Shared<S>>,
    key: Key,
    body: Body,
    options: PutOptions,
) -> Result<ObjectMeta> {
    let mut budget = Budget::default();
    let source = Source::new(body, shared.retrying.policy.replay_limit);
    let mut unknown = false;
    loop {
        let error = match send(shared, &key, &source, &options).await {
            Ok(meta) => return Ok(meta),
            Err(error) => error,
        };
        let refused = matches!(
            error.kind(),
            ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed
        );
        if refused && unknown && source.can_send_again() {
            return match ours(shared, &key, &source, &options).await {
                Ok(Some(meta)) => Ok(meta),
                Ok(None) => Err(error),
                Err(unreadable) if unreadable.is_not_found() => Err(error),
                Err(unreadable) => Err(unreadable),
            };
        }
        if !source.can_send_again() {
            return Err(error);
        }
        shared.again(&mut budget, error).await?;
        unknown = true;
    }
}

/// One try.
async fn send<S: ObjectStore>(
    shared: &Shared<S>,
    key: &Key,
    source: &Source,
    options: &PutOptions,
) -> Result<ObjectMeta> {
    let call = shared
        .inner
        .put(key.clone(), source.body(), options.clone());
    match select(call, std::pin::pin!(source.stalled(shared))).await {
        Either::Left((result, _)) => result,
        Either::Right((limit, _)) => Err(shared.timeout(Operation::Put, Some(key), limit)),
    }
}

/// The metadata of the object, if its content is what was to be put.
async fn ours<S: ObjectStore>(
    shared: &Arc<Shared<S>>,
    key: &Key,
    source: &Source,
    options: &PutOptions,
) -> Result<Option<ObjectMeta>> {
    let object = read::get(shared, key.clone(), ByteRange::ALL).await?;
    let other_time = matches!(
        (options.timestamp, object.meta.timestamp),
        (Some(put), Some(found)) if put != found
    );
    if other_time || !same_content(source.body().into_stream(), object.body).await? {
        return Ok(None);
    }
    Ok(Some(object.meta))
}

async fn same_content(
    mut a: BoxStream<'static, Result<Bytes>>,
    mut b: BoxStream<'static, Result<Bytes>>,
) -> Result<bool> {
    let (mut left, mut right) = (Bytes::new(), Bytes::new());
    loop {
        while left.is_empty()
            && let Some(chunk) = a.try_next().await?
        {
            left = chunk;
        }
        while right.is_empty()
            && let Some(chunk) = b.try_next().await?
        {
            right = chunk;
        }
        let len = left.len().min(right.len());
        if len == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left.split_to(len) != right.split_to(len) {
            return Ok(false);
        }
    }
}

/// A body that can be sent more than once, or says that it cannot.
enum Source {
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
    Stream(Replay),
}

impl Source {
    fn new(body: Body, replay_limit: usize) -> Self {
        match body {
            Body::Bytes(bytes) => Self::Bytes(bytes),
            Body::File { path, size } => Self::File { path, size },
            Body::Stream(stream) => Self::Stream(Replay::new(stream, replay_limit)),
        }
    }

    /// The whole body, from its beginning.
    fn body(&self) -> Body {
        match self {
            Self::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Self::File { path, size } => Body::File {
                path: path.clone(),
                size: *size,
            },
            Self::Stream(replay) => Body::Stream(replay.stream()),
        }
    }

    fn can_send_again(&self) -> bool {
        match self {
            Self::Bytes(_) | Self::File { .. } => true,
            Self::Stream(replay) => replay.is_complete(),
        }
    }

    fn limit<S>(&self, shared: &Shared<S>) -> Duration {
        match self {
            Self::Bytes(bytes) => shared.retrying.policy.put_limit(bytes.len() as u64),
            Self::File { size, .. } => shared.retrying.policy.put_limit(*size),
            // What was not taken cannot be on the way.
            Self::Stream(replay) => {
                let policy = &shared.retrying.policy;
                policy.put_limit(policy.in_flight.min(replay.taken()))
            }
        }
    }

    /// Completes when a try has had its time, and answers how long that was: all of it, or for a
    /// stream that long without the store taking a chunk. Waiting for whoever makes the stream is
    /// not the store's fault.
    async fn stalled<S>(&self, shared: &Shared<S>) -> Duration {
        let mut before = None;
        let mut limit = Duration::ZERO;
        loop {
            let now = match self {
                Self::Bytes(_) | Self::File { .. } => None,
                Self::Stream(replay) => Some(replay.progress()),
            };
            if before == Some(now) && now.is_none_or(|(_, source_waits)| !source_waits) {
                return limit;
            }
            before = Some(now);
            // More may be on the way than before.
            limit = self.limit(shared);
            shared.retrying.clock.sleep(limit).await;
        }
    }
}
